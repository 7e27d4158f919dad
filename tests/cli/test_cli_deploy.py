"""Deploying, through the CLI and the real adb server."""

import json
import os
import re
import signal
import time

import msgspec
import numpy as np
import pytest
from apks import make_apk, make_manifest
from following import is_over, progress_of, wait_for

from mobilekit import __version__
from mobilekit.contract.codec import decode, encode
from mobilekit.contract.protocol import PACKAGE
from mobilekit.model.zoo import read_spec
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.measurement import Measurement
from mobilekit.results.documents import MeasurementDocument
from mobilekit.virtual.companion import CompanionProcess, EnergyTruth, PhoneBattery

NO_PHONE = {"ANDROID_ADB_SERVER_PORT": "1", "ADBUTILS_ADB_PATH": "/bin/false"}


def test_a_virtual_phone_stands_in(cli, shared_home):
    """With no phone attached, a named one is virtual, says so everywhere, and ends with the run."""
    outcome = cli("deploy", "tiny.py", "--device", "nexus7", "--fast", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    assert "virtual nexus7 stands in" in outcome.stderr
    document = outcome.document
    assert document["schema"] == "mobilekit.measurement/3"
    assert document["virtual"] is True
    assert document["measurement"]["virtual"] is True
    samples = document["measurement"]["result"]["samples"]
    assert samples["output_check"]["matches"]
    assert len(samples["load_ns"]) == 3
    assert len(samples["iteration_ns"]) >= 30
    assert len(samples["windows"]) == 11
    assert document["answer"]["latency"]["count"] == len(samples["iteration_ns"])
    assert {document["answer"][name]["origin"] for name in ("energy", "charge")} == {"simulated"}
    ids = [finding["id"] for finding in document["measurement"]["findings"]]
    assert {"VIRTUAL", "UNTRAINED-WEIGHTS"} <= set(ids)
    assert cli("virtual", "list", "--json").document["phones"] == []
    simulated = document["answer"]["energy"]
    truth_file = shared_home / f"state/virtual/nexus7/truth/{document['id']}.json"
    truth = decode(truth_file.read_bytes(), EnergyTruth, source="truth")
    for kind in ("gross", "marginal"):
        interval = simulated[f"{kind}_interval_j"]
        assert interval["low"] <= getattr(truth, f"{kind}_j") <= interval["high"]
    charge = document["answer"]["charge"]
    assert charge["inferences"] == pytest.approx(54_000 / simulated["gross_j"])
    (predicted,) = document["predicted"]["predictions"]
    assert (predicted["device"], predicted["origin"]) == ("nexus7", "predicted")
    assert predicted["latency_ms"] is None
    assert "smaller than any network" in predicted["reasons"][0]


def test_the_document_decodes_and_replays_without_a_phone(cli):
    """What --json printed is a strict document, and ``results show`` gives it again."""
    deployed = cli("deploy", "tiny.py", "--device", "nexus7", "--fast", "--json")

    decode(deployed.stdout, MeasurementDocument, source="stdout")
    replayed = cli("results", "show", "last", "--json", **NO_PHONE)

    assert replayed.document == deployed.document


def test_the_text_has_every_figure(cli):
    """The summary names init, latency, memory, energy, charge and where the time went."""
    outcome = cli("deploy", "tiny.py", "--device", "nexus7", "--fast")

    assert outcome.exit_code == 0, outcome.stderr
    heading, *lines = outcome.stdout.splitlines()
    assert heading == (
        "tiny · fp32 · xnnpack · nexus7 (virtual: latency is this computer's, energy is simulated)"
    )
    rows = {line.split()[0]: line for line in lines if line.startswith("  ")}
    # A mean that is far from the p50, of other work on the computer, has a row too.
    assert [row for row in rows if row != "mean"] == [
        "init",
        "latency",
        "memory",
        "output",
        "energy",
        "charge",
        "predicted",
        "took",
        "saved",
    ]
    assert "p50" in rows["latency"]
    assert "MAD" in rows["latency"]
    assert "matches PyTorch" in rows["output"]
    assert "gross" in rows["energy"]
    assert "simulated charge counter" in rows["energy"]
    assert "inferences [" in rows["charge"]
    assert "untrained weights: timing only" in outcome.stdout
    shown = cli("results", "show", rows["saved"].split()[1], **NO_PHONE)
    assert shown.stdout == outcome.stdout


def test_a_second_deploy_pushes_and_exports_nothing(cli, bench_phone):
    """An unchanged artifact is neither exported nor pushed again, and torch is not imported."""
    first = cli("deploy", "tiny.py", "--device", "nexus7", "--fast", "--no-energy")
    second = cli(
        "deploy", "tiny.py", "--device", "nexus7", "--fast", "--no-energy", PYTHONVERBOSE="1"
    )

    assert first.exit_code == second.exit_code == 0, first.stderr
    assert "Pushed" in first.stderr
    assert "Pushed" not in second.stderr
    assert "Lowering" not in second.stderr
    imported = [line for line in second.stderr.splitlines() if line.startswith("import '")]
    assert len(imported) > 100
    assert not [line for line in imported if line.startswith("import 'torch")]


@pytest.mark.parametrize(
    "name",
    [
        "nin",
        *(
            pytest.param(name, marks=pytest.mark.soak)
            for name in ("alexnet", "googlenet", "squeezenet", "deepear")
        ),
    ],
)
def test_the_networks_deploy(cli, name):
    """Each packaged network runs on the virtual phone and computes what PyTorch does."""
    outcome = cli("deploy", name, "--device", "nexus7", "--fast", "--json", timeout=280)

    assert outcome.exit_code == 0, outcome.stderr
    document = outcome.document
    assert document["measurement"]["result"]["samples"]["output_check"]["matches"]
    assert document["measurement"]["artifact"]["delegation"]["portable_operator_counts"] == {}
    assert document["answer"]["energy"]["gross_interval_j"]["low"] > 0


def test_a_file_of_another_tool_deploys(cli, tmp_path):
    """A torch.export archive goes the whole way by its path, with its own weights."""
    import torch
    from torch import nn

    path = tmp_path / "other.pt2"
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 2, 2),)), path)

    outcome = cli("deploy", path, "--device", "nexus7", "--fast", "--no-energy", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    measurement = outcome.document["measurement"]
    assert measurement["artifact"]["model"]["name"] == "other"
    assert measurement["result"]["samples"]["output_check"]["matches"]
    assert "UNTRAINED-WEIGHTS" not in [finding["id"] for finding in measurement["findings"]]


def test_this_computer_is_a_device(cli):
    """--device pc needs no adb at all, measures for real, and has no energy."""
    outcome = cli("deploy", "tiny.py", "--device", "pc", "--fast", "--json", **NO_PHONE)

    assert outcome.exit_code == 0, outcome.stderr
    document = outcome.document
    assert document["virtual"] is False
    assert document["measurement"]["device"]["name"] == "pc"
    # A tiny network may give back more than it takes.
    memory = document["measurement"]["result"]["samples"]["memory"]
    assert [sample["stage"] for sample in memory] == ["closed", "loaded", "inferred"]
    assert document["answer"]["memory"]["measure"] == "PSS"
    assert document["answer"]["energy"] is None
    assert document["answer"]["energy"] is None


def test_threads_reach_the_engine(cli):
    """The number of threads asked for is the number that the companion reports."""
    outcome = cli("deploy", "tiny.py", "--device", "pc", "--fast", "--threads", "1", "--json")

    companion = outcome.document["measurement"]["result"]["samples"]["companion"]
    assert companion["threads"] == 1


def test_trained_weights_are_named_and_change_the_artifact(cli, tiny_weights):
    """With --weights nothing is called untrained, and another artifact is run."""
    trained = cli("deploy", "tiny.py", "-d", "pc", "--fast", "--weights", tiny_weights, "--json")
    untrained = cli("deploy", "tiny.py", "-d", "pc", "--fast", "--json")

    def sha256(outcome):
        return outcome.document["measurement"]["artifact"]["file"]["sha256"]

    assert trained.exit_code == 0, trained.stderr
    assert "UNTRAINED-WEIGHTS" not in trained.stdout
    assert "UNTRAINED-WEIGHTS" in untrained.stdout
    assert sha256(trained) != sha256(untrained)


def test_a_charging_phone_gives_time_and_memory(cli, bench_phone):
    """On a cable there is no energy; everything else is there, and how to get the energy."""
    bench_phone.battery.set_plugged(True)

    outcome = cli("deploy", "tiny.py", "--device", bench_phone.serial, "--fast")

    assert outcome.exit_code == 0, outcome.stderr
    assert "latency" in outcome.stdout
    assert "\n  energy" not in outcome.stdout
    assert "CHARGING" in outcome.stdout
    assert "mobilekit energy" in outcome.stdout


def test_strict_refuses_doubtful_figures(cli, model_directory):
    """A network that is hardly delegated is found out, and --strict exits with 5."""
    (model_directory / "slow.py").write_text(
        "from torch import nn\n\nINPUT_SHAPES = ((1, 8),)\n\n\n"
        "def build():\n    return nn.Sequential(nn.ELU(), nn.ELU())\n"
    )

    outcome = cli("deploy", "slow.py", "--device", "pc", "--fast", "--strict")

    assert outcome.exit_code == 5
    assert "LOW-DELEGATION" in outcome.stdout
    assert "Error: The figures are unreliable" in outcome.stderr


def test_a_run_leaves_nothing_on_the_phone_but_artifacts(cli, bench_phone):
    """Once stored here, a run's files are removed there."""
    outcome = cli("deploy", "tiny.py", "--device", "nexus7", "--fast", "--no-energy")

    assert outcome.exit_code == 0, outcome.stderr
    assert bench_phone.adb("shell", "ls /data/local/tmp/mobilekit/runs").stdout == ""
    listing = bench_phone.adb("shell", "ls /data/local/tmp/mobilekit/artifacts").stdout
    assert len(listing.split()) == 3


# --- when things go wrong ----------------------------------------------------------------------


def test_unplugged_in_mid_run(cli, bench_phone):
    """A phone that goes away in the middle exits with 4, and what it had told is stored."""
    from mobilekit.virtual.faults import Faults

    arguments = ("deploy", "tiny.py", "--device", bench_phone.serial, "--no-energy")
    process = cli.start(*arguments, MOBILEKIT_RECONNECT_S="2")
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone), 60)
    time.sleep(0.5)
    bench_phone.call(bench_phone.phone.set_faults(Faults(cable="unplugged")))
    _, stderr = process.communicate(timeout=150)

    assert process.returncode == 4
    assert "Traceback" not in stderr
    assert "results show" in stderr
    shown = cli("results", "show", "last", "--json", **NO_PHONE).document
    result = shown["measurement"]["result"]
    assert result["type"] == "failure"
    assert result["code"] == "disconnected"
    assert len(result["samples"]["load_ns"]) == 5


