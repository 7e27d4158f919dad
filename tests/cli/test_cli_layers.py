"""``describe`` and ``profile`` as a person runs them, on this computer and on a virtual phone."""

import json
import subprocess
import sys

import pytest

from mobilekit.contract.codec import decode
from mobilekit.results.documents import ActivationsDocument, ProfileDocument
from mobilekit.results.network_documents import DescriptionDocument

WIDE_MODEL = '''
"""Enough non-linear work to be seen by a clock of whole microseconds."""

from torch import nn

INPUT_SHAPES = ((1, 4, 64, 64),)


def build():
    return nn.Sequential(
        nn.Conv2d(4, 32, 1), nn.ReLU(), nn.Dropout(), nn.Conv2d(32, 4, 3), nn.Hardswish(),
        nn.Flatten(), nn.Linear(4 * 62 * 62, 5),
    )
'''
NO_PHONE = {"ANDROID_ADB_SERVER_PORT": "1", "ADBUTILS_ADB_PATH": "/bin/false"}


@pytest.fixture(scope="session")
def wide(model_directory):
    (model_directory / "wide.py").write_text(WIDE_MODEL, encoding="utf-8")
    return "wide.py"


def test_describe_says_every_layer_and_the_totals(cli, wide):
    """Known counts, the definition beside each figure of memory, and nothing runs on a device."""
    outcome = cli("describe", wide, **NO_PHONE)

    assert outcome.exit_code == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[2:9]}
    assert rows["0"][1:4] == ["convolution", "1x32x64x64", "160"]
    assert rows["2"][1] == "dropout"
    assert rows["6"][1:4] == ["feed-forward", "1x5", f"{5 * 4 * 62 * 62 + 5:,}"]
    macs = 32 * 4 * 64 * 64 + 9 * 32 * 4 * 62 * 62 + 5 * 4 * 62 * 62
    assert f"7 layers, {160 + 1156 + 76885:,} parameters, {macs:,} MACs" in outcome.stdout
    assert "in place" in outcome.stdout
    for word in ("weights", "activations", "whole", "planned", "by layer", "held by"):
        assert any(line.startswith(f"  {word}") for line in lines)


def test_describe_gives_a_document_without_torch_the_second_time(cli, wide):
    """The cached description is the same, strict, and needs no second export."""
    first = cli("describe", wide, "--json")
    second = cli("describe", wide, "--json", PYTHONVERBOSE="1")

    document = decode(second.stdout, DescriptionDocument, source="stdout")
    assert first.document == second.document
    assert sum(layer.macs for layer in document.description.layers) == (
        document.description.cost.macs
    )
    imported = [line for line in second.stderr.splitlines() if line.startswith("import '")]
    assert len(imported) > 100
    assert not [line for line in imported if line.startswith("import 'torch")]


@pytest.mark.parametrize("format", ["pte", "onnx"])
@pytest.mark.parametrize("device", ["pc", "virtual"])
def test_profile_tells_layers_apart(cli, wide, device, format, request, tmp_path):
    """On both devices and in both formats every operator finds its layer."""
    if device == "virtual":
        request.getfixturevalue("bench_phone")
        device = "nexus7"
    trace, plot = tmp_path / "trace.json", tmp_path / "plot.png"

    outcome = cli(
        *("profile", wide, "--device", device, "--format", format, "--fast", "-n", 7),
        *("--no-segments", "--trace", trace, "--plot", plot, "--json"),
    )

    assert outcome.exit_code == 0, outcome.stderr
    document = decode(outcome.stdout, ProfileDocument, source="stdout")
    profile = document.profile
    assert profile.problems == ()
    fates = {cost.layer.name: cost.fate for cost in profile.layers}
    assert [fates[name] for name in ("0", "1", "2", "3", "6")] == [
        "measured",
        "folded",
        "idle",
        "measured",
        "measured",
    ]
    assert document.virtual is (device == "nexus7")
    assert profile.iterations == 7
    assert len(document.measurement.result.samples.trace.latency_ns) == 7
    shares = sum(cost.share for cost in profile.types)
    assert shares == pytest.approx(1)
    assert profile.sum_ns > 0
    check_chrome_trace(json.loads(trace.read_text(encoding="utf-8")), fates)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "Warning" not in outcome.stderr


