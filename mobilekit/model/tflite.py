"""LiteRT's format: converts a network's graph, and runs a ``.tflite`` file once to check it.

Inputs and outputs keep PyTorch's order, types and layout (NCHW): the converter puts transpositions
of its own into the program where its kernels want NHWC, so that a program of this format is fed the
same bytes as one of any other.

Imports torch, litert_torch, ai_edge_litert and, below fp32, ai_edge_quantizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mobilekit.errors import ExportError
from mobilekit.model.failures import describe_error, fix_of
from mobilekit.model.quiet import captured_stderr, environment, quiet_python
from mobilekit.model.spared_work import sparing_decompositions
from mobilekit.records.artifact import Delegation, ProgramOperator
from mobilekit.records.network import ModelSpec

SIGNATURE = "serving_default"
QUIET = {
    "LITERT_TORCH_SHOW_PROGRESS": "n",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # Nothing here uses it, but TensorFlow says at length that it is on.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


@dataclass(frozen=True)
class Program:
    """A converted network, ready to be written."""

    content: bytes
    operator_count: int
    operators: tuple[ProgramOperator, ...] = ()
    """None that could be resolved to layers: LiteRT traces nothing here."""

    def write(self, path: Path) -> None:
        path.write_bytes(self.content)

    def run_once(self, spec: ModelSpec, path: Path, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Load the file in LiteRT and run it on ``inputs``, which are bound by position.

        Raises ``ExportError`` with the runtime's words.
        """
        from ai_edge_litert.interpreter import Interpreter

        with captured_stderr():  # It says there that it has a delegate.
            try:
                interpreter = Interpreter(str(path))
                interpreter.allocate_tensors()
                for into, tensor in zip(interpreter.get_input_details(), inputs, strict=True):
                    interpreter.set_tensor(into["index"], tensor.numpy())
                interpreter.invoke()
                return tuple(
                    torch.from_numpy(interpreter.get_tensor(output["index"]))
                    for output in interpreter.get_output_details()
                )
            except (RuntimeError, ValueError) as error:
                raise ExportError(
                    f"LiteRT cannot run {spec.name}: {describe_error(error)}",
                    fix=fix_of(error, "LiteRT"),
                    model=spec.path,
                ) from error

    def delegation(self, total_macs: int) -> Delegation:
        """Nothing is left to anybody else: LiteRT has a kernel of its own for every operator of
        the file, or it would not have loaded it."""
        return Delegation(
            delegated_operators=self.operator_count,
            portable_operators=0,
            delegated_macs=total_macs,
            total_macs=total_macs,
            portable_operator_counts={},
        )


def convert(spec: ModelSpec, exported: Any, inputs: Sequence[Tensor]) -> Program:
    """From a ``torch.export.ExportedProgram`` and inputs as it was traced with.

    Raises ``ExportError`` for what LiteRT has no operator for.
    """
    try:
        with quiet_python(), environment(QUIET):
            import litert_torch

            with sparing_decompositions():
                # 64 bits, or else integers become 32 wide, inputs and outputs too.
                converted = litert_torch.convert(exported.module(), tuple(inputs), enable_x64=True)
            content = converted.model_content()
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be converted to LiteRT's format: {describe_error(error)}",
            fix=fix_of(error, "LiteRT"),
            model=spec.path,
        ) from error
    return Program(content, _count_operators(content))


def halve(spec: ModelSpec, program: Program) -> Program:
    """Weights in half precision; LiteRT widens them when it loads them, and computes in float32.

    Raises ``ExportError``.
    """

    def add(recipe: Any, operation: Any, algorithm: Any) -> None:
        recipe.add_weight_only_config(
            regex=".*",
            operation_name=operation.ALL_SUPPORTED,
            num_bits=16,
            algorithm_key=algorithm.FLOAT_CASTING,
        )

    return _requantize(spec, program, "fp16", add, ())


def quantize(spec: ModelSpec, program: Program, examples: Sequence[Sequence[Tensor]]) -> Program:
    """Static int8: weights per channel, activations per tensor.

    Inputs and outputs stay as they are; ranges are those of ``examples``. Raises ``ExportError``.
    """

    def add(recipe: Any, operation: Any, algorithm: Any) -> None:
        recipe.add_static_config(
            regex=".*",
            operation_name=operation.ALL_SUPPORTED,
            activation_num_bits=8,
            weight_num_bits=8,
        )
        for regex, name in (
            (".*", operation.INPUT),
            (".*", operation.OUTPUT),
            # Its outputs would be multiples of 1/256: all zero where a thousand classes are
            # equally likely.
            (".*", operation.SOFTMAX),
            (".*LocalResponseNorm.*", operation.ALL_SUPPORTED),
        ):
            recipe.add_quantization_config(
                regex=regex, operation_name=name, algorithm_key=algorithm.NO_QUANTIZE
            )

    return _requantize(spec, program, "int8", add, examples)


def _requantize(
    spec: ModelSpec,
    program: Program,
    precision: str,
    add: Callable[[Any, Any, Any], None],
    examples: Sequence[Sequence[Tensor]],
) -> Program:
    try:
        with quiet_python(), captured_stderr():
            from ai_edge_quantizer.algorithm_manager import AlgorithmName
            from ai_edge_quantizer.qtyping import TFLOperationName
            from ai_edge_quantizer.quantizer import Quantizer
            from ai_edge_quantizer.recipe_manager import RecipeManager

            recipe = RecipeManager()
            add(recipe, TFLOperationName, AlgorithmName)
            quantizer = Quantizer(bytearray(program.content), recipe.get_quantization_recipe())
            ranges = _find_ranges(quantizer, examples) if quantizer.need_calibration else None
            content = bytes(quantizer.quantize(ranges).quantized_model)
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be converted to {precision} for LiteRT: {describe_error(error)}",
            fix="Export it with --precision fp32.",
            model=spec.path,
        ) from error
    return Program(content, _count_operators(content))


def _find_ranges(quantizer: Any, examples: Sequence[Sequence[Tensor]]) -> dict[str, Any]:
    """The smallest and the largest value of each tensor over all examples.

    The quantizer's own way through several is a moving average, which cuts off what a later
    example alone reaches: with few of them, the largest outputs.
    """
    ranges: dict[str, Any] = {}
    for example in examples:
        feed = {f"args_{index}": tensor.numpy() for index, tensor in enumerate(example)}
        for name, seen in quantizer.calibrate({SIGNATURE: [feed]}).items():
            known = ranges.setdefault(name, dict(seen))
            if "min" in seen:
                known["min"] = np.minimum(known["min"], seen["min"])
                known["max"] = np.maximum(known["max"], seen["max"])
    return ranges


def _count_operators(content: bytes) -> int:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    return sum(model.Subgraphs(index).OperatorsLength() for index in range(model.SubgraphsLength()))
