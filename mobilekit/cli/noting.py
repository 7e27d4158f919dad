"""Progress of what takes seconds the first time and nothing afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mobilekit.cli.progress import TerminalReporter


@contextmanager
def noting() -> Iterator[Callable[[str], None]]:
    """What to tell notes to; what shows them is loaded with the first, since that takes longer than
    an answer that needs none."""
    reporter: TerminalReporter | None = None
    with ExitStack() as stack:

        def note(text: str) -> None:
            nonlocal reporter
            if reporter is None:
                from mobilekit.cli.progress import TerminalReporter

                reporter = stack.enter_context(TerminalReporter())
            reporter.note(text)

        yield note
