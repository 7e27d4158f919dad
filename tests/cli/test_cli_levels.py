"""Nested ranks in one program: made, chosen at run time by a budget, and measured all at once."""

import numpy as np
import pytest
from native import needs_native
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.contract.codec import decode
from mobilekit.errors import NothingFitsError, UsageError
from mobilekit.results.documents import MeasurementDocument
from mobilekit.results.network_documents import (
    LevelsDocument,
    TradeoffDocument,
)
from mobilekit.results.saved import read_compressed
from mobilekit.virtual.companion import CompanionProcess

WIDE = '''
"""Two layers to split, the second of a low rank."""

import torch
from torch import nn

INPUT_SHAPES = ((1, 256),)


def build():
    second = nn.Linear(256, 128)
    second.weight.data = torch.randn(128, 12) @ torch.randn(12, 256) / 60
    return nn.Sequential(nn.Linear(256, 256), nn.ReLU(), second, nn.ReLU(), nn.Linear(128, 4))
'''


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    path = tmp_path_factory.mktemp("levels") / "wide.py"
    path.write_text(WIDE)
    return path


@pytest.fixture
def made(cli, wide, tmp_path):
    """The file that ``--compressed`` takes, and what was said of it."""
    file = tmp_path / "levels.json"
    outcome = cli("compress", wide, "--levels", "2", "--json", "-o", file)
    assert outcome.exit_code == 0, outcome.stderr
    return file, decode(outcome.stdout, LevelsDocument, source="stdout").levels


@pytest.fixture
def made_apart(cli, wide, tmp_path):
    """The same, with weights in files beside the program."""
    file = tmp_path / "apart.json"
    outcome = cli("compress", wide, "--levels", "2", "--apart", "--json", "-o", file)
    assert outcome.exit_code == 0, outcome.stderr
    return file, decode(outcome.stdout, LevelsDocument, source="stdout").levels


def weights_there(phone):
    """Bytes of each file of weights that a phone has."""
    folder = phone.directory / "files/data/local/tmp/mobilekit/artifacts"
    return sorted(file.stat().st_size for file in folder.glob("*.ptd"))


def deploy(cli, wide, file, *options):
    outcome = cli(
        *("deploy", wide, "--fast", "--no-energy", "--compressed", file, "--json", *options),
        timeout=300,
    )
    assert outcome.exit_code in (0, NothingFitsError.exit_code), outcome.stderr
    return outcome, decode(outcome.stdout, MeasurementDocument, source="stdout").measurement


