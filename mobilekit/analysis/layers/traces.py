"""What engines write when they trace themselves, as records: ExecuTorch and ONNX Runtime.

ExecuTorch's ETDump is a FlatBuffer. Its own reader, ``executorch.devtools.Inspector``, imports
torch and takes seven seconds to do so; these few fields need neither. The slots are those of
``executorch/devtools/etdump/etdump_schema_flatcc.fbs`` of ExecuTorch 1.5.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from flatbuffers import number_types
from flatbuffers.table import Table

from mobilekit.contract.protocol import PROFILE_WARMUPS, Trace
from mobilekit.errors import ProtocolError
from mobilekit.records.profile import OperatorTime

_IDENTIFIER = b"ED00"
_SIZE_PREFIX_BYTES = 4
# A field's slot in its table's vtable is 4 + 2 x its number in the schema.
_DUMP_RUNS = 6
_RUN_EVENTS = 10
_EVENT_PROFILE = 4
_PROFILE_NAME, _PROFILE_INSTRUCTION, _PROFILE_DELEGATE_NAME = 4, 8, 12
_PROFILE_START, _PROFILE_END = 16, 18

_INFERENCE = "Method::execute"
_CALLS = ("DELEGATE_CALL", "OPERATOR_CALL")
_JUMP = "JF_CALL"
"""Back to where a loop begins."""
_NATIVE = "native_call_"


class _Event(NamedTuple):
    """What ran once."""

    role: Literal["operator", "part", "program"]
    part: int | None
    name: str
    kind: str
    started_ns: int
    ended_ns: int


def parse_trace(trace: Trace, data: bytes) -> tuple[OperatorTime, ...]:
    """The timed iterations of a ``trace.bin``, each thing that ran with a time for each of them.

    Raises ``ProtocolError`` for what is not the trace that ``trace`` tells of, has another number
    of iterations than ``trace`` says, or whose iterations differ in what ran.
    """
    if hashlib.sha256(data).hexdigest() != trace.sha256:
        raise _bad_trace("it is not what the companion wrote")
    parse = {"etdump": _parse_etdump, "onnxruntime": _parse_onnxruntime}[trace.kind]
    iterations = _guarded(parse, data)[PROFILE_WARMUPS:]
    if len(iterations) != len(trace.latency_ns):
        raise _bad_trace(f"it has {len(iterations)} iterations, not {len(trace.latency_ns)}")
    first = [event[:4] for event in iterations[0]]
    if any([event[:4] for event in iteration] != first for iteration in iterations):
        raise _bad_trace("its iterations differ in what ran")
    return tuple(_collect(list(events)) for events in zip(*iterations, strict=True))


def _collect(events: Sequence[_Event]) -> OperatorTime:
    one = events[0]
    return OperatorTime(
        role=one.role,
        part=one.part,
        name=one.name,
        kind=one.kind,
        started_ns=tuple(event.started_ns for event in events),
        duration_ns=tuple(event.ended_ns - event.started_ns for event in events),
    )


def _guarded(parse: Callable[[bytes], list[list[_Event]]], data: bytes) -> list[list[_Event]]:
    """A damaged trace points anywhere: whatever reading it meets is its fault."""
    try:
        return parse(data)
    except (
        *(struct.error, LookupError, TypeError, ValueError, ArithmeticError),
        *(AttributeError, RecursionError),
    ) as error:
        raise _bad_trace(f"{type(error).__name__}: {error}") from None


def _bad_trace(problem: str) -> ProtocolError:
    return ProtocolError(
        f"The engine's trace cannot be read: {problem}",
        fix="Profile again; if it stays so, the engine on the device is of another version than "
        "this mobilekit knows.",
    )


# --- ExecuTorch --------------------------------------------------------------------------------


def _parse_etdump(data: bytes) -> list[list[_Event]]:
    """Each inference's events, in the order in which they were recorded."""
    # The size before the content is there or not, by how the buffer was taken.
    marked = [at for at in (0, _SIZE_PREFIX_BYTES) if data[at + 4 : at + 8] == _IDENTIFIER]
    if not marked:
        raise ValueError("it is no ETDump")
    (start,) = marked
    root = Table(bytearray(data), start + struct.unpack_from("<I", data, start)[0])
    iterations = []
    for run in _tables(root, _DUMP_RUNS):
        profiles = [one for event in _tables(run, _RUN_EVENTS) for one in _table(event)]
        raw = [_read_profile(one) for one in profiles]
        whole = next((one for one in raw if one[0] == _INFERENCE), None)
        if whole is not None:
            iterations.append(list(_sort_out(raw, whole[3])))
    return iterations


