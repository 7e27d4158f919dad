"""How wide what is printed may be."""

from __future__ import annotations

import os
import shutil
import sys


def terminal_width() -> int | None:
    """Of standard output, or as ``COLUMNS`` says; ``None`` for a file or a pipe without it."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None
