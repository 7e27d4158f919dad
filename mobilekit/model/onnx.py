"""ONNX: translates a network's graph, and runs an ``.onnx`` file once to check it.

Imports torch, onnx, onnxscript and, to check, onnxruntime.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from mobilekit.errors import ExportError
from mobilekit.model.failures import describe_error, fix_of
from mobilekit.model.layers import layer_scope, weight_layers
from mobilekit.model.onnx_runtime import run_file
from mobilekit.model.quiet import captured_stderr, quiet_python
from mobilekit.model.rewrite import is_normalization
from mobilekit.model.spared_work import sparing_translation
from mobilekit.records.artifact import Delegation, ProgramOperator
from mobilekit.records.network import ModelSpec

OPSET = 20
FLOAT_OPERATORS = {"Softmax"}
"""Left in float in int8 programs. Softmax's outputs would be multiples of 1/256: all zero where a
thousand classes are equally likely."""
LAST_HALF_AVERAGE = 18
"""The last opset whose AveragePool ONNX Runtime 1.29 runs in half on arm64. It moves pools to
channels last there, has no kernel for later ones then, and does not load the file ("Failed to find
kernel for com.ms.internal.nhwc.AveragePool(19)"). Other pools were seen to run, up
to opset 22."""
MAX_BYTES = 2**31 - 1
"""A protobuf message's limit. Larger weights would have to lie in files of their own beside it,
and an artifact is one file."""
_STACK_TRACE = "pkg.torch.onnx.stack_trace"
_NAME_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"


@dataclass(frozen=True)
class Program:
    """A translated network, ready to be written; ``model`` is an ``onnx.ModelProto``."""

    model: Any
    weight_layers: Mapping[str, str]
    """Layers by the names of their weights."""
    normalization: tuple[str, ...] = ()
    """Names of the nodes of local response normalization."""

    @property
    def operators(self) -> tuple[ProgramOperator, ...]:
        return tuple(_operators(self.model, self.weight_layers))

    def write(self, path: Path) -> None:
        path.write_bytes(self.model.SerializeToString(deterministic=True))

    def run_once(self, spec: ModelSpec, path: Path, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Load the file in ONNX Runtime and run it on ``inputs``, which are bound by position.

        Raises ``ExportError`` with the runtime's words.
        """
        return run_file(path, inputs, spec)

    def delegation(self, total_macs: int) -> Delegation:
        """Nothing is left to anybody else: ONNX Runtime has a kernel of its own for every operator
        of the file, or it would not have loaded it."""
        return Delegation(
            delegated_operators=len(self.model.graph.node),
            portable_operators=0,
            delegated_macs=total_macs,
            total_macs=total_macs,
            portable_operator_counts={},
        )


def is_onnx_file(spec: ModelSpec) -> bool:
    """Whether the network is an ``.onnx`` file, and as it is in the file."""
    is_changed = spec.variant.activation is not None or spec.variant.compression is not None
    return spec.path.endswith(".onnx") and not is_changed


def take_over(spec: ModelSpec) -> Program:
    """The graph of an ``.onnx`` file as it is, with its weights within.

    Raises ``ExportError`` for weights beyond ``MAX_BYTES``.
    """
    from mobilekit.model import onnx_file

    signature = onnx_file.read_signature(Path(spec.path))
    _check_size(spec, sum(file.stat().st_size for file in signature.files))
    return Program(onnx_file.read_model(Path(spec.path)), {})


def translate(spec: ModelSpec, exported: Any) -> Program:
    """From a ``torch.export.ExportedProgram``; its inputs keep their order.

    Raises ``ExportError`` for what ONNX cannot say and for weights beyond ``MAX_BYTES``.
    """
    weights_bytes = sum(
        value.numel() * value.element_size()
        for value in (*exported.state_dict.values(), *exported.constants.values())
        if isinstance(value, Tensor)
    )
    _check_size(spec, weights_bytes)
    try:
        with quiet_python(), sparing_translation():
            translated = torch.onnx.export(
                exported, (), dynamo=True, external_data=False, opset_version=OPSET, verbose=False
            )
            model = translated.model_proto
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be translated to ONNX: {describe_error(error.__cause__ or error)}",
            fix=fix_of(error.__cause__ or error, "ONNX"),
            model=spec.path,
        ) from error
    normalization = tuple(
        node.name
        for node in model.graph.node
        if any(
            entry.key == _STACK_TRACE and is_normalization(entry.value)
            for entry in node.metadata_props
        )
    )
    _forget_stack_traces(model)
    _write_out_activations(model)
    return Program(model, weight_layers(exported), normalization)


