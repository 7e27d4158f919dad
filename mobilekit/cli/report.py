"""``report``: stored results as a page to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.cli.options import StoreOption

if TYPE_CHECKING:
    from mobilekit.errors import DamagedResultError
    from mobilekit.results.store import Store


def report(
    chosen: Annotated[
        list[str] | None,
        typer.Argument(
            help="Campaigns' names, and results' ids, their beginnings or `last`. [default: all]",
            metavar="CAMPAIGN|ID...",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path(
        "report.html"
    ),
    store: StoreOption = None,
) -> None:
    """Write stored results as one HTML page: tables and charts, for a browser or for print."""
    from mobilekit.cli.failure import exit_for_damage
    from mobilekit.cli.terminal import say
    from mobilekit.results.output_file import check_writable
    from mobilekit.results.store import open_to_read

    check_writable(output)
    damaged: list[DamagedResultError] = []
    say(write_report(chosen or [], output, open_to_read(store), damaged.append))
    exit_for_damage(damaged)


def write_report(
    chosen: Sequence[str],
    output: Path,
    store: Store,
    on_damage: Callable[[DamagedResultError], None],
) -> str:
    """What was written. Raises as ``gather_report``."""
    from mobilekit.flow.report import gather_report
    from mobilekit.results.output_file import write_file
    from mobilekit.results.report.page import render_report
    from mobilekit.units import format_bytes

    document = gather_report(chosen, store, on_damage)
    page = render_report(document).encode()
    write_file(output, page)
    count = len(document.results) + len(document.imports)
    return f"Wrote {output}: {count} result{'' if count == 1 else 's'}, {format_bytes(len(page))}"
