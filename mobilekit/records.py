"""The records that flow through mobilekit, apart from the contract's messages (``protocol``)."""

from __future__ import annotations

from typing import Literal, Union

from mobilekit.codec import Record
from mobilekit.protocol import (
    ArtifactFile,
    EnergyPlan,
    OutputCheck,
    RunFailure,
    RunRequest,
    RunSuccess,
    TensorFile,
)

# --- model and artifact ------------------------------------------------------------------------


Activation = Literal["relu", "tanh", "sigmoid"]


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
    activation: Activation | None
    """What takes the place of every activation in the file; ``None``: it is left as it is."""
    content_sha256: str
    """Of the file, the local modules that it imports, the weights and ``activation``."""


class ModelCard(Record, frozen=True):
    """What a model's file says of it to people; ``None`` where it says nothing."""

    task: str | None
    input: str | None
    published_accuracy: str | None
    """Of whoever is named in it, with their weights; never measured here."""
    measured_accuracy: str | None
    """What the file's own weights reach, on which data."""
    note: str | None


class ModelCost(Record, frozen=True):
    """Static counts of a network for one inference."""

    parameters: int
    macs: int
    """Multiply-accumulates of convolutions and matrix products only, as the literature counts."""


LayerType = Literal[
    "convolution",
    "feed-forward",
    "pooling",
    "normalization",
    "non-linear",
    "softmax",
    "dropout",
    "concatenation",
    "addition",
    "multiplication",
    "attention",
    "recurrent",
    "embedding",
    "reshape",
    "other",
]
"""Lane et al. 2015's words where they have one; ``reshape`` moves elements and computes nothing."""


class LayerSpec(Record, frozen=True):
    """One layer: one call of a module of ``torch.nn``, or one operation between modules."""

    name: str
    """The module's path, ``features.0``; of an operation, the path and what it is, ``3.cat``."""
    type: LayerType
    output_shapes: tuple[tuple[int, ...], ...]
    """Of each tensor that another layer or the caller reads."""
    parameters: int
    """Trained numbers; those that several layers share are the first one's."""
    macs: int
    weights_bytes: int
    """Parameters and buffers that it reads, counted like ``parameters``."""
    input_bytes: int
    """Activations that it reads, each once."""
    output_bytes: int
    """Activations that it yields."""
    in_place: bool
    """Whether its output is its input's memory: a view; dropout, which rests at inference; what the
    network itself writes over its input (``inplace=True``, ``+=``)."""
    reads: tuple[str, ...]
    """The layers whose outputs it reads."""

    @property
    def alone_bytes(self) -> int:
        """What running this layer alone needs: its weights, its input and its output."""
        return self.weights_bytes + self.input_bytes + (0 if self.in_place else self.output_bytes)

    @property
    def macs_per_byte(self) -> float:
        """Arithmetic intensity: MACs (not FLOPs) for each byte read or written once."""
        return self.macs / self.alone_bytes if self.alone_bytes else 0.0


class Description(Record, frozen=True):
    """A network's layers in the order in which they run, and its totals."""

    cost: ModelCost
    layers: tuple[LayerSpec, ...]
    unused_parameters: int
    """Of ``cost.parameters``, those that no layer of the inference reads."""
    input_bytes: int
    peak_activation_bytes: int
    """The largest sum, over the layers, of tensors that are alive while one runs: those that it
    reads, those that it writes, and those that a later layer still reads. Scratch memory inside
    a kernel is not in it, and no layer but one ``in_place`` writes over its input."""
    peak_layer: str
    """Where that is."""


class Footprint(Record, frozen=True):
    """How much memory a network needs; derived from a ``Description``."""

    weights_bytes: int
    whole_bytes: int
    """With everything held at once: weights, the input and every layer's output."""
    planned_bytes: int
    """Weights, and of the activations only what is alive together (``peak_activation_bytes``)."""
    alone_bytes: int
    """The most that one layer needs if the network is run one layer at a time: that layer's
    weights, input and output."""
    alone_layer: str
    heaviest: tuple[str, ...]
    """The fewest layers that together need ``FOOTPRINT_SHARE`` of ``whole_bytes``, heaviest first;
    what two of them share counts once."""
    heaviest_share: float
    """What they need, relative to ``whole_bytes``."""


