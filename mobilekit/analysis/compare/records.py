"""What a comparison holds: both sides, what differs between them, and every figure's ratio."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.records.energy import EnergyPlane, EnergySource
from mobilekit.records.finding import Finding
from mobilekit.records.network import Footprint
from mobilekit.records.profile import ProfiledBy
from mobilekit.records.statistics import Interval

Unit = Literal["ns", "bytes", "J", "inferences"]

UNITS: dict[str, Unit] = {
    "init": "ns",
    "latency": "ns",
    "artifact": "bytes",
    "load_pss": "bytes",
    "load_rss": "bytes",
    "inference_pss": "bytes",
    "inference_rss": "bytes",
    "peak_rss": "bytes",
    "available": "bytes",
    "energy_gross": "J",
    "energy_marginal": "J",
    "charge": "inferences",
    "energy_gross_simulated": "J",
    "energy_marginal_simulated": "J",
    "charge_simulated": "inferences",
}
"""Every figure that is compared, in the order in which they are shown. A simulated figure has a
name of its own, so that no ratio with a measured one comes about; PSS and RSS likewise."""


class Quantity(Record, frozen=True):
    value: float
    interval: Interval | None
    """``None`` for a single reading, and for fewer than ``MIN_COUNT_FOR_INTERVAL`` samples."""


class ComparedFigure(Record, frozen=True):
    """One figure of both measurements; ``None`` where one does not have it."""

    name: str
    """One of ``UNITS``."""
    unit: Unit
    device: Quantity | None
    against: Quantity | None
    ratio: Quantity | None
    """``device`` over ``against``; ``None`` where one is missing or not positive."""


class TypeShare(Record, frozen=True):
    """What one type of layer takes of an inference, by a trace."""

    p50_ns: float
    share: float
    """Of the sum of all operators, or of all segments."""


class ComparedType(Record, frozen=True):
    """One type of layer on both devices; ``None`` where one has none of it, or no profile."""

    type: str
    device: TypeShare | None
    against: TypeShare | None
    ratio: float | None
    """Of the times, ``device`` over ``against``; ``None`` where one is missing or the latter 0."""


class Difference(Record, frozen=True):
    """Something in which two runs are not alike."""

    id: str
    refuses: bool
    """Whether their figures must not be set side by side."""
    device: str
    against: str
    meaning: str


class ProfiledLayers(Record, frozen=True):
    """How the layers' times came about, and how they add up."""

    id: str
    """The measurement that they are of: the side's own, or a run by segments beside it."""
    by: ProfiledBy
    sum_ns: float
    plain_p50_ns: float
    """Of a whole inference in the same run, which the sum is set against."""
    difference: float


class Side(Record, frozen=True):
    """One of the two measurements, as far as a reader of the ratio needs it."""

    id: str
    started_at: str
    device: str
    virtual: bool
    engine: str | None
    """Its name and version; ``None`` for a run that did not get so far, as with ``threads``."""
    format: str
    abi: str
    threads: int | None
    energy_source: EnergySource | None
    energy_plane: EnergyPlane | None
    energy_blocks: int | None
    findings: tuple[str, ...]
    """The ids of the measurement's own."""
    profile: ProfiledLayers | None
    profile_refusal: str | None
    """Why there are no layer types, where they were asked for."""


class Network(Record, frozen=True):
    """What both run: the same, wherever they run it."""

    parameters: int
    macs: int
    weights_bytes: int


class Comparison(Record, frozen=True):
    model: str
    precision: str
    network: Network
    footprint: Footprint | None
    """What the network needs of memory, wherever it runs; ``None`` where neither's layers were
    measured."""
    device: Side
    against: Side
    differences: tuple[Difference, ...]
    """Those that refuse first."""
    findings: tuple[Finding, ...]
    figures: tuple[ComparedFigure, ...]
    """Empty where a difference refuses."""
    layer_types: tuple[ComparedType, ...]
    """The one that takes most first; empty where neither's layers were measured, and as
    ``figures``."""

    @property
    def refusals(self) -> tuple[Difference, ...]:
        return tuple(difference for difference in self.differences if difference.refuses)
