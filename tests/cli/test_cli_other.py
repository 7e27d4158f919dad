"""The other commands, and what the CLI as a whole promises."""

import csv
import io
import os
import re
import resource
import signal
import subprocess
import sys

import pytest
from following import wait_for

from mobilekit.cli.main import COMMANDS
from mobilekit.contract.codec import encode
from mobilekit.virtual.battery import gauge_named
from mobilekit.virtual.companion import GAUGE_FILE
from mobilekit.virtual.faults import Faults


@pytest.fixture
def deployed(cli):
    outcome = cli("deploy", "tiny.py", "--device", "pc", "--fast", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.document


def test_results_are_listed_and_exported(cli, deployed, tmp_path):
    """The list has a line, JSON has it whole, CSV has every duration in time order."""
    listed = cli("results", "list").stdout
    exported = cli("results", "export", deployed["id"])
    file = tmp_path / "samples.csv"
    written = cli("results", "export", "last", "--format", "durations", "--output", str(file))

    assert deployed["id"] in listed
    assert exported.document == deployed
    assert (written.exit_code, written.stdout) == (0, "")
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    samples = deployed["measurement"]["result"]["samples"]
    for phase, name in (("load", "load_ns"), ("warmup", "warmup_ns"), ("iterate", "iteration_ns")):
        found = [int(row["duration_ns"]) for row in rows if row["phase"] == phase]
        assert found == samples[name]


def test_results_can_be_filtered(cli, deployed):
    """--model keeps those of one network, --limit the newest; no result is no error."""
    assert len(cli("results", "list", "--model", "tiny", "--json").document["results"]) == 1
    assert cli("results", "list", "--model", "nin", "--json").document["results"] == []
    assert "no results of nin yet" in cli("results", "list", "--model", "nin").stdout


def test_an_export_that_cannot_be_written_leaves_nothing(cli, deployed, tmp_path):
    """A directory that is not there is an error of its own."""
    target = tmp_path / "none/x.json"

    outcome = cli("results", "export", "last", "-o", str(target))

    assert outcome.exit_code == 2
    assert str(target) in outcome.stderr
    assert not target.parent.exists()


def test_a_full_standard_output_is_one_line(cli, tmp_path):
    """It is named, and what is left in its buffer does not fail again; --json has no answer."""
    with (tmp_path / "out").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mobilekit", "virtual", "list", "--json"],
            env=cli.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            # As a full disk, but of this process alone.
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: File too large (path: standard output).")


def test_models_are_listed_with_their_costs(cli, tmp_path):
    """The packaged networks are there with the published parameters and their cards, at once: on a
    fresh machine too no network is built."""
    models = {
        item["model"]["name"]: item["cost"]
        for item in cli("models", "--json", MOBILEKIT_HOME=str(tmp_path)).document["models"]
    }
    verbose = cli("models", MOBILEKIT_HOME=str(tmp_path), PYTHONVERBOSE="1")

    assert models["alexnet"]["parameters"] == 60_965_224
    assert set(models) >= {"nin", "alexnet", "googlenet", "squeezenet"}
    assert "60,965,224" in verbose.stdout
    imported = [line for line in verbose.stderr.splitlines() if line.startswith("import '")]
    assert len(imported) > 100
    assert not [line for line in imported if line.startswith("import 'torch")]


def test_a_models_card_is_shown(cli):
    """By name or by file: task, input, counts, and the accuracy as published by others."""
    nin = cli("models", "nin").stdout
    card = cli("models", "nin", "--json").document
    tiny = cli("models", "tiny.py").stdout

    assert card["card"]["published_accuracy"] in nin
    assert "published" in nin
    assert "1x3x224x224 float32" in nin
    assert f"{card['cost']['macs']:,} MACs" in nin
    assert "published: none" in tiny
    assert cli("models", "nein").exit_code == 2


def test_export_stands_alone(cli):
    """It tells the file, and what is delegated; --json is the manifest."""
    text = cli("export", "tiny.py").stdout
    manifest = cli("export", "tiny.py", "--json").document["artifact"]

    assert manifest["file"]["sha256"] in text
    assert "100% of the MACs" in text


def test_devices_are_listed(cli, bench_phone):
    """A phone is listed with its profile, state, system and battery."""
    listed = cli("devices", "--json").document["devices"]
    text = cli("devices").stdout

    (device,) = listed
    assert device["attached"]["state"] == "device"
    assert device["info"]["name"] == "nexus7"
    assert device["battery"]["level_percent"] == 80
    assert re.search(rf"{bench_phone.serial}\s+nexus7 \(virtual\)\s+device\s+.*80%", text)


def test_a_virtual_phone_is_listed_once(cli, adb_server):
    """Attached to the user's server too, or seen through its own, it is one phone."""
    started = cli("virtual", "start", "nexus5", "--json").document
    serial, port = started["phone"]["address"], started["adb_server_port"]
    try:
        own = cli("devices", "--json").document["devices"]
        adb_server.adb("connect", serial)
        attached_twice = cli("devices", "--json").document["devices"]
        through_its_own = cli("devices", "--json", ANDROID_ADB_SERVER_PORT=str(port)).document[
            "devices"
        ]
    finally:
        adb_server.adb("disconnect", serial)
        cli("virtual", "stop", "nexus5")

    for listed in (own, attached_twice, through_its_own):
        assert [device["attached"]["serial"] for device in listed] == [serial]


def test_no_devices_is_no_error(cli):
    """With nothing attached it says what to do."""
    outcome = cli("devices")

    assert outcome.exit_code == 0
    assert "--device nexus7" in outcome.stdout


def test_a_virtual_phone_to_play_with(cli, adb_server, tmp_path):
    """Plain adb speaks to a started phone through its own server, deploy finds it, stop ends it."""
    started = cli("virtual", "start", "pixel8", "--json").document
    serial = started["phone"]["address"]
    environment = {"ANDROID_ADB_SERVER_PORT": str(started["adb_server_port"])}

    def adb(*arguments):
        import adbutils

        return subprocess.run(
            [adbutils.adb_path(), "-s", serial, *arguments],
            env=cli.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    try:
        again = cli("virtual", "start", "pixel8")
        listed = cli("virtual", "list")
        model = adb("shell", "getprop", "ro.product.device").stdout.strip()
        here, back = tmp_path / "here.txt", tmp_path / "back.txt"
        here.write_text("some text")
        pushed = adb("push", str(here), "/sdcard/there.txt")
        pulled = adb("pull", "/sdcard/there.txt", str(back))
        log = adb("logcat", "-d")
        deployed = cli("deploy", "tiny.py", "-d", serial, "--fast", "--no-energy")
        still = cli("virtual", "list", "--json").document["phones"]
        answered = adb("shell", "echo", "still here").stdout
    finally:
        stopped = cli("virtual", "stop", "pixel8")

    assert again.exit_code == 2
    assert serial in listed.stdout
    assert model == "shiba"
    assert (pushed.returncode, pulled.returncode) == (0, 0)
    assert back.read_text() == "some text"
    assert "virtual phone" in log.stdout
    assert deployed.exit_code == 0, deployed.stderr
    assert [phone["name"] for phone in still] == ["pixel8"]
    assert answered == "still here\n"
    assert stopped.exit_code == 0
    assert cli("virtual", "list", "--json").document["phones"] == []


def test_a_phone_with_an_odd_gauge(cli):
    """Its battery says what that gauge says, deploy finds the oddity; an unknown one is refused."""
    unknown = cli("virtual", "start", "nexus5", "--gauge", "best")
    started = cli("virtual", "start", "nexus5", "--gauge", "dual-cell", "--json")
    try:
        deployed = cli("deploy", "tiny.py", "-d", "virtual:nexus5", "--fast", "--json").document
    finally:
        cli("virtual", "stop", "nexus5")

    assert unknown.exit_code == 2
    assert "dual-cell" in unknown.stderr
    assert started.exit_code == 0, started.stderr
    assert deployed["answer"]["energy"] is None
    found = {finding["id"] for finding in deployed["measurement"]["findings"]}
    assert {"GAUGE-CONTRADICTS", "NO-ENERGY"} <= found
    assert deployed["measurement"]["device"]["gauge"] == "dual-cell"


def test_a_killed_virtual_phone_is_not_running(cli):
    """A phone whose process was killed is no longer listed, and starts again."""
    started = cli("virtual", "start", "nexus5", "--json").document
    subprocess.run(["kill", "-9", str(started["phone"]["pid"])], check=True)

    def listed():
        return cli("virtual", "list", "--json").document["phones"]

    assert listed() == []
    restarted = cli("virtual", "start", "nexus5", "--json")
    assert restarted.exit_code == 0, restarted.stderr
    assert cli("virtual", "stop", "nexus5").exit_code == 0


def test_a_run_keeps_its_virtual_phone_and_finds_it_again(cli):
    """Stopping the phone is refused, with the run's name; of one that ended all the same and was
    started anew, at another address, who follows the run is told that it is lost."""
    start = ("virtual", "start", "nexus5", "--energy-speed", "1", "--json")
    started = cli(*start).document
    calibration = cli.start("energy", "calibrate", "--model", "tiny.py", "-d", "virtual:nexus5")
    try:
        assert any("The phone rests" in line for line in calibration.stderr)
        refused = cli("virtual", "stop", "nexus5")
        os.kill(started["phone"]["pid"], signal.SIGTERM)
        wait_for(lambda: cli("virtual", "list", "--json").document["phones"] == [])
        again = cli(*start).document
        _, stderr = calibration.communicate(timeout=100)
    finally:
        calibration.kill()
        stopped = cli("virtual", "stop", "nexus5")

    assert refused.exit_code == 3
    # Other tests' runs may have been left on it a moment ago.
    assert re.search("run id: .*tiny-nexus5-calibrate-", refused.stderr)
    assert again["phone"]["address"] != started["phone"]["address"]
    assert "The phone is back" in stderr
    assert calibration.returncode == 1, stderr
    assert stopped.exit_code == 0, stopped.stderr


def test_the_battery_pays_for_energy_runs(cli, bench_phone):
    """After a run with energy the simulated charge is lower than before."""
    before = bench_phone.battery.read().charge_counter_uah
    outcome = cli("deploy", "tiny.py", "--device", bench_phone.serial, "--fast", "--json")
    after = bench_phone.battery.read().charge_counter_uah

    assert outcome.exit_code == 0, outcome.stderr
    assert after < before


def test_a_faulty_link_is_shown_by_devices(cli, bench_phone):
    """An unplugged phone is no longer listed as ready."""
    bench_phone.call(bench_phone.phone.set_faults(Faults(cable="unplugged")))

    states = [item["attached"]["state"] for item in cli("devices", "--json").document["devices"]]

    assert "device" not in states


@pytest.mark.parametrize(
    ("arguments", "commands"),
    [
        ([], []),
        (["--help"], []),
        (["--version"], []),
        (["deploy", "--help"], ["deploy"]),
        (["devices"], ["listing"]),
        (["results", "list"], ["results", "layers"]),
        (["results", "-h"], ["results", "layers"]),
        (["virtual", "list"], ["virtual"]),
        (["predict", "squeezenet", "--device", "SM8350"], ["predict"]),
        (["predict", "squeezenet", "--device", "SM8350", "--json"], ["predict"]),
    ],
    ids=lambda given: " ".join(given) or "alone",
)
def test_only_what_works_is_imported(cli, arguments, commands):
    """The command that is named and no other; help, devices, results and predictions come up
    without torch, pandas and matplotlib, help even without adbutils, and a chip's prediction
    without what only measurements need."""
    # `-X importtime` would not tell what importlib's import_module brings: the commands.
    program = (
        "import sys, mobilekit.cli.main as main\n"
        f"sys.argv = ['mobilekit', *{arguments!r}]\n"
        "try:\n    main.run()\n"
        "finally:\n    print('IMPORTED', *sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("IMPORTED")]
    modules = set(line.split())
    ours = {target.partition(":")[0] for target, _ in COMMANDS.values()}
    assert ours & modules == {f"mobilekit.cli.{name}" for name in commands}
    assert not modules & {"torch", "executorch", "pandas", "matplotlib"}
    if not arguments or {"--help", "-h", "--version"} & {*arguments}:
        assert not modules & {"numpy", "sqlalchemy", "adbutils"}
    if arguments[:1] == ["predict"]:
        heavy = {"sqlalchemy", "adbutils", "rich", "scipy", "pint", "yaml", "dbos"}
        ours = {"mobilekit.results.documents", "mobilekit.results.store"}
        assert not modules & (heavy | ours)


def test_an_unknown_command_is_refused(cli):
    """With the one that was meant, if one is like it."""
    refused = cli("deplyo", "nin")

    assert refused.exit_code == 2
    assert "No such command 'deplyo'. Did you mean 'deploy'?" in refused.stderr


# --- gauges ------------------------------------------------------------------------------------


def test_a_calibrated_gauge_is_used_explained_and_overridden(cli, bench_phone):
    """Calibrating tells its evidence; later runs name the source; a person's word is marked."""
    calibrated = cli(
        "energy", "calibrate", "-d", bench_phone.serial, "--model", "tiny.py", "--json"
    )
    measured = cli("energy", "tiny.py", "-d", bench_phone.serial, "--fast", "--explain")
    overridden = cli(
        *("energy", "calibrate", "-d", bench_phone.serial, "--no-measure"),
        *("--source", "charge_counter", "--json"),
    )
    refused = [
        cli("energy", "calibrate", "-d", bench_phone.serial, "--no-measure", *wrong)
        for wrong in (("--source", "energy_counter"), ("--current-unit", "mA"))
    ]
    again = cli("deploy", "tiny.py", "-d", bench_phone.serial, "--fast", "--json").document

    assert calibrated.exit_code == 0, calibrated.stderr
    verdict = calibrated.document["found"]
    assert verdict["device"] == "virtual:nexus7"
    assert verdict["charge_step_uah"] == 500
    assert verdict["charge_ratio"] == pytest.approx(1, abs=0.15)
    assert (verdict["current_scale"], verdict["current_sign"]) == (1, 1)
    assert measured.exit_code == 0, measured.stderr
    assert "GAUGE-UNCALIBRATED" not in measured.stdout
    assert "quantisation" in measured.stdout
    assert "one inference a minute for" in measured.stdout
    assert overridden.document["found"]["overridden"] == ["source"]
    assert [outcome.exit_code for outcome in refused] == [5, 5]
    assert "energy counter: unsupported" in refused[0].stderr
    assert "1e+03 of the charge counter's change" in refused[1].stderr
    assert again["answer"]["energy"]["source"] == "charge_counter"
    assert again["measurement"]["gauge"] == overridden.document["found"]
    found = {finding["id"] for finding in again["measurement"]["findings"]}
    assert "GAUGE-OVERRIDDEN" in found


@pytest.mark.parametrize(
    ("kind", "exit_code"), [("reports-ma", 0), ("inverted", 0), ("dual-cell", 5)]
)
def test_a_strange_gauge_is_understood_or_refused(cli, bench_phone, kind, exit_code):
    """Unit and sign are found out; a gauge that contradicts itself is refused with exit code 5."""
    (bench_phone.directory / GAUGE_FILE).write_bytes(encode(gauge_named(kind)))

    outcome = cli("energy", "calibrate", "-d", bench_phone.serial, "--model", "tiny.py")

    assert outcome.exit_code == exit_code, outcome.stderr
    if exit_code:
        assert "contradicts itself" in outcome.stdout
        assert "cannot be trusted" in outcome.stderr
        as_json = cli(
            *("energy", "calibrate", "-d", bench_phone.serial, "--model", "tiny.py", "--json")
        )
        assert as_json.document["found"]["contradictory"] is True
        later = cli("energy", "tiny.py", "-d", bench_phone.serial, "--fast")
        assert later.exit_code == exit_code
        assert "cannot be trusted" in later.stderr
        deployed = cli("deploy", "tiny.py", "-d", bench_phone.serial, "--fast", "--json").document
        assert deployed["answer"]["latency"] is not None
        assert deployed["answer"]["energy"] is None
        assert deployed["measurement"]["request"]["energy"] is None
        found = {finding["id"] for finding in deployed["measurement"]["findings"]}
        assert "GAUGE-REFUSED" in found


def test_energy_with_weights_of_ones_own(cli, bench_phone, tiny_weights):
    """The network that is measured is not called untrained."""
    outcome = cli(
        *("energy", "tiny.py", "-d", bench_phone.serial, "--fast"), "--weights", tiny_weights
    )

    assert outcome.exit_code == 0, outcome.stderr
    assert "marginal" in outcome.stdout
    assert "UNTRAINED-WEIGHTS" not in outcome.stdout


def test_life_follows_from_a_measurement(cli, bench_phone):
    """A duty cycle's life is told with its interval; none without energy, none that cannot be."""
    before = cli("energy", "life", "tiny", "--every", "10s")
    measured = cli("energy", "tiny.py", "-d", bench_phone.serial, "--fast")
    told = cli("energy", "life", "tiny", "--every", "10s", "--idle-mw", "100", "--json")
    impossible = cli("energy", "life", "tiny", "--every", "0.000001s")

    assert measured.exit_code == 0, measured.stderr
    assert before.exit_code == impossible.exit_code == 2
    life = told.document["life"]
    assert told.document["virtual"] is True
    assert life["hours_interval"]["low"] < life["hours"] < life["hours_interval"]["high"]
    assert life["hours"] == pytest.approx(54_000 / life["mean_w"] / 3600)
    text = cli("energy", "life", "tiny", "--every", "10s", "--device", "nexus7").stdout
    assert "inferences [" in text
    assert "simulated charge counter at the battery, 5 blocks" in text
    assert text.rstrip().endswith("steps")
    assert cli("energy", "life", "tiny", "--every", "soon").exit_code == 2
    assert cli("energy", "life", "tiny", "--every", "10s", "--device", "pixel8").exit_code == 2


def test_what_a_phone_cannot_run_is_refused_there_and_noted_elsewhere(cli):
    """ExecuTorch's Java classes have no boolean tensors: this computer's runtime has."""
    (cli.directory / "masked.py").write_text(
        """from torch import nn

INPUT_SHAPES = ((1, 4), (1, 4))
INPUT_DTYPES = ("float32", "bool")


class Masked(nn.Module):
    def forward(self, values, mask):
        return values * mask


def build():
    return Masked()
"""
    )

    exported = cli("export", "masked.py")
    refused = cli("deploy", "masked.py", "--device", "nexus7", "--format", "pte")
    here = cli("deploy", "masked.py", "--device", "pc", "--fast", "--json")

    assert exported.exit_code == 0, exported.stderr
    assert "NOT-ON-PHONES" in exported.stderr
    assert refused.exit_code == 1
    assert "no boolean inputs or outputs" in refused.stderr
    assert "--format onnx" in refused.stderr
    assert here.exit_code == 0, here.stderr
    findings = {each["id"]: each for each in here.document["measurement"]["findings"]}
    assert findings["NOT-ON-PHONES"]["severity"] == "info"
