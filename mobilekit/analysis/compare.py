"""Two measurements of one network side by side: what differs, and every figure's ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.layers.footprint import weigh
from mobilekit.analysis.layers.profile import profile_of
from mobilekit.analysis.memory import weight_bytes
from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import RunRequest, RunSuccess, TensorFile
from mobilekit.presets import PRESETS, WARMUP
from mobilekit.records.energy import ChargeEstimate, EnergyEstimate, EnergyPlane, EnergySource
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Description, Footprint
from mobilekit.records.profile import LayerProfile, ProfiledBy
from mobilekit.records.statistics import Interval, MemoryGrowth, Summary

MIN_COUNT_FOR_INTERVAL = 5
"""Two extremes of n samples hold the median with a probability of 1 - 2^(1 - n): 94 % for five of
them, 87.5 % for four, so that fewer can give no 95 % interval, whatever is computed."""

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


def compare(
    device: Measurement,
    against: Measurement,
    layers: tuple[Measurement, Measurement] | None = None,
) -> Comparison:
    """``device``'s figures over ``against``'s, unless the runs are unlike.

    The types of layers are those of ``layers``, runs beside the two, where these are given.
    """
    profiles = _profile(layers[0] if layers else device), _profile(layers[1] if layers else against)
    differences = tuple(
        sorted(
            (*_find_differences(device, against), *_way_difference(*profiles)),
            key=lambda item: not item.refuses,
        )
    )
    refused = any(difference.refuses for difference in differences)
    artifact = device.artifact
    return Comparison(
        model=artifact.model.name,
        precision=artifact.precision,
        network=Network(
            parameters=artifact.cost.parameters,
            macs=artifact.cost.macs,
            weights_bytes=weight_bytes(artifact),
        ),
        footprint=next((weigh(each.description) for each in profiles if each is not None), None),
        device=_side(device, profiles[0]),
        against=_side(against, profiles[1]),
        differences=differences,
        findings=() if refused else _find_doubts(device, against),
        figures=() if refused else tuple(_compare_figures(device, against)),
        layer_types=() if refused else tuple(_compare_types(*profiles)),
    )


def ratio_of(first: Quantity | None, second: Quantity | None) -> Quantity | None:
    """``first`` over ``second`` with a 95 % interval; ``None`` unless both are positive.

    The interval recovers each logarithm's variance from its own interval's limits (MOVER: Zou and
    Donner, "Construction of confidence limits about effect measures: a general approach",
    Statistics in Medicine 27, 2008): for r = a / b, log r lies down to
    sqrt(log(a / a_low)^2 + log(b_high / b)^2) below its estimate, and up likewise. Both must be
    independent, and have an interval of positive limits; else there is none of the ratio.
    """
    if first is None or second is None or min(first.value, second.value) <= 0:
        return None
    value = first.value / second.value
    one, other = first.interval, second.interval
    if one is None or other is None or min(one.low, other.low) <= 0:
        return Quantity(value=value, interval=None)
    down = math.hypot(math.log(first.value / one.low), math.log(other.high / second.value))
    up = math.hypot(math.log(one.high / first.value), math.log(second.value / other.low))
    return Quantity(
        value=value,
        interval=Interval(low=value * math.exp(-down), high=value * math.exp(up)),
    )


# --- figures -----------------------------------------------------------------------------------


def _compare_figures(device: Measurement, against: Measurement) -> Iterator[ComparedFigure]:
    first, second = _figures(device), _figures(against)
    for name, unit in UNITS.items():
        if name in first or name in second:
            yield ComparedFigure(
                name=name,
                unit=unit,
                device=first.get(name),
                against=second.get(name),
                ratio=ratio_of(first.get(name), second.get(name)),
            )


class _Profile(NamedTuple):
    """A measurement's layers."""

    id: str
    description: Description
    layers: LayerProfile


def _profile(measurement: Measurement) -> _Profile | None:
    """``None`` where the layers were not measured, all of them."""
    known = measurement.layer_trace or measurement.cut
    if known is None or not isinstance(measurement.result, RunSuccess):
        return None
    return _Profile(measurement.id, known.description, profile_of(measurement))


def _compare_types(device: _Profile | None, against: _Profile | None) -> Iterator[ComparedType]:
    first, second = _type_shares(device), _type_shares(against)
    shares = [(each.share, name) for side in (first, second) for name, each in side.items()]
    for name in dict.fromkeys(name for _, name in sorted(shares, reverse=True)):
        one, other = first.get(name), second.get(name)
        yield ComparedType(
            type=name,
            device=one,
            against=other,
            ratio=one.p50_ns / other.p50_ns if one and other and other.p50_ns else None,
        )


