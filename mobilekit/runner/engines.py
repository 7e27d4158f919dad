"""Which engine runs a format here. Each is imported only when it is needed."""

from __future__ import annotations

from mobilekit.contract.protocol import Format
from mobilekit.formats import FORMATS
from mobilekit.runner.engine import Engine, EngineError


def make_engine(artifact_format: Format, threads: int | None) -> Engine:
    """The engine of this computer for a format; raises ``EngineError`` if it is not installed."""
    try:
        if artifact_format == "pte":
            from mobilekit.runner.executorch_engine import ExecutorchEngine

            return ExecutorchEngine(threads)
        if artifact_format == "onnx":
            from mobilekit.runner.onnx_engine import OnnxEngine

            return OnnxEngine(threads)
        from mobilekit.runner.litert_engine import LiteRtEngine

        return LiteRtEngine(threads)
    except ImportError as error:
        extra = FORMATS[artifact_format].extra
        if extra is None:
            raise
        raise EngineError(f"{error}; pip install 'mobilekit[{extra}]'") from None