class ProgramOperator(Record, frozen=True):
    """One operator of an exported program, in the program's order, and the layer that it is of."""

    part: int | None
    """Of an ExecuTorch program, which of its calls, counted from 0, of kernels and delegates runs
    it; ``None`` in ONNX."""
    delegated: bool
    name: str
    """In ONNX the node's own; elsewhere empty."""
    kind: str
    """``aten.convolution``, or ONNX's ``Conv``."""
    inputs: tuple[str, ...]
    """In ONNX, the values that it reads; elsewhere empty."""
    outputs: tuple[str, ...]
    """In ONNX, the values that it yields; elsewhere empty."""
    layer: str | None
    """``None`` where the export lost track of it."""


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


Precision = Literal["fp32", "fp16", "int8"]

LARGEST_ERRORS: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.3, "int8": 0.9}
"""Of a program's outputs, relative to the largest absolute output of eager PyTorch in float32.

fp32: kernels add the same products in another order, which moved the outputs of the networks of
``models`` by less than 5e-5: twenty times that leaves room for deeper networks and other
processors. Leaving a single ReLU or normalization out of one of them moved the outputs by 1.3e-3
at least, so that this still notices it.

fp16, int8: what is lost depends on the network. Of an untrained MobileNet v2, whose many thin
layers amplify any error, int8 leaves 0.6 and fp16 0.06, where Deep KWS has 0.01 and 0.0007. Beyond
these bounds nothing is left: outputs that are all zero have an error of 1.
"""


class Calibration(Record, frozen=True):
    """The examples that an int8 program's activation ranges are from."""

    path: str | None
    """As it was given; ``None``: generated inputs, which resemble nothing."""
    examples: int


ExportFormat = Literal["pte", "onnx", "tflite"]
"""What mobilekit exports to; ``protocol.Format`` is what a companion may run."""


class Artifact(Record, frozen=True):
    """An exported program's manifest; its files lie in ``directory`` under their content's hash."""

    model: ModelSpec
    cost: ModelCost
    file: ArtifactFile
    backend: str
    precision: Precision
    calibration: Calibration | None
    """``None`` where nothing is quantized."""
    delegation: Delegation
    inputs: tuple[TensorFile, ...]
    reference_outputs: tuple[TensorFile, ...]
    """Eager PyTorch's outputs for ``inputs``."""
    relative_tolerance: float
    relative_error: float
    """Of the outputs on the computer that exported it; as in ``protocol.OutputCheck``."""
    tool_versions: dict[str, str]
    export_ns: int

    @property
    def files(self) -> tuple[ArtifactFile | TensorFile, ...]:
        """Every file that a run needs; each name is its content's hash."""
        return (self.file, *self.inputs, *self.reference_outputs)


class SegmentArtifact(Record, frozen=True):
    """A part of a network, exported by itself with the values that flow into it in the whole."""

    layers: tuple[str, ...]
    """What it computes: the layer that does the work first, then those computed inside it; none
    for ``Cut.call``."""
    file: ArtifactFile
    inputs: tuple[TensorFile, ...]
    relative_error: float
    """Of its outputs on the computer that exported it, against eager PyTorch's."""

    @property
    def files(self) -> tuple[ArtifactFile | TensorFile, ...]:
        return (self.file, *self.inputs)