def _type_shares(profile: _Profile | None) -> dict[str, TypeShare]:
    """Of the types that take any time; empty where the layers were not measured.

    By segments no time is a time too, below chance; by a trace it is one below the engine's clock.
    """
    if profile is None:
        return {}
    is_fine = profile.layers.by == "segments"
    return {
        cost.type: TypeShare(p50_ns=cost.p50_ns, share=cost.share)
        for cost in profile.layers.types
        if cost.p50_ns > 0 or (is_fine and cost.measured_layers > 0)
    }


def _figures(measurement: Measurement) -> dict[str, Quantity]:
    """Every figure that a measurement has."""
    answer = derive_answer(measurement)
    figures: dict[str, Quantity | None] = {
        "init": _median(answer.init),
        "latency": _median(answer.latency),
        "artifact": _reading(measurement.artifact.file.size_bytes),
        "available": _reading(measurement.device.available_bytes),
        **_memory_figures(answer.memory),
        **_energy_figures(answer.energy, answer.charge),
    }
    return {name: quantity for name, quantity in figures.items() if quantity is not None}


def _memory_figures(memory: MemoryGrowth | None) -> dict[str, Quantity | None]:
    if memory is None:
        return {}
    measure = memory.measure.lower()
    return {
        f"load_{measure}": _reading(memory.load_bytes),
        f"inference_{measure}": _reading(memory.inference_bytes),
        "peak_rss": _reading(memory.peak_rss_bytes),
    }


def _energy_figures(
    energy: EnergyEstimate | None, charge: ChargeEstimate | None
) -> dict[str, Quantity | None]:
    figures: dict[str, Quantity | None] = {}
    suffix = "_simulated" if energy is not None and energy.origin == "simulated" else ""
    if energy is not None:
        figures[f"energy_gross{suffix}"] = Quantity(
            value=energy.gross_j, interval=energy.gross_interval_j
        )
        figures[f"energy_marginal{suffix}"] = Quantity(
            value=energy.marginal_j, interval=energy.marginal_interval_j
        )
    if charge is not None:
        figures[f"charge{suffix}"] = Quantity(
            value=charge.inferences, interval=charge.inferences_interval
        )
    return figures


def _median(summary: Summary | None) -> Quantity | None:
    if summary is None:
        return None
    enough = summary.count >= MIN_COUNT_FOR_INTERVAL
    return Quantity(value=summary.p50_ns, interval=summary.p50_interval_ns if enough else None)


def _reading(value: float | None) -> Quantity | None:
    return None if value is None else Quantity(value=value, interval=None)


# --- differences -------------------------------------------------------------------------------


class _Rule(NamedTuple):
    """Two runs differ in ``id`` where ``key`` gives two values; ``show`` says them."""

    id: str
    refuses: bool
    meaning: str
    key: Callable[[Measurement], object]
    show: Callable[[Measurement], str]


def _find_differences(device: Measurement, against: Measurement) -> Iterator[Difference]:
    if device.id == against.id:
        yield _difference(
            "run", True, "this is one run twice, whose ratio is 1", device.id, against.id
        )
    first, second = _why_unusable(device), _why_unusable(against)
    if first or second:
        yield _difference(
            "unusable",
            True,
            "figures of such a run must not be used",
            ", ".join(first) or "sound",
            ", ".join(second) or "sound",
        )
    same_format = device.artifact.file.format == against.artifact.file.format
    for rule in (*_RULES, *(_RULES_OF_A_FORMAT if same_format else ())):
        if rule.key(device) != rule.key(against):
            yield _difference(
                rule.id, rule.refuses, rule.meaning, rule.show(device), rule.show(against)
            )
    yield from _thread_difference(device, against)


def _way_difference(device: _Profile | None, against: _Profile | None) -> Iterator[Difference]:
    if device is None or against is None or device.layers.by == against.layers.by:
        return
    yield _difference(
        "layers",
        False,
        "each segment pays for reordering what it reads and yields, an operator in a trace does "
        "not",
        f"by {device.layers.by}",
        f"by {against.layers.by}",
    )


def _difference(id: str, refuses: bool, meaning: str, device: str, against: str) -> Difference:
    return Difference(id=id, refuses=refuses, device=device, against=against, meaning=meaning)


def _why_unusable(measurement: Measurement) -> list[str]:
    """Its findings that are errors (failed, wrong outputs, debuggable), or that it was not checked.

    An ``error`` means that a figure must not be used.
    """
    errors = [finding.id for finding in measurement.findings if finding.severity == "error"]
    if not errors and measurement.result.samples.output_check is None:
        return ["outputs not checked"]
    return errors


def _thread_difference(device: Measurement, against: Measurement) -> Iterator[Difference]:
    """Another number refuses where one was asked for; else each used all its processors."""
    first, second = _threads(device), _threads(against)
    if first == second:
        return
    asked = (device.request.threads, against.request.threads) != (None, None)
    meaning = (
        "measure both with the same --threads"
        if asked
        else "each used as many threads as it has processors"
    )
    yield _difference("threads", asked, meaning, str(first or "unknown"), str(second or "unknown"))


