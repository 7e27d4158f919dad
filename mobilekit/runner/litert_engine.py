"""LiteRT on this computer's processor, with its XNNPACK delegate as on a phone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from mobilekit.contract.outputs import Array
from mobilekit.runner.engine import (
    EngineError,
    Program,
    TracedProgram,
    TracingUnavailableError,
)


class LiteRtProgram:
    """An interpreter whose inputs are copied into it by position, once.

    Its memory planner never gives an input's place to another tensor, so that they stay.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._interpreter = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise EngineError(str(error)) from None
        invoke = self._interpreter.invoke

        def execute() -> None:
            try:
                invoke()
            except (RuntimeError, ValueError) as error:
                raise EngineError(str(error)) from None

        self.execute: Callable[[], object] = execute

    def set_inputs(self, inputs: Sequence[Array]) -> None:
        try:
            for into, array in zip(self._interpreter.get_input_details(), inputs, strict=True):
                self._interpreter.set_tensor(into["index"], array)
        except ValueError as error:
            raise EngineError(str(error)) from None

    def outputs(self) -> list[Array]:
        return [
            self._interpreter.get_tensor(output["index"])
            for output in self._interpreter.get_output_details()
        ]

    def close(self) -> None:
        del self.execute, self._interpreter


class LiteRtEngine:
    """Runs ``.tflite`` files; their default signature, and ``threads`` of XNNPACK's threads."""

    name = "litert"

    def __init__(self, threads: int | None) -> None:
        self.version = version("ai-edge-litert")
        self.threads = threads or os.cpu_count() or 1

    def load(self, path: Path, method: str, weights: Path | None = None) -> Program:
        return LiteRtProgram(path, self.threads)

    def load_traced(self, path: Path, method: str, weights: Path | None = None) -> TracedProgram:
        raise TracingUnavailableError("LiteRT's Python package cannot record its operators' times")
