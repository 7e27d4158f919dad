"""Blocks of idle-load-idle, by a gauge or by a meter: what an inference costs in them.

A load window and the idle windows beside it are a block, the unit of analysis: readings inside a
block are not independent. With P the windows' mean powers, T_k the length of block k's load and n_k
its inferences,

    E_gross = sum (T_k P_k) / sum n_k        E_marginal = sum (T_k (P_k - P_idle,k)) / sum n_k

where P_idle,k is the mean of the idle windows on both sides, so that a linear drift cancels. Both
are means of the blocks' energies per inference, y = W P, weighted by their inferences, a_k.

**Blocks and quantisation are two components of one variance.** The powers' covariance is
sigma^2 I + C: sigma is what the phone's power itself scatters from window to window, C what the
instrument's resolution makes uncertain. C is computed; sigma^2 is what the scatter of the K blocks
leaves after C's share,

    sigma^2 = max(0, (y'My - tr(M W C W')) / tr(M W W')),    M = I - 11'/K

and both go into the variance of the mean, a'W (sigma^2 I + C) W'a. So neither is counted twice,
blocks that agree because all were rounded alike prove nothing, and the idle window that two blocks
share is not taken for two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.energy.budget import (
    Standard,
    fixed_term,
    gross_standards,
    interval_of,
    kind_of,
    marginal_standards,
)
from mobilekit.records.energy import EnergyEstimate, Plane, UncertaintyTerm
from mobilekit.records.statistics import Interval, Origin

Floats = npt.NDArray[np.float64]


class Blocks(NamedTuple):
    """K blocks over n windows."""

    power_w: Floats
    """n."""
    covariance_w2: Floats | None
    """n x n: what the instrument's resolution alone makes uncertain; ``None``: nothing."""
    load: npt.NDArray[np.int_]
    """K: which window is the load."""
    idle: Floats
    """K x n: the weights of the windows whose mean is the idle power."""
    load_s: Floats
    """K: how long the load lasted."""
    iterations: Floats
    """K: how many inferences there were in it."""

    @property
    def seconds_per_inference(self) -> Floats:
        return self.load_s / self.iterations

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Blocks:
        """Some of the blocks."""
        return self._replace(
            load=self.load[chosen],
            idle=self.idle[chosen],
            load_s=self.load_s[chosen],
            iterations=self.iterations[chosen],
        )


class BlockMean(NamedTuple):
    """The mean over blocks of an energy, with the variance of its two random components."""

    mean_j: float
    blocks_j: float
    blocks_freedom: float | None
    quantisation_j: float
    scatter_w: float
    """sigma."""
    values_j: Floats
    """K."""

    @property
    def standards(self) -> list[Standard]:
        return [
            Standard(self.blocks_j, self.blocks_freedom, scattered=True),
            Standard(self.quantisation_j, scattered=True),
        ]

    def interval(self, others: Iterable[Standard]) -> Interval:
        """With what all blocks share."""
        return interval_of(self.mean_j, self.values_j.tolist(), [*self.standards, *others])


def idle_weights(windows: int, beside: Sequence[Sequence[int]]) -> Floats:
    """K x n, from the numbers of the idle windows beside each load."""
    weights = np.zeros((len(beside), windows))
    for block, numbers in enumerate(beside):
        weights[block, list(numbers)] = 1 / len(numbers)
    return weights


def gross_mean(blocks: Blocks) -> BlockMean:
    """Of everything that was drawn under load."""
    return _mean(blocks, _loads(blocks))


def marginal_mean(blocks: Blocks) -> BlockMean:
    """Of what was drawn above idle."""
    return _mean(blocks, _loads(blocks) - blocks.idle)


