"""The layers of a traced network: what each is, counts, moves and keeps. Imports torch.

A layer is one call of a module of ``torch.nn``, or one operation between modules, such as the
concatenation in a ``forward`` of the user's own. ``name_layers`` also writes each layer's name into
the graph, where the export stacks carry it along, so that an operator of the exported program still
knows its layer.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from mobilekit.model.macs import node_macs
from mobilekit.model.window import find_window
from mobilekit.records.network import Description, LayerSpec, LayerType, ModelCost

_STACK_KEY = "mobilekit"
_TAG_CLASS = "mobilekit.Layer"
"""What stands in the graph's stack of modules in the place of a module's class."""

_MODULE_FILES: dict[str, LayerType] = {
    "conv": "convolution",
    "linear": "feed-forward",
    "pooling": "pooling",
    "batchnorm": "normalization",
    "instancenorm": "normalization",
    "normalization": "normalization",
    "activation": "non-linear",
    "dropout": "dropout",
    "rnn": "recurrent",
    "sparse": "embedding",
    "flatten": "reshape",
    "fold": "reshape",
    "padding": "reshape",
    "pixelshuffle": "reshape",
    "channelshuffle": "reshape",
    "linear_identity": "reshape",
}
"""By the file of ``torch.nn.modules`` that a module's class is in."""

_MODULE_CLASSES: dict[str, LayerType] = {
    "Softmax": "softmax",
    "Softmin": "softmax",
    "Softmax2d": "softmax",
    "LogSoftmax": "softmax",
    "MultiheadAttention": "attention",
    "Identity": "reshape",
}
"""Before ``_MODULE_FILES``."""

_OPERATIONS: dict[LayerType, str] = {
    "convolution": "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d "
    "conv_transpose3d",
    "feed-forward": "linear addmm mm bmm baddbmm matmul einsum",
    "attention": "scaled_dot_product_attention",
    "recurrent": "lstm gru rnn_tanh rnn_relu",
    "pooling": "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d max_pool2d_with_indices mean amax",
    "normalization": "batch_norm layer_norm group_norm instance_norm rms_norm",
    "softmax": "softmax log_softmax _softmax _log_softmax",
    "non-linear": "relu relu_ relu6 relu6_ hardtanh hardtanh_ clamp clamp_min sigmoid sigmoid_ "
    "tanh tanh_ elu elu_ selu selu_ celu gelu silu silu_ mish hardswish hardswish_ hardsigmoid "
    "leaky_relu leaky_relu_ prelu softplus softsign log_sigmoid exp sqrt rsqrt abs pow log",
    "dropout": "dropout dropout_ feature_dropout alpha_dropout",
    "concatenation": "cat concat stack",
    "addition": "add add_ sub sub_ sum",
    "multiplication": "mul mul_ div div_",
    "embedding": "embedding embedding_bag index_select",
    "reshape": "view reshape flatten unflatten permute transpose contiguous squeeze unsqueeze "
    "expand slice select split chunk pad clone split_with_sizes narrow repeat flip roll to "
    "_to_copy alias t constant_pad_nd upsample_nearest2d pixel_shuffle unbind movedim",
}
"""By the operation's name; of several in one layer the first in this order is what it is for."""
_TYPE_OF = {name: kind for kind, names in _OPERATIONS.items() for name in names.split()}


@dataclass
class _Layer:
    """A layer while its operations are gathered."""

    path: str
    call: str
    """Tells calls of one module apart: a key of the stack of modules."""
    class_name: str | None
    """Of a module of ``torch.nn``; ``None`` for an operation between modules."""
    name: str = ""
    nodes: list[Node] = field(default_factory=list)


def describe_layers(exported: Any, cost: ModelCost) -> Description:
    """Count the layers of a ``torch.export.ExportedProgram``, whose whole ``cost`` is."""
    layers = _find_layers(exported)
    owner = {node: number for number, layer in enumerate(layers) for node in layer.nodes}
    tensors = _Tensors(exported, owner)
    names = [layer.name for layer in layers]
    specs = [_describe(layer, number, tensors, names) for number, layer in enumerate(layers)]
    peak_bytes, peak_layer = tensors.peak(names)
    return Description(
        cost=cost,
        layers=tuple(specs),
        unused_parameters=cost.parameters - sum(layer.parameters for layer in specs),
        input_bytes=sum(_bytes(node.meta["val"]) for node in tensors.inputs),
        peak_activation_bytes=peak_bytes,
        peak_layer=peak_layer,
    )