def test_levels_are_made_chosen_and_measured(cli, wide, made, bench_phone, tmp_path):
    """On a phone over adb, in one go: the level that keeps to a budget is run and checked against
    its own outputs, and of a budget that none keeps the nearest is named."""
    file, levels = made
    assert levels.size_ratio < 1.05
    assert [each.parameters for each in levels.costs] == sorted(
        each.parameters for each in levels.costs
    )
    assert all(error < 1e-5 for error in levels.relative_errors)
    on_phone = ("--device", bench_phone.serial)

    outcome, second = deploy(cli, wide, file, *on_phone, "--level", "auto", "--budget-ms", "1000")
    assert outcome.exit_code == 0, outcome.stderr
    (trial,) = second.result.samples.trials
    assert (trial.method, len(trial.latency_ns)) == ("level_2", 30)
    assert second.artifact.model.variant.level.number == 2
    assert second.request.artifact.method == "level_1"
    assert second.result.samples.output_check.matches
    assert second.predicted is None
    assert second.id.startswith("wide-auto-")
    shown = cli("results", "show", second.id)
    assert "level 2 of 2" in shown.stdout
    assert "chosen for 1.00 s" in shown.stdout or "chosen for 1000 ms" in shown.stdout

    outcome, none = deploy(cli, wide, file, *on_phone, "--level", "auto", "--budget-ms", "0.0001")
    assert outcome.exit_code == NothingFitsError.exit_code
    assert "nearest: level" in outcome.stderr
    assert [each.method for each in none.result.samples.trials] == ["level_2", "level_1"]
    assert len(none.result.samples.trials[0].latency_ns) == 1000
    assert none.artifact.model.variant.level.number == 1
    assert none.result.samples.output_check.matches

    plot = tmp_path / "curve.png"
    options = ("--no-energy", "--fast", "--compressed", file, "--plot", plot, "--json")
    outcome = cli("tradeoff", wide, *on_phone, *options, timeout=300)
    assert outcome.exit_code == 0, outcome.stderr
    rungs = decode(outcome.stdout, TradeoffDocument, source="stdout").rungs
    assert [each.level for each in rungs] == [1, 2, None]
    assert all(each.latency and each.init and each.memory for each in rungs)
    assert rungs[0].file_bytes == rungs[1].file_bytes == levels.file.size_bytes
    assert rungs[2].file_bytes == levels.uncompressed_bytes
    assert rungs[0].accuracy is None
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_phone_is_sent_the_weights_that_its_level_needs(cli, wide, made_apart, bench_phone):
    file, levels = made_apart
    first_bytes, second_bytes = levels.weights_bytes
    assert first_bytes < 0.7 * second_bytes < levels.uncompressed_bytes
    assert levels.file.size_bytes < 0.1 * levels.largest_alone_bytes
    assert levels.size_ratio < 1.05
    on_phone = ("--device", bench_phone.serial)

    _, first = deploy(cli, wide, file, *on_phone, "--level", "1")
    assert first.result.samples.output_check.max_relative_error < 1e-4
    assert first.artifact.size_bytes == levels.file.size_bytes + first_bytes
    assert "weights apart" in first.artifact.model.variant.text
    assert weights_there(bench_phone) == [first_bytes]

    _, second = deploy(cli, wide, file, *on_phone, "--level", "auto", "--budget-ms", "1000")
    assert second.result.samples.output_check.max_relative_error < 1e-4
    assert weights_there(bench_phone) == [first_bytes, second_bytes]
    assert second.request.artifact.sha256 == first.request.artifact.sha256

    artifacts = bench_phone.directory / "files/data/local/tmp/mobilekit"
    (artifacts / first.artifact.weights.path).write_bytes(bytes(first_bytes))
    options = ("--fast", "--no-energy", "--compressed", file, "--level", "1")
    outcome = cli("deploy", wide, *on_phone, *options, timeout=300)
    assert outcome.exit_code != 0
    assert f"{first.artifact.weights.path} has the SHA-256" in outcome.stdout + outcome.stderr
    # It is gone, so that the next deploy sends it anew.
    assert weights_there(bench_phone) == [second_bytes]

    # A choice among all levels needs the largest's alone, and is rid of them if they are corrupt.
    choice = (*on_phone, "--level", "auto", "--budget-ms", "1000")
    deploy(cli, wide, file, *choice)
    assert weights_there(bench_phone) == [second_bytes]
    (artifacts / second.request.weights.path).write_bytes(bytes(second_bytes))
    outcome = cli("deploy", wide, "--fast", "--no-energy", "--compressed", file, *choice)
    assert outcome.exit_code != 0
    assert weights_there(bench_phone) == []


@needs_native
def test_the_phones_own_library_chooses_and_runs_levels(
    cli, wide, made, made_apart, make_bench_phone
):
    """By the app's core, which tries every level; each has its own outputs. With weights apart all
    are tried with those of the largest."""
    (file, _), (apart, _) = made, made_apart
    phone = make_bench_phone(companion_type=lambda where: CompanionProcess(where, "native"))
    on_phone = ("--device", phone.serial)

    outcome, none = deploy(cli, wide, apart, *on_phone, "--level", "auto", "--budget-ms", "0.0001")
    assert outcome.exit_code == NothingFitsError.exit_code
    assert none.request.weights is not None
    _, second = deploy(cli, wide, file, *on_phone, "--level", "auto", "--budget-ms", "1000")

    assert none.result.samples.companion.name == "mobilekit native"
    assert [each.method for each in none.result.samples.trials] == ["level_2", "level_1"]
    assert [each.method for each in second.result.samples.trials] == ["level_2"]
    for measurement, number in ((none, 1), (second, 2)):
        assert measurement.artifact.model.variant.level.number == number
        assert measurement.result.samples.output_check.max_relative_error < 1e-4