def estimate_of_blocks(
    blocks: Blocks,
    terms: Iterable[UncertaintyTerm],
    *,
    idle_w: Sequence[Sequence[float]],
    origin: Origin,
    plane: Plane,
) -> EnergyEstimate:
    """Energy per inference, its budget the blocks' own terms and ``terms``, which all blocks share.

    ``idle_w`` are the powers of the idle windows in time order, in a list for each stretch of them.
    """
    gross, marginal = gross_mean(blocks), marginal_mean(blocks)
    load_s, total = float(blocks.load_s.sum()), float(blocks.iterations.sum())
    seconds = load_s / total
    curvature_w = _idle_curvature_w(idle_w)
    budget = (
        *_scatter_terms(gross, marginal, blocks.covariance_w2 is not None),
        *terms,
        fixed_term(
            "drift",
            0.0,
            abs(curvature_w) * seconds / 3**0.5,
            "the idle power's curvature, which idle-load-idle does not cancel",
        ),
    )
    load_w = gross.mean_j / seconds
    return EnergyEstimate(
        origin=origin,
        plane=plane,
        blocks=len(blocks.load),
        iterations=round(total),
        idle_w=load_w - marginal.mean_j / seconds,
        load_w=load_w,
        seconds_per_inference=seconds,
        gross_j=gross.mean_j,
        gross_interval_j=interval_of(
            gross.mean_j, gross.values_j.tolist(), gross_standards(budget)
        ),
        marginal_j=marginal.mean_j,
        marginal_interval_j=interval_of(
            marginal.mean_j, marginal.values_j.tolist(), marginal_standards(budget)
        ),
        interval_kind=kind_of(len(blocks.load)),
        budget=budget,
        drift_ratio=_drift_ratio([power_w for part in idle_w for power_w in part], load_w),
        scatter_w=marginal.scatter_w,
    )


def _loads(blocks: Blocks) -> Floats:
    """K x n: 1 for the load window of each block."""
    loads = np.zeros_like(blocks.idle)
    loads[np.arange(len(blocks.load)), blocks.load] = 1.0
    return loads


def _mean(blocks: Blocks, windows: Floats) -> BlockMean:
    """As the module's docstring says; ``windows`` are the weights of the powers in each block."""
    weights = blocks.seconds_per_inference[:, None] * windows
    shares = blocks.iterations / blocks.iterations.sum()
    values = weights @ blocks.power_w
    count = len(values)
    centring = np.eye(count) - 1 / count
    phone = weights @ weights.T
    resolution = np.zeros_like(phone)
    if blocks.covariance_w2 is not None:
        resolution = weights @ blocks.covariance_w2 @ weights.T
    scatter_w2, of_mean = 0.0, float(shares @ phone @ shares)
    freedom = None
    if count > 1:
        share = float(np.trace(centring @ phone))
        unexplained = float(values @ centring @ values) - float(np.trace(centring @ resolution))
        scatter_w2 = max(0.0, unexplained / share)
    if scatter_w2 > 0:
        # The variance of a quadratic form of normal variables: 2 tr((M V)^2).
        spread = centring @ (scatter_w2 * phone + resolution)
        freedom = float((scatter_w2 * share) ** 2 / np.trace(spread @ spread))
    return BlockMean(
        mean_j=float(shares @ values),
        blocks_j=float(np.sqrt(scatter_w2 * of_mean)),
        blocks_freedom=freedom,
        quantisation_j=float(np.sqrt(max(0.0, float(shares @ resolution @ shares)))),
        scatter_w=float(np.sqrt(scatter_w2)),
        values_j=values,
    )


def _scatter_terms(
    gross: BlockMean, marginal: BlockMean, is_quantised: bool
) -> list[UncertaintyTerm]:
    count, terms = len(gross.values_j), []
    if count > 1:
        less = ", less quantisation's share" if is_quantised else ""
        terms.append(
            UncertaintyTerm(
                name="blocks",
                gross_j=gross.blocks_j,
                marginal_j=marginal.blocks_j,
                gross_freedom=gross.blocks_freedom,
                marginal_freedom=marginal.blocks_freedom,
                note=f"scatter of {count} blocks{less}",
            )
        )
    if is_quantised:
        terms.append(
            fixed_term(
                "quantisation",
                gross.quantisation_j,
                marginal.quantisation_j,
                "the source's step, period and noise, carried through the fit",
            )
        )
    return terms


def _idle_curvature_w(idle_w: Sequence[Sequence[float]]) -> float:
    """What the idle power's curvature adds to the marginal power: the second difference of a
    parabola over two windows' distance is eight times what it adds to a load between two."""
    curvatures = [float(second) for part in idle_w for second in np.diff(part, n=2)]
    return float(np.mean(curvatures)) / 8 if curvatures else 0.0


def _drift_ratio(idle_w: Sequence[float], load_w: float) -> float:
    """Change of a line through the idle powers over the run, relative to the marginal power."""
    if len(idle_w) < 2:
        return 0.0
    slope = float(np.polyfit(np.arange(len(idle_w)), idle_w, 1)[0])
    marginal_w = load_w - float(np.mean(idle_w))
    return slope * (len(idle_w) - 1) / marginal_w if marginal_w else 0.0
