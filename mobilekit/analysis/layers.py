"""Where an inference's time goes: an engine's operators, or segments, back to the network's layers.

ONNX Runtime's operators are known by name: a node keeps the name that the export gave it, and one
that the runtime fused is named after its last output. XNNPACK's have only a kind and a running
number, so that order must do: within a delegate, the k-th operator of a kind is the k-th operation
of that kind that went in. That holds only where both are equally many, which is checked kind by
kind. What fits nowhere keeps its kind and its time, is said, and is never guessed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mobilekit.analysis.stats import summarize
from mobilekit.errors import RunFailedError
from mobilekit.protocol import RunFailure
from mobilekit.records import (
    ActivationCost,
    Cut,
    Description,
    Footprint,
    LayerCost,
    LayerProfile,
    LayerSpec,
    LayerTrace,
    Measurement,
    OperatorTime,
    ProgramOperator,
    TypeCost,
)

LAYOUT_CHANGE = "layout change"
"""What an engine inserted to reorder elements for its kernels; no layer asks for it."""

PRECISION_CHANGE = "precision change"
"""Conversions between float32, float16 and int8; no layer asks for them either."""

EITHER_PRODUCT = "convolution or feed-forward"
"""XNNPACK calls a 1x1 convolution fully connected."""

CLOCK_STEP_NS = 1000
"""XNNPACK and ONNX Runtime time their operators in whole microseconds, XNNPACK rounding down."""

RECONCILED_WITHIN = 0.1
"""How far the sum of all operators may be from the plain inference, relative to it."""

TRACEABLE_FROM_NS = 1_000_000
"""Of a plain inference. Engines' tracing costs some microseconds an operator (measured: ExecuTorch
2 us an inference, ONNX Runtime 4 us an operator); from here on that is below a hundredth, and a sum
that is far off was disturbed by something else."""


class _Kind(NamedTuple):
    """Operators of an engine that stand for operations of the program."""

    type: str
    operations: frozenset[str]
    may_fold: bool
    """Whether the engine computes such operations inside others where it can."""


def _kind(type: str, operations: str, *, may_fold: bool = False) -> _Kind:
    return _Kind(type, frozenset(operations.split()), may_fold)


_PRODUCT = _kind("convolution", "convolution linear addmm mm bmm")
_CLAMP = _kind("non-linear", "relu relu_ hardtanh clamp clamp_min relu6", may_fold=True)
_MULTIPLY = _kind("multiplication", "mul square pow", may_fold=True)
_RESHAPE = _kind(
    "reshape", "view view_copy reshape _reshape_copy flatten unsqueeze_copy squeeze_copy"
)
_XNNPACK: dict[str, _Kind] = {
    "Convolution": _PRODUCT,
    "Deconvolution": _PRODUCT,
    "Fully Connected": _PRODUCT,
    "Batch Matrix Multiply": _PRODUCT,
    "Max Pooling": _kind("pooling", "max_pool2d max_pool2d_with_indices"),
    "Average Pooling": _kind("pooling", "avg_pool2d"),
    "Global Average Pooling": _kind("pooling", "mean"),
    "Mean": _kind("pooling", "mean"),
    "Softmax": _kind("softmax", "_softmax softmax"),
    "Copy": _kind("concatenation", "cat"),
    "Concatenate": _kind("concatenation", "cat"),
    "Add": _kind("addition", "add"),
    "Subtract": _kind("addition", "sub"),
    "Multiply": _MULTIPLY,
    "Square": _MULTIPLY,
    "Divide": _kind("multiplication", "div"),
    "Clamp": _CLAMP,
    "Sigmoid": _kind("non-linear", "sigmoid"),
    "TanH": _kind("non-linear", "tanh"),
    "ELU": _kind("non-linear", "elu"),
    "HardSwish": _kind("non-linear", "hardswish"),
    "Leaky ReLU": _kind("non-linear", "leaky_relu"),
    "PReLU": _kind("non-linear", "prelu"),
    "GELU": _kind("non-linear", "gelu"),
    "Abs": _kind("non-linear", "abs"),
    "Exp": _kind("non-linear", "exp"),
    "Log": _kind("non-linear", "log"),
    "Square Root": _kind("non-linear", "sqrt"),
    "Reciprocal Square Root": _kind("non-linear", "rsqrt"),
    "Constant Pad": _kind("reshape", "constant_pad_nd pad", may_fold=True),
    "Slice": _kind("reshape", "slice_copy slice"),
    "Static Reshape": _RESHAPE,
    "Resize Bilinear": _kind("reshape", "upsample_bilinear2d"),
    "Transpose": _kind(LAYOUT_CHANGE, "permute_copy permute transpose_copy t_copy"),
    "Convert": _kind(PRECISION_CHANGE, ""),
}
"""By the words of an XNNPACK operator's name before its first parenthesis."""

