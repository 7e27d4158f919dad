"""ONNX Runtime on this computer's processor."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from mobilekit.contract.outputs import Array
from mobilekit.contract.protocol import TraceKind
from mobilekit.formats import ONNX_EXACT_PRODUCTS
from mobilekit.runner.engine import EngineError, Program, TracedProgram

LOG_ERRORS_ONLY = 3
REFUSALS = (
    errors.EPFail,
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
    RuntimeError,
    ValueError,
)
"""Its errors have no base of their own, and a lack of memory must stay a ``MemoryError``."""


class OnnxProgram:
    """A session whose inputs are bound by position, so that an inference copies none of them.

    With ``traced`` it records ONNX Runtime's profile.
    """

    trace_kind: TraceKind = "onnxruntime"

    def __init__(self, path: Path, threads: int, *, traced: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = LOG_ERRORS_ONLY
        options.add_session_config_entry(*ONNX_EXACT_PRODUCTS)
        self._scratch = tempfile.TemporaryDirectory(prefix="mobilekit-") if traced else None
        if self._scratch is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self._scratch.name) / "trace")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            self._binding = self._session.io_binding()
            for node in self._session.get_outputs():
                self._binding.bind_output(node.name)
        except REFUSALS as error:
            raise EngineError(str(error)) from None
        run, binding = self._session.run_with_iobinding, self._binding

        def execute() -> None:
            try:
                run(binding)
            except REFUSALS as error:
                raise EngineError(str(error)) from None

        self.execute: Callable[[], object] = execute

    def set_inputs(self, inputs: Sequence[Array]) -> None:
        # ONNX Runtime reads the arrays' own memory, and keeps none of them from being freed.
        self._inputs = tuple(inputs)
        try:
            for node, array in zip(self._session.get_inputs(), inputs, strict=True):
                value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
                self._binding.bind_ortvalue_input(node.name, value)
        except REFUSALS as error:
            raise EngineError(str(error)) from None

    def outputs(self) -> list[Array]:
        return list(self._binding.copy_outputs_to_cpu())

    def write_trace(self, target: Path) -> None:
        shutil.move(self._session.end_profiling(), target)
        self.close()

    def close(self) -> None:
        del self.execute, self._binding, self._session
        if self._scratch is not None:
            self._scratch.cleanup()


class OnnxEngine:
    """Runs ``.onnx`` files, which have one graph and no methods, with ``threads`` threads."""

    name = "onnxruntime"

    def __init__(self, threads: int | None) -> None:
        self.version: str = onnxruntime.__version__
        self.threads = threads or os.cpu_count() or 1

    def load(self, path: Path, method: str, weights: Path | None = None) -> Program:
        return OnnxProgram(path, self.threads)

    def load_traced(self, path: Path, method: str, weights: Path | None = None) -> TracedProgram:
        return OnnxProgram(path, self.threads, traced=True)