_Raw = tuple[str, str, int, int, int]
"""Name, name in the delegate, instruction, start and end."""


def _read_profile(table: Table) -> tuple[str, str, int, int, int]:
    return (
        _text(table, _PROFILE_NAME),
        _text(table, _PROFILE_DELEGATE_NAME),
        _number(table, _PROFILE_INSTRUCTION, number_types.Int32Flags, -1),
        _number(table, _PROFILE_START, number_types.Uint64Flags, 0),
        _number(table, _PROFILE_END, number_types.Uint64Flags, 0),
    )


def _sort_out(raw: Sequence[_Raw], origin_ns: int) -> Iterator[_Event]:
    """Roles and parts; times from the inference's start."""
    calls = sorted({one[2] for one in raw if one[0] in _CALLS})
    part_of = {instruction: part for part, instruction in enumerate(calls)}
    for name, delegate_name, instruction, started_ns, ended_ns in raw:
        span = started_ns - origin_ns, ended_ns - origin_ns
        if name == _INFERENCE:
            yield _Event("program", None, name, name, *span)
        elif name == _JUMP:
            continue
        elif name in _CALLS:
            yield _Event("part", part_of[instruction], name, name, *span)
        else:
            shown = delegate_name or name
            kind = re.sub(r" #\d+$", "", shown)
            if kind.startswith(_NATIVE):
                kind = "aten." + kind.removeprefix(_NATIVE).split(".")[0]
            yield _Event("operator", part_of[instruction], shown, kind, *span)


def _tables(table: Table, slot: int) -> Iterator[Table]:
    offset = table.Offset(slot)
    if offset:
        start = table.Vector(offset)
        for index in range(table.VectorLen(offset)):
            yield Table(table.Bytes, table.Indirect(start + 4 * index))


def _table(event: Table) -> Iterator[Table]:
    """An event holds one of several kinds of tables."""
    offset = event.Offset(_EVENT_PROFILE)
    if offset:
        yield Table(event.Bytes, event.Indirect(offset + event.Pos))


def _text(table: Table, slot: int) -> str:
    offset = table.Offset(slot)
    return table.String(offset + table.Pos).decode() if offset else ""


def _number(table: Table, slot: int, flags: Any, default: int) -> int:
    offset = table.Offset(slot)
    return int(table.Get(flags, offset + table.Pos)) if offset else default


# --- ONNX Runtime ------------------------------------------------------------------------------

_KERNEL = "_kernel_time"
_RUN = "model_run"


def _parse_onnxruntime(data: bytes) -> list[list[_Event]]:
    """Each inference's nodes; the event of a whole inference follows those in it."""
    iterations: list[list[_Event]] = []
    nodes: list[tuple[str, str, int, int]] = []
    for entry in json.loads(data):
        name, started_us, duration_us = str(entry["name"]), int(entry["ts"]), int(entry["dur"])
        if entry["cat"] == "Node" and name.endswith(_KERNEL):
            kind = str(entry["args"]["op_name"])
            nodes.append((name.removesuffix(_KERNEL), kind, started_us, duration_us))
        elif name == _RUN:
            events = [
                _Event("operator", None, node, kind, *_span_ns(at, took, started_us))
                for node, kind, at, took in nodes
            ]
            events.append(
                _Event("program", None, name, name, *_span_ns(started_us, duration_us, started_us))
            )
            iterations.append(events)
            nodes = []
    return iterations


def _span_ns(started_us: int, duration_us: int, origin_us: int) -> tuple[int, int]:
    started_ns = (started_us - origin_us) * 1000
    return started_ns, started_ns + duration_us * 1000
