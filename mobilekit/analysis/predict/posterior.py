"""What is expected of a phone and of networks once others were measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_STEP = 96
"""Rows that a forward substitution solves at once; numpy has no solver of triangles."""


@dataclass(frozen=True)
class Posterior:
    """Log times of some networks on one phone: their mean, (n,), and covariance, (n, n)."""

    mean: Array
    covariance: Array

    def given(self, index: npt.NDArray[np.int64], values: Array, noise: float) -> Posterior:
        """Once ``values`` were measured, each of its network ``index``, with ``noise`` as its sd.

        Rasmussen and Williams 2006, equations 2.23 and 2.24.
        """
        if not len(index):
            return self
        shared = self.covariance[:, index]
        measured = self.covariance[np.ix_(index, index)] + noise**2 * np.eye(len(index))
        gain = np.linalg.solve(measured, shared.T).T
        return Posterior(
            mean=self.mean + gain @ (values - self.mean[index]),
            covariance=self.covariance - gain @ shared.T,
        )


def factorize(covariance: Array, noise: float) -> Array:
    """The lower triangle, (m, m), of the covariance of measurements with their noise."""
    noisy = covariance + noise**2 * np.eye(len(covariance))
    return np.asarray(np.linalg.cholesky(noisy), dtype=np.float64)


def condition(factor: Array, shared: Array, prior: Array, residuals: Array) -> Posterior:
    """The posterior of networks given the measurements that a model was fitted to.

    ``factor`` is of those measurements' covariance, (m, m), ``shared`` that of each of them with
    each network, (m, n), ``prior`` that of the networks, (n, n), and ``residuals`` what was
    measured less the prior's mean, (m,). The mean is relative to the networks' own prior mean.
    """
    solved = forward_substitution(factor, np.column_stack([shared, residuals]))
    whitened = solved[:, :-1]
    return Posterior(mean=whitened.T @ solved[:, -1], covariance=prior - whitened.T @ whitened)


def forward_substitution(factor: Array, right: Array) -> Array:
    """``x`` of ``factor @ x = right`` for a lower triangle, (m, m) and (m, n)."""
    solution = np.array(right)
    for start in range(0, len(factor), _STEP):
        end = start + _STEP
        block = solution[start:end] - factor[start:end, :start] @ solution[:start]
        solution[start:end] = np.linalg.solve(factor[start:end, start:end], block)
    return solution