def test_a_companion_that_dies(cli, bench_phone):
    """A killed companion is noticed, what it had measured is stored, and the exit code is 1."""
    process = cli.start("deploy", "tiny.py", "-d", bench_phone.serial, "--no-energy", "--json")
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone), 60)
    bench_phone.companion.stop()
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 1
    assert "ended without a result" in stderr
    (document,) = [json.loads(stdout)]
    assert document["measurement"]["result"]["type"] == "failure"
    shown = cli("results", "show", "last", "--json", **NO_PHONE).document
    assert len(shown["measurement"]["result"]["samples"]["load_ns"]) == 5


def test_a_corrupt_artifact_on_the_phone_is_replaced(cli, bench_phone):
    """The companion finds the corruption, the file is removed, and the next deploy pushes it."""
    arguments = ("deploy", "tiny.py", "--device", bench_phone.serial, "--fast", "--no-energy")
    assert cli(*arguments).exit_code == 0
    artifacts = bench_phone.directory / "files/data/local/tmp/mobilekit/artifacts"
    (program,) = artifacts.glob("*.pte")
    program.write_bytes(bytes(program.stat().st_size))

    damaged = cli(*arguments)
    mended = cli(*arguments)

    assert damaged.exit_code == 1
    assert "file_corrupt" in damaged.stderr
    assert mended.exit_code == 0
    assert "Pushed" in mended.stderr


