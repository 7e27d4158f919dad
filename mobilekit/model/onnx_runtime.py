"""Runs an ``.onnx`` file once on this computer, to check what is exported and what is read.

Imports torch and, to run, onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mobilekit.errors import ExportError
from mobilekit.formats import ONNX_EXACT_PRODUCTS
from mobilekit.model.failures import describe_error
from mobilekit.records.network import ModelSpec

_LOG_ERRORS_ONLY = 3


def run_file(
    path: Path, inputs: Sequence[Tensor], spec: ModelSpec | None = None, *, fused: bool = True
) -> tuple[Tensor, ...]:
    """Load a file in ONNX Runtime and run it on ``inputs``, which are bound by position.

    ``fused`` says whether operators are put together, as they are where figures are measured, and
    eight bits rounded less often than the file says.

    Raises ``ExportError`` with the runtime's words; they are about ``spec``, if it is given.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _LOG_ERRORS_ONLY
    options.add_session_config_entry(*ONNX_EXACT_PRODUCTS)
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        names = [each.name for each in session.get_inputs()]
        feeds = dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True))
        return tuple(torch.from_numpy(array) for array in session.run(None, feeds))
    except Exception as error:  # its errors have no common base
        raise ExportError(
            f"ONNX Runtime cannot run {spec.name if spec else path.name}: {describe_error(error)}",
            fix="Replace the operator that it names, or report it to ONNX Runtime.",
            model=spec.path if spec else path,
        ) from error
