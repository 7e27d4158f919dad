"""The one interface behind which a runtime executes artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mobilekit.contract.outputs import Array
from mobilekit.contract.protocol import TraceKind


class EngineError(Exception):
    """The runtime refused: its own words."""


class TracingUnavailableError(Exception):
    """This engine cannot trace its operators, and why."""


class Program(Protocol):
    """A loaded method. It has to be given its inputs before it is executed."""

    execute: Callable[[], object]
    """One inference and nothing else; raises ``EngineError``."""

    def set_inputs(self, inputs: Sequence[Array]) -> None:
        """Bind these inputs in place of those before; raises ``EngineError``."""

    def outputs(self) -> list[Array]:
        """Copies of the last inference's outputs."""

    def close(self) -> None:
        """Free everything that the program holds."""


class TracedProgram(Program, Protocol):
    """A program whose runtime records when each operator ran."""

    trace_kind: TraceKind

    def write_trace(self, target: Path) -> None:
        """Write what was recorded since the program was loaded; closes the program."""


class Engine(Protocol):
    name: str
    version: str
    threads: int

    def load(self, path: Path, method: str, weights: Path | None = None) -> Program:
        """Open a program, with the weights that it has not itself, and load its method; raises
        ``EngineError``."""

    def load_traced(self, path: Path, method: str, weights: Path | None = None) -> TracedProgram:
        """``load`` with tracing on; raises ``TracingUnavailableError`` too."""
