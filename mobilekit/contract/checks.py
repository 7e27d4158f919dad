"""Messages of the contract, decoded and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from mobilekit.contract.codec import decode, encode
from mobilekit.contract.protocol import (
    MAX_FILE_BYTES,
    MAX_REQUEST_BYTES,
    PROTOCOL_VERSION,
    RUN_ID_PATTERN,
    ProgressEvent,
    RunRequest,
    RunResult,
    WeightsFile,
)
from mobilekit.errors import OtherVersionError, ProtocolError

SAME_VERSION = "Check that mobilekit and what wrote this are of the same version."


def run_directory(run_id: str) -> str:
    """Relative to either root. Raises ``ProtocolError`` for an id that is not one."""
    if not re.fullmatch(RUN_ID_PATTERN, run_id):
        raise ProtocolError(f"{run_id!r} is not a run id", fix=f"It must match {RUN_ID_PATTERN}.")
    return f"runs/{run_id}"


def decode_request(data: bytes) -> RunRequest:
    """Decode and check one request.

    Raises ``OtherVersionError`` for another protocol version, and ``ProtocolError`` naming the
    field for any other text that is not a request, or whose values are out of range.
    """
    request: RunRequest = _decode_whole(data, RunRequest, "request.json", MAX_REQUEST_BYTES)
    decode(data, _Whole, source="request.json")
    if request.weights is not None and request.artifact.format != "pte":
        raise _out_of_range("weights", f"a .{request.artifact.format} has them itself")
    problem = _evaluation_problem(request)
    if problem:
        raise _out_of_range("evaluation", problem)
    if request.segments and request.profile_iterations is None:
        raise _out_of_range("segments", "there is no profile phase to time them in")
    for index, segment in enumerate(request.segments):
        found, expected = segment.artifact.format, request.artifact.format
        if found != expected:
            field = f"segments[{index}].artifact.format"
            raise _out_of_range(field, f"{found!r} is not the network's {expected!r}")
    return request


def decode_result(data: bytes) -> RunResult:
    """Decode one result; raises ``ProtocolError`` like ``decode_request``."""
    result: RunResult = _decode_whole(data, RunResult, "result.json", MAX_FILE_BYTES)
    return result


def encode_event(event: ProgressEvent) -> bytes:
    """One line of ``progress.jsonl``, with its line end."""
    return encode(event) + b"\n"


def decode_events(data: bytes) -> Iterator[ProgressEvent]:
    """Decode ``progress.jsonl`` line by line; a last line without its line end is left out.

    Raises ``ProtocolError`` at any other line that is not an event.
    """
    complete = data[: data.rfind(b"\n") + 1]
    for line in complete.splitlines():
        yield decode(line, ProgressEvent, source="a line of progress.jsonl")


class Message(msgspec.Struct, frozen=True):
    """Any message, of which only its version is read."""

    protocol_version: int


class _Whole(msgspec.Struct, frozen=True):
    """A request's fields that only what is stored may lack."""

    weights: WeightsFile | None


def _decode_whole(data: bytes, message: Any, source: str, longest_bytes: int) -> Any:
    """A message that is a file; its version is told before anything else of it."""
    if len(data) > longest_bytes:
        raise ProtocolError(f"{source} is longer than {longest_bytes} bytes", fix=SAME_VERSION)
    found = decode(data, Message, source=source).protocol_version
    if found != PROTOCOL_VERSION:
        raise OtherVersionError(
            f"$.protocol_version: {found} is not {PROTOCOL_VERSION}", fix=SAME_VERSION
        )
    return decode(data, message, source=source)


def _evaluation_problem(request: RunRequest) -> str | None:
    examples = request.evaluation
    if examples is None:
        return None
    if len(request.inputs) != 1:
        return f"a network with {len(request.inputs)} inputs cannot be evaluated"
    expected = request.inputs[0]
    if examples.dtype != expected.dtype or examples.shape[1:] != expected.shape:
        return "its examples are not like inputs[0]"
    return None


def _out_of_range(field: str, problem: str) -> ProtocolError:
    return ProtocolError(f"$.{field}: {problem}", fix=SAME_VERSION)
