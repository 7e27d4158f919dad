"""An ``.onnx`` file that another tool has written, read by onnx2torch.

The file is data and stays so: onnx2torch builds Python source around the names in it, so they are
made plain first. Whether it has read the file rightly is checked against ONNX Runtime, which reads
it in its own way.

Imports onnx; ``load_network`` imports torch, onnx2torch and onnxruntime as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mobilekit.errors import ExportError, ModelFileError

if TYPE_CHECKING:
    from torch import Tensor, nn

EXTRA = "import"
_NEEDED = ("onnx", "onnx2torch", "onnxruntime")

NEWEST_KNOWN_OPSET = 17
"""Of onnx2torch. What operators of newer opsets say is put in this one's words."""

OLDEST_USUAL_OPSET = 13
"""From here on onnx2torch knows the forms of operators that exporters write."""

RELATIVE_TOLERANCE = 1e-3
"""Between onnx2torch and ONNX Runtime, of the largest output: that of an export's check."""


QUANTIZED_TOLERANCE = 0.02
"""Where values are rounded to 255 steps: a few of them, for sums that are rounded otherwise."""


class Signature(NamedTuple):
    input_shapes: tuple[tuple[int, ...], ...]
    input_dtypes: tuple[str, ...]
    maker: str
    files: tuple[Path, ...]
    """The file and those beside it that hold its weights."""


