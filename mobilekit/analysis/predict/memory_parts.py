"""What a network occupies of memory, in counts that a companion's growth is told from.

The graph is that which an engine runs: a batch normalization is folded into the product before it,
and what computes each element alone writes over what it reads, where nothing else reads that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mobilekit.analysis.predict.arena import Growths, Tensor, arena_growths, round_up
from mobilekit.analysis.predict.work import is_depthwise, is_folded
from mobilekit.records.network import Description, LayerSpec, Precision

BYTES_PER_NUMBER: Mapping[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
_FP32_BYTES = 4
_RETURNED_BYTES = 32 << 20
"""From here on glibc gives a block back as soon as it is freed: ``DEFAULT_MMAP_THRESHOLD_MAX``."""
_MAPS = 4
"""What a local normalization holds at once, in fp32 in every precision: its input, its squares, a
sum and a slice of them, which it is exported as (``model/rewrite.py``)."""

_WINDOW = 5
"""How many channels a local normalization sums, in AlexNet and GoogLeNet; descriptions do not tell
it."""
_POINTER_BYTES = 8
"""Of the processors on which ONNX Runtime's memory is told."""
_SUBSTEPS = 16
"""Of a layer's step, so that what is in it has an order."""


class MemoryParts(NamedTuple):
    """Bytes, unless it says otherwise."""

    weights: int
    convolution_weights: int
    largest_convolution: int
    """The weights of one layer."""
    small_product_weights: int
    """Of fully connected layers with less than 32 MiB each."""
    large_product_weights: int
    """Of those with more."""
    inputs: int
    """In the network's own type, as the companion holds them."""
    activations: int
    """The input too, all laid out in one block."""
    pointers: int
    """By which XNNPACK's convolutions and poolings find what lies below their window."""
    packed: int
    """The weights in int8 as ONNX Runtime packs them, and what of its arena that has been written
    to; 0 in other formats and precisions."""
    arena: int
    """What inferences add to what its arena has been written to; 0 for other formats."""
    layers: int
    """How many, not bytes."""
    program: int
    """1."""


def parts_of(
    description: Description,
    precision: Precision,
    *,
    pointer_bytes: int = 8,
    is_onnx: bool = False,
) -> MemoryParts:
    """What a network occupies whose weights and activations have that precision."""
    layers = {layer.name: layer for layer in description.layers}
    kept = [layer for layer in layers.values() if not _is_nothing(layer, layers)]
    width = BYTES_PER_NUMBER[precision]
    convolutions = [each for each in layers.values() if each.type == "convolution"]
    products = [each for each in layers.values() if each.type == "feed-forward"]
    weights = sum(layer.parameters for layer in layers.values()) * width
    arena = _arena(description, width) if is_onnx else Growths(0, 0)
    product_bytes = [each.parameters * width for each in products]
    return MemoryParts(
        weights=weights,
        convolution_weights=sum(each.parameters for each in convolutions) * width,
        largest_convolution=max((each.parameters for each in convolutions), default=0) * width,
        small_product_weights=sum(each for each in product_bytes if each < _RETURNED_BYTES),
        large_product_weights=sum(each for each in product_bytes if each >= _RETURNED_BYTES),
        inputs=description.input_bytes,
        activations=block_bytes(_tensors(description, width)),
        pointers=sum(_pointers(layer) for layer in kept) * pointer_bytes,
        packed=_packed_bytes(description) + arena.loaded if is_onnx and width == 1 else 0,
        arena=arena.added,
        layers=len(kept),
        program=1,
    )


