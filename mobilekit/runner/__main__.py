"""This computer's companion: ``python -m mobilekit.runner INPUT_ROOT OUTPUT_ROOT RUN_ID``.

A run has a process of its own, so that its memory is its own and a crash of the runtime is
nobody else's. The exit code is 0 once a result is written, be it a success or a failure.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mobilekit.runner.engine import Engine, EngineError
from mobilekit.runner.loop import Surroundings, run


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
    raise EngineError(f"this companion has no engine for .{artifact_format}")


def main(input_root: str, output_root: str, run_id: str) -> None:
    surroundings = Surroundings(
        name="mobilekit runner",
        clock_ns=time.monotonic_ns,
        make_engine=make_engine,
        battery=None,
        read_battery=None,
        make_energy_stage=None,
        settle=lambda: None,
    )
    run(Path(input_root), Path(output_root), run_id, surroundings)


if __name__ == "__main__":
    main(*sys.argv[1:])
