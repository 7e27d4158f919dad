"""Where an inference's time goes: an engine's operators, or segments, back to the network's layers.

ONNX Runtime's operators are known by name: a node keeps the name that the export gave it, and one
that the runtime fused is named after its last output. XNNPACK's have only a kind and a running
number, so that order must do: within a delegate, the k-th operator of a kind is the k-th operation
of that kind that went in. That holds only where both are equally many, which is checked kind by
kind. What fits nowhere keeps its kind and its time, is said, and is never guessed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mobilekit.records.artifact import ProgramOperator
from mobilekit.records.network import Description
from mobilekit.records.profile import (
    LayerTrace,
    OperatorTime,
)

LAYOUT_CHANGE = "layout change"
"""What an engine inserted to reorder elements for its kernels; no layer asks for it."""
PRECISION_CHANGE = "precision change"
"""Conversions between float32, float16 and int8; no layer asks for them either."""
EITHER_PRODUCT = "convolution or feed-forward"
"""XNNPACK calls a 1x1 convolution fully connected."""
CLOCK_STEP_NS = 1000
"""XNNPACK and ONNX Runtime time their operators in whole microseconds, XNNPACK rounding down."""


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
    "Mean Squared": _kind("pooling", "mean"),
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


def resolve(trace: LayerTrace) -> Resolution:
    """The layer of each operator in a trace, and what has none."""
    if all(each.part is None for each in trace.program):
        return _resolve_by_name(trace)
    return _resolve_by_order(trace)


class _Matches:
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
    found = _Matches(trace.description)
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
    found = _Matches(trace.description)
    program: dict[int, list[ProgramOperator]] = defaultdict(list)
    for operator in trace.program:
        assert operator.part is not None
        program[operator.part].append(operator)
    traced: dict[int, list[int]] = defaultdict(list)
    for place, timed in enumerate(trace.operators):
        if timed.role == "operator":
            traced[-1 if timed.part is None else timed.part].append(place)
    # What counts a loop's steps is called and does not time itself.
    calls = Counter(timed.part for timed in trace.operators if timed.role == "part")
    called = set(traced) | set(calls)
    if called != set(program):
        found.lose(
            f"the engine ran {len(called)} kernels and delegates, the program has {len(program)}",
            {n: _type_of(trace.operators[n]) for places in traced.values() for n in places},
            (operator.layer for operator in trace.program),
        )
        return found.done()
    for part, places in sorted(traced.items()):
        # A loop's step is called many times, and is of one layer.
        if program[part][0].delegated and calls[part] <= 1:
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
    found: _Matches,
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