def test_a_missing_app_that_may_not_be_installed(cli, bench_phone):
    """With --no-install nothing is pushed, and the fix is named."""
    bench_phone.adb("uninstall", PACKAGE)

    outcome = cli("deploy", "tiny.py", "--device", bench_phone.serial, "--no-install")

    assert outcome.exit_code == 1
    assert "not installed" in outcome.stderr
    assert "adb -s" in outcome.stderr
    assert bench_phone.adb("shell", "ls /data/local/tmp").stdout == ""


def test_an_app_of_another_version_is_updated(cli, bench_phone, tmp_path):
    """The right one is installed from --apk, which is said, and the run goes on."""
    bench_phone.adb("uninstall", PACKAGE)
    apk = tmp_path / "bench.apk"
    apk.write_bytes(make_apk(make_manifest(PACKAGE, 9, "0.0.9", debuggable=False)))
    bench_phone.adb("install", str(apk))
    apk.write_bytes(make_apk(make_manifest(PACKAGE, 100, __version__, debuggable=False)))
    arguments = ("deploy", "tiny.py", "-d", bench_phone.serial, "--fast", "--no-energy")

    refused = cli(*arguments, "--no-install")
    outcome = cli(*arguments, "--apk", apk)

    assert refused.exit_code == 1
    assert "0.0.9" in refused.stderr
    assert outcome.exit_code == 0, outcome.stderr
    assert f"installing {apk} (given with --apk)" in outcome.stderr
    assert f"Installed the companion app {__version__}" in outcome.stderr
    assert "latency" in outcome.stdout


