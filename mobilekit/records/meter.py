"""Energy from an external meter: the trace, its windows, and what they tell."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.records.device import DeviceProfile
from mobilekit.records.energy import EnergyEstimate, GaugeGain

ReadingKind = Literal["shunt voltage", "current", "power"]
UNIT_OF_READING: dict[ReadingKind, str] = {"shunt voltage": "V", "current": "A", "power": "W"}
MeterSource = Literal["shunt", "monsoon", "ppk2", "joulescope", "meter"]
"""``meter``: any other that gives a current or a power."""
MeterWindowsFrom = Literal["steps", "synchronisation", "digital channel"]


class MeterWindow(Record, frozen=True):
    """One load window of a meter's trace, in seconds since the trace's first sample."""

    start_s: float
    end_s: float
    load_w: float
    idle_w: float
    """Mean of the idle windows on both sides."""
    iterations: float
    """A share of all, by its length, where only their sum is known."""


class ClockFit(Record, frozen=True):
    """How the phone's clock was fitted to the meter's: t_meter = a + b t_phone."""

    drift_ppm: float
    """b - 1; zero by assumption with one pattern."""
    drift_uncertainty_ppm: float
    edges: int
    """Of the patterns that were found in the trace."""
    patterns: int
    edge_uncertainty_s: float
    """Of a window's edge on the meter's clock, with what the drift leaves open."""
    correlation: float
    """Of the pattern that is found worst, at its place."""


class MeterEstimate(EnergyEstimate, frozen=True):
    """Energy per inference from an external meter. One plane's is never pooled with another's."""

    source: MeterSource
    windows_from: MeterWindowsFrom
    windows: tuple[MeterWindow, ...]
    clock: ClockFit | None
    """``None`` where the windows are not from the phone's own record."""


class MeterTrace(Record, frozen=True):
    """What a meter's file held."""

    file: str
    sha256: str
    format: str
    kind: ReadingKind
    """Of what was read."""
    reading: str
    """The same with the column that it is from, for people."""
    samples: int
    missing: int
    misplaced: int
    """Left out, since their time lies before that of an earlier sample."""
    duration_s: float
    period_s: float
    gaps: int
    gap_s: float
    bin_s: float
    """Resolution at which windows were looked for; energies do not depend on it."""
    offset: float
    """Taken from every reading, in volts, amperes or watts."""
    notes: tuple[str, ...]
    """What was assumed of the file, for people."""


class MeterResult(Record, frozen=True):
    """The stored record of an import. Its samples stay in their file, which may have millions."""

    id: str
    imported_at: str
    """ISO 8601, UTC."""
    trace: MeterTrace
    estimate: MeterEstimate
    model: str | None
    """Of the run that the trace is of; ``None`` where none was named."""
    run_id: str | None
    """The measurement of that run."""
    profile: DeviceProfile | None
    """Whose battery the inferences per charge are for; ``None`` where no device was named."""
    gain: GaugeGain | None
    """Of the phone's own gauge, in the same windows; ``None`` where it cannot be told."""
    gain_refusal: str | None
    """Why not, where a run was named."""
