"""Messages of the contract, decoded and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from mobilekit.contract.codec import decode, encode
from mobilekit.contract.protocol import (
    METHOD_PATTERN,
    PROTOCOL_VERSION,
    RUN_ID_PATTERN,
    SHA256_PATTERN,
    ProgressEvent,
    RunRequest,
    RunResult,
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
    _check_version(data, "request.json")
    request: RunRequest = decode(data, RunRequest, source="request.json")
    for name, value in _values_to_check(request):
        problem = _range_problem(name, value)
        if problem:
            raise _out_of_range(name, problem)
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
    _check_version(data, "result.json")
    result: RunResult = decode(data, RunResult, source="result.json")
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


class _Versioned(msgspec.Struct, frozen=True):
    """Any message, of which only its version is read."""

    protocol_version: int


def _check_version(data: bytes, source: str) -> None:
    found = decode(data, _Versioned, source=source).protocol_version
    if found != PROTOCOL_VERSION:
        raise OtherVersionError(
            f"$.protocol_version: {found} is not {PROTOCOL_VERSION}", fix=SAME_VERSION
        )


def _values_to_check(request: RunRequest) -> list[tuple[str, object]]:
    values: list[tuple[str, object]] = [
        ("run_id", request.run_id),
        ("relative_tolerance", request.relative_tolerance),
        ("cold_loads", request.cold_loads),
        ("warmup.window_iterations", request.warmup.window_iterations),
        ("warmup.tolerance", request.warmup.tolerance),
        ("warmup.max_iterations", request.warmup.max_iterations),
        ("warmup.max_duration_ns", request.warmup.max_duration_ns),
        ("min_iterations", request.min_iterations),
        ("min_duration_ns", request.min_duration_ns),
        ("max_duration_ns", request.max_duration_ns),
    ]
    values += [("threads", request.threads), ("profile_iterations", request.profile_iterations)]
    tensors = [
        (f"{field}[{index}]", tensor)
        for field in ("inputs", "reference_outputs")
        for index, tensor in enumerate(getattr(request, field))
    ]
    if request.evaluation is not None:
        tensors.append(("evaluation", request.evaluation))
    artifacts = [("artifact", request.artifact)]
    for number, segment in enumerate(request.segments):
        name = f"segments[{number}]"
        artifacts.append((f"{name}.artifact", segment.artifact))
        tensors += [(f"{name}.inputs[{n}]", tensor) for n, tensor in enumerate(segment.inputs)]
    for name, artifact in artifacts:
        values += [
            (f"{name}.sha256", artifact.sha256),
            (f"{name}.size_bytes", artifact.size_bytes),
            (f"{name}.method", artifact.method),
        ]
    for name, tensor in tensors:
        values.append((f"{name}.sha256", tensor.sha256))
        values += [(f"{name}.shape[{axis}]", n) for axis, n in enumerate(tensor.shape)]
    if request.energy is not None:
        plan, gate = request.energy, request.energy.temperature_gate
        values += [
            ("energy.blocks", plan.blocks),
            ("energy.idle_ns", plan.idle_ns),
            ("energy.load_ns", plan.load_ns),
            ("energy.sample_period_ns", plan.sample_period_ns),
            ("energy.unplug_timeout_ns", plan.unplug_timeout_ns),
            ("energy.rest_ns", plan.rest_ns),
        ]
        if gate is not None:
            values += [
                ("energy.temperature_gate.max_decicelsius", gate.max_decicelsius),
                ("energy.temperature_gate.timeout_ns", gate.timeout_ns),
            ]
    return [(name, value) for name, value in values if value is not None]


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


def _range_problem(name: str, value: object) -> str | None:
    """Names match their pattern; ratios are in [0, 1]; every count and duration is >= 1."""
    if isinstance(value, str):
        last = name.rpartition(".")[2]
        pattern = {"run_id": RUN_ID_PATTERN, "method": METHOD_PATTERN}.get(last, SHA256_PATTERN)
        return None if re.fullmatch(pattern, value) else f"{value!r} does not match {pattern}"
    if isinstance(value, float):
        return None if 0 <= value <= 1 else f"{value} is not between 0 and 1"
    return None if isinstance(value, int) and 1 <= value < 2**63 else f"{value} is not in [1, 2^63)"


def _out_of_range(field: str, problem: str) -> ProtocolError:
    return ProtocolError(f"$.{field}: {problem}", fix=SAME_VERSION)