def test_an_apk_that_does_not_fit(cli, bench_phone, tmp_path):
    """The phone's reason is told, and no artifact is pushed."""
    bench_phone.adb("uninstall", PACKAGE)
    apk = tmp_path / "bench.apk"
    apk.write_bytes(make_apk(make_manifest(PACKAGE, 100, __version__), ["armeabi-v7a"]))

    outcome = cli("deploy", "tiny.py", "-d", bench_phone.serial, "--apk", apk, "--json")

    assert outcome.exit_code == 1
    assert outcome.document["error"]["kind"] == "AppError"
    assert "INSTALL_FAILED_NO_MATCHING_ABIS" in outcome.stderr
    assert bench_phone.adb("shell", "ls /data/local/tmp").stdout == ""


# --- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["tiny.py", *(pytest.param(each, marks=pytest.mark.soak) for each in ("squeezenet", "nin"))],
)
def test_onnx_runs_on_the_virtual_phone(cli, name):
    """ONNX Runtime computes what PyTorch does, and energy is measured as for ExecuTorch."""
    outcome = cli(
        "deploy", name, "-d", "nexus7", "--fast", "--format", "onnx", "--json", timeout=280
    )

    assert outcome.exit_code == 0, outcome.stderr
    measurement = outcome.document["measurement"]
    samples = measurement["result"]["samples"]
    assert measurement["artifact"]["file"]["format"] == "onnx"
    assert samples["companion"]["engine"] == "onnxruntime"
    assert samples["output_check"]["matches"]
    assert outcome.document["answer"]["energy"]["gross_j"] > 0


def test_onnx_runs_on_this_computer(cli):
    """With the number of threads that was asked for."""
    outcome = cli(
        "deploy", "tiny.py", "-d", "pc", "--fast", "--format", "onnx", "--threads", "1", "--json"
    )

    assert outcome.exit_code == 0, outcome.stderr
    companion = outcome.document["measurement"]["result"]["samples"]["companion"]
    assert (companion["engine"], companion["threads"]) == ("onnxruntime", 1)


