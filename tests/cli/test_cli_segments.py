"""``profile`` by segments, as a person runs it: where the engine cannot trace, and where asked."""

import itertools
import json
import os
import signal

import numpy as np
import pytest
from following import is_over, progress_of, wait_for
from native import needs_native

from mobilekit.contract.codec import decode
from mobilekit.results.documents import ActivationsDocument, ProfileDocument

MODEL = '''
"""Every kind of segment: folded layers, branches, a residual addition in place."""

import torch
from torch import nn

INPUT_SHAPES = ((1, 4, 32, 32),)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.AvgPool2d(3, 1, 1)
        self.drop, self.fc = nn.Dropout(), nn.Linear(8 * 32 * 32, 5)

    def forward(self, x):
        x = self.stem(x)
        y = self.left(x)
        y += self.right(x)
        y = torch.cat([y, y], 1)[:, :8]
        return self.fc(self.drop(y.flatten(1)))


def build():
    return Net()
'''
FATES = {
    "stem.0": "measured",
    "stem.1": "folded",
    "stem.2": "folded",
    "left": "measured",
    "right": "measured",
    "add_": "measured",
    "cat": "measured",
    "drop": "idle",
    "fc": "measured",
}
NO_PHONE = {"ANDROID_ADB_SERVER_PORT": "1", "ADBUTILS_ADB_PATH": "/bin/false"}


@pytest.fixture(scope="session")
def forked(model_directory):
    (model_directory / "forked.py").write_text(MODEL, encoding="utf-8")
    return "forked.py"


def check_profile(document, iterations):
    """Every layer has its fate, and the sum is that of the segments."""
    profile, measurement = document.profile, document.measurement
    fates = {cost.layer.name: cost.fate for cost in profile.layers}
    assert profile.by == "segments"
    assert {name: fates.get(name) for name in FATES} == FATES
    assert profile.iterations == iterations
    samples = measurement.result.samples
    assert [each.segment for each in samples.segments] == list(range(7))
    assert {len(each.latency_ns) for each in samples.segments} == {iterations}
    assert sum(cost.share for cost in profile.types) == pytest.approx(1)
    call_ns = float(np.median(samples.segments[-1].latency_ns))
    assert profile.outside_ns == call_ns > 0
    assert profile.sum_ns == sum(cost.p50_ns or 0 for cost in profile.layers) + call_ns
    assert (samples.trace, samples.profile_refusal) == (None, None)


def test_what_cannot_be_traced_is_cut(cli, forked, tmp_path):
    """LiteRT has no tracer: that is said, and a second run measures the segments."""
    trace, plot = tmp_path / "trace.json", tmp_path / "plot.png"

    outcome = cli(
        *("profile", forked, "--device", "pc", "--format", "tflite", "--fast", "-n", 7),
        *("--trace", trace, "--plot", plot, "--json"),
    )

    assert outcome.exit_code == 0, outcome.stderr
    assert "No trace: LiteRT" in outcome.stderr
    assert "measured by segments, in a run of their own" in outcome.stderr
    document = decode(outcome.stdout, ProfileDocument, source="stdout")
    check_profile(document, iterations=7)
    listed = cli("results", "list", "--json", **NO_PHONE).document["results"]
    assert [each["id"] == document.id for each in listed].count(True) == 1
    assert len(listed) >= 2  # A pass that was disturbed is repeated.
    assert plot.read_bytes().startswith(b"\x89PNG")
    check_chrome_trace(json.loads(trace.read_text(encoding="utf-8")), document)


def check_chrome_trace(written, document):
    """One after another, and said to have never been one inference."""
    assert "never one inference" in written["otherData"]["by"]
    (row,) = [one for one in written["traceEvents"] if one["name"] == "thread_name"]
    assert "never one inference" in row["args"]["name"]
    spans = [one for one in written["traceEvents"] if one["ph"] == "X"]
    assert [one["name"] for one in spans] == ["stem.0", "left", "right", "add_", "cat", "fc"]
    assert spans[0]["args"]["layers"] == ["stem.0", "stem.1", "stem.2"]
    for one, following in itertools.pairwise(spans):
        assert one["ts"] + one["dur"] == pytest.approx(following["ts"])
    assert spans[-1]["ts"] + spans[-1]["dur"] == pytest.approx(document.profile.operators_ns / 1000)


def test_the_engines_that_trace_are_cut_where_asked(cli, bench_phone, forked):
    """On a phone, in one run, and nothing of it stays there but what a next one needs."""
    outcome = cli(
        *("profile", forked, "--device", bench_phone.serial, "--format", "pte", "--fast", "-n", 5),
        *("--segments", "--all"),
    )
    assert outcome.exit_code == 0, outcome.stderr
    # A pass that was disturbed is repeated, and the better one is shown.
    listed = cli("results", "list", "--json", **NO_PHONE).document["results"]
    (id,) = (
        each["id"]
        for each in listed
        if cli("results", "profile", each["id"], "--all", **NO_PHONE).stdout == outcome.stdout
    )
    document = decode(
        cli("results", "profile", id, "--json", **NO_PHONE).stdout,
        ProfileDocument,
        source="stdout",
    )

    lines = outcome.stdout.splitlines()
    assert lines[0].endswith("by segments")
    assert any(line.split()[:4] == ["stem.1", "normalization", "in", "stem.0"] for line in lines)
    assert "6, each exported and run by itself (medians of 5 inferences of each)" in outcome.stdout
    assert "as a whole: the sum of both, " in outcome.stdout
    assert "measured with one operator on one number" in outcome.stdout
    check_profile(document, iterations=5)
    artifacts = bench_phone.adb("shell", "ls /data/local/tmp/mobilekit/artifacts").stdout.split()
    assert {each.file.path for each in document.measurement.cut.segments} <= {
        f"artifacts/{name}" for name in artifacts
    }
    assert bench_phone.adb("shell", "ls /data/local/tmp/mobilekit/runs").stdout == ""


