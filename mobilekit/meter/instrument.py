"""What a meter's reading is worth: its zero, and how uncertain gain, zero and voltage are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mobilekit.errors import MeterTraceError
from mobilekit.meter.envelope import PARTS, Bins, Floats, Span
from mobilekit.meter.windows import Block
from mobilekit.records.meter import UNIT_OF_READING, MeterSource, ReadingKind

MIN_COVERED = 0.99
MAX_ZERO_SHARE = 0.2
"""Of the idle reading, for an offset: beyond it something was drawn while the zero was taken."""


class Instrument(NamedTuple):
    """What is assumed of a meter that nobody calibrated, as standard uncertainties."""

    gain: float
    """Relative."""
    offsets: dict[ReadingKind, float]
    """Of a zero that nobody took, in volts, amperes or watts."""


INSTRUMENTS: dict[MeterSource, Instrument] = {
    # A resistor of 1 % and an oscilloscope's vertical gain of 2 %; its zero wanders by millivolts.
    "shunt": Instrument(0.02, {"shunt voltage": 1e-3}),
    # Monsoon gives +-1 %, Nordic up to +-10 % in the lowest of the ranges, Joulescope +-0.5 %.
    "monsoon": Instrument(0.01, {"current": 1e-3, "power": 4e-3}),
    "ppk2": Instrument(0.05, {"current": 1e-4}),
    "joulescope": Instrument(0.005, {"current": 1e-4, "power": 1e-3}),
    "meter": Instrument(0.03, {"current": 1e-3, "power": 5e-3}),
}
"""All of them assumptions: round figures of the size that makers give."""
GIVEN_OFFSET_SHARE = 0.1
"""Of an offset that was given by hand: an assumption."""
CONSTANT_VOLTAGE_UNCERTAINTY = 0.01
"""Of a supply voltage that was given by hand, relative, for its sag under load: an assumption."""


class InstrumentUncertainty(NamedTuple):
    """Standard uncertainties of the meter, with where they are from."""

    gain: float
    """Relative to the energy."""
    gain_note: str
    offset: float
    """In the unit of the reading."""
    offset_note: str
    voltage: float
    """Relative; 0 where each sample has its own voltage."""
    voltage_note: str


def measure_offset(bins: Bins, zero: Span) -> tuple[float, float]:
    """The mean reading of the part in which nothing was drawn, and its standard uncertainty.

    The uncertainty is the standard error over ``PARTS`` parts, so that slow noise counts.
    Raises ``MeterTraceError`` where the trace has too little of it.
    """
    covered_s = bins.integral(bins.covered_s, zero)
    if zero.end_s > bins.duration_s or covered_s < MIN_COVERED * zero.length_s:
        raise MeterTraceError(
            "The trace does not cover the time that its zero is to be taken from",
            zero=f"{zero.start_s:g} s to {zero.end_s:g} s",
            trace=f"{bins.duration_s:g} s",
            fix="Give a time within the trace, in seconds since its first sample: --zero 0:5.",
        )
    means = np.array([bins.mean(bins.reading_s, part) for part in zero.cut(PARTS)])
    return float(means.mean()), standard_error(means)


def doubt_zero(bins: Bins, blocks: Sequence[Block], offset: float) -> list[str]:
    """A note where the offset that was taken off the ``bins`` is much of their idle reading."""
    levels = [bins.mean(bins.reading_s, span) for block in blocks for span in block.idle]
    idle = float(np.mean(levels)) + offset
    if not idle or abs(offset) <= MAX_ZERO_SHARE * abs(idle):
        return []
    return [
        f"the offset of --zero is {abs(offset / idle):.0%} of the idle reading: if the phone was "
        "connected then, its own idle power is taken for the meter's zero, and gross energy and "
        "idle power are too low; --zero is for a time in which nothing was connected"
    ]


def judge_instrument(
    source: MeterSource,
    kind: ReadingKind,
    *,
    gain: float | None,
    given_offset: float | None,
    measured_offset_uncertainty: float | None,
    constant_voltage: bool,
) -> InstrumentUncertainty:
    """The meter's uncertainties: ``gain`` as the user states it, the zero as it was taken."""
    instrument = INSTRUMENTS[source]
    unit = UNIT_OF_READING[kind]
    if measured_offset_uncertainty is not None:
        offset = measured_offset_uncertainty
        offset_note = f"{offset:.2g} {unit}, the standard error of the part that was zeroed on"
    elif given_offset is not None:
        offset = GIVEN_OFFSET_SHARE * abs(given_offset)
        offset_note = f"{offset:.2g} {unit}, a tenth of the offset that was given, an assumption"
    else:
        offset = instrument.offsets[kind]
        offset_note = f"{offset:.2g} {unit} of a meter that was not zeroed, an assumption"
    voltage = CONSTANT_VOLTAGE_UNCERTAINTY if constant_voltage else 0.0
    return InstrumentUncertainty(
        gain=instrument.gain if gain is None else gain,
        gain_note=f"{instrument.gain:.1%} of an uncalibrated meter, an assumption"
        if gain is None
        else f"{gain:.1%}, as stated",
        offset=offset,
        offset_note=offset_note,
        voltage=voltage,
        voltage_note=f"{voltage:.1%} of a voltage that was given by hand, an assumption"
        if constant_voltage
        else "recorded by the meter; in its gain",
    )


def standard_error(values: Floats) -> float:
    """Of their mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))