def _threads(measurement: Measurement) -> int | None:
    companion = measurement.result.samples.companion
    return measurement.request.threads if companion is None else companion.threads


def _preset_key(request: RunRequest) -> tuple[object, ...]:
    return (
        request.cold_loads,
        request.warmup,
        request.min_iterations,
        request.min_duration_ns,
        request.max_duration_ns,
    )


def _preset_name(request: RunRequest) -> str:
    for name, preset in PRESETS.items():
        if _preset_key(request) == (
            preset.cold_loads,
            WARMUP,
            preset.min_iterations,
            preset.min_duration_ns,
            preset.max_duration_ns,
        ):
            return name
    return f"{request.cold_loads} loads, {request.min_iterations:,} iterations or more"


def _tensors_text(tensors: tuple[TensorFile, ...]) -> str:
    return ", ".join(
        f"{'x'.join(map(str, tensor.shape))} {tensor.dtype} {tensor.sha256[:12]}"
        for tensor in tensors
    )


def _engine(measurement: Measurement) -> str | None:
    companion = measurement.result.samples.companion
    return None if companion is None else f"{companion.engine} {companion.engine_version}"


_RULES = (
    _Rule(
        "network",
        True,
        "not the same network, or not with the same weights",
        lambda item: item.artifact.model.content_sha256,
        lambda item: f"{item.artifact.model.name} {item.artifact.model.content_sha256[:12]}",
    ),
    _Rule(
        "precision",
        True,
        "not the same arithmetic",
        lambda item: item.artifact.precision,
        lambda item: item.artifact.precision,
    ),
    _Rule(
        "inputs",
        True,
        "not the same inputs",
        lambda item: item.request.inputs,
        lambda item: _tensors_text(item.request.inputs),
    ),
    _Rule(
        "preset",
        True,
        "not measured for as long or as often",
        lambda item: _preset_key(item.request),
        lambda item: _preset_name(item.request),
    ),
    _Rule(
        "protocol",
        True,
        "not measured by the same phases",
        lambda item: item.request.protocol_version,
        lambda item: str(item.request.protocol_version),
    ),
    _Rule(
        "mobilekit",
        True,
        "not measured by the same program",
        lambda item: item.host.mobilekit_version,
        lambda item: item.host.mobilekit_version,
    ),
    _Rule(
        "format",
        False,
        "the ratio is of the formats and their runtimes too",
        lambda item: item.artifact.file.format,
        lambda item: f".{item.artifact.file.format}, {_engine(item) or 'unknown'}",
    ),
    _Rule(
        "abi",
        False,
        "other machine code of the same kernels",
        lambda item: item.device.abi,
        lambda item: item.device.abi,
    ),
)
_RULES_OF_A_FORMAT = (
    _Rule(
        "engine",
        False,
        "the ratio is of the runtime's versions too",
        _engine,
        lambda item: _engine(item) or "unknown",
    ),
    _Rule(
        "export",
        False,
        "the same network exported by other versions",
        lambda item: item.artifact.tool_versions,
        lambda item: ", ".join(f"{k} {v}" for k, v in sorted(item.artifact.tool_versions.items())),
    ),
)


# --- what else to know -------------------------------------------------------------------------


def _find_doubts(device: Measurement, against: Measurement) -> tuple[Finding, ...]:
    virtual = [item.device.name for item in (device, against) if item.virtual]
    if not virtual:
        return ()
    is_are, their = ("is", "its") if len(virtual) == 1 else ("are", "their")
    return (
        Finding(
            id="VIRTUAL-RATIO",
            severity="warning",
            summary=f"{' and '.join(virtual)} {is_are} virtual: {their} init, latency and memory "
            "are those of the computer that ran it, so that the ratio tells nothing about a phone",
            advice="Attach a phone for a ratio that means something.",
        ),
    )


def _side(measurement: Measurement, profile: _Profile | None) -> Side:
    answer = derive_answer(measurement)
    energy = answer.energy
    return Side(
        id=measurement.id,
        started_at=measurement.started_at,
        device=measurement.device.name,
        virtual=measurement.virtual,
        engine=_engine(measurement),
        format=measurement.artifact.file.format,
        abi=measurement.device.abi,
        threads=_threads(measurement),
        energy_source=None if energy is None else energy.source,
        energy_plane=None if energy is None else energy.plane,
        energy_blocks=None if energy is None else energy.blocks,
        findings=tuple(finding.id for finding in measurement.findings),
        profile=None if profile is None else _profiled_layers(profile),
        profile_refusal=None if profile is not None else measurement.result.samples.profile_refusal,
    )


def _profiled_layers(profile: _Profile) -> ProfiledLayers:
    layers = profile.layers
    return ProfiledLayers(
        id=profile.id,
        by=layers.by,
        sum_ns=layers.sum_ns,
        plain_p50_ns=layers.plain_p50_ns,
        difference=layers.difference,
    )
