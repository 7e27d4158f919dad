"""What a comparison holds: both sides, what differs between them, and every figure's ratio."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.records.energy import EnergySource, Plane
from mobilekit.records.finding import Finding
from mobilekit.records.network import Footprint
from mobilekit.records.profile import MISSES_BY, ProfiledBy
from mobilekit.records.statistics import Interval, Origin

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
}
"""Every figure that is compared, in the order in which they are shown. PSS and RSS have names of
their own, so that no ratio of them comes about."""


class Quantity(Record, frozen=True):
    value: float
    interval: Interval | None
    """``None`` for a single reading, and for fewer than ``MIN_COUNT_FOR_INTERVAL`` samples."""


class ComparedQuantity(Record, frozen=True):
    """One side's part in a figure."""

    quantity: Quantity | None
    """``None`` where the side does not have it, or where it is refused."""
    ratio: Quantity | None
    """Over the reference's; ``None`` where one is missing or not positive."""


class ComparedFigure(Record, frozen=True):
    """One figure of one origin: a measured and a simulated energy are two, and have no ratio."""

    name: str
    """One of ``UNITS``."""
    origin: Origin
    unit: Unit
    sides: tuple[ComparedQuantity, ...]
    """In the order of ``Comparison.sides``."""
    against: Quantity | None


class TypeShare(Record, frozen=True):
    """What one type of layer takes of an inference, by a trace or by segments."""

    p50_ns: float
    share: float
    """Of the sum of all operators, or of all segments."""
    share_in_doubt: bool
    """As in ``LayerCost``."""


class ComparedShare(Record, frozen=True):
    """One side's part in a type of layer."""

    taken: TypeShare | None
    """``None`` where the side has none of it, or no profile, or is refused."""
    ratio: float | None
    """Of the times, over the reference's; ``None`` where one is missing or the latter 0."""


class ComparedType(Record, frozen=True):
    """One type of layer on every side."""

    type: str
    sides: tuple[ComparedShare, ...]
    """In the order of ``Comparison.sides``."""
    against: TypeShare | None


class Difference(Record, frozen=True):
    """Something in which a side's run is not like the reference's."""

    id: str
    refuses: bool
    """Whether their figures must not be set side by side."""
    side: str
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

    @property
    def misses(self) -> bool:
        """As of a ``LayerProfile``."""
        return abs(self.difference) >= MISSES_BY


class Side(Record, frozen=True):
    """One of the measurements, as far as a reader of the ratio needs it."""

    id: str
    started_at: str
    device: str
    virtual: bool
    engine: str | None
    """Its name and version; ``None`` for a run that did not get so far, as with ``threads``."""
    format: str
    backend: str
    abi: str
    threads: int | None
    energy_origin: Origin | None
    energy_source: EnergySource | None
    energy_plane: Plane | None
    energy_blocks: int | None
    far_p50_ratio: float | None
    """As of an ``Answer``: the energies are of inferences that took so many times the p50."""
    findings: tuple[str, ...]
    """The ids of the measurement's own."""
    profile: ProfiledLayers | None
    profile_refusal: str | None
    """Why there are no layer types, where they were asked for."""
    differences: tuple[Difference, ...]
    """From the reference, those that refuse first; the reference has none."""

    @property
    def refusals(self) -> tuple[Difference, ...]:
        return tuple(difference for difference in self.differences if difference.refuses)


class Network(Record, frozen=True):
    """What all run: the same, wherever they run it."""

    parameters: int
    macs: int
    weights_bytes: int


class Comparison(Record, frozen=True):
    """Measurements of one network, each over one reference."""

    model: str
    """With ``precision`` and ``network``, the reference's."""
    precision: str
    network: Network
    footprint: Footprint | None
    """What the network needs of memory, wherever it runs; ``None`` where no side's layers were
    measured."""
    sides: tuple[Side, ...]
    against: Side
    """The reference."""
    findings: tuple[Finding, ...]
    figures: tuple[ComparedFigure, ...]
    """Empty where every side is refused."""
    layer_types: tuple[ComparedType, ...]
    """The one that takes most first; empty where no layers were measured, and as ``figures``."""

    @property
    def all_sides(self) -> tuple[Side, ...]:
        """The reference comes last."""
        return (*self.sides, self.against)