def test_int8_runs_on_the_virtual_phone(cli, model_directory):
    """Calibrated or not, in the format that the device takes; the text says what it was."""
    outcome = cli(
        "deploy", "tiny.py", "-d", "nexus7", "--fast", "--no-energy", "--precision", "int8"
    )

    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout.startswith("tiny · int8 · xnnpack")
    assert re.search(
        r"PyTorch in fp32 \(by 0\.0\d* of the largest value, within 0\.\d{1,3}\)", outcome.stdout
    )
    assert "UNCALIBRATED" in outcome.stdout
    assert "tiny-int8" in cli("results", "list").stdout
    shape = (8, *read_spec(model_directory / "tiny.py").input_shapes[0][1:])
    examples = model_directory / "examples.npy"
    np.save(examples, np.random.default_rng(0).standard_normal(shape, np.float32))

    arguments = ("--precision", "int8", "--calibration", str(examples))
    outcome = cli("deploy", "tiny.py", "-d", "pc", "--fast", "--format", "tflite", *arguments)

    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout.startswith("tiny · int8 · litert · pc")
    assert "UNCALIBRATED" not in outcome.stdout
    exported = cli("export", "tiny.py", "--format", "tflite", *arguments)
    assert f"calibrated with 7 examples of {examples}, checked with another one" in " ".join(
        exported.stdout.split()
    )


@pytest.fixture
def phone_of_32_bits(make_real_phone):
    """A phone with Android 7 but without 64 bits."""
    return make_real_phone(msgspec.structs.replace(load_profiles()["nexus5"], android_sdk=24))


@pytest.fixture
def make_real_phone(make_phone, tmp_path):
    """Virtual phones that tell of themselves what a real one does, with the real companion."""

    class SilentCompanion(CompanionProcess):
        def __init__(self, directory):
            super().__init__(directory)
            self.formats = ()

    def make(profile):
        (tmp_path / "profile.json").write_bytes(encode(profile))
        return make_phone(
            profile=profile,
            directory=tmp_path,
            abi="armeabi-v7a",
            battery=PhoneBattery(profile, tmp_path / "battery.json"),
            companion=SilentCompanion(tmp_path),
        )

    return make


def test_a_32_bit_phone_gets_onnx_by_itself(cli, phone_of_32_bits):
    """The reason is said, and the run goes through."""
    outcome = cli("deploy", "tiny.py", "-d", phone_of_32_bits.serial, "--fast", "--no-energy")

    assert outcome.exit_code == 0, outcome.stderr
    assert "gets .onnx, not .pte: ExecuTorch has no library for armeabi-v7a" in outcome.stderr
    assert "onnxruntime" in outcome.stdout.splitlines()[0]


def test_a_format_that_cannot_run_is_refused_before_anything_is_pushed(cli, phone_of_32_bits):
    """Nor is anything exported."""
    outcome = cli("deploy", "tiny.py", "-d", phone_of_32_bits.serial, "--format", "pte")

    assert outcome.exit_code == 2
    assert "ExecuTorch has no library for armeabi-v7a" in outcome.stderr
    assert "--format onnx" in outcome.stderr
    assert "Tracing" not in outcome.stderr
    assert phone_of_32_bits.adb("shell", "ls /data/local/tmp").stdout == ""


def test_a_nexus_7_gets_the_app_and_litert(cli, make_real_phone, tmp_path):
    """32 bits and Android 6: the app is installed with `pm`, and .tflite is what is left to run."""
    phone = make_real_phone(load_profiles()["nexus7"])
    phone.adb("uninstall", PACKAGE)
    apk = tmp_path / "bench.apk"
    manifest = make_manifest(PACKAGE, 100, __version__, debuggable=False)
    apk.write_bytes(make_apk(manifest, ["armeabi-v7a"]))

    outcome = cli(
        "deploy", "tiny.py", "-d", phone.serial, "--fast", "--apk", str(apk), "--no-energy"
    )

    assert outcome.exit_code == 0, outcome.stderr
    assert f"Installed the companion app {__version__}" in outcome.stderr
    assert "gets .tflite, not .pte or .onnx: ExecuTorch has no library" in outcome.stderr
    assert "ONNX Runtime needs Android 7.0, and it has 6.0.1" in outcome.stderr
    assert "litert" in outcome.stdout.splitlines()[0]
    assert "matches PyTorch" in outcome.stdout
    assert phone.adb("shell", "ls -A /data/local/tmp").stdout.split() == ["mobilekit"]


