"""Energy: what is estimated, from a phone's own gauge or a meter, what the gauge is, and what is
planned."""

from __future__ import annotations

from typing import Literal, Union

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import (
    EnergyPlan,
)
from mobilekit.records.statistics import Interval, Origin

EnergySource = Literal["charge_counter", "current_now", "energy_counter", "power_rails"]
"""``current_now`` is current times voltage."""
Plane = Literal["usb", "battery", "rails"]
"""Where energy is metered: in the USB cable, which has the charger's losses in it; at the battery's
terminals; at the inputs of the parts that have a power rail. They are not the same quantity."""
IntervalKind = Literal["interval_95", "block_range"]
TermName = Literal[
    "blocks",
    "parts",
    "quantisation",
    "gain",
    "offset",
    "voltage",
    "edges",
    "gaps",
    "clock",
    "drift",
]


class UncertaintyTerm(Record, frozen=True):
    """One standard uncertainty of the budget of an energy, in joules per inference."""

    name: TermName
    gross_j: float
    marginal_j: float
    gross_freedom: float | None
    """Degrees of freedom that it was estimated with; ``None``: it was not estimated."""
    marginal_freedom: float | None
    note: str


class EnergyEstimate(Record, frozen=True):
    """Energy per inference over ``blocks`` idle-load-idle blocks, whatever metered it."""

    origin: Origin
    plane: Plane
    blocks: int
    iterations: int
    idle_w: float
    """Beside the loads: the marginal energy is that of ``load_w`` above it."""
    load_w: float
    seconds_per_inference: float
    gross_j: float
    gross_interval_j: Interval
    marginal_j: float
    marginal_interval_j: Interval
    interval_kind: IntervalKind
    """Of both intervals: below five blocks it is their range, which promises no 95 %."""
    budget: tuple[UncertaintyTerm, ...]
    drift_ratio: float
    """Slope of the idle power over the run, relative to the marginal power."""
    scatter_w: float
    """Standard deviation of a window's power beyond what the resolution explains."""


class RateEstimate(Record, frozen=True):
    """What an inference costs at one of a phone's rates, over the blocks that ran at it."""

    blocks: int
    seconds_per_inference: float
    gross_j: float
    gross_interval_j: Interval
    interval_kind: IntervalKind


class GaugeEstimate(EnergyEstimate, frozen=True):
    """Energy per inference from a phone's own gauge, over blocks without a plugged sample."""

    source: EnergySource
    spoiled_windows: int
    """Windows left out: plugged in, or without the idle or load window that completes a block."""
    gauge_steps: int
    """Distinct readings seen in the load windows, which carry the information."""
    gauge_charge_uah: float | None
    """Gross charge per inference as the gauge counts it, its gain not corrected; ``None`` where the
    source is not a charge."""
    gauge_voltage_mv: float | None
    """Mean voltage under load, where ``gauge_charge_uah`` is told."""
    burst: RateEstimate | None
    """Before the phone slowed down; ``None`` where it did not, or where blocks are too few."""
    sustained: RateEstimate | None
    """On the plateau after it slowed down; ``None`` as above."""


class ChargeEstimate(Record, frozen=True):
    """How many inferences one full charge buys, at gross energy per inference."""

    origin: Origin
    """The energy's: the battery's own is from its profile, or from its gauge."""
    plane: Plane
    """The energy's. On the USB plane the charger's losses are in it, and the count is too low."""
    method: Literal["coulombs", "energy"]
    """``coulombs``: learned full charge over charge per inference, both by the same gauge, so that
    its gain cancels."""
    battery_j: float
    battery_source: str
    battery_relative_uncertainty: float
    full_charge_uah: int | None
    """Learned by the gauge; ``None`` where it is not known."""
    inferences: float
    inferences_interval: Interval
    interval_kind: IntervalKind


class UploadEnergy(Record, frozen=True):
    """What sending a picture away costs a phone, to compare with working on it."""

    name: str
    energy_j: float
    source: str


class UploadComparison(Record, frozen=True):
    """How many inferences one upload pays for."""

    upload: UploadEnergy
    inferences: float
    inferences_interval: Interval


