"""Evaluating labelled examples, through the CLI: on this computer and on virtual phones."""

import os
import signal
import subprocess
import sys
import wave

import numpy as np
import pytest
from following import is_over, progress_of, wait_for
from PIL import Image

from mobilekit.contract.codec import decode
from mobilekit.results.documents import MeasurementDocument
from mobilekit.virtual.companion import CompanionProcess

NO_PHONE = {"ANDROID_ADB_SERVER_PORT": "1", "ADBUTILS_ADB_PATH": "/bin/false"}
FACTOR_MODEL = '''
"""Its outputs are its inputs times a number that lies in a file beside it."""

from pathlib import Path

from torch import nn

INPUT_SHAPES = ((1, 4),)


class Factor(nn.Module):
    def forward(self, x):
        return x * FACTOR


FACTOR = float((Path(__file__).parent / "factor.txt").read_text())


def build():
    return Factor()
'''


PHOTO_MODEL = '''
"""Tells cats from dogs, had it been trained."""

from torch import nn

INPUT_SHAPES = ((1, 3, 16, 16),)
PREPROCESSING = "imagenet"
CLASSES = ("cat", "dog")


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2))
'''


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    """A dozen of the held-out digits, one of which has another's label."""
    from mobilekit.model.zoo import find_model, read_front_end

    source = read_front_end(find_model("digits")).data
    directory = tmp_path_factory.mktemp("digits")
    labels = np.load(source / "labels.npy")[:12]
    labels[5] = (labels[5] + 1) % 10
    np.save(directory / "inputs.npy", np.load(source / "inputs.npy")[:12])
    np.save(directory / "labels.npy", labels)
    return directory


def test_the_shipped_digits_on_this_computer(cli):
    """With nothing but its name, the network is run on its held-out images, and right on most."""
    outcome = cli("evaluate", "digits", "--device", "pc", "--json", **NO_PHONE)

    assert outcome.exit_code == 0, outcome.stderr
    document = decode(outcome.stdout, MeasurementDocument, source="stdout")
    answer = document.answer.accuracy
    assert answer.examples == answer.same_class == 360
    assert answer.device.top1.count == answer.pytorch.top1.count == 360
    assert answer.device.top1.interval.low == pytest.approx(0.9894, abs=1e-4)
    assert answer.device.top5.count == 360
    measurement = document.measurement
    assert measurement.classification.agreement.matches
    assert measurement.examples.directory.endswith("digits_held_out")
    assert len(measurement.result.samples.evaluation.latency_ns) == 360
    assert "UNTRAINED-WEIGHTS" not in {finding.id for finding in measurement.findings}
    shown = cli("results", "show", "last", "--json", **NO_PHONE)
    assert shown.document == outcome.document


def test_the_shipped_digits_in_int8(cli, few_digits):
    """At most one point of accuracy is lost; that some example's outputs move is no failure."""
    arguments = ("--precision", "int8", "--calibration", few_digits / "inputs.npy")
    outcome = cli("evaluate", "digits", "--device", "pc", *arguments, "--json", **NO_PHONE)

    assert outcome.exit_code == 0, outcome.stderr
    document = decode(outcome.stdout, MeasurementDocument, source="stdout")
    accuracy = document.answer.accuracy
    assert accuracy.device.top1.share >= accuracy.pytorch.top1.share - 0.01
    measurement = document.measurement
    agreement = measurement.classification.agreement
    assert measurement.artifact.relative_tolerance < agreement.max_relative_error < 0.9
    assert "EXAMPLES-DIFFER" not in {finding.id for finding in measurement.findings}


