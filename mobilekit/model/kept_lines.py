"""What a long search has found, a line each, so that a killed one goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from mobilekit.contract.codec import Record, decode, encode
from mobilekit.errors import ProtocolError
from mobilekit.model.files import reporting_full_disk

KEPT_S = 24 * 3600
"""For how long what a search measured on a device stands for it."""


def stands_still(measured_at_s: float) -> bool:
    """Whether what was measured then, in Unix time, stands for the device today. Not what is of the
    future, as after a clock that was set."""
    return 0 <= time.time() - measured_at_s < KEPT_S


class KeptLines:
    """Records of one type by their keys, in a file of their own for everything that they depend on.

    A line that is damaged, as the last one of a killed command may be, is as if it were not there.
    """

    def __init__(self, directory: Path, name: str, parts: object, record_type: Any) -> None:
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
        self._directory = directory
        self._path = directory / f"{name}-{digest}.jsonl"
        self._found: dict[str, Any] = {}
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                kept = decode(line, _Line, source=self._path.name)
                if _digest(kept.key, kept.record) == kept.sha256:
                    record = decode(kept.record.encode(), record_type, source=self._path.name)
                    self._found[kept.key] = record
            except ProtocolError:
                continue

    def get(self, key: str) -> Any:
        """``None`` where it is not known."""
        return self._found.get(key)

    def records(self) -> tuple[Any, ...]:
        """The newest of each key."""
        return tuple(self._found.values())

    def add(self, key: str, record: object) -> None:
        """Kept from now on, whatever ends the command."""
        text = encode(record).decode()
        line = encode(_Line(key=key, record=text, sha256=_digest(key, text)))
        with reporting_full_disk(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                # A line of its own, whatever a killed command has left.
                file.write(b"\n" + line + b"\n")
        self._found[key] = record


class _Line(Record, frozen=True):
    key: str
    record: str
    sha256: str


def _digest(key: str, record: str) -> str:
    return hashlib.sha256(f"{key}\n{record}".encode()).hexdigest()