def test_a_killed_command_leaves_segments_to_collect(cli, bench_phone, forked):
    """All that a profile needs is in the store before the run begins."""
    arguments = ("--format", "pte", "--fast", "-n", 200, "--segments")
    process = cli.start("profile", forked, "--device", bench_phone.serial, *arguments)
    wait_for(lambda: '"phase":"profile"' in progress_of(bench_phone))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: is_over(bench_phone))

    collected = cli("collect", "--json")
    shown = cli("results", "profile", "last", "--json", **NO_PHONE)

    assert collected.exit_code == 0, collected.stderr
    assert len(collected.document["collected"]) == 1
    check_profile(decode(shown.stdout, ProfileDocument, source="stdout"), iterations=200)


ACTIVATED = """
from torch import nn

INPUT_SHAPES = ((1, 4, 256, 256),)


def build():
    return nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
"""


def test_activations_by_segments(cli, tmp_path):
    """A ReLU is folded, a sigmoid is a segment of its own, timed by the companion's own clock."""
    (tmp_path / "activated.py").write_text(ACTIVATED, encoding="utf-8")

    outcome = cli(
        *("profile", tmp_path / "activated.py", "--device", "pc", "--format", "pte", "--fast"),
        *("-n", 20, "--segments", "--swap-activation", "relu,sigmoid", "--json"),
    )

    assert outcome.exit_code == 0, outcome.stderr
    document = decode(outcome.stdout, ActivationsDocument, source="stdout")
    relu, sigmoid = document.activations
    assert (relu.folded_layers, relu.p50_ns) == (1, None)
    assert (sigmoid.folded_layers, sigmoid.resolution_ns) == (0, 0)
    assert sigmoid.p50_ns > 0
    assert {profile.profile.by for profile in document.profiles} == {"segments"}


@pytest.mark.parametrize(
    ("precision", "by", "said"),
    [
        ("fp32", "segments", "measured by segments, in a run of their own"),
        (
            "int8",
            "trace",
            "The trace stands in for segments: An int8 network cannot be measured by segments",
        ),
    ],
)
def test_an_inference_that_tracing_swells_is_cut(cli, precision, by, said):
    """Of a few microseconds ONNX Runtime's tracing takes most; int8 has to live with it."""
    outcome = cli(
        *("profile", "tiny.py", "--device", "pc", "--format", "onnx", "--precision", precision),
        *("--fast", "-n", 20, "--json"),
    )

    assert outcome.exit_code == 0, outcome.stderr
    assert "Tracing costs too much of so short an inference: +" in outcome.stderr
    assert said in outcome.stderr
    assert decode(outcome.stdout, ProfileDocument, source="stdout").profile.by == by


def test_two_profiles_by_segments_compare(cli, forked):
    """Layer types side by side, and how they were measured."""
    ids = [
        cli(
            *("profile", forked, "--device", "pc", "--format", format, "--fast", "-n", 5),
            *("--segments", "--json"),
        ).document["id"]
        for format in ("tflite", "pte")
    ]

    outcome = cli("compare", "--results", *ids, **NO_PHONE)

    lines = [line.split() for line in outcome.stdout.splitlines()]
    assert ["layers", "by", "segments", "segments"] in lines
    assert any(line[:2] == ["layers:", "convolution"] for line in lines)


def test_int8_is_refused_before_anything_is_exported(cli, forked):
    """With the reason."""
    outcome = cli(
        *("profile", forked, "--device", "pc", "--precision", "int8", "--fast", "--segments")
    )

    assert outcome.exit_code == 1
    assert "An int8 network cannot be measured by segments" in outcome.stderr
    assert "Quantizing" not in outcome.stderr


@needs_native
def test_the_app_times_segments(cli, forked):
    """The same request in the Android app's own core, with its ExecuTorch."""
    assert cli("virtual", "start", "nexus7", "--companion", "native").exit_code == 0
    try:
        outcome = cli(
            *("profile", forked, "-d", "virtual:nexus7", "--fast", "-n", 6, "--segments", "--json")
        )
    finally:
        cli("virtual", "stop", "nexus7")

    assert outcome.exit_code == 0, outcome.stderr
    document = decode(outcome.stdout, ProfileDocument, source="stdout")
    assert document.measurement.result.samples.companion.name == "mobilekit native"
    check_profile(document, iterations=6)
