"""A supply's voltage that the trace has beside its reading: whether it is one, and on which side of
the shunt it was measured.

The power is V r / R of the voltage V behind the shunt, where the phone is, and (V - r) r / R of the
supply's before it. A stiff supply tells them apart: before the shunt its voltage stays, behind it
falls by what the shunt's rises. A soft one falls before the shunt too, so the difference between
both is then in the uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mobilekit.meter.envelope import Bins, Floats, Span
from mobilekit.meter.instrument import InstrumentUncertainty
from mobilekit.meter.windows import Block

MAX_SCATTER = 0.1
"""Of a supply's voltage from bin to bin, relative; beyond it the column is something else."""
STIFF_FALL = 0.5
"""Of the supply's voltage, over the shunt's rise: what falls less was measured before the shunt."""
BEHIND_FALL = (0.85, 1.15)
"""What falls by as much was measured behind it, or before it and the supply's wire is as long."""


class SupplySide(NamedTuple):
    bins: Bins
    """With the phone's power, wherever the voltage was measured."""
    uncertainty: float
    """Relative standard uncertainty of the power that comes from not knowing the side."""
    note: str | None


def supply_scatter(bins: Bins) -> float:
    """The relative scatter of the supply's voltage over the trace."""
    known = bins.covered_s > 0
    volts = bins.supply_vs()[known] / bins.covered_s[known]
    mean = float(volts.mean()) if len(volts) else 0.0
    return float(volts.std()) / mean if mean > 0 else np.inf


def judge_side(bins: Bins, blocks: Sequence[Block]) -> SupplySide:
    """Of bins of a shunt's voltage, with a voltage of the supply for each sample."""
    supply_vs = bins.supply_vs()
    rise_v = _rise(bins, bins.reading_s, blocks)
    fall = -_rise(bins, supply_vs, blocks) / rise_v if rise_v > 0 else 0.0
    if fall < STIFF_FALL:
        return SupplySide(bins, 0.0, None)
    load = [block.load for block in blocks]
    share = _mean(bins, bins.reading_s, load) / _mean(bins, supply_vs, load)
    is_behind = BEHIND_FALL[0] <= fall <= BEHIND_FALL[1]
    return SupplySide(
        bins.behind_shunt() if is_behind else bins,
        share / 3**0.5,
        f"under load the supply's voltage falls by {fall:.2f} of what the shunt's rises: it is "
        f"taken as measured {'behind' if is_behind else 'before'} the shunt, and the {share:.1%} "
        "between both are in the uncertainty",
    )


def with_side(instrument: InstrumentUncertainty, side: SupplySide) -> InstrumentUncertainty:
    if not side.uncertainty:
        return instrument
    return instrument._replace(
        voltage=float(np.hypot(instrument.voltage, side.uncertainty)),
        voltage_note=f"{side.uncertainty:.1%}, since it may be of either side of the shunt; "
        f"{instrument.voltage_note}",
    )


def _rise(bins: Bins, values: Floats, blocks: Sequence[Block]) -> float:
    """Of the mean of one of the integrals, from idle to load."""
    load = _mean(bins, values, [block.load for block in blocks])
    return load - _mean(bins, values, [span for block in blocks for span in block.idle])


def _mean(bins: Bins, values: Floats, spans: Sequence[Span]) -> float:
    return float(np.mean([bins.mean(values, span) for span in spans]))