_ONNX_TYPES = {
    "Conv": "convolution",
    "Gemm": "feed-forward",
    "MatMul": "feed-forward",
    "MaxPool": "pooling",
    "AveragePool": "pooling",
    "GlobalAveragePool": "pooling",
    "BatchNormalization": "normalization",
    "LayerNormalization": "normalization",
    "LRN": "normalization",
    "Relu": "non-linear",
    "Clip": "non-linear",
    "LeakyRelu": "non-linear",
    "HardSwish": "non-linear",
    "Sigmoid": "non-linear",
    "Tanh": "non-linear",
    "Softmax": "softmax",
    "Concat": "concatenation",
    "Add": "addition",
    "Mul": "multiplication",
    "Flatten": "reshape",
    "Reshape": "reshape",
    "Transpose": "reshape",
    "ReorderInput": LAYOUT_CHANGE,
    "ReorderOutput": LAYOUT_CHANGE,
}
_INSERTED = {LAYOUT_CHANGE, PRECISION_CHANGE}
_FUSED = ("fused ", "Fused")
_AFTER_OUTPUT = "_nchwc"
_MOST_NAMES = 3


class Resolution(NamedTuple):
    layer_of: dict[int, str]
    """The layer of an operator, by its place in the trace."""
    type_of: dict[int, str]
    """The type of work of an operator that is of no layer."""
    lost_layers: frozenset[str]
    """Layers whose operators cannot be told from others'."""
    problems: tuple[str, ...]


def profile_of(measurement: Measurement) -> LayerProfile:
    """The profile that a measurement holds; raises ``RunFailedError`` where it holds none."""
    samples = measurement.result.samples
    cut = measurement.cut
    if cut is not None and len(samples.segments) == len(cut.programs):
        *segments_ns, call_ns = (each.latency_ns for each in samples.segments)
        return derive_segment_profile(cut, samples.iteration_ns, segments_ns, call_ns)
    if cut is not None:
        raise RunFailedError(
            f"There is no profile: of {len(cut.programs)} programs, the segments and a call, "
            f"{len(samples.segments)} were measured",
            measurement=measurement.id,
            fix="`mobilekit profile` measures them again.",
        )
    if measurement.layer_trace is None or samples.trace is None:
        raise RunFailedError(
            f"There is no profile: {samples.profile_refusal or 'none was asked for'}",
            measurement=measurement.id,
            fix="`mobilekit profile` measures one; with --segments it needs no engine that traces.",
        )
    return derive_profile(measurement.layer_trace, samples.iteration_ns, samples.trace.latency_ns)


def derive_profile(
    trace: LayerTrace, plain_ns: Sequence[int], traced_ns: Sequence[int]
) -> LayerProfile:
    """What each layer and each type of layer took.

    ``plain_ns`` and ``traced_ns`` are whole inferences, as the companion timed them without and
    with tracing, the latter of the iterations in the trace. A layer's time is the median over the
    iterations of the sum of its operators, a type's the sum of its layers' times.
    """
    places = [n for n, each in enumerate(trace.operators) if each.role == "operator"]
    durations = {n: np.array(trace.operators[n].duration_ns, dtype=np.float64) for n in places}
    resolution = resolve(trace)
    of_layer: dict[str, list[int]] = defaultdict(list)
    for place, name in resolution.layer_of.items():
        of_layer[name].append(place)
    layer_ns = {
        name: float(np.median(np.sum([durations[n] for n in found], axis=0)))
        for name, found in of_layer.items()
    }
    other_ns = {n: float(np.median(durations[n])) for n in places if n not in resolution.layer_of}
    total_ns = sum(layer_ns.values()) + sum(other_ns.values())
    outside = np.array(traced_ns) - np.sum(list(durations.values()), axis=0)
    layers = _layer_costs(trace, resolution, of_layer, layer_ns, total_ns)
    return LayerProfile(
        by="trace",
        iterations=len(traced_ns),
        layers=layers,
        types=_type_costs(layers, [(resolution.type_of[n], ns) for n, ns in other_ns.items()]),
        operators_ns=total_ns,
        outside_ns=float(np.median(outside)),
        traced_p50_ns=float(np.median(traced_ns)),
        plain_p50_ns=float(np.median(plain_ns)),
        fastest_difference=min(traced_ns) / min(plain_ns) - 1,
        problems=resolution.problems,
    )


