"""Whether a file of weights has what the methods of a program read of it.

A method of an ExecuTorch program (``.pte``) may have XNNPACK compute with constants that lie in
another file (``.ptd``): it names each by a key, and says how many bytes it reads. The runtime looks
for the key alone. A lower level's file has less of the same constants under the same keys
(``mobilekit.model.shared_weights``), so that a higher level would read on into whatever lies
behind. A device therefore holds program and weights against each other before it loads anything.

Both files are flatbuffers, little-endian, in which a table's fields are told by their number in
its schema. What is read here are these, of ExecuTorch 1.5:

====================  ==========================================================================
table                 fields
====================  ==========================================================================
``Program``           1 plans, 3 data of delegates, 4 segments, 7 named data
``ExecutionPlan``     0 name, 7 delegates
``BackendDelegate``   0 id, 1 where its data is: 0 (0: in field 3 of the program, 1: in a segment),
                      1 (which one)
``FlatTensor``        1 segments, 2 named data: the root of a ``.ptd``
``NamedData``         0 key, 1 segment
``DataSegment``       0 offset, 1 size in bytes
``XNNGraph``          8 constants, each: 1 size in bytes, 2 key
====================  ==========================================================================

A file may come from anywhere, and its offsets may lead to one place again and again. What reading
it takes grows with its size only: a text, and what a method reads of one place, are read once, and
the vectors that are read may not hold more than the whole file does.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from mobilekit.errors import ProtocolError

_U8, _U16, _U32, _I32, _U64 = (struct.Struct(f"<{code}") for code in "BHIiQ")
_XNNPACK = "XnnpackBackend"
_IN_SEGMENT = 1
_SEGMENTS_AT = 24
"""Where the head of a program says where its segments begin."""
_GRAPH_AT = 10
"""Where the head of XNNPACK's data says where its flatbuffer begins."""

Found = TypeVar("Found")


def find_lack(program: Path, methods: Sequence[str], weights: Path) -> str | None:
    """What some method reads that neither file has; ``None``: they have all that these read.

    ``program`` is one that is expanded. A method that is not in it reads nothing. Raises
    ``OSError``, and ``ProtocolError`` for a file that is not of its format.
    """
    needs, own_sizes = _read(program, "program", lambda data: _read_program(data, methods))
    sizes = own_sizes | _read(weights, "weights", _read_weights)
    for need in needs:
        found = sizes.get(need.key)
        if found is None:
            return f"{need.method} reads the constant {need.key}, which {weights.name} has not"
        if found < need.size_bytes:
            return (
                f"{need.method} reads {need.size_bytes} bytes of the constant {need.key}, "
                f"of which {weights.name} has {found}"
            )
    return None


class Need(NamedTuple):
    """A constant that a method reads, and how much of it."""

    method: str
    key: str
    size_bytes: int


class _Data:
    """A file's bytes, and how many of them its vectors may still hold. Its methods raise
    ``struct.error`` for what leads out of them."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self.mapped = mapped
        self._left_bytes = len(mapped)
        self._texts: dict[int, str] = {}

    def number(self, at: int, kind: struct.Struct) -> int:
        if at < 0:  # Which Python would count from the end.
            raise struct.error("an offset leads out of the data")
        (number,) = kind.unpack_from(self.mapped, at)
        return int(number)

    def follow(self, at: int) -> int:
        return at + self.number(at, _U32)

    def text(self, start: int, size_bytes: int) -> str:
        """That of a vector, which several tables may share."""
        text = self._texts.get(start)
        if text is None:
            self.take(size_bytes)
            text = self.mapped[start : start + size_bytes].decode(errors="replace")
            self._texts[start] = text
        return text

    def take(self, size_bytes: int) -> None:
        """A vector of that size is read: no two of them have bytes in common in an honest file."""
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise struct.error("its vectors hold more than it does")


class _Table(NamedTuple):
    """A table of a flatbuffer, at that offset. Its methods raise ``struct.error`` for an offset
    that leads out of the data."""

    data: _Data
    at: int

    def number(self, field: int, kind: struct.Struct) -> int:
        at = self._field(field)
        return 0 if at is None else self.data.number(at, kind)

    def text(self, field: int) -> str:
        return self.data.text(*self.vector(field, 1))

    def table(self, field: int) -> _Table | None:
        at = self._field(field)
        return None if at is None else _Table(self.data, self.data.follow(at))

    def tables(self, field: int) -> list[_Table]:
        start, count = self.vector(field, _U32.size)
        self.data.take(count * _U32.size)
        places = range(start, start + count * _U32.size, _U32.size)
        return [_Table(self.data, self.data.follow(at)) for at in places]

    def vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Where it begins, and how many items it has; none where there is no such field."""
        at = self._field(field)
        if at is None:
            return 0, 0
        length_at = self.data.follow(at)
        start, count = length_at + _U32.size, self.data.number(length_at, _U32)
        if start + count * item_bytes > len(self.data.mapped):
            raise struct.error("a vector is longer than the data")
        return start, count

    def _field(self, field: int) -> int | None:
        fields_at = self.at - self.data.number(self.at, _I32)
        place = 2 * _U16.size + field * _U16.size
        if place >= self.data.number(fields_at, _U16):
            return None
        offset = self.data.number(fields_at + place, _U16)
        return self.at + offset if offset else None