def block_bytes(tensors: Sequence[Tensor]) -> int:
    """The size of a block that holds all tensors, none over another that is alive at one time.

    The largest is placed first, each in the smallest gap that it fits in, as XNNPACK and LiteRT do:
    Y. Pisarchyk and J. Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020,
    arXiv 2001.03288 (greedy by size).
    """
    placed: list[tuple[int, Tensor]] = []
    for tensor in sorted(tensors, key=lambda each: -each.size_bytes):
        alive = sorted(
            (offset, offset + other.size_bytes)
            for offset, other in placed
            if other.first <= tensor.last and tensor.first <= other.last
        )
        best, best_gap, free_from = 0, math.inf, 0
        for start, stop in alive:
            if tensor.size_bytes <= start - free_from < best_gap:
                best, best_gap = free_from, start - free_from
            free_from = max(free_from, stop)
        placed.append((free_from if best_gap == math.inf else best, tensor))
    return max((offset + tensor.size_bytes for offset, tensor in placed), default=0)


def _tensors(description: Description, width: int) -> list[Tensor]:
    """Of numbers of that many bytes, as XNNPACK and LiteRT hold them."""
    narrow = [
        each._replace(size_bytes=each.size_bytes * width // _FP32_BYTES)
        for each in _held(description)
    ]
    scratch = [
        Tensor(_MAPS * layer.output_bytes - 2 * layer.output_bytes * width // _FP32_BYTES, at, at)
        for at, layer in enumerate(description.layers)
        if _is_local(layer)
    ]
    return narrow + scratch


def _arena(description: Description, width: int) -> Growths:
    """ONNX Runtime's. In int8 it holds the input too, as it is and then with channels last, and
    once the weights of fully connected layers, which are turned to be packed."""
    held = [
        Tensor(
            each.size_bytes * width // _FP32_BYTES, each.first * _SUBSTEPS, each.last * _SUBSTEPS
        )
        for each in _held(description)
    ]
    normalizing = list(_normalizing(description))
    if width > 1:
        return arena_growths([*held[1:], *normalizing])
    taken_in = Tensor(held[0].size_bytes, -1, -1)
    turned = [_weights_of(each) for each in description.layers if each.type == "feed-forward"]
    return arena_growths([taken_in, *held, *normalizing], list(_scratch(description)), turned)


def _packed_bytes(description: Description) -> int:
    """Weights in int8 in the order in which products take them: columns by 16, each with its sum in
    32 bits, and rows by 2 (``MlasGemmPackBSize``, of unsigned bytes with AVX2). A depthwise
    convolution's are not filled up."""
    total = 0
    for layer in description.layers:
        weights = _weights_of(layer)
        if not weights:
            continue
        shape = layer.output_shapes[0]
        if is_depthwise(layer):
            total += weights
            continue
        groups = 1 if layer.window is None else layer.window.groups
        columns = max(1, (shape[1] if layer.type == "convolution" else shape[-1]) // groups)
        rows = weights // columns // groups
        filled = round_up(columns, 16)
        total += groups * (4 * filled + filled * round_up(rows, 2))
    return total


def _weights_of(layer: LayerSpec) -> int:
    """How many numbers a convolution or a fully connected layer multiplies with; 0 for others."""
    is_product = layer.type in ("convolution", "feed-forward")
    if not is_product or not layer.output_shapes or len(layer.output_shapes[0]) < 2:
        return 0
    shape = layer.output_shapes[0]
    places = shape[2:] if layer.type == "convolution" else shape[:-1]
    return layer.macs // max(1, math.prod(places))


def _normalizing(description: Description) -> Iterator[Tensor]:
    """What a local normalization is exported as (``model/rewrite.py``), in fp32: the squares, those
    with channels of zeros around them, and a slice of these for each channel of its window, all at
    once."""
    for at, layer in enumerate(description.layers):
        if _is_local(layer):
            squared = at * _SUBSTEPS - _SUBSTEPS + 1
            sliced = squared + 2 + _WINDOW
            spans = [
                (squared, squared + 1),
                (squared + 1, sliced),
                *((squared + 2 + each, sliced + 1) for each in range(_WINDOW)),
            ]
            for span in spans:
                yield Tensor(layer.output_bytes, *span)


def _scratch(description: Description) -> Iterator[Tensor]:
    """What a convolution in int8 takes while it runs: its sums in 32 bits and, unless it is of 1x1
    and stride 1, what lies below each of its windows; a depthwise one only pointers to that
    (``core/providers/cpu/quantization/qlinearconv.cc``)."""
    for at, layer in enumerate(description.layers):
        window = layer.window
        if layer.type != "convolution" or window is None or not _weights_of(layer):
            continue
        shape = layer.output_shapes[0]
        places, area = math.prod(shape[2:]), math.prod(window.kernel)
        step = at * _SUBSTEPS
        if is_depthwise(layer):
            yield Tensor(places * area * _POINTER_BYTES, step, step)
            continue
        yield Tensor(layer.output_bytes, step, step)
        if area > 1 or set(window.stride) != {1}:
            yield Tensor(layer.macs // max(1, shape[1]), step, step)


def _is_local(layer: LayerSpec) -> bool:
    """Whether it is a local response normalization, which has no weights."""
    return layer.type == "normalization" and not layer.weights_bytes


def _held(description: Description) -> list[Tensor]:
    """The input and what is written over nothing else, in fp32."""
    layers = {layer.name: layer for layer in description.layers}
    last_read = {name: step for step, layer in enumerate(layers.values()) for name in layer.reads}
    holder: dict[str, str] = {}
    """The layer whose tensor holds each layer's output."""
    spans: dict[str, Tensor] = {}
    reads_input = 0
    for step, (name, layer) in enumerate(layers.items()):
        source = _overwritten(layer, layers, last_read, step)
        holder[name] = name if source is None else holder[source]
        if source is None:
            spans[name] = Tensor(layer.output_bytes, step, step)
        for alive in (*(holder[read] for read in layer.reads), holder[name]):
            spans[alive] = spans[alive]._replace(last=step)
        if layer.input_bytes > sum(layers[read].output_bytes for read in layer.reads):
            reads_input = step
    for name in layers:
        if name not in last_read:
            spans[holder[name]] = spans[holder[name]]._replace(last=len(layers))
    return [Tensor(description.input_bytes, 0, reads_input), *spans.values()]


def _overwritten(
    layer: LayerSpec, layers: Mapping[str, LayerSpec], last_read: Mapping[str, int], step: int
) -> str | None:
    """The layer over whose output this one writes its own; ``None``: it has memory of its own."""
    same = [name for name in layer.reads if layers[name].output_bytes == layer.output_bytes]
    if layer.in_place and same:
        return same[0]
    if layer.type in ("non-linear", "addition", "multiplication", "softmax") or is_folded(layer):
        return next((name for name in same if last_read[name] == step), None)
    return None


def _is_nothing(layer: LayerSpec, layers: Mapping[str, LayerSpec]) -> bool:
    """Whether the engine has no operator for it."""
    if layer.in_place and layer.type in ("dropout", "reshape"):
        return True
    follows = bool(layer.reads) and all(
        layers[name].type in ("convolution", "feed-forward", "normalization")
        for name in layer.reads
    )
    return follows and (layer.type == "non-linear" or is_folded(layer))


def _pointers(layer: LayerSpec) -> int:
    """One for each place below the window, for each place of the output.

    XNNPACK (``src/indirection.c``): a convolution has all of them, unless it is of 1x1 and stride
    1; a depthwise one and a pooling share the columns in which neighbouring windows overlap, unless
    they are dilated.
    """
    window = layer.window
    shape = layer.output_shapes[0] if layer.output_shapes else ()
    if window is None or not shape:
        return 0
    places, area = math.prod(shape[2:]), math.prod(window.kernel)
    if layer.type == "convolution" and not is_depthwise(layer):
        return 0 if area == 1 and set(window.stride) == {1} else places * area
    width, stride, columns = window.kernel[-1], window.stride[-1], max(shape[-1], 1)
    step = min(stride, width) if set(window.dilation) == {1} else width
    return places // columns * (area + (columns - 1) * step * (area // width))
