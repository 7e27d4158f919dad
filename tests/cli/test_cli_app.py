"""The Android app's own core as the companion: from the CLI through a real adb server to Kotlin."""

from importlib.metadata import version

import numpy as np
import pytest
from native import needs_native

pytestmark = needs_native
ARGUMENTS = ("deploy", "tiny.py", "-d", "virtual:nexus7", "--fast", "--json")


@pytest.fixture
def start_phone(cli):
    """Starts a virtual Nexus 7 with that companion, behind its own adb server."""
    started = []

    def start(companion):
        started.append(companion)
        outcome = cli("virtual", "start", "nexus7", "--companion", companion, "--json")
        assert outcome.exit_code == 0, outcome.stderr
        return outcome.document["phone"]

    yield start
    for _ in started:
        assert cli("virtual", "stop", "nexus7").exit_code == 0


@pytest.fixture
def native_phone(start_phone):
    return start_phone("native")


@pytest.fixture
def jvm_phone(start_phone):
    return start_phone("jvm")


def test_the_app_runs_what_the_cli_asks_for(cli, native_phone):
    """The format is a phone's, the result whole, and the library is named."""
    outcome = cli(*ARGUMENTS, "--no-energy")

    assert outcome.exit_code == 0, outcome.stderr
    measurement = outcome.document["measurement"]
    companion = measurement["result"]["samples"]["companion"]
    assert (companion["name"], companion["engine"]) == ("mobilekit native", "executorch")
    assert companion["engine_version"] not in ("", version("executorch"))
    assert measurement["result"]["samples"]["output_check"]["matches"]
    assert outcome.document["answer"]["latency"]["count"] >= 30
    assert [
        phone["companion"] for phone in cli("virtual", "list", "--json").document["phones"]
    ] == ["native"]


def test_the_app_evaluates_examples(cli, native_phone, tmp_path):
    """Each example's output is what this computer gives for it."""
    examples = np.random.default_rng(5).random((6, 1, 8, 8), dtype="f4")
    np.save(tmp_path / "inputs.npy", examples)
    np.save(tmp_path / "labels.npy", np.arange(6))
    arguments = ("evaluate", "digits", "--data", tmp_path, "--json")

    app = cli(*arguments, "-d", "virtual:nexus7")
    computer = cli(*arguments, "-d", "pc")

    assert app.exit_code == computer.exit_code == 0, app.stderr + computer.stderr
    assert app.document["answer"]["accuracy"] == computer.document["answer"]["accuracy"]
    assert app.document["answer"]["accuracy"]["same_class"] == 6


def test_the_core_alone_gets_onnx(cli, jvm_phone):
    """Without the app's native libraries: the format follows from what the phone tells."""
    outcome = cli(*ARGUMENTS, "--no-energy")

    assert outcome.exit_code == 0, outcome.stderr
    assert "nexus7 gets .onnx, not .pte: its companion runs only .onnx" in outcome.stderr
    companion = outcome.document["measurement"]["result"]["samples"]["companion"]
    assert (companion["name"], companion["engine"]) == ("mobilekit jvm", "onnxruntime")


def test_a_format_that_it_does_not_run_is_refused(cli, jvm_phone):
    """Before anything is pushed or exported."""
    outcome = cli(*ARGUMENTS, "--format", "pte")

    assert outcome.exit_code == 2
    assert "runs only .onnx" in outcome.stderr


def test_it_has_no_energy_and_says_so(cli, native_phone):
    """Time and memory are there; the refusal is a finding that names what has energy."""
    outcome = cli(*ARGUMENTS)

    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["answer"]["energy"] is None
    findings = {item["id"]: item for item in outcome.document["measurement"]["findings"]}
    assert "no battery to read" in findings["ENERGY-REFUSED"]["summary"]
    assert "python companion" in findings["ENERGY-REFUSED"]["advice"]


def test_two_runs_of_one_start(cli, native_phone):
    """The Kotlin core carries out one after the other; it has no energy, which fails neither."""
    outcome = cli("energy", "tiny.py", "tiny.py", "-d", "virtual:nexus7", "--fast", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    results = [each["measurement"]["result"] for each in outcome.document["measurements"]]
    assert [result["type"] for result in results] == ["success", "success"]
    companions = [result["samples"]["companion"]["name"] for result in results]
    assert companions == ["mobilekit native", "mobilekit native"]
    assert "Run 2 of 2: tiny" in outcome.stderr


@pytest.mark.parametrize(
    ("name", "format"),
    [
        *(("tiny.py", "pte"), ("tiny.py", "tflite"), ("tiny.py", "onnx")),
        pytest.param("squeezenet", "onnx", marks=pytest.mark.soak),
    ],
)
def test_both_companions_give_equivalent_results(cli, name, format):
    """The same request gives the same phases, counts, check and readings in Python and Kotlin."""
    arguments = ("deploy", name, "-d", "virtual:nexus7", "--fast", "--no-energy", "--json")
    arguments = (*arguments, "--format", format)
    python = cli(*arguments, timeout=280)
    assert python.exit_code == 0, python.stderr
    assert cli("virtual", "start", "nexus7", "--companion", "native").exit_code == 0
    try:
        kotlin = cli(*arguments)
    finally:
        cli("virtual", "stop", "nexus7")
    assert kotlin.exit_code == 0, kotlin.stderr

    one, other = (outcome.document["measurement"] for outcome in (python, kotlin))
    assert one["artifact"]["file"] == other["artifact"]["file"]
    assert one["request"] | {"run_id": ""} == other["request"] | {"run_id": ""}
    assert structure(one) == structure(other)
    for measurement in (one, other):
        samples, request = measurement["result"]["samples"], measurement["request"]
        assert samples["output_check"]["max_relative_error"] <= request["relative_tolerance"]
        assert len(samples["iteration_ns"]) >= request["min_iterations"]
        # Not the iterations' sum: on a busy machine much of the time lies between them.
        assert length_ns(samples, "iterate") >= request["min_duration_ns"]
        assert len(samples["warmup_ns"]) >= 2 * request["warmup"]["window_iterations"]
        assert all(sample["pss_bytes"] > 0 for sample in samples["memory"])
        times = [phase["at_ns"] for phase in samples["phases"]] + [samples["ended_ns"]]
        assert times == sorted(times)


def length_ns(samples, phase):
    """From a phase's start to the next one's."""
    starts = {each["phase"]: each["at_ns"] for each in samples["phases"]}
    ends = [*list(starts.values())[1:], samples["ended_ns"]]
    return dict(zip(starts, ends, strict=True))[phase] - starts[phase]


def structure(measurement):
    """What two companions must agree on, however fast they are."""
    result = measurement["result"]
    samples = result["samples"]
    companion = samples["companion"]
    return {
        "type": result["type"],
        "phases": [phase["phase"] for phase in samples["phases"]],
        "loads": len(samples["load_ns"]),
        "matches": samples["output_check"]["matches"],
        "memory": [sample["stage"] for sample in samples["memory"]],
        "thermal": len(samples["thermal"]),
        "windows": samples["windows"],
        "energy_refusal": samples["energy_refusal"],
        "companion": [
            companion[name] for name in ("version", "engine", "abi", "threads", "debuggable")
        ],
    }
