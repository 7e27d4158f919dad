"""What is printed, made harmless to the terminal; and how wide it may be."""

from __future__ import annotations

import os
import shutil
import sys

import typer

from mobilekit.plain import plain_lines


def say(text: str | bytes, *, nl: bool = True, err: bool = False) -> None:
    """Print on standard output or error: the one place where a command prints what it has to say.

    What phones, models and files call themselves can be anything; none of it does more than inform.
    """
    if isinstance(text, bytes):
        text = text.decode()
    typer.echo(plain_lines(text), nl=nl, err=err)


def terminal_width() -> int | None:
    """Of standard output, or as ``COLUMNS`` says; ``None`` for a file or a pipe without it."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None
