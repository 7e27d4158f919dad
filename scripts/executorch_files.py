"""Small files in ExecuTorch's formats, as ``mobilekit.contract.apart`` reads them: for the vectors.

They hold no more than is read there; ExecuTorch itself would load none of them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flatbuffers

HEAD_BYTES = {b"ET12": 32, b"FT01": 40}
XNNPACK_HEAD = struct.Struct("<4x4sHIIIQ2x")


class Delegate(NamedTuple):
    """What a method leaves to a backend: the constants that it reads, and how much of each."""

    reads: Sequence[tuple[str, int]]
    backend: str = "XnnpackBackend"
    is_inline: bool = False
    """Whether its data lies in the flatbuffer, and not in a segment."""


def make_program(
    methods: Mapping[str, Sequence[Delegate]], own_sizes: Mapping[str, int] | None = None
) -> bytes:
    """A ``.pte``, which has those constants itself."""
    builder = flatbuffers.Builder()
    inline: list[bytes] = []
    segments: list[bytes] = []
    plans = []
    for name, delegates in methods.items():
        made = []
        for delegate in delegates:
            held = inline if delegate.is_inline else segments
            place = table(
                builder, {0: ("int8", int(not delegate.is_inline)), 1: ("uint32", len(held))}
            )
            held.append(make_xnnpack_data(delegate.reads))
            backend = builder.CreateString(delegate.backend)
            made.append(table(builder, {0: ("offset", backend), 1: ("offset", place)}))
        named = builder.CreateString(name)
        plans.append(table(builder, {0: ("offset", named), 7: ("offset", tables(builder, made))}))
    data = [table(builder, {0: ("offset", builder.CreateByteVector(each))}) for each in inline]
    sizes = dict(own_sizes or {})
    constants = [bytes(size) for size in sizes.values()]
    fields = {
        1: ("offset", tables(builder, plans)),
        3: ("offset", tables(builder, data)),
        4: ("offset", segment_tables(builder, [*segments, *constants])),
        7: ("offset", name_tables(builder, list(sizes), len(segments))),
    }
    builder.Finish(table(builder, fields), file_identifier=b"ET12")
    return with_head(bytes(builder.Output()), b"eh00", [*segments, *constants])


def make_again(plans: int, delegates: int, constants: int) -> bytes:
    """A ``.pte`` with vectors of these lengths, each of which names its only table every time:
    the plan ``level_1``, its delegate, which has its data inline, and there the constant ``a``."""
    builder = flatbuffers.Builder()
    held = builder.CreateByteVector(make_xnnpack_data([("a", 8)], constants))
    data = table(builder, {0: ("offset", held)})
    place = table(builder, {0: ("int8", 0), 1: ("uint32", 0)})
    backend = builder.CreateString("XnnpackBackend")
    delegate = table(builder, {0: ("offset", backend), 1: ("offset", place)})
    named = builder.CreateString("level_1")
    made = tables(builder, [delegate] * delegates)
    plan = table(builder, {0: ("offset", named), 7: ("offset", made)})
    fields = {
        1: ("offset", tables(builder, [plan] * plans)),
        3: ("offset", tables(builder, [data])),
    }
    builder.Finish(table(builder, fields), file_identifier=b"ET12")
    return with_head(bytes(builder.Output()), b"eh00", [])


def make_weights(sizes: Mapping[str, int]) -> bytes:
    """A ``.ptd`` with constants of these sizes."""
    builder = flatbuffers.Builder()
    constants = [bytes(size) for size in sizes.values()]
    fields = {
        1: ("offset", segment_tables(builder, constants)),
        2: ("offset", name_tables(builder, list(sizes), 0)),
    }
    builder.Finish(table(builder, fields), file_identifier=b"FT01")
    return with_head(bytes(builder.Output()), b"FH01", constants)


def make_xnnpack_data(reads: Sequence[tuple[str, int]], times: int = 1) -> bytes:
    """Its vector of constants names their tables that often, one after another."""
    builder = flatbuffers.Builder()
    constants = []
    for key, size in reads:
        named = builder.CreateString(key)
        constants.append(table(builder, {1: ("uint64", size), 2: ("offset", named)}))
    graph = table(builder, {8: ("offset", tables(builder, constants * times))})
    builder.Finish(graph, file_identifier=b"XN01")
    flat = bytes(builder.Output())
    end = XNNPACK_HEAD.size + len(flat)
    head = XNNPACK_HEAD.pack(b"XH00", 30, XNNPACK_HEAD.size, len(flat), end, 0)
    return head + flat


def table(builder: flatbuffers.Builder, fields: Mapping[int, tuple[str, int]]) -> int:
    """With these fields, each by its number: what it is, and its value."""
    builder.StartObject(max(fields) + 1)
    for number, (kind, value) in fields.items():
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
        else:
            getattr(builder, f"Prepend{kind.capitalize()}Slot")(number, value, 0)
    return builder.EndObject()


def tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for each in reversed(offsets):
        builder.PrependUOffsetTRelative(each)
    return builder.EndVector()


def segment_tables(builder: flatbuffers.Builder, segments: Sequence[bytes]) -> int:
    made, offset = [], 0
    for each in segments:
        made.append(table(builder, {0: ("uint64", offset), 1: ("uint64", len(each))}))
        offset += len(each)
    return tables(builder, made)


def name_tables(builder: flatbuffers.Builder, keys: Sequence[str], first_segment: int) -> int:
    made = []
    for number, key in enumerate(keys, first_segment):
        named = builder.CreateString(key)
        made.append(table(builder, {0: ("offset", named), 1: ("uint32", number)}))
    return tables(builder, made)


def with_head(flat: bytes, mark: bytes, segments: Sequence[bytes]) -> bytes:
    """ExecuTorch's own head lies between the flatbuffer's beginning and the rest of it."""
    kind = flat[4:8]
    size = HEAD_BYTES[kind]
    (root,) = struct.unpack_from("<I", flat)
    end, data_bytes = len(flat) + size, sum(map(len, segments))
    numbers = (end, end, data_bytes) if kind == b"ET12" else (0, end, end, data_bytes)
    head = struct.pack(f"<4sI{len(numbers)}Q", mark, size, *numbers)
    return struct.pack("<I", root + size) + kind + head + flat[8:] + b"".join(segments)
