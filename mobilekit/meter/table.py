"""A text table of any size, chunk by chunk.

pandas parses, about ten million samples a second. The file is cut into blocks at line ends here,
so that progress, the file's hash and the number of a line at fault are known exactly.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mobilekit.errors import MeterFileError
from mobilekit.meter.clock_times import clock_seconds
from mobilekit.meter.columns import FileOptions, Marker, Scaled, TimeColumn
from mobilekit.meter.envelope import Floats
from mobilekit.meter.find_columns import find_columns
from mobilekit.meter.layout import MISSING, find_layout, is_value, split_line

HEAD_BYTES = 1 << 16
BLOCK_BYTES = 8 << 20
MAX_LINE_BYTES = 1 << 20
NUMPY_SCALAR = re.compile(rb"np\.float64\(([^)\n]*)\)")
"""A number in what a Monsoon's Python library writes with numpy 2."""


class Chunk(NamedTuple):
    """The next samples: seconds, and SI units of the reading; NaN where there is no number."""

    time_s: Floats
    reading: Floats
    supply_v: Floats | None
    marker: Floats | None


class Table:
    """A meter's text table, opened and understood; iterate over ``chunks`` once."""

    def __init__(self, path: Path, options: FileOptions) -> None:
        """Raises ``MeterFileError`` for a file that cannot be read, or not as it is told."""
        self._path = path
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
                self.size_bytes = path.stat().st_size
        except OSError as error:
            raise MeterFileError(
                f"The file cannot be read: {error.strerror}",
                path=path,
                fix="Give the path of a meter's export.",
            ) from None
        if not head:
            raise MeterFileError("The file is empty", path=path, fix="Export it again.")
        if len(head) < HEAD_BYTES and not head.endswith(b"\n"):
            head += b"\n"
        self._has_scalars = NUMPY_SCALAR.search(head) is not None
        self._layout = find_layout(
            _plain(head) if self._has_scalars else head,
            path=path,
            delimiter=options.delimiter,
            decimal=options.decimal,
        )
        self.columns = find_columns(self._layout, options, path)
        self.format, self.source = self.columns.format, self.columns.source
        self.kind, self.reading = self.columns.kind, self.columns.reading
        self.on_usb = self.columns.on_usb
        self.notes = list(self.columns.notes)
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of the file, once its chunks are all read."""
        return self._hash.hexdigest()

    def title_of(self, scaled: Scaled) -> str:
        return self._layout.columns[scaled.column].title

    def chunks(
        self, on_bytes: Callable[[int], None], block_bytes: int = BLOCK_BYTES
    ) -> Iterator[Chunk]:
        """Parse the table; ``on_bytes`` is told how far it is.

        Raises ``MeterFileError`` for a line that does not fit the table, by its number.
        """
        rows_before = 0
        with self._path.open("rb") as file:
            for line, block, is_last in self._blocks(file, on_bytes, block_bytes):
                frame = self._parse(line, block, is_last)
                chunk = self._to_chunk(frame, rows_before)
                rows_before += len(chunk.time_s)
                yield chunk

    def _blocks(
        self, file: BinaryIO, on_bytes: Callable[[int], None], block_bytes: int
    ) -> Iterator[tuple[int, bytes, bool]]:
        """Whole lines of data as UTF-8 or Latin-1, with the number of the first of them."""
        is_wide = self._layout.encoding == "utf-16"
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace") if is_wide else None
        to_skip = self._layout.first_line - 1
        line, rest, done = 1, b"", 0
        while True:
            data = file.read(block_bytes)
            self._hash.update(data)
            done += len(data)
            text = rest + (decoder.decode(data, final=not data).encode() if decoder else data)
            if line == 1:
                text = text.removeprefix(codecs.BOM_UTF8)
            cut = len(text) if not data else text.rfind(b"\n") + 1
            if not cut and len(text) > MAX_LINE_BYTES:
                raise MeterFileError(
                    "A line is longer than a mebibyte",
                    path=self._path,
                    line=line,
                    fix="Check that the file is a table of text.",
                )
            block, rest = text[:cut], text[cut:]
            first_line = line
            line += block.count(b"\n")
            while to_skip and block:
                end = block.find(b"\n") + 1 or len(block)
                block = block[end:]
                first_line += 1
                to_skip -= 1
            if block.strip():
                yield first_line, block, not data
            on_bytes(done)
            if not data:
                return

    def _parse(self, line: int, block: bytes, is_last: bool) -> Any:
        """A data frame whose columns are numbered as in the file."""
        import pandas as pd

        if self._has_scalars:
            block = _plain(block)
        layout, columns = self._layout, self.columns
        numeric = [
            scaled.column for scaled in (columns.value, columns.voltage) if scaled is not None
        ]
        text = [columns.marker.column] if columns.marker is not None else []
        if columns.time.column >= 0:
            (text if columns.time.is_clock else numeric).append(columns.time.column)
        try:
            frame = pd.read_csv(
                io.BytesIO(block),
                sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
                decimal=layout.decimal,
                header=None,
                names=range(len(layout.columns)),
                index_col=False,
                usecols=sorted({*numeric, *text}),
                dtype=dict.fromkeys(numeric, np.float64) | dict.fromkeys(text, str),
                na_values=list(MISSING),
                keep_default_na=False,
                skipinitialspace=True,
                encoding="latin-1",
                low_memory=False,
            )
        except ValueError:
            frame = None
        if frame is not None and self._has_equal_fields(block, len(frame)):
            return frame
        wrong = self._first_wrong_line(block, numeric)
        if wrong is None:
            if frame is None:
                raise self._line_error(line, "cannot be parsed")
            return frame
        number, start, what = wrong
        if is_last and not block.endswith(b"\n") and b"\n" not in block[start:]:
            self.notes.append("the last line is cut off and left out")
            return self._parse(line, block[:start], is_last=False)
        raise self._line_error(line + number, what)

    def _has_equal_fields(self, block: bytes, rows: int) -> bool:
        """Whether the count of delimiters is right, as far as it tells: pandas drops what a line
        has too much. Some meters end each line with a delimiter."""
        if self._layout.delimiter == " " or b'"' in block:
            return True
        expected = rows * (len(self._layout.columns) - 1)
        return block.count(self._layout.delimiter.encode()) in (expected, expected + rows)

    def _first_wrong_line(self, block: bytes, numeric: list[int]) -> tuple[int, int, str] | None:
        """Its number and offset in the block, and what is wrong with it."""
        layout, start = self._layout, 0
        width = len(layout.columns)
        for number, raw in enumerate(block.splitlines(keepends=True)):
            line = raw.decode("latin-1").rstrip("\r\n")
            if line.strip():
                fields = split_line(line, layout.delimiter)
                ends_with_delimiter = len(fields) == width + 1 and not fields[-1]
                if not (max(numeric, default=0) < len(fields) <= width or ends_with_delimiter):
                    return number, start, f"has {len(fields)} fields, not {width}"
                for index in numeric:
                    if not is_value(fields[index], layout.decimal):
                        return number, start, f"has {fields[index]!r} in place of a number"
            start += len(raw)
        return None

    def _line_error(self, line: int, what: str) -> MeterFileError:
        return MeterFileError(
            f"A line {what}",
            path=self._path,
            line=line,
            fix="Correct or remove it; --decimal and --delimiter say how numbers are written.",
        )

    def _to_chunk(self, frame: Any, rows_before: int) -> Chunk:
        columns = self.columns

        def values(scaled: Scaled | TimeColumn) -> Floats:
            found: Floats = frame[scaled.column].to_numpy(dtype=np.float64) * scaled.scale
            return found

        if columns.time.is_clock:
            time_s = clock_seconds(frame[columns.time.column])
        elif columns.time.column < 0:
            time_s = (rows_before + np.arange(len(frame), dtype=np.float64)) * columns.time.scale
        else:
            time_s = values(columns.time)
        return Chunk(
            time_s=time_s,
            reading=values(columns.value),
            supply_v=values(columns.voltage) if columns.voltage is not None else None,
            marker=_read_marker(frame[columns.marker.column], columns.marker)
            if columns.marker is not None
            else None,
        )


def _read_marker(text: Any, marker: Marker) -> Floats:
    """1 where the channel is high, 0 where it is low or, as ``X``, was both within a sample."""
    if marker.character is not None:
        text = text.str[marker.character]
    high: Floats = (text.str.strip() == "1").to_numpy(dtype=np.float64)
    return high


def _plain(block: bytes) -> bytes:
    return NUMPY_SCALAR.sub(rb"\1", block)