def test_an_old_processor_is_spared_what_it_would_die_of(cli, make_bench_phone):
    """A Cortex-A53's features: the next format, and why; and `devices` says what runs there."""
    profile = load_profiles()["nexus7"]
    hardware = msgspec.structs.replace(profile.hardware, cpu_features=("asimd", "crc32", "fp"))
    phone = make_bench_phone(msgspec.structs.replace(profile, hardware=hardware))

    (listed,) = cli("devices", "--json").document["devices"]
    outcome = cli("deploy", "tiny.py", "-d", phone.serial, "--fast", "--no-energy")
    refused = cli("deploy", "tiny.py", "-d", phone.serial, "--format", "pte")

    assert listed["formats"] == ["onnx", "tflite"]
    assert outcome.exit_code == 0, outcome.stderr
    assert "gets .onnx, not .pte: ExecuTorch's library" in outcome.stderr
    assert "needs a processor with atomics" in outcome.stderr
    assert refused.exit_code == 2
    assert "cannot run .pte" in refused.stderr


def test_a_missing_onnx_package_is_named(cli, model_directory, tmp_path):
    """With what installs it, and before anything is exported."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxscript'] = None\n")
    unseen = (model_directory / "tiny.py").read_text().replace("3, 8, 3", "3, 8, 5")
    (model_directory / "unseen.py").write_text(unseen)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    outcome = cli("export", "unseen.py", "--format", "onnx", PYTHONPATH=path)

    assert outcome.exit_code == 1
    assert "onnxscript" in outcome.stderr
    assert "pip install 'mobilekit[onnx]'" in outcome.stderr
    assert "Importing" not in outcome.stderr


# --- more that goes wrong ----------------------------------------------------------------------


def test_a_full_phone(cli, bench_phone):
    """No space is said in the phone's words, with what to do, and no half file stays."""
    from mobilekit.virtual.faults import Faults

    bench_phone.call(bench_phone.phone.set_faults(Faults(storage_bytes=1000)))

    outcome = cli("deploy", "tiny.py", "--device", bench_phone.serial, "--json")

    assert outcome.exit_code == 1
    assert outcome.document["error"]["kind"] == "PhoneError"
    assert "No space left on device" in outcome.stderr
    left = bench_phone.adb("shell", "ls /data/local/tmp/mobilekit/artifacts").stdout
    assert ".part" not in left


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        pytest.param(["deploy", "nim", "-d", "pc"], 2, ["nim", "nin"], id="unknown model"),
        pytest.param(["deploy", "gone.py", "-d", "pc"], 2, ["gone.py"], id="missing file"),
        pytest.param(
            ["deploy", "nin", "-d", "virtual:nokia"], 2, ["nokia", "nexus7"], id="no such profile"
        ),
        pytest.param(["deploy", "nin", "-d", "R58M"], 3, ["R58M", "nothing"], id="no such serial"),
        pytest.param(["deploy", "nin"], 3, ["No phone is attached", "nexus7"], id="auto, none"),
        pytest.param(
            ["deploy", "nin", "-d", "nexus7", "--require-phone"], 3, ["nothing"], id="required"
        ),
        pytest.param(
            ["deploy", "nin", "-d", "pc", "--fast", "--rigorous"], 2, ["contradict"], id="both"
        ),
        pytest.param(
            ["deploy", "nin", "-d", "pc", "--apk", "x", "--no-install"],
            2,
            ["contradict"],
            id="apk and none",
        ),
        pytest.param(
            ["deploy", "nin", "-d", "pc", "--format", "tfl"], 2, ["'tfl'", "tflite"], id="format"
        ),
        pytest.param(
            ["export", "nin", "--precision", "int8", "--calibration", "nope.npy"],
            2,
            ["no such calibration file", "nope.npy"],
            id="no calibration",
        ),
        pytest.param(
            ["deploy", "nin", "-d", "pc", "--calibration", "x.npy"],
            2,
            ["fp32", "--precision int8"],
            id="calibration of fp32",
        ),
        pytest.param(
            ["deploy", "nin", "-d", "pc", "--weights", "nope.pt"], 2, ["nope.pt"], id="no weights"
        ),
        pytest.param(
            ["energy", "nin", "alexnet", "--weights", "x.pt"],
            2,
            ["one network", "nin, alexnet"],
            id="weights of which",
        ),
        pytest.param(
            ["deploy", "nin", "-d", "pc", "--store", "nonsense"], 1, ["--store"], id="bad store"
        ),
        pytest.param(["results", "show", "nope"], 2, ["nope", "results list"], id="no result"),
        pytest.param(["virtual", "stop", "nexus7"], 2, ["nexus7"], id="not running"),
    ],
)
def test_refusals_name_the_fact_and_the_fix(cli, arguments, exit_code, told):
    """Each is one paragraph on stderr with its exit code, and nothing on stdout."""
    outcome = cli(*arguments)

    assert outcome.exit_code == exit_code
    assert outcome.stdout == ""
    for words in told:
        assert words in outcome.stderr