def derive_segment_profile(
    cut: Cut,
    plain_ns: Sequence[int],
    segments_ns: Sequence[Sequence[int]],
    call_ns: Sequence[int],
) -> LayerProfile:
    """What each layer and each type of layer took where each segment ran by itself.

    ``plain_ns`` are whole inferences; ``segments_ns`` each segment's, as they are in the cut, and
    ``call_ns`` those of a program with next to nothing to do. A segment's time is its median less
    the median of a call, and that of the layer in it that does the work; the whole makes one call.
    """
    p50_ns, outside_ns = _without_calls(cut, segments_ns, call_ns, lambda ns: float(np.median(ns)))
    fastest_ns, fastest_outside_ns = _without_calls(cut, segments_ns, call_ns, min)
    hosts = {layer: each.layers[0] for each in cut.segments for layer in each.layers[1:]}
    total_ns = sum(p50_ns.values())
    costs = []
    for layer in cut.description.layers:
        host, own_ns = hosts.get(layer.name), p50_ns.get(layer.name)
        # Even a view may be a copy at a segment's end.
        fate: Literal["folded", "idle"] = "idle" if host is None else "folded"
        costs.append(
            LayerCost(
                layer=layer,
                operators=(),
                p50_ns=own_ns,
                share=None if own_ns is None else own_ns / total_ns if total_ns else 0.0,
                fate=fate if own_ns is None else "measured",
                folded_into=() if host is None else (host,),
            )
        )
    return LayerProfile(
        by="segments",
        iterations=len(call_ns),
        layers=tuple(costs),
        types=_type_costs(costs, ()),
        operators_ns=total_ns,
        outside_ns=outside_ns,
        traced_p50_ns=None,
        plain_p50_ns=float(np.median(plain_ns)),
        fastest_difference=(sum(fastest_ns.values()) + fastest_outside_ns) / min(plain_ns) - 1,
        problems=(),
    )


def _without_calls(
    cut: Cut,
    segments_ns: Sequence[Sequence[int]],
    call_ns: Sequence[int],
    pick: Callable[[Sequence[int]], float],
) -> tuple[dict[str, float], float]:
    """Of each segment by the layer that does its work, and of a call; none is below nothing."""
    own_ns = pick(call_ns)
    works = (each.layers[0] for each in cut.segments)
    return {
        name: max(pick(taken_ns) - own_ns, 0.0)
        for name, taken_ns in zip(works, segments_ns, strict=True)
    }, own_ns


def why_by_segments(traced: Measurement) -> str | None:
    """Why the layers of a run that was to be traced are better measured by segments.

    ``None`` where its trace will do, and for a run that failed.
    """
    if isinstance(traced.result, RunFailure):
        return None
    refusal = traced.result.samples.profile_refusal
    if refusal is not None:
        return f"No trace: {refusal}"
    profile = profile_of(traced)
    excess = min(profile.difference, profile.fastest_difference)
    if profile.plain_p50_ns < TRACEABLE_FROM_NS and excess > RECONCILED_WITHIN:
        return f"Tracing costs too much of so short an inference: {excess:+.0%}"
    operators = sum(len(cost.operators) for cost in profile.layers)
    if operators * CLOCK_STEP_NS / 2 > RECONCILED_WITHIN * profile.plain_p50_ns:
        return (
            f"The engine's clock of whole microseconds is too coarse for {operators} operators in "
            f"{profile.plain_p50_ns / 1000:.3g} us"
        )
    return None


