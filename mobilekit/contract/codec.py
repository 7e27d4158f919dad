"""Strict JSON for every record: an unknown, missing or ill-typed field is an error naming it."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, TypeVar

import msgspec

from mobilekit.errors import ProtocolError

MAX_DOCUMENT_BYTES = 2**29
"""Of any document, a stored one that holds many messages included."""


_LEARNING = threading.Lock()
Decoded = TypeVar("Decoded")


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every record: immutable, strictly decoded, its fields named with their unit."""


def encode(record: object) -> bytes:
    """One line of UTF-8 JSON, without a line end."""
    return msgspec.json.encode(record)


def encode_pretty(record: object) -> bytes:
    """Indented JSON for people, with a line end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes | str, record_type: Any, *, source: str) -> Any:
    """Decode one JSON document; ``source`` says in the error where it came from.

    Raises ``ProtocolError`` for text that is not JSON or too long, and for a field that is unknown,
    missing, of another type or out of its range; its message holds the field's path, such as
    ``$.energy.blocks``.
    """
    try:
        # What a database holds may be a number.
        if not isinstance(data, (bytes, bytearray, memoryview, str)):
            raise msgspec.DecodeError(f"It is no text but {data!r}")
        if len(data) > MAX_DOCUMENT_BYTES:
            raise msgspec.DecodeError(f"It is longer than {MAX_DOCUMENT_BYTES} bytes")
        return _decoder(record_type).decode(data)
    except RecursionError:
        problem = "It is nested too deeply"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = str(error)
    raise ProtocolError(
        f"{source} is not a valid {getattr(record_type, '__name__', 'message')}: {problem}",
        fix="Check that mobilekit and what wrote this are of the same version.",
    )


def decode_toml(data: bytes | str, record_type: type[Decoded]) -> Decoded:
    """Decode TOML of a file, of a type that is learned before, one at a time.

    Raises ``msgspec.DecodeError`` for other text and for fields as ``decode`` refuses them, and
    ``UnicodeDecodeError``.
    """
    _decoder(record_type)  # type: ignore[arg-type]  # a type is hashable
    return msgspec.toml.decode(data, type=record_type)


@cache
def _decoder(record_type: Any) -> msgspec.json.Decoder[Any]:
    """msgspec learns a type as its first decoder is made, and a second thread that meets one half
    learned ends the process: one learns at a time."""
    with _LEARNING:
        return msgspec.json.Decoder(record_type)