def test_the_environment_can_require_a_phone(cli):
    """MOBILEKIT_REQUIRE_PHONE=1 is --require-phone."""
    outcome = cli("deploy", "tiny.py", "-d", "nexus7", MOBILEKIT_REQUIRE_PHONE="1")

    assert outcome.exit_code == 3


def test_no_adb_server(cli):
    """Where none runs and none can be started, the error says how to look further."""
    outcome = cli("deploy", "tiny.py", "--device", "nexus7", **NO_PHONE)

    assert outcome.exit_code == 3
    assert "No adb server can be started" in outcome.stderr


def test_a_phone_of_another_kind_is_listed(cli, bench_phone):
    """Asking for a Pixel 8 with a Nexus 7 attached names what is there, and starts no other."""
    outcome = cli("deploy", "tiny.py", "--device", "pixel8")

    assert outcome.exit_code == 3
    assert f"{bench_phone.serial} (nexus7, virtual)" in outcome.stderr


def test_an_unauthorized_phone(cli, make_phone, adb_server):
    """It is named with what to do, by deploy and by devices."""
    from mobilekit.virtual.faults import Faults

    phone = make_phone(connect=False)
    phone.call(phone.phone.set_faults(Faults(cable="unauthorized")))
    adb_server.adb("connect", phone.serial)
    adb_server.wait_for_state(phone.serial, "unauthorized")

    deployed = cli("deploy", "tiny.py", "--device", "nexus7")
    listed = cli("devices")

    assert deployed.exit_code == 3
    assert "allow USB debugging" in deployed.stderr
    assert "unauthorized" in listed.stdout
    assert "allow USB debugging" in listed.stdout


def test_a_network_that_cannot_be_exported(cli, model_directory):
    """The reason names the line, and neither an artifact nor a result is left."""
    (model_directory / "branching.py").write_text(
        "from torch import nn\n\nINPUT_SHAPES = ((1, 8),)\n\n\nclass Branching(nn.Module):\n"
        "    def forward(self, x):\n        return x if x.sum() > 0 else -x\n\n\n"
        "def build():\n    return Branching()\n"
    )

    outcome = cli("deploy", "branching.py", "--device", "pc")

    assert outcome.exit_code == 1
    assert "branching.py:8" in outcome.stderr
    assert cli("results", "list", "--json").document["results"] == []


def test_a_bad_profile_file(cli, shared_home):
    """A profile of the user's that does not parse is named with its field."""
    profiles = shared_home / "config/profiles"
    profiles.mkdir(parents=True, exist_ok=True)
    bad = profiles / "mine.toml"
    bad.write_text('name = "mine"\n')
    try:
        outcome = cli("deploy", "tiny.py", "--device", "mine")
    finally:
        bad.unlink()

    assert outcome.exit_code == 2
    assert "mine.toml" in outcome.stderr
    assert "title" in outcome.stderr