def test_levels_tell_what_each_is_right_in(cli, wide, made, tmp_path):
    """Beside the uncompressed network, example by example."""
    file, _ = made
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "inputs.npy", np.random.default_rng(0).normal(size=(12, 256)).astype("f4"))
    np.save(data / "labels.npy", np.arange(12) % 4)
    options = ("--data", data, "--fast", "--compressed", file)
    outcome = cli("tradeoff", wide, "--device", "pc", *options, timeout=300)
    assert outcome.exit_code == 0, outcome.stderr
    assert "lost points" in outcome.stdout
    assert "12; intervals" in outcome.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("compress", "--levels", "2", "--budget-mb", "1"), "takes no budget"),
        (("compress", "--levels", "2", "--storage", "shared"), "no --storage"),
        (("compress", "--levels", "2", "--redundancy", "rms"), "no --redundancy"),
        (("compress", "--levels", "2", "--format", "onnx"), "--levels is for .pte"),
        (("compress", "--budget-mb", "1", "--apart"), "--apart is of --levels"),
        (("compress", "--budget-mb", "1", "--precision", "int8"), "--precision is of --levels"),
        (("compress", "--levels", "16"), "cannot be split into 16 levels"),
        (("deploy", "--level", "1"), "there is no --compressed"),
        (("deploy", "--compressed", "FILE", "--level", "3"), "none of the 2 levels"),
        (("deploy", "--compressed", "FILE", "--level", "auto"), "chosen by a budget"),
        (("export", "--compressed", "FILE", "--level", "auto"), "chosen by a budget"),
        (("deploy", "--compressed", "FILE", "--budget-ms", "2"), "--level auto chooses by"),
        (
            ("deploy", "--compressed", "FILE", "--level", "auto", "--budget-ms", "0"),
            "a nanosecond at least",
        ),
        (("deploy", "digits", "--budget-ms", "2"), "--budget-ms is for one network"),
        (("deploy", "digits", "--level", "2"), "there is no --compressed"),
        (("deploy", "digits", "--level", "auto"), "--level auto is for one network"),
        (("deploy", "--compressed", "WHOLE", "--level", "1"), "this one has none"),
        (("tradeoff", "--compressed", "WHOLE"), "--compressed has no levels"),
        (("tradeoff", "--compressed", "FILE", "--levels", "3"), "Give one of them"),
    ],
)
def test_what_does_not_go_together_is_said(cli, wide, tmp_path, command, said):
    ranks = ['{"layer": "0", "rank": 8}', '{"layer": "0", "rank": 16}']
    head = '{"schema": "mobilekit.compressed/1", "model": "wide", "precision": "fp32", '
    ladder = ", ".join(f'{{"ranks": [{each}]}}' for each in ranks)
    (tmp_path / "levels.json").write_text(f'{head}"compression": null, "ladder": [{ladder}]}}')
    (tmp_path / "whole.json").write_text(f'{head}"compression": null}}')
    assert read_compressed(tmp_path / "levels.json", "wide").level.number == 2
    files = {"FILE": tmp_path / "levels.json", "WHOLE": tmp_path / "whole.json"}
    name, *rest = (files.get(each, each) for each in command)
    device = ("--device", "pc") if name in ("deploy", "tradeoff") else ()

    outcome = cli(name, wide, *rest, *device)

    assert outcome.exit_code == UsageError.exit_code
    assert said in outcome.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-d nexus7 --no-install", "it takes no --device and no --no-install"),
        ("--require-phone --threads 1", "it takes no --require-phone and no --threads"),
        ("--apk a.apk --store sqlite://", "it takes no --apk and no --store"),
    ],
)
def test_making_levels_refuses_what_is_of_runs(words, said):
    """None of it would be looked at."""
    with pytest.raises(UsageError, match=said):
        compress_digits(*words.split())


def test_making_levels_passes_over_what_the_environment_says_of_runs(monkeypatch):
    """It holds for every command."""
    monkeypatch.setenv("MOBILEKIT_REQUIRE_PHONE", "1")
    monkeypatch.setenv("MOBILEKIT_STORE", "sqlite://")
    with pytest.raises(UsageError, match="--format onnx asks"):
        compress_digits("--format", "onnx")


def compress_digits(*words):
    line = ["compress", "digits", "--levels", "2", *words]
    CliRunner().invoke(app, line, catch_exceptions=False)


@pytest.mark.parametrize(
    "text",
    [
        '"compression": null, "ladder": [{"ranks": [{"layer": "0", "rank": 8}]}]',
        '"compression": {"ranks": [{"layer": "0", "rank": 8}]}, "ladder": '
        '[{"ranks": [{"layer": "0", "rank": 8}]}, {"ranks": [{"layer": "0", "rank": 9}]}]',
        '"compression": null, "ladder": '
        '[{"ranks": [{"layer": "0", "rank": 9}]}, {"ranks": [{"layer": "0", "rank": 8}]}]',
    ],
    ids=["one level", "ranks beside", "falling"],
)
def test_a_file_whose_levels_make_no_sense_is_refused(cli, wide, tmp_path, text):
    file = tmp_path / "levels.json"
    file.write_text(
        f'{{"schema": "mobilekit.compressed/1", "model": "wide", "precision": "fp32", {text}}}'
    )
    outcome = cli("export", wide, "--compressed", file)
    assert outcome.exit_code == UsageError.exit_code
    assert "--compressed cannot be read" in outcome.stderr
