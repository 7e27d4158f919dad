"""The records that flow through mobilekit, apart from the contract's messages (``protocol``)."""

from __future__ import annotations

from typing import Literal

from mobilekit.codec import Record
from mobilekit.protocol import (
    ArtifactFile,
    RunFailure,
    RunRequest,
    RunSuccess,
    TensorFile,
)

# --- model and artifact ------------------------------------------------------------------------


class ModelSpec(Record, frozen=True):
    """A network as its file declares it, read without running the file."""

    name: str
    path: str
    title: str
    source: str
    license: str
    input_shapes: tuple[tuple[int, ...], ...]
    input_dtypes: tuple[str, ...]
    weights_path: str | None
    """The weights that the file itself names, or those given by the user; ``None``: untrained."""
    content_sha256: str
    """Of the file, the local modules that it imports and the weights."""


class ModelCard(Record, frozen=True):
    """What a model's file says of it to people; ``None`` where it says nothing."""

    task: str | None
    input: str | None
    published_accuracy: str | None
    """Of whoever is named in it, with their weights; never measured here."""
    note: str | None


class ModelCost(Record, frozen=True):
    """Static counts of a network for one inference."""

    parameters: int
    macs: int
    """Multiply-accumulates of convolutions and matrix products only, as the literature counts."""


class Delegation(Record, frozen=True):
    """How much of a program runs in the backend's delegate and how much on portable kernels."""

    delegated_operators: int
    portable_operators: int
    delegated_macs: int
    total_macs: int
    portable_operator_counts: dict[str, int]
    """Name of each operator left on portable kernels, and how often it occurs."""

    @property
    def portable_text(self) -> str:
        """What is left on portable kernels, for people; empty where nothing is."""
        return ", ".join(
            f"{count} x {name}" for name, count in self.portable_operator_counts.items()
        )

    @property
    def operator_fraction(self) -> float:
        total = self.delegated_operators + self.portable_operators
        return self.delegated_operators / total if total else 0.0

    @property
    def mac_fraction(self) -> float:
        """1.0 for a network without MACs: none of them is left out."""
        return self.delegated_macs / self.total_macs if self.total_macs else 1.0


ExportFormat = Literal["pte", "onnx"]
"""What mobilekit exports to; ``protocol.Format`` is what a companion may run."""


class Artifact(Record, frozen=True):
    """An exported program's manifest; its files lie in ``directory`` under their content's hash."""

    model: ModelSpec
    cost: ModelCost
    file: ArtifactFile
    backend: str
    precision: str
    delegation: Delegation
    inputs: tuple[TensorFile, ...]
    reference_outputs: tuple[TensorFile, ...]
    """Eager PyTorch's outputs for ``inputs``."""
    relative_tolerance: float
    tool_versions: dict[str, str]
    export_ns: int

    @property
    def files(self) -> tuple[ArtifactFile | TensorFile, ...]:
        """Every file that a run needs; each name is its content's hash."""
        return (self.file, *self.inputs, *self.reference_outputs)


# --- device ------------------------------------------------------------------------------------


class ProfileMatch(Record, frozen=True):
    """Which phones a profile is for: any of these values of ``ro.product.device``."""

    devices: tuple[str, ...]


class ProfileHardware(Record, frozen=True):
    soc: str
    cpu: str
    cores: int | None
    max_cpu_khz: int | None
    ram_bytes: int
    abi: str


class ProfileBattery(Record, frozen=True):
    capacity_uah: int
    energy_j: float


class ProfileGauge(Record, frozen=True):
    """The fuel gauge's resolution; assumed where ``sources`` says so, until it is measured."""

    charge_step_uah: int
    current_step_ua: int
    update_period_ms: int


class ProfilePower(Record, frozen=True):
    """The whole phone's power, for planning and for the virtual phone; never a result."""

    idle_mw: float
    active_mw: float


class DeviceProfile(Record, frozen=True):
    """What is known of a kind of phone. ``sources`` maps each figure (``battery.energy_j``) to
    where it comes from."""

    name: str
    title: str
    match: ProfileMatch
    android_release: str
    android_sdk: int
    hardware: ProfileHardware
    battery: ProfileBattery
    gauge: ProfileGauge
    power: ProfilePower
    sources: dict[str, str]


class AttachedDevice(Record, frozen=True):
    """A line of ``adb devices``."""

    serial: str
    state: str
    """adb's word: ``device``, ``unauthorized``, ``offline``, ..."""


class BatteryStatus(Record, frozen=True):
    """The phone's ``dumpsys battery``; ``None`` where a phone leaves the line out."""

    level_percent: int | None
    plugged: bool
    charging: bool
    charge_counter_uah: int | None
    voltage_mv: int | None
    temperature_decicelsius: int | None
    technology: str | None