def _write_out_activations(model: Any) -> None:
    """ONNX Runtime 1.29 has no kernel for these, and writes them out by itself, under names that
    no layer has. Their definitions: https://onnx.ai/onnx/operators/
    """
    parts: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "HardSwish": [("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5})],
        "Mish": [("Softplus", {}), ("Tanh", {})],
    }
    written: list[Any] = []
    for node in model.graph.node:
        if node.op_type not in parts or node.domain:
            written.append(node)
            continue
        source = value = node.input[0]
        for kind, attributes in parts[node.op_type]:
            name = f"{node.name}_{kind}"
            written.append(onnx.helper.make_node(kind, [value], [name], name=name, **attributes))
            written[-1].metadata_props.extend(node.metadata_props)
            value = name
        last = onnx.helper.make_node("Mul", [source, value], list(node.output), name=node.name)
        last.metadata_props.extend(node.metadata_props)
        written.append(last)
    del model.graph.node[:]
    model.graph.node.extend(written)


def _operators(model: Any, weight_layers: Mapping[str, str]) -> Iterator[ProgramOperator]:
    """Every node and its layer.

    A convolution that took up a normalization has the latter's metadata: whose weights it reads
    goes first.
    """
    for node in model.graph.node:
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        scopes, classes = (
            ast.literal_eval(metadata.get(key, "[]")) for key in (_NAME_SCOPES, _CLASSES)
        )
        weights = [weight_layers[name] for name in node.input if name in weight_layers]
        yield ProgramOperator(
            part=None,
            delegated=True,
            name=node.name,
            kind=node.op_type,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            layer=weights[0] if weights else layer_scope(scopes, classes),
        )


def halve(spec: ModelSpec, program: Program) -> Program:
    """Weights and operators in half precision, but for averages that phones cannot run in it;
    inputs and outputs as they were.

    Raises ``ExportError``.
    """
    try:
        with quiet_python():
            from onnxruntime.transformers.float16 import (
                DEFAULT_OP_BLOCK_LIST,
                convert_float_to_float16,
            )

            model = onnx.ModelProto()
            model.CopyFrom(program.model)
            opset = next(
                each.version for each in model.opset_import if each.domain in ("", "ai.onnx")
            )
            pools = ["AveragePool"] if opset > LAST_HALF_AVERAGE else []
            halved = convert_float_to_float16(
                model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *pools]
            )
            _forget_twins(halved)
            return Program(halved, program.weight_layers)
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be converted to fp16 for ONNX Runtime: {describe_error(error)}",
            fix="Export it with --precision fp32.",
            model=spec.path,
        ) from error


def _forget_twins(model: Any) -> None:
    """ONNX Runtime 1.29's converter casts a value once for each node that reads it in float32, all
    under one name, which no file may have twice."""
    seen: set[str] = set()
    for node in list(model.graph.node):
        if node.op_type == "Cast" and node.output[0] in seen:
            model.graph.node.remove(node)
        seen.update(node.output)


def quantize(spec: ModelSpec, program: Program, examples: Sequence[Sequence[Tensor]]) -> Program:
    """Static int8 with weights per channel, signed, and unsigned activations: ONNX Runtime 1.29
    puts operators around signed ones together on Arm alone. On x86 it first makes them unsigned,
    but for those that several operators read, and computes what touches these in float.

    Inputs and outputs stay as they are; ranges are those of ``examples``. Raises ``ExportError``.
    """
    try:
        with quiet_python(), captured_stderr(), tempfile.TemporaryDirectory() as directory:
            from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
            from onnxruntime.quantization.registry import QDQRegistry

            names = [each.name for each in program.model.graph.input]

            class Reader(CalibrationDataReader):  # type: ignore[misc]  # it is untyped
                def __init__(self) -> None:
                    self._left = iter(examples)

                def get_next(self) -> dict[str, Any] | None:
                    example = next(self._left, None)
                    if example is None:
                        return None
                    return dict(zip(names, (tensor.numpy() for tensor in example), strict=True))

            source, target = Path(directory) / "float.onnx", Path(directory) / "int8.onnx"
            program.write(source)
            quantize_static(
                source,
                target,
                Reader(),
                op_types_to_quantize=[name for name in QDQRegistry if name not in FLOAT_OPERATORS],
                nodes_to_exclude=list(program.normalization),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return Program(onnx.load(target), program.weight_layers)
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be quantized to int8 for ONNX Runtime: {describe_error(error)}",
            fix="Export it with --precision fp32.",
            model=spec.path,
        ) from error


def _check_size(spec: ModelSpec, weights_bytes: int) -> None:
    if weights_bytes > MAX_BYTES:
        raise ExportError(
            f"The weights of {spec.name} are too large for one ONNX file",
            fix="Export it to ExecuTorch with --format pte, which has no such limit.",
            weights_bytes=weights_bytes,
            limit_bytes=MAX_BYTES,
        )


def _forget_stack_traces(model: Any) -> None:
    """They name files of this computer, so that equal networks would give unequal artifacts."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != _STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
