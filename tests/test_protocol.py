"""The contract's vectors, decoded and encoded by Python."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from mobilekit.contract import protocol
from mobilekit.contract.answering import check_answer
from mobilekit.contract.apart import find_lack
from mobilekit.contract.checks import decode_events, decode_request, decode_result
from mobilekit.contract.codec import encode
from mobilekit.contract.samples import cut_text
from mobilekit.errors import OtherVersionError, ProtocolError

VECTORS = Path(__file__).parent / "vectors"
VALID = sorted((VECTORS / "valid").glob("*.json"))
INVALID = sorted((VECTORS / "invalid").glob("*.json"))
ANSWERS = sorted((VECTORS / "answers").glob("*.json"))
MESSAGES = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", record.__name__).lower()
    for record in (
        protocol.RunRequest,
        *get_args(protocol.RunResult),
        *get_args(protocol.ProgressEvent),
    )
}


def message_of(path: Path) -> str:
    return path.stem.partition("-")[0]


def decode(message: str, data: bytes) -> object:
    if message == "run_request":
        return decode_request(data)
    if message in ("run_success", "run_failure"):
        return decode_result(data)
    (event,) = decode_events(data.replace(b"\n", b" ") + b"\n")
    return event


def objects(value: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a document, with its path."""
    if isinstance(value, dict):
        yield path, value
        for name, field in value.items():
            yield from objects(field, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects(item, f"{path}[{index}]")


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_message_comes_back_equal(path: Path) -> None:
    """Decoding and encoding a valid message yields an equal document of the type in its name."""
    data = path.read_bytes()

    message = decode(message_of(path), data)

    assert json.loads(data) == json.loads(encode(message))
    assert message_of(path).replace("_", "") == type(message).__name__.lower()


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_message_is_refused_by_name(path: Path) -> None:
    """Decoding an invalid message is an error that names the field."""
    vector = json.loads(path.read_bytes())
    text = vector["text"] if "text" in vector else json.dumps(vector["message"])

    with pytest.raises(ProtocolError) as caught:
        decode(message_of(path), text.encode())

    assert vector["field"] in str(caught.value)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_every_field_is_needed_and_no_other_is_taken(path: Path) -> None:
    """A message less any one field, or with one more in any object, is refused by its name."""
    original = json.loads(path.read_bytes())
    for number, (_, value) in enumerate(objects(original)):
        for name in value:
            changed = copy.deepcopy(original)
            del list(objects(changed))[number][1][name]
            with pytest.raises(ProtocolError, match=name):
                decode(message_of(path), json.dumps(changed).encode())
        changed = copy.deepcopy(original)
        list(objects(changed))[number][1]["surplus"] = 1
        with pytest.raises(ProtocolError, match="surplus"):
            decode(message_of(path), json.dumps(changed).encode())


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_an_answer_is_held_against_its_request(path: Path) -> None:
    """What cannot have come of a request is an error that names the field; the rest is taken."""
    vector = json.loads(path.read_bytes())
    request = decode_request(json.dumps(vector["request"]).encode())
    result = decode_result(json.dumps(vector["result"]).encode())

    if vector["field"] is None:
        check_answer(request, result)
        return
    with pytest.raises(ProtocolError) as caught:
        check_answer(request, result)
    assert vector["field"] in str(caught.value)


@pytest.mark.parametrize("vector", json.loads((VECTORS / "texts.json").read_bytes()))
def test_a_text_is_cut_at_its_end_and_says_so(vector: dict[str, Any]) -> None:
    """One that is as long as a message takes stays whole."""
    text = vector["unit"] * vector["times"]

    assert cut_text(text) == text[: vector["kept"]] + vector["ending"]


@pytest.mark.parametrize(
    "vector", json.loads((VECTORS / "apart.json").read_bytes()), ids=lambda vector: vector["name"]
)
def test_what_weights_apart_lack_is_told(vector: dict[str, Any], tmp_path: Path) -> None:
    """Of any two files, or that one of them is none."""
    program, weights = tmp_path / "x.pte", tmp_path / "x.ptd"
    program.write_bytes(bytes.fromhex(vector["program"]))
    weights.write_bytes(bytes.fromhex(vector["weights"]))

    if vector["error"] is not None:
        with pytest.raises(ProtocolError, match=vector["error"]):
            find_lack(program, vector["methods"], weights)
        return
    lack = find_lack(program, vector["methods"], weights)
    assert lack is None if vector["lack"] is None else vector["lack"] in str(lack)


def test_a_request_that_is_too_long_is_refused() -> None:
    """By what it is of bytes, whatever they are."""
    data = (VECTORS / "valid" / "run_request-bare.json").read_bytes()
    longest = data + b" " * (protocol.MAX_REQUEST_BYTES - len(data))

    assert decode_request(longest) == decode_request(data)
    with pytest.raises(ProtocolError, match="longer than 1048576 bytes"):
        decode_request(longest + b" ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            f'{{"protocol_version": {protocol.PROTOCOL_VERSION}, "x": '
            + "[" * 100_000
            + "]" * 100_000
            + "}",
            id="x",
        ),
        pytest.param("[" * 100_000, id="arrays"),
        pytest.param('{"type":' * 100_000, id="objects"),
    ],
)
def test_a_document_nested_without_end_is_refused(text: str) -> None:
    """Wherever it is nested, and whether it ends or not."""
    for message in ("run_request", "run_success", "run_ended"):
        with pytest.raises(ProtocolError):
            decode(message, text.encode())


@pytest.mark.parametrize("folder", ["valid", "invalid"])
def test_every_message_type_has_a_vector(folder: str) -> None:
    """No message type of the contract is without a valid and an invalid vector, nor a vector
    without a type."""
    assert {message_of(path) for path in (VECTORS / folder).glob("*.json")} == MESSAGES


def test_another_version_is_told_before_any_other_difference() -> None:
    """A message of a later version, with fields that nobody knows here, is one of that version."""
    newer = protocol.PROTOCOL_VERSION + 1
    message = b'{"protocol_version": %d, "type": "success", "something_new": {}}' % newer

    for decode_message in (decode_request, decode_result):
        with pytest.raises(OtherVersionError, match=f"protocol_version: {newer} is not"):
            decode_message(message)


THREADS = """
import sys, threading
from msgspec import defstruct
from examples import measured
from mobilekit.contract.codec import decode, decode_toml, encode
from mobilekit.records.measurement import Measurement

sys.setswitchinterval(1e-6)
document, together = encode(measured()), threading.Barrier(16)
names = [f"part_{number}" for number in range(200)]
Parts = defstruct("Parts", [(name, defstruct(name, [("size", int)])) for name in names])
parts = "".join(f"{name}.size = 1\\n" for name in names)

def read():
    together.wait()
    READ
    print("read")

for thread in [threading.Thread(target=read) for _ in range(16)]:
    thread.start()
"""


@pytest.mark.parametrize(
    "read", ['decode(document, Measurement, source="it")', "decode_toml(parts, Parts)"]
)
def test_threads_may_be_the_first_to_decode_a_record(read: str) -> None:
    """msgspec ends a process in which two of them learn a type at once."""
    code = THREADS.replace("READ", read)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout.count("read")) == (0, 16), done.stderr[:500]