def _read(path: Path, kind: str, read: Callable[[_Data], Found]) -> Found:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read(_Data(data))
    except (struct.error, IndexError, ValueError) as error:
        raise ProtocolError(
            f"{path.name} is no {kind} of ExecuTorch: {error}", fix="Export the network again."
        ) from None


def _read_program(data: _Data, methods: Sequence[str]) -> tuple[list[Need], dict[str, int]]:
    """What the methods need, and the sizes of the constants that the program has itself."""
    root = _root(data, 0, b"ET12")
    segments, inline = root.tables(4), root.tables(3)
    segments_start = data.number(_SEGMENTS_AT, _U64)
    # Of what is read: by whom, and where it is. Several delegates may share their data.
    starts = {
        (name, start): None
        for plan in root.tables(1)
        if (name := plan.text(0)) in methods
        for delegate in plan.tables(7)
        if delegate.text(0) == _XNNPACK
        for start in _data_starts(delegate, inline, segments, segments_start)
    }
    constants = {
        start: _read_constants(data, start) for start in dict.fromkeys(at for _, at in starts)
    }
    needs = [
        Need(name, key, size_bytes)
        for name, start in starts
        for key, size_bytes in constants[start]
    ]
    return needs, _sizes(root.tables(7), segments)


def _data_starts(
    delegate: _Table, inline: Sequence[_Table], segments: Sequence[_Table], segments_start: int
) -> Iterator[int]:
    """Where a delegate's data is, if it has any."""
    place = delegate.table(1)
    if place is None:
        return
    number = place.number(1, _U32)
    if place.number(0, _U8) == _IN_SEGMENT:
        yield segments_start + segments[number].number(0, _U64)
    else:
        yield inline[number].vector(0, 1)[0]


def _read_constants(data: _Data, start: int) -> list[tuple[str, int]]:
    """The keys and sizes of those that XNNPACK's data names."""
    if data.mapped[start + 4 : start + 8] != b"XH00":
        raise struct.error("no data of XNNPACK")
    graph = _root(data, start + data.number(start + _GRAPH_AT, _U32), b"XN01")
    constants = [(each.text(2), each.number(1, _U64)) for each in graph.tables(8)]
    return [(key, size_bytes) for key, size_bytes in constants if key]


def _read_weights(data: _Data) -> dict[str, int]:
    root = _root(data, 0, b"FT01")
    return _sizes(root.tables(2), root.tables(1))


def _sizes(named: Sequence[_Table], segments: Sequence[_Table]) -> dict[str, int]:
    return {each.text(0): segments[each.number(1, _U32)].number(1, _U64) for each in named}


def _root(data: _Data, start: int, kind: bytes) -> _Table:
    found = data.mapped[start + 4 : start + 8]
    if found != kind:
        raise struct.error(f"it is marked {found!r}, not {kind!r}")
    return _Table(data, data.follow(start))
