"""Files that plots are written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import UsageError

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
    if not path.absolute().parent.is_dir():
        raise UsageError(
            "There is no such directory", path=path.absolute().parent, fix="Make it first."
        )


def write_figure(figure: Figure, path: Path) -> None:
    """In the format of the path's suffix; what was there before is replaced whole."""
    aside = path.with_name(f"{path.stem}.part{path.suffix}")
    figure.savefig(aside, dpi=150)
    aside.replace(path)