def weigh_activation(measurement: Measurement, profile: LayerProfile) -> ActivationCost:
    """What the non-linear layers of a network with a swapped activation cost."""
    activation = measurement.artifact.model.activation
    assert activation is not None
    costs = [cost for cost in profile.layers if cost.layer.type == "non-linear"]
    own = [cost for cost in costs if cost.p50_ns is not None]
    spent_ns = sum(cost.p50_ns or 0.0 for cost in own)
    return ActivationCost(
        activation=activation,
        measurement_id=measurement.id,
        layers=len(costs),
        folded_layers=sum(cost.fate == "folded" for cost in costs),
        p50_ns=spent_ns if own else None,
        resolution_ns=CLOCK_STEP_NS * sum(len(cost.operators) for cost in own),
        share=spent_ns / profile.operators_ns if own and profile.operators_ns else None,
        latency=summarize(measurement.result.samples.iteration_ns),
    )


def _layer_costs(
    trace: LayerTrace,
    resolution: Resolution,
    of_layer: Mapping[str, Sequence[int]],
    layer_ns: Mapping[str, float],
    total_ns: float,
) -> tuple[LayerCost, ...]:
    costs: dict[str, LayerCost] = {}
    for layer in trace.description.layers:
        p50_ns = layer_ns.get(layer.name)
        folded_into = tuple(dict.fromkeys(_hosts(layer, costs)))
        fate: Literal["measured", "folded", "idle", "unresolved"]
        if p50_ns is not None:
            fate, folded_into = "measured", ()
        elif layer.name in resolution.lost_layers:
            fate, folded_into = "unresolved", ()
        elif layer.in_place and layer.type in ("dropout", "reshape"):
            fate, folded_into = "idle", ()
        else:
            fate = "folded" if folded_into else "unresolved"
        costs[layer.name] = LayerCost(
            layer=layer,
            operators=tuple(trace.operators[n].name for n in of_layer.get(layer.name, ())),
            p50_ns=p50_ns,
            share=None if p50_ns is None else p50_ns / total_ns if total_ns else 0.0,
            fate=fate,
            folded_into=folded_into,
        )
    return tuple(costs.values())


def _hosts(layer: LayerSpec, costs: Mapping[str, LayerCost]) -> Iterator[str]:
    """Through layers that are folded themselves, the measured ones whose outputs it reads."""
    for name in layer.reads:
        cost = costs.get(name)
        if cost is None:
            continue
        if cost.fate == "measured":
            yield name
        elif cost.fate == "idle":
            yield from _hosts(cost.layer, costs)
        else:
            yield from cost.folded_into


def _type_costs(
    layers: Iterable[LayerCost], others: Iterable[tuple[str, float]]
) -> tuple[TypeCost, ...]:
    spent_ns: dict[str, float] = defaultdict(float)
    measured: Counter[str] = Counter()
    every: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    for cost in layers:
        every[cost.layer.type] += 1
        macs[cost.layer.type] += cost.layer.macs
        measured[cost.layer.type] += cost.p50_ns is not None
        spent_ns[cost.layer.type] += cost.p50_ns or 0.0
    for name, duration_ns in others:
        spent_ns[name] += duration_ns
    total_ns = sum(spent_ns.values())
    return tuple(
        TypeCost(
            type=name,
            p50_ns=spent_ns[name],
            share=spent_ns[name] / total_ns if total_ns else 0.0,
            measured_layers=measured[name],
            layers=every[name],
            macs=macs[name],
        )
        for name in sorted(spent_ns, key=lambda name: -spent_ns[name])
    )


# --- memory ------------------------------------------------------------------------------------

FOOTPRINT_SHARE = 0.9


