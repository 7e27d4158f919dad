"""What is predicted of a network on a phone that is not here; never what was measured."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Format
from mobilekit.formats import FORMATS
from mobilekit.records.device import DeviceInfo
from mobilekit.records.network import ModelSpec, Precision
from mobilekit.records.statistics import Interval, Origin

WorkKind = Literal["pw", "c3s1", "conv", "group", "dw", "fc", "pool", "lrn", "elt", "none"]
"""What a layer does, as far as its time depends on it: ``pw`` a convolution of 1x1, ``c3s1`` of 3x3
and stride 1, ``conv`` any other dense one, ``group`` grouped, ``dw`` depthwise, ``fc`` a matrix
times one vector, ``elt`` moves or computes each element, ``none`` does nothing that takes time."""


class LayerWork(Record, frozen=True):
    """What one layer has to do for one inference."""

    name: str
    type: str
    """The word of whoever described the network: ``Convolution``."""
    kind: str
    """A ``WorkKind``; one that is none cannot be predicted."""
    macs: int
    weights: int
    """Numbers, not bytes."""
    input_elements: int
    output_elements: int
    kernel: int
    """The longer side of its window; 0 or 1 where it has none."""


class NetworkWork(Record, frozen=True):
    """A network's layers, whoever described them."""

    name: str
    layers: tuple[LayerWork, ...]


class KnownLatency(Record, frozen=True):
    """A network that was measured on the phone that is predicted, by the same engine."""

    network: str
    latency_ms: float


Population = Literal["phones", "virtual phones", "computers"]
"""What is measured of one tells nothing of another: a virtual phone computes as fast as the
computer that it runs on."""


class Setting(Record, frozen=True):
    """What runs a network on a phone."""

    format: Format
    """Which tells the engine."""
    precision: Precision

    @property
    def text(self) -> str:
        return f"{FORMATS[self.format].engine}, {self.precision}"


class EarlierPrediction(Record, frozen=True):
    """What was predicted of a run's median latency before it took place, in its own setting and
    with as many threads."""

    latency_ns: float
    low_ns: float
    high_ns: float
    """The ends of a 90 % interval."""
    known: int
    """How many other networks measured on this phone it was told from."""
    seen: bool
    """Whether this very network was measured before, on any phone."""
    threads: int
    widening: float
    """The factor on the shipped width of the interval that earlier predictions had asked for."""


class StoredLatency(Record, frozen=True):
    """What of a stored measurement tells the latencies of other networks."""

    measurement_id: str
    started_at: str
    """ISO 8601, UTC."""
    model: ModelSpec
    device: DeviceInfo
    format: Format
    threads: int
    p50_ns: float
    predicted: EarlierPrediction | None

    @property
    def setting(self) -> Setting:
        return Setting(format=self.format, precision=self.model.variant.precision)


class ScoredPrediction(Record, frozen=True):
    """A prediction, and what was measured after it."""

    measurement_id: str
    model: str
    device: str
    device_key: str
    population: Population
    setting: Setting
    threads: int
    predicted_ns: float
    low_ns: float
    high_ns: float
    known: int
    seen: bool
    widening: float
    measured_ns: float
    """The median of the run."""
    measured_origin: Origin
    origin: Origin = "predicted"
    """Of the other times."""


class Score(Record, frozen=True):
    """How far predictions were right that were told from as much."""

    population: Population
    known_least: int
    known_most: int | None
    """How many networks were known on the phone: from the one to the other; ``None``: or more."""
    predictions: int
    phones: int
    median_ape_percent: float
    coverage: float
    """The share of times that lay within their 90 % interval."""
    bias_percent: float
    """By how much the median prediction is too long."""
    widening: float
    """The factor on the shipped width of the intervals of the next such predictions."""


class CalibratedNetwork(Record, frozen=True):
    """A network that was measured because it tells much of others."""

    network: str
    measurement_id: str
    p50_ns: float | None
    """``None``: its run failed."""