def test_digits_on_a_virtual_phone(cli, bench_phone, few_digits):
    """The accuracy is what came back over adb, labelled as virtual; the phone is left clean."""
    outcome = cli("evaluate", "digits", "--device", "nexus7", "--data", few_digits)

    assert outcome.exit_code == 0, outcome.stderr
    assert "nexus7 (virtual: " in outcome.stdout
    rows = {line.split()[0]: line for line in outcome.stdout.splitlines() if line[:1] == " "}
    assert "top-1 91.7% [64.6%, 98.5%]   top-5 " in rows["accuracy"]
    assert rows["accuracy"].endswith("n=12")
    assert "top-1 91.7% [64.6%, 98.5%]" in rows["pytorch"]
    assert "classes for 0 of 12" in rows["differ"]
    assert "within 0.001" in rows["differ"]
    assert "energy" not in rows
    assert list(bench_phone.directory.rglob("outputs.bin")) == []
    again = cli("evaluate", "digits", "--device", "nexus7", "--data", few_digits)
    assert "Pushed" in outcome.stderr
    assert "Pushed" not in again.stderr


def test_speech_on_a_virtual_phone(cli, bench_phone, tmp_path):
    """Recordings go through the network's own filterbank; a recording has a class like a folder."""
    random = np.random.default_rng(3)
    for digit in ("3", "7"):
        (tmp_path / digit).mkdir()
        for number in range(2):
            samples = random.standard_normal(4000) * np.hanning(4000) * 5000
            with wave.open(str(tmp_path / digit / f"{number}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes(samples.astype("<i2").tobytes())

    outcome = cli("evaluate", "deep_kws_digits", "-d", "nexus7", "--data", tmp_path, "--json")

    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["virtual"] is True
    assert outcome.document["measurement"]["examples"]["labels"] == [3, 3, 7, 7]
    assert outcome.document["measurement"]["classification"]["agreement"]["matches"]
    assert outcome.document["answer"]["accuracy"]["same_class"] == 4


def test_photos_reach_every_device_as_the_same_bytes(cli, bench_phone, tmp_path):
    """JPEGs of any shape with a labels file are read once, here, whatever runs them then."""
    (tmp_path / "photos.py").write_text(PHOTO_MODEL)
    random = np.random.default_rng(4)
    names = ("wide.jpg", "tall.jpeg", "GREY.JPG")
    for name, size in zip(names, ((40, 90, 3), (90, 40, 3), (50, 50)), strict=True):
        Image.fromarray(random.integers(0, 256, size, np.uint8)).save(tmp_path / name)
    rows = [f"{name},{label}" for name, label in zip(names, ("dog", "cat", "dog"), strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))

    here, there = (
        cli("evaluate", tmp_path / "photos.py", "-d", device, "--data", tmp_path, "--json")
        for device in ("pc", bench_phone.serial)
    )

    assert (here.exit_code, there.exit_code) == (0, 0), here.stderr + there.stderr
    measured = [outcome.document["measurement"] for outcome in (here, there)]
    assert [one["examples"]["labels"] for one in measured] == [[1, 0, 1]] * 2
    assert measured[0]["examples"]["inputs"] == measured[1]["examples"]["inputs"]
    assert measured[0]["request"]["evaluation"]["shape"] == [3, 1, 3, 16, 16]
    assert all(one["classification"]["agreement"]["matches"] for one in measured)


def test_a_device_that_computes_something_else_is_found_out(cli, tmp_path):
    """The difference is an error finding and exit code 5; what was measured is stored."""
    (tmp_path / "factor.py").write_text(FACTOR_MODEL)
    np.save(tmp_path / "inputs.npy", np.eye(4, dtype=np.float32))
    np.save(tmp_path / "labels.npy", np.arange(4))
    arguments = (tmp_path / "factor.py", "--device", "pc", "--data", tmp_path)
    (tmp_path / "factor.txt").write_text("2")
    assert cli("evaluate", *arguments, **NO_PHONE).exit_code == 0

    # The cache does not notice, so that the artifact is another network's than PyTorch's now is.
    (tmp_path / "factor.txt").write_text("-2")
    outcome = cli("evaluate", *arguments, "--json", **NO_PHONE)

    assert outcome.exit_code == 5
    assert "the device computes something other than PyTorch" in outcome.stderr
    answer = outcome.document["answer"]["accuracy"]
    assert answer["device"]["top1"]["share"] == 1
    assert answer["pytorch"]["top1"]["share"] == 0
    assert answer["device"]["top5"] is None
    findings = outcome.document["measurement"]["findings"]
    assert ("EXAMPLES-DIFFER", "error") in {(one["id"], one["severity"]) for one in findings}
    shown = cli("results", "show", "last", **NO_PHONE)
    assert "outputs by 2 of the largest value, BEYOND 0.001" in shown.stdout


class ForgetfulCompanion(CompanionProcess):
    """Loses what its examples yielded before anybody can fetch it."""

    def start(self, run_id):
        pid = super().start(run_id)
        self._processes[run_id].wait()
        for path in self._directory.rglob("outputs.bin"):
            path.unlink()
        return pid


ARRAY_MODEL = '''
"""Takes arrays as large as a photo's."""

from torch import nn

INPUT_SHAPES = ((1, 3, 512, 512),)
EXAMPLES = (".npy",)


def read_example(path):
    import numpy as np

    return np.load(path)


def build():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
'''

PEAK_MEMORY = """
import resource, subprocess, sys

exit_code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(exit_code)
"""
"""Runs a command and prints the largest memory of it and of the processes that it started."""


@pytest.mark.soak
def test_many_examples_need_the_memory_of_few(cli, tmp_path):
    """Neither the command nor the runner that it starts holds more than one at a time."""
    (tmp_path / "arrays.py").write_text(ARRAY_MODEL)
    np.save(tmp_path / "one.npy", np.ones((3, 512, 512), np.float32))
    # An export takes more memory than what is looked at.
    assert cli("export", tmp_path / "arrays.py").exit_code == 0
    peak_bytes = {}
    for examples in (8, 136):
        rows = ["one.npy,0"] * examples
        (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
        arguments = ("evaluate", tmp_path / "arrays.py", "--device", "pc", "--data", tmp_path)
        measured = subprocess.run(
            [sys.executable, "-c", PEAK_MEMORY, sys.executable, "-m", "mobilekit", *arguments],
            cwd=cli.directory,
            env=cli.environment | NO_PHONE,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert measured.returncode == 0, measured.stderr
        assert f"n={examples}" in measured.stderr
        peak_bytes[examples] = int(measured.stdout)

    more_bytes = (136 - 8) * 3 * 512 * 512 * 4
    assert peak_bytes[136] - peak_bytes[8] < more_bytes / 4


def test_outputs_that_are_lost_are_a_failed_run(cli, make_bench_phone, few_digits):
    """It says so; the latencies that did arrive are stored, and no accuracy is told."""
    phone = make_bench_phone(companion_type=ForgetfulCompanion)

    outcome = cli("evaluate", "digits", "-d", phone.serial, "--data", few_digits)

    assert outcome.exit_code == 1
    assert "failed in its evaluate phase" in outcome.stderr
    assert "No such file" in outcome.stderr
    shown = cli("results", "show", "last", "--json", **NO_PHONE).document
    assert shown["answer"]["accuracy"] is None
    assert shown["answer"]["latency"]["count"] >= 30
    assert len(shown["measurement"]["result"]["samples"]["evaluation"]["latency_ns"]) == 12
    assert "accuracy  not measured" in cli("results", "show", "last", **NO_PHONE).stdout


def test_a_killed_command_loses_no_accuracy(cli, bench_phone, few_digits):
    """The phone goes on, and collecting compares what it yielded with PyTorch's outputs."""
    process = cli.start("evaluate", "digits", "-d", bench_phone.serial, "--data", few_digits)
    wait_for(lambda: '"phase":"load"' in progress_of(bench_phone))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: is_over(bench_phone))

    outcome = cli("collect", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    (document,) = outcome.document["collected"]
    assert document["answer"]["accuracy"]["device"]["top1"]["count"] == 11
    assert document["measurement"]["classification"]["agreement"]["matches"]


def test_bad_data_is_refused_before_anything_runs(cli, tmp_path):
    """An exit code of its own kind, and nothing stored."""
    outcome = cli("evaluate", "digits", "--device", "pc", "--data", tmp_path, "--json", **NO_PHONE)

    assert outcome.exit_code == 2
    assert outcome.document["error"]["kind"] == "DataError"
    assert "labels.csv" in outcome.stderr
    assert cli("results", "list", "--json", **NO_PHONE).document["results"] == []
