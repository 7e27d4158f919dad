"""Files that plots are written to."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import UsageError
from mobilekit.results.output_file import check_writable, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot_path(path: Path) -> None:
    """Raises ``UsageError`` for a path that no plot can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"A plot cannot be written as {path.suffix or 'a file without a suffix'!r}",
            path=path,
            fix=f"End it in one of {', '.join(SUFFIXES)}.",
        )
    check_writable(path)


def write_figure(figure: Figure, path: Path) -> None:
    """In the format of the path's suffix; what was there before is replaced whole."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=150, format=path.suffix[1:].lower())
    write_file(path, drawn.getvalue())