class Told(Record, frozen=True):
    """How surely packaged networks are told on a phone."""

    networks: int
    """That are within what was fitted."""
    told: int
    median_factor: float | None
    """Of those that are told, the end of the 90 % interval over the prediction, in the median;
    ``None``: none is."""


class PredictionCalibration(Record, frozen=True):
    """What measuring a few networks on a phone brought."""

    device: str
    serial: str
    setting: Setting
    threads: int
    measured: tuple[CalibratedNetwork, ...]
    before: Told
    after: Told
    duration_s: float
    """Of the runs, exports included."""
    origin: Origin
    """Of what was measured: ``simulated`` on a virtual phone."""


class OwnRuns(Record, frozen=True):
    """One's own runs that a phone's latencies are told from."""

    setting: Setting
    networks_here: int
    """Measured on this phone in this setting with so many threads."""
    runs_elsewhere: int
    """Networks in other settings, with other threads or on other phones."""
    origin: Origin
    """Of these runs: ``simulated`` where the phone is virtual."""


class PastError(Record, frozen=True):
    """How far predictions of one kind were right on phones that were held back."""

    known: int
    """How many networks were known on the phone."""
    seen: bool
    """Whether the network itself was measured on other phones."""
    extrapolated: bool
    """Whether an ``Extrapolation`` told it."""
    predictions: int
    median_ape_percent: float
    p90_ape_percent: float
    coverage: float
    """The share of times that lay within their 90 % interval."""


class Extrapolation(Record, frozen=True):
    """One kind of work takes more of a network's time than of any that was fitted."""

    work: str
    """Of several the one that exceeds it most, in words: ``convolutions of 1x1``."""
    share: float
    """What part of the network's time on the reference phone it takes."""
    fitted_share: float
    """The most that it takes of any fitted network's."""
    widening: float
    """The factor on the interval's width, in logarithms, that nine in ten networks like this
    needed that were held back."""


class LatencyPrediction(Record, frozen=True):
    """The latency of one network; ``None`` in all three where it cannot be told."""

    network: str
    latency_ms: float | None
    """The median of what is expected."""
    low_ms: float | None
    high_ms: float | None
    """The ends of a 90 % interval."""
    known: int
    """How many networks measured on this phone it is told from; 0: from the chip alone."""
    seen: bool
    """Whether this very network was measured before, on any phone."""
    reasons: tuple[str, ...]
    """Why it cannot be told, and what to measure; empty where it is."""
    extrapolation: Extrapolation | None = None
    """``None``: it lies within what was fitted, or was measured before."""
    origin: Origin = "predicted"


class PredictedBytes(Record, frozen=True):
    """By how much a companion grows, over its memory with the program closed."""

    expected_bytes: int
    low_bytes: int
    high_bytes: int
    """The ends of a 90 % interval."""


class MemoryPrediction(Record, frozen=True):
    """The memory of one network as a program; ``None`` in all three where it cannot be told.

    Load and inference are of PSS, the peak of RSS.
    """

    format: Format
    precision: Precision
    load: PredictedBytes | None
    """Once it is loaded."""
    inference: PredictedBytes | None
    """After inferences."""
    peak: PredictedBytes | None
    """At the most, while it is loaded and run."""
    reasons: tuple[str, ...]
    """Why it cannot be told; empty where it is."""
    origin: Origin = "predicted"


class LayerPrediction(Record, frozen=True):
    """A layer, as an engine runs it, of a network whose latency can be told."""

    name: str
    kind: str
    """A ``WorkKind``."""
    share: float
    """Of the network's latency."""
    latency_ms: float
    """Without an interval of its own: it has the network's, and more that was not looked at."""


class EnergyPrediction(Record, frozen=True):
    """The energy of one inference of a network, where its latency and the phone's power can be
    told; its intervals are of 90 %."""

    gross_j: float
    """Of the whole phone, its display on."""
    gross_interval_j: Interval
    marginal_j: float
    """Above what the phone draws without the network."""
    marginal_interval_j: Interval