def weigh(description: Description) -> Footprint:
    """How much memory a network needs whole and one layer at a time, and which layers hold it.

    N. Lane et al. (IoT-App 2015) look at AlexNet in this way: nearly all of what it occupies is
    needed during only three of its layers.
    """
    layers = {layer.name: layer for layer in description.layers}
    needs = {name: dict(_needs(layer, layers, description)) for name, layer in layers.items()}
    weights_bytes = sum(layer.weights_bytes for layer in layers.values())
    activation_bytes = description.input_bytes + sum(
        layer.output_bytes for layer in layers.values() if not layer.in_place
    )
    whole_bytes = weights_bytes + activation_bytes
    alone = sorted(layers.values(), key=lambda layer: -layer.alone_bytes)
    held: dict[str, int] = {}
    heaviest = []
    for layer in alone:
        if sum(held.values()) >= FOOTPRINT_SHARE * whole_bytes:
            break
        held |= needs[layer.name]
        heaviest.append(layer.name)
    return Footprint(
        weights_bytes=weights_bytes,
        whole_bytes=whole_bytes,
        planned_bytes=weights_bytes + description.peak_activation_bytes,
        alone_bytes=alone[0].alone_bytes if alone else 0,
        alone_layer=alone[0].name if alone else "",
        heaviest=tuple(heaviest),
        heaviest_share=sum(held.values()) / whole_bytes if whole_bytes else 0.0,
    )


def _needs(
    layer: LayerSpec, layers: Mapping[str, LayerSpec], description: Description
) -> Iterator[tuple[str, int]]:
    """What a layer needs, by names that are the same for every layer that needs it."""
    yield f"weights of {layer.name}", layer.weights_bytes
    for read in (*layer.reads, layer.name):
        source = layers[read]
        while source.in_place and source.reads:
            source = layers[source.reads[0]]
        yield f"output of {source.name}", source.output_bytes
    if layer.input_bytes > sum(layers[read].output_bytes for read in layer.reads):
        yield "input", description.input_bytes


# --- resolving ---------------------------------------------------------------------------------


def resolve(trace: LayerTrace) -> Resolution:
    """The layer of each operator in a trace, and what has none."""
    if all(each.part is None for each in trace.program):
        return _resolve_by_name(trace)
    return _resolve_by_order(trace)


class _Found:
    """A resolution while it grows."""

    def __init__(self, description: Description) -> None:
        self.layer_of: dict[int, str] = {}
        self.type_of: dict[int, str] = {}
        self.lost_layers: set[str] = set()
        self.problems: list[str] = []
        self._strangers: list[str] = []
        self._known = {layer.name for layer in description.layers}

    def assign(self, place: int, layer: str | None, type: str, name: str) -> None:
        if layer in self._known:
            assert layer is not None
            self.layer_of[place] = layer
            return
        self.type_of[place] = type
        if type not in _INSERTED:
            self._strangers.append(name)

    def lose(self, problem: str, places: Mapping[int, str], layers: Iterable[str | None]) -> None:
        self.problems.append(problem)
        self.type_of.update(places)
        self.lost_layers.update(layer for layer in layers if layer is not None)

    def done(self) -> Resolution:
        problems = list(self.problems)
        if self._strangers:
            count, first = len(self._strangers), ", ".join(self._strangers[:_MOST_NAMES])
            more = ", ..." if count > _MOST_NAMES else ""
            problems.append(
                f"{count} operators are of no layer that the export knows: {first}{more}"
            )
        return Resolution(self.layer_of, self.type_of, frozenset(self.lost_layers), tuple(problems))


def _resolve_by_name(trace: LayerTrace) -> Resolution:
    found = _Found(trace.description)
    by_name = {each.name: each for each in trace.program}
    by_output = {output: each for each in trace.program for output in each.outputs}
    for place, timed in enumerate(trace.operators):
        if timed.role != "operator":
            continue
        kind = timed.kind.removeprefix("Fused")
        operator = _named(timed.name, kind, by_name, by_output)
        layer = operator.layer if operator is not None else None
        found.assign(place, layer, _ONNX_TYPES.get(kind, "other"), timed.name)
    return found.done()


def _named(
    name: str,
    kind: str,
    by_name: Mapping[str, ProgramOperator],
    by_output: Mapping[str, ProgramOperator],
) -> ProgramOperator | None:
    """The node that an operator is, or of those that it took up the one of its own kind."""
    for prefix in _FUSED:
        name = name.removeprefix(prefix)
    name = name.partition("/")[0]
    operator = by_name.get(name)
    if operator is None and name.endswith(_AFTER_OUTPUT):
        operator = by_output.get(name.removesuffix(_AFTER_OUTPUT))
        # Named after its last output: what it computes first lies upstream.
        while operator is not None and operator.kind != kind:
            operator = next((by_output[one] for one in operator.inputs if one in by_output), None)
    return operator


