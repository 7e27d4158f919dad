"""``report``: stored results as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli.options import StoreOption


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
    from mobilekit.errors import DamagedResultError
    from mobilekit.flow.report import gather_report
    from mobilekit.results.output_file import check_writable, write_file
    from mobilekit.results.report.page import render_report
    from mobilekit.results.store import open_to_read
    from mobilekit.units import format_bytes

    check_writable(output)
    damaged: list[DamagedResultError] = []
    document = gather_report(chosen or [], open_to_read(store), damaged.append)
    page = render_report(document).encode()
    write_file(output, page)
    count = len(document.results) + len(document.imports)
    say(f"Wrote {output}: {count} result{'' if count == 1 else 's'}, {format_bytes(len(page))}")
    exit_for_damage(damaged)