class Cut(Record, frozen=True):
    """A network in segments, in an order in which they could run."""

    description: Description
    segments: tuple[SegmentArtifact, ...]
    call: SegmentArtifact
    """One operator on one number, whose time is that of a call of the engine."""

    @property
    def programs(self) -> tuple[SegmentArtifact, ...]:
        """What is run, in this order: the segments, then the call."""
        return (*self.segments, self.call)

    @property
    def files(self) -> tuple[ArtifactFile | TensorFile, ...]:
        """Every file that a run of all programs needs, once."""
        return tuple({file.path: file for each in self.programs for file in each.files}.values())


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
    uploads: tuple[UploadEnergy, ...] = ()
    """In place of the published ones, to compare an inference with."""


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
    """``ro.serialno``; empty where it is not told, or is not this phone's alone."""
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
    available_bytes: int | None
    """Memory that could be had without swapping when the device was found."""
    virtual: bool
    link: Literal["usb", "network", "none"]

    @property
    def key(self) -> str:
        """What stays the same however the device is attached."""
        return f"virtual:{self.name}" if self.virtual else self.hardware_serial or self.serial

    @property
    def gauge_key(self) -> str:
        """Whose fuel gauge it is: a virtual phone has another one with each ``--gauge``, which its
        serial number tells."""
        if not self.virtual or not self.hardware_serial:
            return self.key
        return f"virtual:{self.hardware_serial.removeprefix('virtual-')}"


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


EnergySource = Literal["charge_counter", "current_now", "energy_counter", "power_rails"]
"""``current_now`` is current times voltage."""
EnergyPlane = Literal["battery", "rails"]
"""Where energy is metered: at the battery's terminals, or at the inputs of the parts that have a
power rail. The two are not the same quantity."""
IntervalKind = Literal["interval_95", "block_range"]


class UncertaintyTerm(Record, frozen=True):
    """One standard uncertainty of the budget of an energy, in joules per inference."""

    name: Literal["blocks", "quantisation", "gain", "voltage", "drift"]
    gross_j: float
    marginal_j: float
    gross_freedom: float | None
    """Degrees of freedom that it was estimated with; ``None``: it was not estimated."""
    marginal_freedom: float | None
    note: str


class RateEstimate(Record, frozen=True):
    """What an inference costs at one of a phone's rates, over the blocks that ran at it."""

    blocks: int
    seconds_per_inference: float
    gross_j: float
    gross_interval_j: Interval
    interval_kind: IntervalKind


class EnergyEstimate(Record, frozen=True):
    """Energy per inference over ``blocks`` idle-load-idle blocks without a plugged sample."""

    source: EnergySource
    plane: EnergyPlane
    blocks: int
    spoiled_windows: int
    """Windows left out: plugged in, or without the idle or load window that completes a block."""
    gauge_steps: int
    """Distinct readings seen in the load windows, which carry the information."""
    iterations: int
    idle_w: float
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
    """Standard deviation of a window's power beyond what the gauge's resolution explains."""
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


# --- a gauge's character -----------------------------------------------------------------------


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
    """What a calibration run found out about a device's gauge.

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
    """A calibration run whose evidence contradicts itself, or from which nothing can be told."""

    device: str
    run_id: str
    measured_at: str
    reason: str
    contradictory: bool
    evidence: tuple[GaugeEvidence, ...]


GaugeFound = Union[GaugeVerdict, GaugeRefusal]


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
    limit: str | None
    """Why the target is not reached, where it is not."""


Plane = Literal["usb", "battery"]
"""Where an external meter sits. In the USB cable it sees the charger's losses too."""
MeterSource = Literal["shunt", "monsoon", "ppk2", "joulescope", "meter"]
"""``meter``: any other that gives a current or a power."""
MeterWindowsFrom = Literal["steps", "synchronisation", "digital channel"]


MeterTerm = Literal["windows", "gain", "offset", "voltage", "edges", "gaps", "clock"]


class MeterWindow(Record, frozen=True):
    """One load window of a meter's trace, in seconds since the trace's first sample."""

    start_s: float
    end_s: float
    load_w: float
    idle_w: float
    """Mean of the idle windows on both sides."""
    iterations: float
    """A share of all, by its length, where only their sum is known."""


