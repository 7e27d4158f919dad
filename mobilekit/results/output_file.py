"""Files that a person names for what is written: exports, traces and plots."""

from __future__ import annotations

import os
from pathlib import Path

from mobilekit.errors import UsageError


def check_writable(path: Path) -> None:
    """Raises ``UsageError`` for a path that ``write_file`` could not write to."""
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a directory")
        if not path.exists() and not _target(path).parent.is_dir():
            raise FileNotFoundError("there is no such directory")
        needed = [path] if path.exists() else []
        if not _is_special(path):
            needed.append(_target(path).parent)
        if not all(os.access(each, os.W_OK) for each in needed):
            raise PermissionError("permission denied")
    except OSError as error:
        raise _unwritable(path, error) from None


def write_file(path: Path, data: bytes) -> None:
    """Replace a regular file whole, through links to it; write into a pipe or a device.

    Raises ``UsageError`` if it cannot be written.
    """
    try:
        check_writable(path)
        if _is_special(path):
            path.write_bytes(data)
            return
        target = _target(path)
        aside = target.with_name(target.name + ".part")
        try:
            aside.write_bytes(data)
            aside.replace(target)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error) from None


def _is_special(path: Path) -> bool:
    """Whether something is there that must not be replaced: a pipe, a device, a terminal."""
    return path.exists() and not path.is_file()


def _target(path: Path) -> Path:
    """Where links lead; what they lead to need not be there."""
    return Path(os.path.realpath(path))


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"The file cannot be written: {error.strerror or error}",
        path=path,
        fix="Name another file to write to.",
    )