def name_layers(exported: Any) -> None:
    """Write each operation's layer into its stack of modules, as the innermost entry."""
    for layer in _find_layers(exported):
        for node in layer.nodes:
            stack = dict(node.meta.get("nn_module_stack") or {})
            node.meta["nn_module_stack"] = stack | {_STACK_KEY: (layer.name, _TAG_CLASS)}


def layer_name(node: Node) -> str | None:
    """The layer that ``name_layers`` wrote, of a node that an export stack made of that node."""
    stack = (node.meta.get("nn_module_stack") or {}).values()
    # Not by its key, which a second torch.export, as after a quantization, renames.
    return layer_scope(*zip(*stack, strict=True)) if stack else None


def layer_scope(names: Sequence[str], classes: Sequence[object]) -> str | None:
    """``layer_name`` from a stack of modules as ONNX's metadata holds it."""
    return next((n for n, c in zip(names, classes, strict=False) if c == _TAG_CLASS), None)


def weight_layers(exported: Any) -> dict[str, str]:
    """The first layer that reads each parameter or buffer, by the parameter's name."""
    layers = _find_layers(exported)
    weights = _Tensors(exported, {}).weights
    found: dict[str, str] = {}
    for layer in layers:
        for node in _reads(layer):
            if node in weights:
                found.setdefault(weights[node], layer.name)
    return found


# --- telling layers apart ----------------------------------------------------------------------


def _find_layers(exported: Any) -> list[_Layer]:
    """Every operation's layer, in the order in which they run."""
    layers: list[_Layer] = []
    for node in exported.graph.nodes:
        if node.op != "call_function" or not _has_tensor(node):
            continue
        if node.target is operator.getitem:
            owner = next(layer for layer in layers if node.args[0] in layer.nodes)
            owner.nodes.append(node)
            continue
        path, call, class_name = _innermost(node)
        last = layers[-1] if layers else None
        same = last is not None and (last.path, last.call) == (path, call)
        if last is None or not same or class_name is None:
            layers.append(last := _Layer(path, call, class_name))
        last.nodes.append(node)
    _give_names(layers)
    return layers


def _innermost(node: Node) -> tuple[str, str, str | None]:
    """Path, call and, of a module of ``torch.nn``, class of the innermost module."""
    stack = [
        (key, str(path), str(kind))
        for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items()
        if kind != _TAG_CLASS
    ]
    if not stack:
        return "", "", None
    key, path, kind = stack[-1]
    is_layer = kind.startswith("torch.nn.modules.") and ".container." not in kind
    return path, str(key), kind if is_layer else None


def _give_names(layers: list[_Layer]) -> None:
    paths = Counter(layer.path for layer in layers)
    taken: Counter[str] = Counter()
    for layer in layers:
        alone = paths[layer.path] == 1 and not any(
            other.startswith(f"{layer.path}.") for other in paths
        )
        if layer.path and (layer.class_name is not None or alone):
            name = layer.path
        else:
            name = f"{layer.path}.{operation_name(layer.nodes[0])}".lstrip(".")
        taken[name] += 1
        layer.name = name if taken[name] == 1 else f"{name}#{taken[name]}"


def operation_name(node: Node) -> str:
    """``conv2d`` of ``aten.conv2d.default``."""
    target: Any = node.target
    packet = getattr(target, "overloadpacket", target)
    return str(getattr(packet, "__name__", packet))


def _layer_type(layer: _Layer) -> LayerType:
    if layer.class_name is not None:
        file, _, name = layer.class_name.removeprefix("torch.nn.modules.").partition(".")
        kind = _MODULE_CLASSES.get(name) or _MODULE_FILES.get(file)
        if kind is not None:
            return kind
    kinds = {_TYPE_OF.get(operation_name(node), "other") for node in layer.nodes}
    return next((kind for kind in _OPERATIONS if kind in kinds), "other")


# --- counting ----------------------------------------------------------------------------------


