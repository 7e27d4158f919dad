"""What is expected of a phone and of networks once others were measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


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


def whiten(covariance: Array, noise: float) -> Array:
    """The lower triangle, (m, m), that makes measurements of that covariance, and with that noise,
    independent and of variance 1: the inverse of its Cholesky factor."""
    noisy = covariance + noise**2 * np.eye(len(covariance))
    return _invert_triangle(np.asarray(np.linalg.cholesky(noisy), dtype=np.float64))


def _invert_triangle(lower: Array) -> Array:
    """By halves; numpy's own inverse makes no use of the zeros, and takes five times as long."""
    half = len(lower) // 2
    if half < 32:
        return np.asarray(np.linalg.inv(lower))
    inverse = np.zeros_like(lower)
    inverse[:half, :half] = first = _invert_triangle(lower[:half, :half])
    inverse[half:, half:] = second = _invert_triangle(lower[half:, half:])
    inverse[half:, :half] = -second @ lower[half:, :half] @ first
    return inverse


def condition(whitener: Array, shared: Array, prior: Array, residuals: Array) -> Posterior:
    """The posterior of networks given the measurements that a model was fitted to.

    ``whitener`` is of those measurements' covariance, (m, m), ``shared`` that of each of them with
    each network, (m, n), ``prior`` that of the networks, (n, n), and ``residuals`` what was
    measured less the prior's mean, (m,). The mean is relative to the networks' own prior mean.
    """
    solved = whitener @ np.column_stack([shared, residuals])
    whitened = solved[:, :-1]
    return Posterior(mean=whitened.T @ solved[:, -1], covariance=prior - whitened.T @ whitened)
