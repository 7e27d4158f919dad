"""The stored record of a run, and what is derived from it."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import (
    OutputCheck,
    RunFailure,
    RunRequest,
    RunSuccess,
    TensorFile,
)
from mobilekit.records.artifact import Artifact, Cut
from mobilekit.records.device import BatteryStatus, DeviceInfo, DeviceProfile, HostInfo
from mobilekit.records.energy import ChargeEstimate, GaugeEstimate, GaugeGain, GaugeVerdict
from mobilekit.records.finding import Finding
from mobilekit.records.prediction import EarlierPrediction
from mobilekit.records.profile import LayerTrace
from mobilekit.records.statistics import AccuracyAnswer, MemoryGrowth, Summary

FAR_FROM_MEDIAN = 0.1
"""Of a mean time from the median: from here on an energy is not that of the p50."""


class Answer(Record, frozen=True):
    """What a measurement says; ``None`` where its samples do not tell."""

    init: Summary | None
    """Of the cold loads."""
    latency: Summary | None
    warmup_iterations: int
    memory: MemoryGrowth | None
    energy: GaugeEstimate | None
    energy_p50_ratio: float | None
    """Mean time of the inferences that the energy is of, over the p50; ``None`` where one of the
    two is missing."""
    charge: ChargeEstimate | None
    accuracy: AccuracyAnswer | None
    """``None`` where the network was not evaluated."""

    @property
    def far_p50_ratio(self) -> float | None:
        """``energy_p50_ratio`` where the energy is of another inference than the p50."""
        ratio = self.energy_p50_ratio
        return None if ratio is None or abs(ratio - 1) < FAR_FROM_MEDIAN else ratio


class TimeSpent(Record, frozen=True):
    """Where a deploy's wall time went, in the order of its steps."""

    step: str
    duration_ns: int


class Examples(Record, frozen=True):
    """Labelled examples that a network is evaluated on."""

    directory: str
    labels: tuple[int, ...]
    """The index of each example's class."""
    inputs: TensorFile
    """All examples, stacked."""
    reference_outputs: TensorFile
    """Eager PyTorch's first output for each, stacked."""


class PredictedClasses(Record, frozen=True):
    """What a network said of each example."""

    classes: tuple[int, ...]
    """The class with the highest score."""
    label_ranks: tuple[int, ...]
    """How many classes scored higher than the right one: 0 where it was told rightly."""


class Classification(Record, frozen=True):
    """What came of the examples: on the device, and in eager PyTorch on this computer."""

    classes: int
    """How many the network tells apart."""
    device: PredictedClasses
    pytorch: PredictedClasses
    agreement: OutputCheck
    """All of the device's outputs against PyTorch's."""


Purpose = Literal["measure", "pilot", "calibrate", "profile", "evaluate", "partition"]
"""What a run is for: its network's cost; the planning of an energy run; to find out what the gauge
tells; each layer's time; the accuracy on examples; what programs of it over several backends take,
which are its segments then."""


class Measurement(Record, frozen=True):
    """The stored record of one run. Summaries and estimates are derived from it, never stored."""

    id: str
    purpose: Purpose
    started_at: str
    """ISO 8601, UTC."""
    artifact: Artifact
    """Where the run chose its method, the one that it was of."""
    candidates: tuple[Artifact, ...]
    """What it could choose from, in the order of ``request.choice``; none where it could not."""
    device: DeviceInfo
    profile: DeviceProfile | None
    """``None`` for this computer."""
    battery_before: BatteryStatus | None
    """``None`` for this computer."""
    airplane_mode: bool | None
    """Before the run; ``None`` where it is not told."""
    gauge: GaugeVerdict | None
    """What was known of the gauge at the time; ``None``: it was not calibrated."""
    gain: GaugeGain | None
    """What was known of its gain at the time; ``None``: it was not compared with a meter."""
    full_charge_uah: int | None
    """What the gauge has learned that its battery holds; ``None``: it does not tell."""
    energy_wanted: bool
    """Whether energy was asked for; where it could not be measured, ``request`` has no plan."""
    request: RunRequest
    result: RunSuccess | RunFailure
    host: HostInfo
    findings: tuple[Finding, ...]
    time_spent: tuple[TimeSpent, ...]
    layer_trace: LayerTrace | None
    """``None`` where no trace was asked for or none came about."""
    cut: Cut | None
    """What the run's segments are; ``None`` where none were asked for."""
    virtual: bool
    campaign: str | None
    """What it was measured for together with others; ``None``: for itself."""
    examples: Examples | None
    """``None`` where the network was not evaluated."""
    classification: Classification | None
    """``None`` where there are no examples, or the run did not get through them."""
    predicted: EarlierPrediction | None
    """Of this run's latency, before it; ``None`` where nothing told it."""


class Tag(Record, frozen=True):
    """A word that a person gave to a result, to find it by."""

    result_id: str
    tag: str


WhyWaiting = Literal[
    "not attached",
    "not on its phone",
    "running",
    "waiting",
    "left to itself",
    "followed by another mobilekit",
]
"""``not on its phone``: that is attached, and has nothing of it any more; ``waiting`` behind
another run of the same phone; ``left to itself`` by who watched it."""


class WaitingRun(Record, frozen=True):
    """A run that was started on a phone and could not be collected yet."""

    id: str
    started_at: str
    device: str
    why: WhyWaiting
    windows: int
    """How many the phone has told of, and how many there will be at least."""
    planned_windows: int
