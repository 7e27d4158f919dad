"""Which engine runs a format here. Each is imported only when it is needed."""

from __future__ import annotations

from mobilekit.runner.engine import Engine, EngineError


def make_engine(artifact_format: str, threads: int | None) -> Engine:
    """The engine of this computer for a format; raises ``EngineError`` where there is none."""
    if artifact_format == "pte":
        from mobilekit.runner.executorch_engine import ExecutorchEngine

        return ExecutorchEngine(threads)
    if artifact_format == "onnx":
        try:
            from mobilekit.runner.onnx_engine import OnnxEngine
        except ImportError as error:
            raise EngineError(f"{error}; pip install 'mobilekit[onnx]'") from None
        return OnnxEngine(threads)
    if artifact_format == "tflite":
        try:
            from mobilekit.runner.litert_engine import LiteRtEngine
        except ImportError as error:
            raise EngineError(f"{error}; pip install 'mobilekit[tflite]'") from None
        return LiteRtEngine(threads)
    raise EngineError(f"this companion has no engine for .{artifact_format}")