class MeterUncertainty(Record, frozen=True):
    """One standard uncertainty of the budget of a meter's energy, in joules per inference."""

    name: MeterTerm
    gross_j: float
    marginal_j: float
    note: str


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


class MeterEstimate(Record, frozen=True):
    """Energy per inference from an external meter. One plane's is never pooled with another's."""

    source: MeterSource
    plane: Plane
    windows_from: MeterWindowsFrom
    windows: tuple[MeterWindow, ...]
    iterations: int
    load_s: float
    idle_w: float
    load_w: float
    gross_j: float
    gross_interval_j: Interval
    marginal_j: float
    marginal_interval_j: Interval
    budget: tuple[MeterUncertainty, ...]
    clock: ClockFit | None
    """``None`` where the windows are not from the phone's own record."""


class MeterTrace(Record, frozen=True):
    """What a meter's file held."""

    file: str
    sha256: str
    format: str
    reading: str
    """What was read: ``shunt voltage``, ``current`` or ``power``, and from which column."""
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


class MeterCharge(Record, frozen=True):
    """How many inferences one full charge buys, at a meter's gross energy per inference."""

    plane: Plane
    """On the USB plane the charger's losses are in the energy, and so the count is too low."""
    device: str
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


class Proportion(Record, frozen=True):
    """``count`` of all examples, with its 95 % interval by Wilson."""

    count: int
    share: float
    interval: Interval


class Accuracy(Record, frozen=True):
    """How often the right class has the highest score, or is among the five highest."""

    top1: Proportion
    top5: Proportion | None
    """``None`` for a network of fewer than ten classes."""


class AccuracyAnswer(Record, frozen=True):
    """The accuracy on labelled examples, on the device and in eager PyTorch on this computer."""

    examples: int
    device: Accuracy
    pytorch: Accuracy
    same_class: int
    """For how many examples the two told the same class."""


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
    accuracy: AccuracyAnswer | None
    """``None`` where the network was not evaluated."""


ProfiledBy = Literal["trace", "segments"]
"""``trace``: the engine recorded its operators; ``segments``: the network was cut, and each segment
ran by itself."""


class LayerCost(Record, frozen=True):
    """What one layer took; derived from a ``LayerTrace`` or from the segments of a ``Cut``."""

    layer: LayerSpec
    operators: tuple[str, ...]
    """The engine's operators that ran it; none are known by segments."""
    p50_ns: float | None
    """Median over the iterations of its operators' sum, or of its segment; ``None`` where it has
    none of its own."""
    share: float | None
    """Of the sum of all operators' or segments' medians."""
    fate: Literal["measured", "folded", "idle", "unresolved"]
    """``folded``: computed inside another layer's operator or segment; ``idle``: there is
    nothing to compute; ``unresolved``: which of the engine's operators are its own cannot be told.
    """
    folded_into: tuple[str, ...]
    """Where it was folded: one of these layers."""

    @property
    def macs_per_s(self) -> float | None:
        return self.layer.macs * 1e9 / self.p50_ns if self.layer.macs and self.p50_ns else None


class TypeCost(Record, frozen=True):
    """What all layers of one type took."""

    type: str
    """A ``LayerType``; ``layout change`` or ``precision change`` for what the engine inserted;
    ``convolution or feed-forward`` for a product whose layer is not known."""
    p50_ns: float
    share: float
    measured_layers: int
    layers: int
    macs: int