class _Tensors:
    """Who yields and who reads which memory in a traced graph."""

    def __init__(self, exported: Any, owner: dict[Node, int]) -> None:
        self._owner = owner
        signature = exported.graph_signature
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        placeholders = [node for node in exported.graph.nodes if node.op == "placeholder"]
        self.weights = {node: names[node.name] for node in placeholders if node.name in names}
        self._parameters = set(signature.inputs_to_parameters.values())
        user_inputs = set(signature.user_inputs)
        self.inputs = [node for node in placeholders if node.name in user_inputs]
        self._counted: set[str] = set()
        self._outputs = {
            node for node in exported.graph.nodes if any(user.op == "output" for user in node.users)
        }

    def take_weights(self, layer: _Layer) -> tuple[int, int]:
        """Parameters and bytes that no layer before has read."""
        parameters = size_bytes = 0
        for node in dict.fromkeys(_reads(layer)):
            name = self.weights.get(node)
            if name is None or name in self._counted:
                continue
            self._counted.add(name)
            size_bytes += _bytes(node.meta["val"])
            if name in self._parameters:
                parameters += node.meta["val"].numel()
        return parameters, size_bytes

    def inputs_of(self, layer: _Layer) -> list[Node]:
        """Activations from outside the layer."""
        own = set(layer.nodes)
        return [
            node for node in dict.fromkeys(_reads(layer)) if node not in own | set(self.weights)
        ]

    def owners_of(self, nodes: Sequence[Node]) -> list[int]:
        """The layers' numbers; an input of the network has none."""
        return [self._owner[node] for node in nodes if node in self._owner]

    def outputs_of(self, layer: _Layer, number: int) -> list[Node]:
        """Tensors that another layer or the caller reads."""
        return [
            node
            for node in layer.nodes
            if isinstance(node.meta["val"], Tensor)
            and (
                node in self._outputs
                or any(self._owner.get(user, number) != number for user in node.users)
            )
        ]

    def peak(self, names: Sequence[str]) -> tuple[int, str]:
        """The most bytes alive while a layer runs, and that layer's name."""
        born: dict[Node, int] = {}
        dies: dict[Node, int] = {}
        last = len(names)
        for node in (*self.inputs, *self._owner):
            root = _memory_of(node)
            users = [self._owner[user] for user in node.users if user in self._owner]
            if node in self._outputs:
                users.append(last)
            own = self._owner.get(node)
            outside = [user for user in users if user != own]
            if not outside:
                continue
            born[root] = min(born.get(root, last), self._owner.get(root, -1))
            dies[root] = max(dies.get(root, -1), *outside)
        alive = [
            sum(_bytes(node.meta["val"]) for node in born if born[node] <= step <= dies[node])
            for step in range(last)
        ]
        most = max(range(last), key=alive.__getitem__, default=None)
        return (0, "") if most is None else (alive[most], names[most])


def _describe(layer: _Layer, number: int, tensors: _Tensors, names: Sequence[str]) -> LayerSpec:
    parameters, weights_bytes = tensors.take_weights(layer)
    inputs = tensors.inputs_of(layer)
    outputs = tensors.outputs_of(layer, number)
    own = set(layer.nodes)
    return LayerSpec(
        name=layer.name,
        type=_layer_type(layer),
        output_shapes=tuple(tuple(node.meta["val"].shape) for node in outputs),
        window=next(filter(None, map(find_window, layer.nodes)), None),
        parameters=parameters,
        macs=sum(map(node_macs, layer.nodes)),
        weights_bytes=weights_bytes,
        input_bytes=sum(_bytes(node.meta["val"]) for node in inputs),
        output_bytes=sum(_bytes(node.meta["val"]) for node in outputs),
        in_place=bool(outputs) and all(_memory_of(node) not in own for node in outputs),
        reads=tuple(dict.fromkeys(names[n] for n in tensors.owners_of(inputs))),
    )


def _reads(layer: _Layer) -> Iterator[Node]:
    for node in layer.nodes:
        yield from node.all_input_nodes


def _memory_of(node: Node) -> Node:
    """The node whose memory this one's tensor lies in: its own, unless it is a view of another."""
    while node.op == "call_function":
        source: Any = node.args[0] if node.args else None
        schema = getattr(node.target, "_schema", None)
        is_view = schema is not None and any(one.alias_info is not None for one in schema.returns)
        rests = _TYPE_OF.get(operation_name(node)) == "dropout"
        if not (is_view or rests) or not isinstance(getattr(source, "meta", {}).get("val"), Tensor):
            return node
        node = source
    return node


def _has_tensor(node: Node) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(node.meta.get("val")))


def _bytes(value: Tensor) -> int:
    return int(value.numel() * value.element_size())
