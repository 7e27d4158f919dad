"""Writing files whole or not at all, and records so that damage shows."""

from __future__ import annotations

import hashlib
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mobilekit.contract.codec import Record, decode, encode
from mobilekit.errors import ExportError, ProtocolError

BAD_ARRAYS = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError, MemoryError),
    *(OverflowError, NotImplementedError, SyntaxError, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy raises for a file that is not one of its own: it reads a header as Python's text."""


@contextmanager
def written_aside(directory: Path) -> Iterator[Path]:
    """An empty file in ``directory`` to write to and then ``put_in_place``; else it is removed."""
    import tempfile

    directory.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=directory, prefix=".", suffix=".part")
    os.close(handle)
    path = Path(name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def put_in_place(aside: Path, target: Path) -> None:
    """Sync ``aside`` and give it its name, over a file that may already have it."""
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(target)


@contextmanager
def reporting_full_disk(directory: Path) -> Iterator[None]:
    """Turn a failure to write below ``directory`` into an ``ExportError``."""
    try:
        yield
    except OSError as error:
        path = error.filename2 or error.filename or directory
        raise ExportError(
            f"{path} cannot be written to: {error.strerror or error}",
            fix="Free some space there, or choose another place with MOBILEKIT_HOME."
            if not Path(path).is_dir() or path == directory
            else "Remove it: its name is that of a file in the cache.",
        ) from error


def write_whole(target: Path, data: bytes) -> None:
    """Write ``target`` such that a reader sees it whole or not at all."""
    with written_aside(target.parent) as aside:
        aside.write_bytes(data)
        put_in_place(aside, target)


class _Sealed(Record, frozen=True):
    """A record in the cache. One flipped bit may leave it a record, of something else, and so may a
    file of another name in its place."""

    sha256: str
    record: msgspec.Raw


def _seal(name: str, data: bytes) -> str:
    return hashlib.sha256(name.encode() + b"\0" + data).hexdigest()


def write_record(target: Path, record: object) -> None:
    """Whole, with the hash of its name and itself."""
    data = encode(record)
    sealed = _Sealed(sha256=_seal(target.name, data), record=msgspec.Raw(data))
    write_whole(target, encode(sealed) + b"\n")


def read_record(path: Path, record_type: Any) -> Any:
    """What ``write_record`` has written.

    Raises ``OSError``, and ``ProtocolError`` for anything else than what was written there.
    """
    if path.exists() and not path.is_file():
        raise ProtocolError(f"{path.name} is no file", fix="Remove it.")
    sealed: _Sealed = decode(path.read_bytes(), _Sealed, source=path.name)
    data = bytes(sealed.record)
    if _seal(path.name, data) != sealed.sha256:
        raise ProtocolError(
            f"{path.name} has other content than was written to it", fix="Delete it."
        )
    return decode(data, record_type, source=path.name)