def read_signature(path: Path) -> Signature:
    """What the network takes; a first size that is left open is taken as a batch of one.

    Raises ``ModelFileError``, or ``ExportError`` where the packages to read it are missing.
    """
    missing = [package for package in _NEEDED if find_spec(package) is None]
    if missing:
        raise ExportError(
            "Reading an .onnx file needs packages that are not installed",
            missing=", ".join(missing),
            fix=f"pip install 'mobilekit[{EXTRA}]'",
        )
    model = _read(path, with_weights=False)
    shapes, dtypes = [], []
    for value in _inputs(model):
        shapes.append(_shape(value, path))
        dtypes.append(_dtype(value, path))
    maker = " ".join(filter(None, (model.producer_name, model.producer_version)))
    beside = {
        path.parent / entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return Signature(tuple(shapes), tuple(dtypes), maker, (path, *sorted(beside)))


def read_model(path: Path) -> Any:
    """The file as it is, with weights that lie beside it: an ``onnx.ModelProto``."""
    return _read(path, with_weights=True)


def load_network(path: Path, inputs: Sequence[Tensor]) -> nn.Module:
    """The network as a module that computes what ONNX Runtime does for ``inputs``.

    Raises ``ModelFileError`` for operators that onnx2torch does not know and for those that it
    reads otherwise than ONNX Runtime.
    """
    import onnx2torch
    import torch
    from torch.utils._pytree import tree_leaves

    from mobilekit.contract.outputs import check_outputs
    from mobilekit.model import onnx_operators  # noqa: F401  # adds operators to onnx2torch
    from mobilekit.model.failures import describe_error
    from mobilekit.model.onnx_runtime import run_file
    from mobilekit.model.onnx_words import in_known_words, opset_of
    from mobilekit.model.quiet import quiet_python

    model = read_model(path)
    opset = opset_of(model)
    _make_names_plain(model)
    _share_weights(model)
    _speak_older(model)
    try:
        with quiet_python():
            model = in_known_words(model)
            others = [tensor.flip(-1) * 2 for tensor in inputs]
            module: nn.Module = _with_fixed_sizes(onnx2torch.convert(model).eval(), others)
            with torch.no_grad():
                outputs = tree_leaves(module(*(tensor.clone() for tensor in inputs)))
    except Exception as error:  # its errors have no common base
        raise ModelFileError(
            f"onnx2torch cannot read {path.name}: {describe_error(error)}",
            fix=_fix_of_unread(opset),
            file=path,
            opset=opset,
        ) from error
    expected = run_file(path, inputs, fused=False)
    rounds = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    check = check_outputs(
        [tensor.detach().numpy() for tensor in outputs],
        [tensor.numpy() for tensor in expected],
        QUANTIZED_TOLERANCE if rounds else RELATIVE_TOLERANCE,
    )
    if not check.matches:
        raise ModelFileError(
            f"onnx2torch reads {path.name} differently from ONNX Runtime",
            fix="Write the network as a model file and give it the weights.",
            relative_error=f"{check.max_relative_error:.3g}",
            file=path,
        )
    return module


def _fix_of_unread(opset: int) -> str:
    otherwise = "with other operators, or write it as a model file and give it the weights."
    if opset > NEWEST_KNOWN_OPSET:
        return f"Export the network again in opset {NEWEST_KNOWN_OPSET}, {otherwise}"
    if opset < OLDEST_USUAL_OPSET:
        return (
            f"Export the network again in a newer opset, from {OLDEST_USUAL_OPSET} to "
            f"{NEWEST_KNOWN_OPSET}, {otherwise}"
        )
    return f"Export the network again {otherwise}"


def _with_fixed_sizes(module: Any, inputs: Sequence[Tensor]) -> Any:
    """The same ``torch.fx.GraphModule``, with what only depends on sizes computed beforehand.

    onnx2torch's own layers, such as Reshape and Pad, take sizes as tensors, like ONNX, which is
    no fixed graph to torch.export. For inputs of fixed sizes they are constants, and each of
    those layers is replaced by what it does to them. Layers of torch.nn stay as they are.
    """
    import torch
    from torch import fx
    from torch.fx.experimental.proxy_tensor import make_fx

    interpreter = fx.Interpreter(module, garbage_collect_values=False)
    with torch.no_grad():
        interpreter.run(*inputs)
    values = interpreter.env
    varying: set[Any] = set()
    for node in list(module.graph.nodes):
        layer = module.get_submodule(node.target) if node.op == "call_module" else None
        if type(layer).__name__ != "OnnxShape" and (
            node.op == "placeholder" or varying & set(node.all_input_nodes)
        ):
            varying.add(node)
        if layer is None or node not in varying:
            continue
        if not _is_onnx2torch(layer):
            _fix_arguments(module, node, values, varying)
            continue
        taken = [argument for argument in node.args if argument in varying]

        def layer_of_varying(*given: Tensor, node: Any = node, layer: Any = layer) -> Any:
            left = iter(given)
            return layer(
                *(next(left) if each in varying else values.get(each, each) for each in node.args),
                **{name: values.get(each, each) for name, each in node.kwargs.items()},
            )

        with torch.no_grad():
            # Values that are looked at become constants. Those of the input must not: that is seen
            # when the outputs for other inputs are compared.
            fixed = make_fx(layer_of_varying, _error_on_data_dependent_ops=False)(
                *(values[argument] for argument in taken)
            )
        fixed.graph.eliminate_dead_code()
        fixed.recompile()
        _tell_weights(fixed)
        module.set_submodule(node.target, fixed)
        node.args, node.kwargs = tuple(taken), {}
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _fix_arguments(module: Any, node: Any, values: Any, varying: set[Any]) -> None:
    """Give a layer that stays as it is what only depends on sizes as constants of the network."""
    for argument in node.all_input_nodes:
        if argument not in varying and argument.op != "get_attr":
            name = f"fixed_{argument.name}"
            module.register_buffer(name, values[argument].clone())
            with module.graph.inserting_before(node):
                node.replace_input_with(argument, module.graph.get_attr(name))


def _tell_weights(fixed: Any) -> None:
    """Of a traced layer's constants the tensors of numbers are parameters; unused ones go."""
    from torch import nn

    used = {node.target for node in fixed.graph.nodes if node.op == "get_attr"}
    for name, constant in list(fixed.named_buffers(recurse=False)):
        if name not in used:
            delattr(fixed, name)
        elif constant.dim() and constant.is_floating_point():
            delattr(fixed, name)
            fixed.register_parameter(name, nn.Parameter(constant, requires_grad=False))


def _is_onnx2torch(layer: Any) -> bool:
    return type(layer).__module__.split(".")[0] == "onnx2torch"


def _read(path: Path, *, with_weights: bool) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=with_weights)
        # By path: a model beyond 2 GiB has no other way.
        onnx.checker.check_model(str(path))
    except (OSError, DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise ModelFileError(
            f"{path.name} is not a valid ONNX file",
            fix="Check that it is whole, and that the files of its weights lie beside it.",
            file=path,
            reason=str(error).splitlines()[0] if str(error) else type(error).__name__,
        ) from None
    return model


def _inputs(model: Any) -> list[Any]:
    """In old files weights are inputs, too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _shape(value: Any, path: Path) -> tuple[int, ...]:
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
    if sizes and sizes[0] == 0:
        sizes[0] = 1
    if not sizes or any(size < 1 for size in sizes):
        raise ModelFileError(
            f"Input {value.name} of {path.name} has no fixed size",
            fix="Export the network for inputs of one size; only the batch may stay open.",
            file=path,
        )
    return tuple(sizes)


def _dtype(value: Any, path: Path) -> str:
    import onnx

    known = {
        onnx.TensorProto.FLOAT: "float32",
        onnx.TensorProto.INT64: "int64",
        onnx.TensorProto.INT32: "int32",
        onnx.TensorProto.UINT8: "uint8",
        onnx.TensorProto.INT8: "int8",
        onnx.TensorProto.BOOL: "bool",
    }
    kind = value.type.tensor_type.elem_type
    if kind not in known:
        raise ModelFileError(
            f"Input {value.name} of {path.name} is none of {', '.join(known.values())}",
            fix="Export the network for inputs of one of these.",
            file=path,
        )
    return known[kind]


def _make_names_plain(model: Any) -> None:
    """Letters, digits and underscores only: onnx2torch's graphs become Python source."""
    graph = model.graph
    taken: set[str] = {""}

    def plain(name: str) -> str:
        wanted = "n_" + re.sub(r"\W", "_", name, flags=re.ASCII)
        unique, number = wanted, 1
        while unique in taken:
            number += 1
            unique = f"{wanted}_{number}"
        taken.add(unique)
        return unique

    values: dict[str, str] = {"": ""}  # an optional input that is left out
    for item in (*graph.input, *graph.initializer):
        values.setdefault(item.name, plain(item.name))
    for node in graph.node:
        for name in node.output:
            if name not in values:
                values[name] = plain(name)
    for item in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.name = values.get(item.name) or plain(item.name)
    for node in graph.node:
        node.name = plain(node.name or node.op_type)
        node.input[:] = [values.get(name, "missing") for name in node.input]
        node.output[:] = [values[name] for name in node.output]


def _share_weights(model: Any) -> None:
    """Name weights that are used twice themselves, where they are passed through Identity.

    PyTorch's older exporter writes that, and onnx2torch looks for weights by their names.
    """
    graph = model.graph
    names = {tensor.name: tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    for node in list(graph.node):
        if node.op_type == "Identity" and node.input[0] in names and node.output[0] not in outputs:
            names[node.output[0]] = names[node.input[0]]
            graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def _speak_older(model: Any) -> None:
    """Say what newer opsets say in the words of ``NEWEST_KNOWN_OPSET``.

    Operators of later versions take more types or write an attribute as an input. What is missed
    here onnx2torch refuses, or the comparison with ONNX Runtime finds.
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version > NEWEST_KNOWN_OPSET:
            opset.version = NEWEST_KNOWN_OPSET
            break
    else:
        return
    for node in model.graph.node:
        reduces = node.op_type.startswith("Reduce") and node.op_type != "ReduceSum"
        if reduces and len(node.input) == 2 and node.input[1] in constants:
            axes = numpy_helper.to_array(constants[node.input[1]])
            del node.input[1]
            node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
        if node.op_type == "Reshape" and node.input[1] in constants:
            allows_zero = (numpy_helper.to_array(constants[node.input[1]]) == 0).any()
            if not allows_zero:  # then it makes no difference
                kept = [entry for entry in node.attribute if entry.name != "allowzero"]
                del node.attribute[:]
                node.attribute.extend(kept)
