"""The one interface behind which a runtime executes artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mobilekit.outputs import Array


class EngineError(Exception):
    """The runtime refused: its own words."""


class Program(Protocol):
    """A loaded method, ready to run on inputs that are already bound."""

    execute: Callable[[], object]
    """One inference and nothing else; raises ``EngineError``."""

    def outputs(self) -> list[Array]:
        """Copies of the last inference's outputs."""

    def close(self) -> None:
        """Free everything that the program holds."""


class Engine(Protocol):
    name: str
    version: str
    threads: int

    def load(self, path: Path, method: str, inputs: Sequence[Array]) -> Program:
        """Open a program, load its method and bind the inputs; raises ``EngineError``."""