class LifeEstimate(Record, frozen=True):
    """How long one full charge lasts under a duty cycle."""

    every_s: float
    idle_w: float
    mean_w: float
    inference_share: float
    """Of the mean power."""
    inferences: float
    inferences_interval: Interval
    hours: float
    hours_interval: Interval


class Use(Record, frozen=True):
    """What a charge means in use."""

    days_at_one_a_minute: float
    """Of inferences alone, as if the phone did nothing in between."""
    days_interval: Interval
    uploads: tuple[UploadComparison, ...]


class GaugeEvidence(Record, frozen=True):
    """One observation that a verdict rests on."""

    name: str
    value: float | None
    unit: str
    text: str


class SourceVerdict(Record, frozen=True):
    """Whether a source of energy can be used on a device, and how good it would be."""

    source: EnergySource
    usable: bool
    reason: str
    expected_half_width: float | None
    """95 %, relative to the marginal energy, for the verdict's stated run, with gain and voltage;
    ``None`` where it is not usable, or only in longer runs."""


class GaugeVerdict(Record, frozen=True, tag_field="type", tag="verdict"):
    """What the calibration of a device's gauge found out.

    ``None`` for a figure means that the property is unsupported or did not tell it.
    """

    device: str
    """``DeviceInfo.gauge_key``."""
    run_id: str
    measured_at: str
    """ISO 8601, UTC."""
    source: EnergySource
    """The one to trust."""
    sources: tuple[SourceVerdict, ...]
    stated_blocks: int
    """The run that the expected errors are for ..."""
    stated_window_s: float
    """... and the length of its windows."""
    charge_step_uah: float | None
    charge_period_ms: float | None
    current_step_ua: float | None
    """After scaling."""
    current_period_ms: float | None
    current_scale: Literal[1, 1000]
    """What the current is multiplied with to be in microamperes."""
    current_sign: Literal[1, -1]
    """What it is multiplied with so that a discharge is negative."""
    charge_ratio: float | None
    """Integral of the scaled current over the charge counter's change; 1 is agreement."""
    energy_step_nwh: float | None
    energy_period_ms: float | None
    rails: int
    """How many power rails there are."""
    rail_age_ms: float | None
    """How old the power rails' readings are at most; ``None`` without rails."""
    idle_w: float
    load_w: float
    seconds_per_inference: float
    scatter_w: float
    evidence: tuple[GaugeEvidence, ...]
    overridden: tuple[Literal["current_scale", "current_sign", "source"], ...]
    """Which fields a person set against the evidence; what they were before stays in history."""


class GaugeRefusal(Record, frozen=True, tag_field="type", tag="refusal"):
    """A gauge's calibration whose evidence contradicts itself, or tells nothing."""

    device: str
    run_id: str
    measured_at: str
    reason: str
    contradictory: bool
    evidence: tuple[GaugeEvidence, ...]


GaugeOutcome = Union[GaugeVerdict, GaugeRefusal]


class GaugeGain(Record, frozen=True):
    """A device's gauge compared with an external meter."""

    device: str
    """``DeviceInfo.gauge_key``."""
    gain: float
    """What the gauge shows over what the meter shows: energies of the gauge are divided by it."""
    relative_uncertainty: float
    """Standard uncertainty of ``gain``, relative to it."""
    trace_sha256: str
    run_id: str
    measured_at: str
    """ISO 8601, UTC."""


class EnergyPilot(Record, frozen=True):
    """What a short run tells about the run to be planned."""

    idle_w: float
    load_w: float
    seconds_per_inference: float
    scatter_w: float
    """As in ``EnergyEstimate``."""


class PlannedEnergy(Record, frozen=True):
    """An energy phase and what is to be expected of it."""

    plan: EnergyPlan
    source: EnergySource
    target_error: float
    expected_half_width: float
    """95 %, relative to the marginal energy: resolution and scatter, which a longer run lessens."""
    expected_total_half_width: float
    """The same with the gauge's gain and voltage, which no length lessens."""
    expected_duration_ns: int
    expected_charge_fraction: float
    """Of the full battery."""
    battery_assumed: bool
    """Its capacity not being known, the battery is taken for a small one."""
    limit: str | None
    """Why the target is not reached, where it is not."""
