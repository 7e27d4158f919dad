"""Which networks tell most of all others once they are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mobilekit.analysis.predict.posterior import Posterior


def most_informative(
    posterior: Posterior, noise: float, seconds: Sequence[float], count: int, budget_s: float
) -> tuple[int, ...]:
    """Up to ``count`` of the posterior's networks, in the order in which they are to be measured.

    Each is the one whose measurement leaves the least mean variance of log time over all networks,
    of those whose ``seconds`` are left of the budget. What it will take does not matter to that:
    a Gaussian process' variances depend on where is measured, not on what (Rasmussen and Williams
    2006, equation 2.24).
    """
    chosen: list[int] = []
    left_s = budget_s
    for _ in range(count):
        affordable = [
            index for index, each in enumerate(seconds) if index not in chosen and each <= left_s
        ]
        if not affordable:
            break
        covariance = posterior.covariance
        gains = (covariance**2).sum(axis=0) / (np.diag(covariance) + noise**2)
        best = max(affordable, key=lambda index: gains[index])
        index = np.array([best])
        posterior = posterior.given(index, posterior.mean[index], noise)
        chosen.append(best)
        left_s -= seconds[best]
    return tuple(chosen)
