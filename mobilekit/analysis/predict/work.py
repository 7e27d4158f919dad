"""What a described network has to do, in the terms that the latency model was fitted in.

The model was fitted to graphs as an engine runs them: normalizations that follow a product are
folded into it, activations that follow one are computed with it, and what only looks at memory
another way is nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from mobilekit.records.network import Description, LayerSpec
from mobilekit.records.prediction import LayerWork, NetworkWork

_FP32_BYTES = 4
_PRODUCTS = ("convolution", "feed-forward")
_ELEMENTWISE = {
    "non-linear": "ReLU",
    "softmax": "Softmax",
    "concatenation": "Concat",
    "addition": "BinaryOp",
    "multiplication": "BinaryOp",
    "reshape": "Reshape",
}
"""With the latency model's word."""


def work_of(name: str, description: Description) -> NetworkWork:
    """Its layers as an engine runs them; one of a kind that was not measured keeps its own word."""
    layers = {layer.name: layer for layer in description.layers}
    return NetworkWork(name=name, layers=tuple(_works(layers)))


def _works(layers: Mapping[str, LayerSpec]) -> Iterator[LayerWork]:
    products: set[str] = set()
    """Whatever ends in a product, and so takes an activation with it."""
    for layer in layers.values():
        after_product = bool(layer.reads) and set(layer.reads) <= products
        if layer.type in _PRODUCTS:
            products.add(layer.name)
        elif after_product and (layer.type == "non-linear" or is_folded(layer)):
            if layer.type == "normalization":
                products.add(layer.name)
            continue
        elif layer.in_place and layer.type in ("dropout", "reshape"):
            if after_product:
                products.add(layer.name)
            continue
        kind, word = _kind_of(layer)
        weights = layer.parameters
        if kind == "fc":
            weights = max(layer.parameters - _outputs(layer), 0)
        yield LayerWork(
            name=layer.name,
            type=word,
            kind=kind,
            macs=layer.macs,
            weights=weights,
            input_elements=layer.input_bytes // _FP32_BYTES,
            output_elements=_outputs(layer),
            kernel=max(layer.window.kernel, default=0) if layer.window else 0,
        )


def is_folded(layer: LayerSpec) -> bool:
    """Whether it is a batch normalization, whose statistics are kept beside its parameters."""
    return layer.type == "normalization" and layer.weights_bytes > layer.parameters * _FP32_BYTES


def _kind_of(layer: LayerSpec) -> tuple[str, str]:
    """A ``WorkKind`` and the model's word, or the layer's type twice where it has none."""
    if layer.type == "convolution":
        kind = _convolution_kind(layer)
        return (kind, "Convolution") if kind else ("transposed or 3-D convolution", layer.type)
    if layer.type == "feed-forward":
        return "fc", "InnerProduct"
    if layer.type == "pooling":
        return "pool", "Pooling"
    if layer.type == "normalization":
        if not layer.weights_bytes:
            return "lrn", "LRN"
        return ("elt", "BatchNorm") if is_folded(layer) else (layer.type, layer.type)
    if layer.type in _ELEMENTWISE:
        return "elt", _ELEMENTWISE[layer.type]
    return layer.type, layer.type


def _convolution_kind(layer: LayerSpec) -> str | None:
    window = layer.window
    if window is None or window.transposed or len(window.kernel) > 2:
        return None
    if window.groups > 1:
        return "dw" if is_depthwise(layer) else "group"
    if math.prod(window.kernel) == 1:
        return "pw"
    is_plain = set(window.kernel) == {3} and set(window.stride) == set(window.dilation) == {1}
    return "c3s1" if is_plain and len(window.kernel) == 2 else "conv"


def is_depthwise(layer: LayerSpec) -> bool:
    """Whether it is a convolution of which each output reads one channel."""
    window = layer.window
    return (
        window is not None
        and window.groups > 1
        and layer.macs == _outputs(layer) * math.prod(window.kernel)
    )


def _outputs(layer: LayerSpec) -> int:
    return sum(math.prod(shape) for shape in layer.output_shapes)
