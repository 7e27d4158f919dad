"""Joulescope recordings (``.jls``), read by pyjls, which comes with the extra ``joulescope``."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobilekit.errors import MeterFileError
from mobilekit.meter.columns import Format
from mobilekit.meter.envelope import Floats
from mobilekit.meter.table import BLOCK_BYTES, Chunk
from mobilekit.records.meter import MeterSource, ReadingKind

CHUNK_SAMPLES = 1 << 19


class Recording:
    """A recording's power, or its current and voltage; iterate over ``chunks`` once."""

    def __init__(self, path: Path) -> None:
        """Raises ``MeterFileError`` for a file that pyjls does not read or that lacks signals."""
        try:
            import pyjls
        except ImportError:
            raise MeterFileError(
                "Joulescope recordings are read by pyjls, which is not installed",
                path=path,
                fix='It comes with an extra: pip install "mobilekit[joulescope]".',
            ) from None
        if not path.is_file():
            raise MeterFileError(
                "There is no such file", path=path, fix="Give the path of a recording."
            )
        # Its C library logs what its errors say.
        log = logging.getLogger("pyjls.c")
        log.addHandler(logging.NullHandler())
        log.propagate = False
        self._path = path
        self.size_bytes = path.stat().st_size
        try:
            self._reader: Any = pyjls.Reader(str(path))
        except (RuntimeError, OSError, ValueError) as error:
            raise MeterFileError(
                f"The recording cannot be read: {error}",
                path=path,
                fix="Check that it is a .jls file of version 2; the Joulescope's program converts "
                "older ones.",
            ) from None
        signals = {
            signal.name: signal
            for signal in self._reader.signals.values()
            if signal.name in ("current", "voltage", "power") and signal.length
        }
        if not ("power" in signals or {"current", "voltage"} <= set(signals)):
            self._reader.close()
            raise MeterFileError(
                "The recording has neither power nor both current and voltage",
                path=path,
                signals=", ".join(sorted(signals)) or "-",
                fix="Record the power.",
            )
        self.kind: ReadingKind = "power" if "power" in signals else "current"
        self._value = signals[self.kind]
        self._voltage = signals.get("voltage")
        self.reading = f"{self.kind} from signal {self.kind!r}"
        if self._voltage is not None and (
            self._voltage.sample_rate != self._value.sample_rate
            or self._voltage.sample_id_offset != self._value.sample_id_offset
        ):
            raise MeterFileError(
                f"The recording's {self.kind} and voltage are not sampled together",
                path=path,
                fix="Record them at one rate.",
            )
        self.format: Format = "joulescope"
        self.source: MeterSource = "joulescope"
        self.on_usb = None
        self.notes: list[str] = []
        self.sha256 = ""

    def chunks(self, on_bytes: Callable[[int], None]) -> Iterator[Chunk]:
        """Samples that the Joulescope lost are NaN.

        The voltage is there beside a power too, where it was recorded.
        """
        rate, length = self._value.sample_rate, self._value.length
        if self._voltage is not None:
            length = min(length, self._voltage.length)
        try:
            for start in range(0, length, CHUNK_SAMPLES):
                count = min(CHUNK_SAMPLES, length - start)
                time_s: Floats = (start + np.arange(count, dtype=np.float64)) / rate
                yield Chunk(
                    time_s,
                    self._read(self._value, start, count),
                    self._read(self._voltage, start, count) if self._voltage else None,
                    None,
                )
                on_bytes(int(self.size_bytes * (start + count) / length))
        finally:
            self._reader.close()
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
        self.sha256 = digest.hexdigest()

    def _read(self, signal: Any, start: int, count: int) -> Floats:
        values: Floats = np.asarray(
            self._reader.fsr(signal.signal_id, start, count), dtype=np.float64
        )
        return values