def _resolve_by_order(trace: LayerTrace) -> Resolution:
    found = _Found(trace.description)
    program: dict[int, list[ProgramOperator]] = defaultdict(list)
    for operator in trace.program:
        assert operator.part is not None
        program[operator.part].append(operator)
    traced: dict[int, list[int]] = defaultdict(list)
    for place, timed in enumerate(trace.operators):
        if timed.role == "operator":
            traced[-1 if timed.part is None else timed.part].append(place)
    if set(traced) != set(program):
        found.lose(
            f"the engine ran {len(traced)} kernels and delegates, the program has {len(program)}",
            {n: _type_of(trace.operators[n]) for places in traced.values() for n in places},
            (operator.layer for operator in trace.program),
        )
        return found.done()
    for part, places in sorted(traced.items()):
        if program[part][0].delegated:
            _resolve_delegate(part, places, trace.operators, program[part], found)
        else:
            for place in places:
                timed = trace.operators[place]
                found.assign(place, program[part][0].layer, _type_of(timed), timed.name)
    return found.done()


def _resolve_delegate(
    part: int,
    places: Sequence[int],
    traced: Sequence[OperatorTime],
    program: Sequence[ProgramOperator],
    found: _Found,
) -> None:
    """Anchor the kinds that are equally many, then fit those that may fold in between."""
    places_of: dict[_Kind, list[int]] = defaultdict(list)
    for place in places:
        kind = _kind_of(traced[place])
        if kind is None:
            found.assign(place, None, "other", traced[place].name)
        else:
            places_of[kind].append(place)
    operations_of = {
        kind: [n for n, each in enumerate(program) if _base(each.kind) in kind.operations]
        for kind in places_of
    }
    anchors: dict[int, int] = {}
    for kind, operations in operations_of.items():
        if len(places_of[kind]) == len(operations):
            anchors |= dict(zip(places_of[kind], operations, strict=True))
    resolved = dict(anchors)
    for kind, operations in operations_of.items():
        own = places_of[kind]
        if own[0] in anchors:
            continue
        fitted = _fit(own, operations, anchors) if kind.may_fold else None
        if fitted is not None:
            resolved |= fitted
        elif kind.type in _INSERTED and not operations:
            found.type_of |= dict.fromkeys(own, kind.type)
        else:
            found.lose(
                f"delegate {part} has {len(own)} operators of the kind "
                f"{_words(traced[own[0]])!r} for {len(operations)} operations of the network",
                {place: _type_of(traced[place]) for place in own},
                (program[n].layer for n in operations),
            )
    for place, operation in resolved.items():
        found.assign(place, program[operation].layer, _type_of(traced[place]), traced[place].name)


def _fit(
    own: Sequence[int], operations: Sequence[int], anchors: Mapping[int, int]
) -> dict[int, int] | None:
    """Those operations that were not folded: the only ones between the anchors around."""
    fitted: dict[int, int] = {}
    for place in own:
        before = max((op for at, op in anchors.items() if at < place), default=-1)
        after = min((op for at, op in anchors.items() if at > place), default=1 << 62)
        between = [n for n in operations if before < n < after]
        if len(between) != 1 or between[0] in fitted.values():
            return None
        fitted[place] = between[0]
    return fitted


def _words(timed: OperatorTime) -> str:
    return timed.kind.partition(" (")[0]


def _kind_of(timed: OperatorTime) -> _Kind | None:
    return _XNNPACK.get(_words(timed))


def _type_of(timed: OperatorTime) -> str:
    """What can be said of an operator whose layer is not known."""
    if timed.kind.startswith("aten."):
        name = _base(timed.kind)
        return next((k.type for k in _XNNPACK.values() if name in k.operations), "other")
    words = _words(timed)
    if words == "Fully Connected":
        return EITHER_PRODUCT
    kind = _kind_of(timed)
    return "other" if kind is None else kind.type


def _base(kind: str) -> str:
    """``add`` of ``aten.add.Tensor``."""
    return kind.split(".")[1]
