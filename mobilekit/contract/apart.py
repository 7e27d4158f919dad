"""Whether a file of weights has what the methods of a program read of it.

A method of an ExecuTorch program (``.pte``) may have XNNPACK compute with constants that lie in
another file (``.ptd``): it names each by a key, and says how many bytes it reads. The runtime looks
for the key alone. A lower level's file has less of the same constants under the same keys
(``docs/compressing.md``), so that a higher level would read on into whatever lies behind. A device
therefore holds program and weights against each other before it loads anything.

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

Data = bytes | mmap.mmap
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


class _Table(NamedTuple):
    """A table of a flatbuffer, at that offset. Its methods raise ``struct.error`` for an offset
    that leads out of the data."""

    data: Data
    at: int

    def number(self, field: int, kind: struct.Struct) -> int:
        at = self._field(field)
        return 0 if at is None else _number(self.data, at, kind)

    def text(self, field: int) -> str:
        start, size = self.vector(field, 1)
        return self.data[start : start + size].decode(errors="replace")

    def table(self, field: int) -> _Table | None:
        at = self._field(field)
        return None if at is None else _Table(self.data, _follow(self.data, at))

    def tables(self, field: int) -> list[_Table]:
        start, count = self.vector(field, _U32.size)
        places = range(start, start + count * _U32.size, _U32.size)
        return [_Table(self.data, _follow(self.data, at)) for at in places]

    def vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Where it begins, and how many items it has; none where there is no such field."""
        at = self._field(field)
        if at is None:
            return 0, 0
        length_at = _follow(self.data, at)
        start, count = length_at + _U32.size, _number(self.data, length_at, _U32)
        if start + count * item_bytes > len(self.data):
            raise struct.error("a vector is longer than the data")
        return start, count

    def _field(self, field: int) -> int | None:
        fields_at = self.at - _number(self.data, self.at, _I32)
        place = 2 * _U16.size + field * _U16.size
        if place >= _number(self.data, fields_at, _U16):
            return None
        offset = _number(self.data, fields_at + place, _U16)
        return self.at + offset if offset else None


def _read(path: Path, kind: str, read: Callable[[Data], Found]) -> Found:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read(data)
    except (struct.error, IndexError, ValueError) as error:
        raise ProtocolError(
            f"{path.name} is no {kind} of ExecuTorch: {error}", fix="Export the network again."
        ) from None


def _read_program(data: Data, methods: Sequence[str]) -> tuple[list[Need], dict[str, int]]:
    """What the methods need, and the sizes of the constants that the program has itself."""
    root = _root(data, 0, b"ET12")
    segments_start = _number(data, _SEGMENTS_AT, _U64)
    segments = root.tables(4)
    needs = [
        Need(name, key, size_bytes)
        for plan in root.tables(1)
        if (name := plan.text(0)) in methods
        for delegate in plan.tables(7)
        if delegate.text(0) == _XNNPACK
        for start in _data_starts(root, delegate, segments, segments_start)
        for key, size_bytes in _read_constants(data, start)
    ]
    return needs, _sizes(root.tables(7), segments)


def _data_starts(
    root: _Table, delegate: _Table, segments: Sequence[_Table], segments_start: int
) -> Iterator[int]:
    """Where a delegate's data is, if it has any."""
    place = delegate.table(1)
    if place is None:
        return
    number = place.number(1, _U32)
    if place.number(0, _U8) == _IN_SEGMENT:
        yield segments_start + segments[number].number(0, _U64)
    else:
        yield root.tables(3)[number].vector(0, 1)[0]


def _read_constants(data: Data, start: int) -> Iterator[tuple[str, int]]:
    """The keys and sizes of those that XNNPACK's data names."""
    if data[start + 4 : start + 8] != b"XH00":
        raise struct.error("no data of XNNPACK")
    graph = _root(data, start + _number(data, start + _GRAPH_AT, _U32), b"XN01")
    for constant in graph.tables(8):
        key = constant.text(2)
        if key:
            yield key, constant.number(1, _U64)


def _read_weights(data: Data) -> dict[str, int]:
    root = _root(data, 0, b"FT01")
    return _sizes(root.tables(2), root.tables(1))


def _sizes(named: Sequence[_Table], segments: Sequence[_Table]) -> dict[str, int]:
    return {each.text(0): segments[each.number(1, _U32)].number(1, _U64) for each in named}


def _root(data: Data, start: int, kind: bytes) -> _Table:
    found = data[start + 4 : start + 8]
    if found != kind:
        raise struct.error(f"it is marked {found!r}, not {kind!r}")
    return _Table(data, _follow(data, start))


def _follow(data: Data, at: int) -> int:
    return at + _number(data, at, _U32)


def _number(data: Data, at: int, kind: struct.Struct) -> int:
    if at < 0:  # Which Python would count from the end.
        raise struct.error("an offset leads out of the data")
    (number,) = kind.unpack_from(data, at)
    return int(number)