def test_an_old_phone_without_the_newer_shell(cli, monkeypatch, request):
    """Android 6 has only the first shell protocol, which mixes streams and ends lines by CRLF."""
    monkeypatch.setattr("mobilekit.virtual.phone.FEATURES", "cmd,stat_v2,ls_v2,fixed_push_mkdir")
    phone = request.getfixturevalue("bench_phone")

    outcome = cli("deploy", "tiny.py", "--device", "nexus7", "--fast", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["measurement"]["device"]["serial"] == phone.serial


def test_progress_that_is_no_message_loses_nothing(cli, bench_phone):
    """A line of zeros, as a dying battery leaves, ends the run with what came before it; what came
    after it is still on the phone, for ``collect`` to try once more."""
    process = cli.start("deploy", "tiny.py", "-d", bench_phone.serial, "--no-energy", "--json")
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone), 60)
    root = bench_phone.directory / "files/storage/emulated/0/Android/data/dev.mobilekit.bench/files"
    (progress,) = root.glob("runs/*/progress.jsonl")
    with progress.open("ab") as file:
        file.write(bytes(16) + b"\n")
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 4
    assert "`mobilekit collect` fetches the rest" in stderr
    result = json.loads(stdout)["measurement"]["result"]
    assert result["code"] == "disconnected"
    assert len(result["samples"]["load_ns"]) == 5
    whole = progress_of(bench_phone).encode()
    progress.write_bytes(whole.replace(bytes(16) + b"\n", b""))

    wait_for(lambda: is_over(bench_phone), 60)
    cli("collect")

    shown = cli("results", "show", "last", "--json").document["measurement"]["result"]
    assert shown["type"] == "success"


def test_two_deploys_do_not_share_a_phone(cli, bench_phone):
    """The second is refused with 3, and the first is not disturbed."""
    arguments = ("deploy", "tiny.py", "-d", bench_phone.serial, "--no-energy", "--json")
    first = cli.start(*arguments)
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone), 60)
    second = cli(*arguments)
    stdout, _ = first.communicate(timeout=150)

    assert second.exit_code == 3
    assert "Another mobilekit" in second.stderr
    assert first.returncode == 0
    assert json.loads(stdout)["measurement"]["result"]["type"] == "success"


def test_a_result_that_cannot_be_saved_is_kept(cli, bench_phone, shared_home, tmp_path):
    """When the database refuses it at last, the measurement is in a file that the error names."""
    database = tmp_path / "results.sqlite"
    process = cli.start("deploy", "tiny.py", "-d", bench_phone.serial, "--no-energy")
    wait_for(lambda: progress_of(bench_phone))
    database.unlink()
    database.mkdir()
    _, stderr = process.communicate(timeout=150)

    assert process.returncode == 1
    assert "cannot be used" in stderr
    unsaved = (shared_home / "data/unsaved").iterdir()
    (kept,) = (each for each in unsaved if str(each) in stderr)
    assert decode(kept.read_bytes(), Measurement, source="kept").artifact.model.name == "tiny"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_deploy_stops_its_virtual_phone(cli, number):
    """Whether it is terminated or interrupted, no virtual phone is left behind."""
    process = cli.start("deploy", "tiny.py", "-d", "virtual:nexus5", "--rigorous")
    wait_for(lambda: cli("virtual", "list", "--json").document["phones"] != [], 60)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=150)

    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    assert stderr.count("Interrupted from the keyboard") == (number == signal.SIGINT)
    assert cli("virtual", "list", "--json").document["phones"] == []


def test_a_relative_home_works(cli):
    """MOBILEKIT_HOME may be relative to where mobilekit is run."""
    outcome = cli("deploy", "tiny.py", "-d", "pc", "--fast", MOBILEKIT_HOME="some-home")

    assert outcome.exit_code == 0, outcome.stderr
