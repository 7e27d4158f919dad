"""A phone whose companion lies: through the CLI and the real adb server, none of it is believed."""

import json
import re

import pytest
from examples import PHASES, samples
from following import RUNS

from mobilekit.contract.checks import decode_request, encode_event
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    LoadMeasured,
    PhaseStart,
    PhaseStarted,
    RunSuccess,
    RunTaken,
    Trace,
)
from mobilekit.virtual.faults import Faults

FORGED = "\x1b[2J\x1b]0;title\x07\r\nError: all is lost\u202egnp.exe"


class LyingCompanion:
    """Is over at once: ``lie`` makes a file of a sound result, as a document."""

    formats = ()
    vulkan = "python"
    computes = True
    lie = staticmethod(json.dumps)

    def __init__(self, directory):
        self._directory = directory

    def start(self, run_id):
        files = self._directory / "files/data/local/tmp/mobilekit/runs"
        request = decode_request((files / run_id / "request.json").read_bytes())
        outputs = self._directory / RUNS / run_id
        outputs.mkdir(parents=True)
        events = (
            RunTaken(pid=7),
            PhaseStarted(phase="load", at_ns=0),
            *(LoadMeasured(load_ns=each) for each in (5, 6, 7)),
        )
        (outputs / "progress.jsonl").write_bytes(b"".join(map(encode_event, events)))
        (outputs / "trace.bin").write_bytes(b"no trace")
        result = RunSuccess(protocol_version=PROTOCOL_VERSION, run_id=run_id, samples=told(request))
        (outputs / "result.json").write_text(self.lie(json.loads(encode(result))))
        return 7

    def stop(self):
        pass

    def signal(self, number):
        pass

    def take_crashes(self):
        return []

    def running_pids(self):
        return [7]

    def memory_bytes(self, pid):
        return 0


def told(request):
    if request.profile_iterations is None:
        return samples()
    phase = PhaseStart(phase="profile", at_ns=5 * 10**9)
    return samples(
        phases=(*PHASES, phase),
        trace=Trace(
            kind="etdump",
            sha256="a" * 64,
            size_bytes=8,
            latency_ns=(1,) * request.profile_iterations,
        ),
    )


def sampled(**fields):
    return lambda result: json.dumps(result | {"samples": result["samples"] | fields})


NESTED = f'{{"protocol_version": {PROTOCOL_VERSION}, "type": ' + "[" * 100_000
LIES = {
    "nothing": (lambda result: json.dumps(result), None),
    "nested": (lambda _result: NESTED, "nested too deeply"),
    "no-time": (sampled(iteration_ns=[0] * 200), "iteration_ns[0]"),
    "negative": (sampled(iteration_ns=[-5] * 200), "iteration_ns[0]"),
    "huge": (sampled(iteration_ns=[10**40] * 200), "iteration_ns[0]"),
    "nothing-measured": (sampled(iteration_ns=[], load_ns=[]), "$.samples.load_ns"),
    "another-run": (lambda result: json.dumps(result | {"run_id": "run-2"}), "$.run_id"),
    "long-reason": (sampled(energy_refusal="x" * 5000), "$.samples.energy_refusal"),
    "no-message": (lambda _result: "", "result.json"),
}


@pytest.fixture
def lie(make_bench_phone, cli):
    """Deploys to a phone whose companion tells what it is given."""

    def deploy(lie, *arguments):
        made = type("Lying", (LyingCompanion,), {"lie": staticmethod(lie)})
        phone = make_bench_phone(companion_type=made)
        command = arguments or ("deploy", "tiny.py", "--no-energy")
        return phone, cli(*command, "--device", phone.serial, "--fast")

    return deploy


@pytest.mark.parametrize("case", LIES)
def test_a_result_that_cannot_be(lie, cli, case):
    """It waits, since its way may have garbled it; read a second time it is a failure of its run,
    which keeps what the progress told, and hinders nothing after."""
    tell, told_field = LIES[case]

    phone, outcome = lie(tell)

    if told_field is None:
        assert outcome.exit_code == 0, outcome.stderr
        return
    assert outcome.exit_code == 4
    assert told_field in outcome.stderr
    assert cli("collect", "--json").document["waiting"] == []
    shown = cli("results", "show", "last", "--json")
    result = shown.document["measurement"]["result"]
    assert result["code"] == "internal"
    assert result["samples"]["load_ns"] == [5, 6, 7]
    assert cli("results", "show", "last").exit_code == 0
    assert list((phone.directory / RUNS).iterdir()) == []


def test_a_result_that_its_way_garbles_stays_on_the_phone(make_bench_phone, cli):
    """However often it is read so: what cannot be read is not what the phone has."""
    phone = make_bench_phone(companion_type=LyingCompanion)
    phone.call(phone.phone.set_faults(Faults(fault="banner", at="fetching")))

    garbled = cli("deploy", "tiny.py", "--no-energy", "--fast", "-d", phone.serial)
    again = cli("collect")

    assert garbled.exit_code == again.exit_code == 4
    assert len(list((phone.directory / RUNS).iterdir())) == 1
    phone.call(phone.phone.set_faults(Faults()))
    (collected,) = cli("collect", "--json").document["collected"]
    assert collected["measurement"]["result"]["type"] == "success"
    assert list((phone.directory / RUNS).iterdir()) == []


def test_a_trace_of_a_hash_that_is_a_path(lie, tmp_path):
    """No file is written where a phone wants it."""
    target = tmp_path / "anywhere"
    trace = {"kind": "etdump", "sha256": str(target), "size_bytes": 8, "latency_ns": [1] * 50}

    _, outcome = lie(sampled(trace=trace), "profile", "tiny.py")

    assert outcome.exit_code == 4
    assert "trace.sha256" in outcome.stderr
    assert list(tmp_path.glob("anywhere*")) == []


def test_what_a_companion_says_reaches_no_terminal_raw(lie, cli):
    """Of a failure's message: on standard error, and from the store ever after."""

    def fail(result):
        failure = {"type": "failure", "phase": "memory", "code": "internal", "message": FORGED}
        return json.dumps(result | failure)

    _, outcome = lie(fail)

    shown = cli("results", "show", "last")
    for text in (outcome.stderr, outcome.stdout, shown.stdout):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert not re.search("^Error: all is lost", text, re.MULTILINE)
    assert "all is lost" in outcome.stderr
