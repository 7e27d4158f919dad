"""ExecuTorch on this computer, through the extension module that its wheel carries.

``executorch.runtime`` is the public way in, but importing it costs about five seconds (it pulls
in ``torch._dynamo``); the extension itself costs nothing beyond ``torch``. It is private, so this
module is the only one in the runner that knows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from executorch.extension.pybindings import _C

from mobilekit.contract.outputs import Array
from mobilekit.contract.protocol import TraceKind
from mobilekit.runner.engine import EngineError, Program, TracedProgram


class ExecutorchProgram:
    """A loaded method; with ``traced`` it records an ETDump."""

    trace_kind: TraceKind = "etdump"

    def __init__(
        self, path: Path, method: str, weights: Path | None, *, traced: bool = False
    ) -> None:
        try:
            self._program = _C._load_program(
                str(path),
                enable_etdump=traced,
                data_path=None if weights is None else str(weights),
            )
            self._method = self._program.load_method(method)
        except RuntimeError as error:
            raise EngineError(str(error)) from None
        tensors: list[torch.Tensor] = []
        self._tensors = tensors
        call = self._method.call

        def execute() -> None:
            try:
                call(tensors, False)
            except RuntimeError as error:
                raise EngineError(str(error)) from None

        self.execute: Callable[[], object] = execute

    def set_inputs(self, inputs: Sequence[Array]) -> None:
        self._tensors[:] = (torch.from_numpy(array) for array in inputs)

    def outputs(self) -> list[Array]:
        return [np.array(tensor.numpy()) for tensor in self._method.get_outputs(True)]

    def write_trace(self, target: Path) -> None:
        self._program.write_etdump_result_to_file(str(target), os.devnull)
        self.close()

    def close(self) -> None:
        del self.execute, self._tensors, self._method, self._program


class ExecutorchEngine:
    """Runs ``.pte`` programs; ``threads`` processors of XNNPACK's pool."""

    name = "executorch"

    def __init__(self, threads: int | None) -> None:
        self.version = version("executorch")
        self.threads = threads or os.cpu_count() or 1
        _C._unsafe_reset_threadpool(self.threads)

    def load(self, path: Path, method: str, weights: Path | None = None) -> Program:
        return ExecutorchProgram(path, method, weights)

    def load_traced(self, path: Path, method: str, weights: Path | None = None) -> TracedProgram:
        return ExecutorchProgram(path, method, weights, traced=True)