class ChargePrediction(Record, frozen=True):
    """How many inferences one full charge buys, at gross energy; the interval is of 90 %."""

    inferences: float
    inferences_interval: Interval


UntoldFigure = Literal["energy", "charge", "memory"]


class Untold(Record, frozen=True):
    """A figure besides the latency that cannot be told of a network, and why."""

    figure: UntoldFigure
    reason: str


FitFigure = Literal["latency", "memory", "energy", "marginal", "charge"]
"""``energy`` is gross, ``marginal`` is energy above what the phone draws anyway."""
FitVerdict = Literal["yes", "no", "unknown"]
"""``yes`` from a probability of 95 % on, ``no`` up to 5 %."""


class Criterion(Record, frozen=True):
    """What a figure has to be."""

    text: str
    """As somebody wrote it: ``latency<100ms``."""
    figure: FitFigure
    sign: Literal["<", "<=", ">", ">="]
    bound: float
    """In ms, bytes, J or inferences."""


class CriterionFit(Record, frozen=True):
    criterion: Criterion
    verdict: FitVerdict
    probability: float | None
    """``None``: the figure cannot be told."""
    reason: str | None
    """Why it cannot be."""


class Fit(Record, frozen=True):
    """Whether all criteria are kept at once."""

    verdict: FitVerdict
    probability: float | None
    """``None``: one of the figures cannot be told."""
    criteria: tuple[CriterionFit, ...]


class NetworkPrediction(LatencyPrediction, frozen=True, kw_only=True):
    """All that is predicted of one network on one phone."""

    device: str
    """As it was asked for: ``nexus7``, ``4xA76@2.4,4xA55@1.8``."""
    energy: EnergyPrediction | None
    charge: ChargePrediction | None
    untold: tuple[Untold, ...]
    """What of these, and of the memory, is ``None``."""
    memory: MemoryPrediction | None = None
    """As the program that the phone would get; as it was measured on a computer."""
    layers: tuple[LayerPrediction, ...] = ()
    """In the order in which they run; empty unless they were asked for and can be told."""
    fits: Fit | None = None
    """``None``: nothing was asked for."""


class KindPowers(Record, frozen=True):
    """What a phone draws during either kind of work, which make up a network's time."""

    arithmetic_gross_w: float
    arithmetic_marginal_w: float
    moving_gross_w: float
    """While it waits for numbers, rather than multiplying."""
    moving_marginal_w: float


class PhonePower(Record, frozen=True):
    """What a phone draws while it infers without a pause; its intervals are of 90 %."""

    gross_w: float
    gross_interval_w: Interval
    marginal_w: float
    """Above what it draws without inferring, its display on."""
    marginal_interval_w: Interval
    told_from: str
    """In words: what it was measured on, or how it is told from the chip."""
    by_kind: KindPowers | None = None
    """Where its own runs are told better so, by leaving one network out; else it is the same for
    all networks."""


class PhoneBattery(Record, frozen=True):
    energy_j: float
    """Of a full charge."""
    relative_uncertainty: float
    """A standard one."""
    source: str


class PredictedDevice(Record, frozen=True):
    """A phone that is predicted, as far as it is known."""

    device: str
    """As it was asked for."""
    chip: str
    """As described: ``4xA76@2.4,4xA55@1.8``; a few words where it is not known."""
    threads: int | None
    """``None``: nobody told, and the chip's cores are not known."""
    engine: str
    """Whose latencies these are: the engine, and the precision, that the model was fitted to, or
    that of the known latencies or of one's own runs."""
    power: PhonePower | None
    battery: PhoneBattery | None
    """``None``: nothing tells it, as for a chip without a phone."""
    own: OwnRuns | None = None
    """``None``: its latencies are told from the chip and what was measured elsewhere alone, or from
    known ones that were given."""


class Predictions(Record, frozen=True):
    """Networks on phones: each network on each phone, by phones and then by networks."""

    devices: tuple[PredictedDevice, ...]
    predictions: tuple[NetworkPrediction, ...]
    past_errors: tuple[PastError, ...]
    """How far latencies like these were right on phones held back."""