def check_chrome_trace(document, fates):
    """What Perfetto's importer asks for: complete events with numbers, inside one another."""
    events = document["traceEvents"]
    named = {one["tid"]: one["args"]["name"] for one in events if one["name"] == "thread_name"}
    spans = [one for one in events if one["ph"] == "X"]
    assert {one["ph"] for one in events} == {"M", "X"}
    for one in spans:
        assert isinstance(one["name"], str)
        assert one["dur"] >= 0
        assert one["ts"] >= 0
        assert (one["pid"], one["tid"] in named) == (0, True)
    layers = {one["name"] for one in spans if named[one["tid"]] == "layers"}
    assert layers == {name for name, fate in fates.items() if fate == "measured"}
    (whole,) = [one for one in spans if named[one["tid"]] == "inference"]
    operators = [one for one in spans if named[one["tid"]] == "operators"]
    assert sum(one["dur"] for one in operators) <= whole["dur"] + 10


def test_a_stored_profile_is_shown_again(cli, wide, tmp_path):
    """Everything is derived from what is stored, so that it is the same again without a device."""
    first = cli("profile", wide, "--device", "pc", "--fast", "-n", 5, "--no-segments")
    plot = tmp_path / "again.svg"
    again = cli("results", "profile", "last", "--plot", plot, **NO_PHONE)

    assert first.exit_code == 0, first.stderr
    assert again.stdout == first.stdout
    assert b"<svg" in plot.read_bytes()
    assert "type of layer" in first.stdout
    assert "without tracing: the sum of both, " in first.stdout
    assert "an overhead of" in first.stdout
    for option in ("--plot", "--trace"):
        refused = cli("results", "profile", "last", option, "no/directory/file.png", **NO_PHONE)
        assert refused.exit_code == 2
        assert "no such directory" in refused.stderr


def test_a_measurement_without_a_trace_has_no_profile(cli, wide):
    """A deploy is told so, with what would make one."""
    deployed = cli("deploy", wide, "--device", "pc", "--fast", "--json")
    outcome = cli("results", "profile", deployed.document["id"], **NO_PHONE)

    assert outcome.exit_code == 1
    assert "There is no profile: none was asked for" in outcome.stderr


def test_activations_are_compared(cli, wide):
    """A ReLU is folded and said to be, not given as zero; a sigmoid has operators and a share."""
    outcome = cli(
        *("profile", wide, "--device", "pc", "--fast", "-n", 5, "--no-segments"),
        *("--swap-activation", "relu,sigmoid"),
    )

    assert outcome.exit_code == 0, outcome.stderr
    rows = [line.split() for line in outcome.stdout.splitlines()[2:4]]
    assert rows[0][:6] == ["relu", "0", "of", "2", "folded", "-"]
    assert rows[1][:4] == ["sigmoid", "2", "of", "2"]
    assert "does not mean that there is none" in outcome.stdout
    models = [
        cli("results", "profile", row[-1], "--json", **NO_PHONE).document["measurement"][
            "artifact"
        ]["model"]
        for row in rows
    ]
    assert [model["variant"]["activation"] for model in models] == ["relu", "sigmoid"]
    assert len({model["content_sha256"] for model in models}) == 2
    assert all(row[-1].startswith(f"wide-{row[0]}-pc-") for row in rows)
    assert {model["name"] for model in models} == {"wide"}


def test_activations_as_a_document(cli, wide):
    """One activation, its cost and the whole profile that it comes from."""
    outcome = cli(
        *("profile", wide, "--device", "pc", "--fast", "-n", 5, "--no-segments", "--json"),
        *("--swap-activation", "tanh"),
    )

    document = decode(outcome.stdout, ActivationsDocument, source="stdout")
    (cost,) = document.activations
    assert (cost.activation, cost.layers, cost.folded_layers) == ("tanh", 2, 0)
    assert 0 < cost.share < 1
    assert cost.resolution_ns == 2000
    assert cost.latency.count == len(document.profiles[0].measurement.result.samples.iteration_ns)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--swap-activation", "relu,softmax"), "takes no softmax"),
        (("--swap-activation", "relu,relu"), "takes no activation twice"),
        (("--swap-activation", ""), "'' has an empty name in it"),
        (("--swap-activation", "relu", "--plot", "x.png"), "measures several"),
        (("--trace", "."), "it is a directory (path: .)"),
        (("--format", "tflite", "--no-segments"), "LiteRT has no tracer"),
    ],
)
def test_what_cannot_be_profiled_is_refused_at_once(cli, wide, arguments, said):
    """Before anything is exported or run."""
    outcome = cli("profile", wide, "--device", "pc", *arguments)

    assert outcome.exit_code == 2
    assert said in outcome.stderr
    assert "Exporting" not in outcome.stderr


def test_matplotlib_is_loaded_only_to_draw():
    """Help and a profile without a plot do without it."""
    code = (
        "import sys, mobilekit.cli.main, mobilekit.cli.layers, mobilekit.results.text.layers\n"
        "import mobilekit.results.layer_plot\n"
        "print({'torch', 'matplotlib'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