class DeviceInfo(Record, frozen=True):
    """A device as it was found."""

    serial: str
    """By which adb addresses it; another one over Wi-Fi."""
    hardware_serial: str
    """``ro.serialno``; empty where it is not told."""
    name: str
    """The profile's name, or ``pc``, or a name made of the phone's own properties."""
    manufacturer: str
    model: str
    device: str
    android_release: str
    android_sdk: int
    abi: str
    soc: str
    ram_bytes: int | None
    virtual: bool
    link: Literal["usb", "network", "none"]

    @property
    def key(self) -> str:
        """What stays the same however the device is attached."""
        return f"virtual:{self.name}" if self.virtual else self.hardware_serial or self.serial


class ListedDevice(Record, frozen=True):
    """A line of ``mobilekit devices``; nothing is known of a phone that is not ready."""

    attached: AttachedDevice
    info: DeviceInfo | None
    battery: BatteryStatus | None


class HostInfo(Record, frozen=True):
    """The computer that mobilekit ran on."""

    platform: str
    cpu: str
    cores: int
    python_version: str
    mobilekit_version: str


# --- what is concluded -------------------------------------------------------------------------

Severity = Literal["info", "warning", "error"]


class Finding(Record, frozen=True):
    """A doubt about a measurement. An ``error`` means that a figure must not be used."""

    id: str
    severity: Severity
    summary: str
    advice: str


class Interval(Record, frozen=True):
    """A 95 % interval."""

    low: float
    high: float


class Summary(Record, frozen=True):
    """Durations in nanoseconds over ``count`` samples."""

    count: int
    p50_ns: float
    p50_interval_ns: Interval
    """Bootstrap interval of the median."""
    p90_ns: float
    p99_ns: float
    mad_ns: float
    min_ns: int
    max_ns: int


EnergySource = Literal["charge_counter", "current_now"]


class UncertaintyTerm(Record, frozen=True):
    """One standard uncertainty of the budget of an energy, in joules per inference."""

    name: str
    gross_j: float
    marginal_j: float
    note: str


class EnergyEstimate(Record, frozen=True):
    """Energy per inference from a fuel gauge over ``blocks`` idle-load-idle blocks."""

    source: EnergySource
    blocks: int
    gauge_steps: int
    """Distinct readings seen in the load windows, which carry the information."""
    iterations: int
    idle_w: float
    load_w: float
    gross_j: float
    gross_interval_j: Interval
    marginal_j: float
    marginal_interval_j: Interval
    budget: tuple[UncertaintyTerm, ...]
    drift_ratio: float
    """Slope of the idle power over the run, relative to the marginal power."""


class ChargeEstimate(Record, frozen=True):
    """How many inferences one full charge buys, at gross energy per inference."""

    battery_j: float
    battery_source: str
    battery_relative_uncertainty: float
    inferences: float
    inferences_interval: Interval


class MemoryGrowth(Record, frozen=True):
    """How much the companion grew over its memory with the program closed."""

    measure: Literal["PSS", "RSS"]
    load_bytes: int
    inference_bytes: int
    peak_rss_bytes: int | None
    """Peak of RSS during load and inference over RSS before; ``None`` where not told."""


class Answer(Record, frozen=True):
    """What a measurement says; ``None`` where its samples do not tell."""

    init: Summary | None
    """Of the cold loads."""
    latency: Summary | None
    warmup_iterations: int
    memory: MemoryGrowth | None
    energy: EnergyEstimate | None
    charge: ChargeEstimate | None
    energy_simulated: EnergyEstimate | None
    """In place of ``energy`` on a virtual phone."""
    charge_simulated: ChargeEstimate | None


# --- measurement -------------------------------------------------------------------------------


class TimeSpent(Record, frozen=True):
    """Where a deploy's wall time went, in the order of its steps."""

    step: str
    duration_ns: int


class Measurement(Record, frozen=True):
    """The stored record of one run. Summaries and estimates are derived from it, never stored."""

    id: str
    started_at: str
    """ISO 8601, UTC."""
    artifact: Artifact
    device: DeviceInfo
    profile: DeviceProfile | None
    """``None`` for this computer."""
    battery_before: BatteryStatus | None
    """``None`` for this computer."""
    airplane_mode: bool | None
    """Before the run; ``None`` where it is not told."""
    request: RunRequest
    result: RunSuccess | RunFailure
    host: HostInfo
    findings: tuple[Finding, ...]
    time_spent: tuple[TimeSpent, ...]
    virtual: bool


class WaitingRun(Record, frozen=True):
    """A run that was started on a phone and could not be collected yet."""

    id: str
    started_at: str
    device: str
    why: Literal["not attached", "running", "followed by another mobilekit"]
    windows: int
    """How many the phone has told of, and how many there will be at least."""
    planned_windows: int