class LayerProfile(Record, frozen=True):
    """Where an inference's time goes; derived from a ``LayerTrace`` or from segments."""

    by: ProfiledBy
    iterations: int
    layers: tuple[LayerCost, ...]
    types: tuple[TypeCost, ...]
    """The most expensive first."""
    operators_ns: float
    """The sum of all operators' medians, or of all segments' less the call that each makes: these
    still pay for reordering what they read and yield."""
    outside_ns: float
    """By a trace, median of one inference less its operators: the call, what the engine does
    between them, and what tracing costs. By segments, median of a call."""
    traced_p50_ns: float | None
    """Of one inference with tracing on, as the companion timed it; ``None`` by segments."""
    plain_p50_ns: float
    """Of one inference without tracing, in the same run."""
    fastest_difference: float
    """The fastest traced inference, or the same sum of each segment's fastest, against the fastest
    plain one, relative to the latter: what is left of ``difference`` where other work on the device
    disturbed the medians."""
    problems: tuple[str, ...]
    """Which operators could not be resolved to layers, and why."""

    @property
    def sum_ns(self) -> float:
        return self.operators_ns + self.outside_ns

    @property
    def difference(self) -> float:
        """The sum against the plain inference, relative to the latter."""
        return self.sum_ns / self.plain_p50_ns - 1

    @property
    def overhead(self) -> float | None:
        """What tracing costs, relative to the plain inference."""
        return None if self.traced_p50_ns is None else self.traced_p50_ns / self.plain_p50_ns - 1


class ActivationCost(Record, frozen=True):
    """What the non-linear layers of a network cost with one activation; derived."""

    activation: Activation
    measurement_id: str
    layers: int
    folded_layers: int
    """Computed inside other operators, where nothing tells what they cost."""
    p50_ns: float | None
    """Of all measured non-linear layers; ``None`` where none has an operator of its own."""
    resolution_ns: int
    """What the engine's clock can hide: a step of it for each operator; 0 by segments, which the
    companion times."""
    share: float | None
    """Of all operators' or segments' time."""
    latency: Summary
    """Of the whole inference, without tracing."""


# --- measurement -------------------------------------------------------------------------------


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


class Predictions(Record, frozen=True):
    """What a network said of each example."""

    classes: tuple[int, ...]
    """The class with the highest score."""
    label_ranks: tuple[int, ...]
    """How many classes scored higher than the right one: 0 where it was told rightly."""


class Classification(Record, frozen=True):
    """What came of the examples: on the device, and in eager PyTorch on this computer."""

    classes: int
    """How many the network tells apart."""
    device: Predictions
    pytorch: Predictions
    agreement: OutputCheck
    """All of the device's outputs against PyTorch's."""


class OperatorTime(Record, frozen=True):
    """When something ran in each traced iteration, as the engine recorded it."""

    role: Literal["operator", "part", "program"]
    """A ``part`` is a call of a kernel or delegate as the program sees it, around its operators;
    ``program`` is the whole inference."""
    part: int | None
    """As in ``ProgramOperator``."""
    name: str
    kind: str
    started_ns: tuple[int, ...]
    """Since the inference's own start."""
    duration_ns: tuple[int, ...]


class LayerTrace(Record, frozen=True):
    """All that a profile is derived from besides the run's own samples."""

    description: Description
    program: tuple[ProgramOperator, ...]
    operators: tuple[OperatorTime, ...]


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
    gauge: GaugeVerdict | None
    """What was known of the gauge at the time; ``None``: it was not calibrated."""
    gain: GaugeGain | None
    """What was known of its gain at the time; ``None``: it was not compared with a meter."""
    full_charge_uah: int | None
    """What the gauge has learned that its battery holds; ``None``: it does not tell."""
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
    examples: Examples | None
    """``None`` where the network was not evaluated."""
    classification: Classification | None
    """``None`` where there are no examples, or the run did not get through them."""


WhyWaiting = Literal[
    "not attached", "running", "waiting", "left to itself", "followed by another mobilekit"
]
"""``waiting`` behind another run of the same phone; ``left to itself`` by who watched it."""


class WaitingRun(Record, frozen=True):
    """A run that was started on a phone and could not be collected yet."""

    id: str
    started_at: str
    device: str
    why: WhyWaiting
    windows: int
    """How many the phone has told of, and how many there will be at least."""
    planned_windows: int
