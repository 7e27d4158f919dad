"""Compressing to a budget, through the CLI, on this computer."""

import json

import pytest
from typer.testing import CliRunner

from mobilekit.campaign.expand import expand
from mobilekit.cli.main import app
from mobilekit.contract.codec import decode
from mobilekit.errors import NothingFitsError, UsageError
from mobilekit.records.network import Compression, LayerRank, Variant
from mobilekit.results.documents import MeasurementDocument
from mobilekit.results.network_documents import CompressDocument

TAG = '"schema": "mobilekit.compressed/1"'
REDUNDANT = '''
"""A network whose wide layer has a rank of 3."""

import torch
from torch import nn

INPUT_SHAPES = ((1, 300),)


def build():
    wide = nn.Linear(300, 300)
    wide.weight.data = torch.randn(300, 3) @ torch.randn(3, 300) / 30
    return nn.Sequential(wide, nn.ReLU(), nn.Linear(300, 4))
'''


DERIVED = """
from torch import nn

INPUT_SHAPES = ((1, 300),)


class Own(nn.Linear):
    pass


def build():
    return Own(300, 40)
"""


@pytest.fixture
def redundant(tmp_path):
    path = tmp_path / "redundant.py"
    path.write_text(REDUNDANT)
    return path


def test_the_network_within_a_budget_is_found_and_used_again(cli, redundant, tmp_path):
    file = tmp_path / "small.json"
    loss = ("--max-accuracy-loss", "5")
    outcome = cli("compress", redundant, "--budget-mb", "0.03", *loss, "--json", "-o", file)
    assert outcome.exit_code == 0, outcome.stderr
    choice = decode(outcome.stdout, CompressDocument, source="stdout").choice
    assert choice.chosen.size_bytes <= 30_000 < choice.uncompressed.size_bytes
    assert choice.chosen.loss_points <= 5
    assert [cut.rank for cut in choice.chosen.variant.compression.ranks] == [3]
    assert choice.judged_by == "agreement"
    assert choice.weights_are_drawn
    tighter = cli("compress", redundant, "--budget-mb", "0.02", *loss, "--json")
    if tighter.exit_code == 0:
        found = decode(tighter.stdout, CompressDocument, source="stdout").choice
        assert found.chosen.size_bytes <= min(20_000, choice.chosen.size_bytes)
    else:
        assert tighter.exit_code == NothingFitsError.exit_code
    used = cli("deploy", redundant, "--device", "pc", "--fast", "--compressed", file, "--json")
    assert used.exit_code == 0, used.stderr
    artifact = decode(used.stdout, MeasurementDocument, source="stdout").measurement.artifact
    assert artifact.model.variant == choice.chosen.variant
    assert artifact.file.size_bytes == choice.chosen.size_bytes


@pytest.mark.soak
def test_time_and_energy_on_a_virtual_phone(cli, bench_phone, redundant):
    """Both are kept, or the search is refused with the nearest; the energy is a simulated one."""
    on = ("--device", bench_phone.serial, "--max-accuracy-loss", "50", "--json")
    outcome = cli("compress", redundant, *on, "--budget-ms", "50", "--budget-mj", "500")
    assert outcome.exit_code == 0, outcome.stderr
    choice = decode(outcome.stdout, CompressDocument, source="stdout").choice
    assert choice.virtual
    assert choice.energy_origin == "simulated"
    assert 0 < choice.chosen.energy_j <= 0.5
    assert 0 < choice.chosen.latency_p50_ns <= 50e6
    assert [each.layer for each in choice.layers] == ["0"]
    assert choice.layers[0].whole_latency_ns > 0
    assert len(choice.layers[0].tried) == 4
    tighter = cli("compress", redundant, *on, "--budget-ms", "50", "--budget-mj", "0.000001")
    assert tighter.exit_code == NothingFitsError.exit_code
    facts = json.loads(tighter.stdout)["error"]["facts"]
    assert facts["misses"] == "energy"


def test_energy_is_refused_where_there_is_no_battery(cli, redundant):
    outcome = cli("compress", redundant, "--budget-mj", "5")
    assert outcome.exit_code == UsageError.exit_code
    assert "no battery" in outcome.stderr


def stored(directory, storage, precision="fp32"):
    file = directory / "stored.json"
    head = f'{{{TAG}, "model": "redundant", "precision": "{precision}", "compression": null, '
    file.write_text(f'{head}"storage": {json.dumps(storage)}}}')
    return file


@pytest.mark.parametrize("format", ["pte", "onnx", "tflite"])
def test_a_condensed_network_is_sent_small_and_computes_the_same(
    cli, make_bench_phone, redundant, tmp_path, format
):
    """What a phone is sent is the small file, which it expands in each load; its outputs are those
    of PyTorch with the same weights, and nothing that was expanded is left there."""
    phone = make_bench_phone()
    file = stored(tmp_path, {"way": "dictionary", "atoms_percent": 20, "codes": 3})
    options = ("--format", format, "--fast", "--no-energy", "--compressed", file)
    outcome = cli("deploy", redundant, "-d", phone.serial, *options, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    measurement = decode(outcome.stdout, MeasurementDocument, source="stdout").measurement
    artifact = measurement.artifact
    assert measurement.result.samples.output_check.matches
    assert artifact.file.size_bytes < 0.15 * artifact.dense.size_bytes
    folder = phone.directory / "files/data/local/tmp/mobilekit/artifacts"
    [sent] = folder.glob(f"*.{format}")
    assert sent.stem == artifact.file.sha256
    assert sent.stat().st_size == artifact.file.size_bytes
    assert artifact.model.variant.key == "dictionary20x3"
    shown = cli("results", "show", "last")
    assert "each expanding the program" in shown.stdout


@pytest.mark.soak
def test_a_whole_network_that_is_small_enough_is_the_answer(cli, redundant):
    """Without a look at what its layers bear, where the size alone is bounded."""
    arguments = ("--budget-mb", "0.15", "--max-accuracy-loss", "50", "--json")
    outcome = cli("compress", redundant, *arguments)
    assert outcome.exit_code == 0, outcome.stderr
    choice = decode(outcome.stdout, CompressDocument, source="stdout").choice
    assert choice.chosen.variant == Variant(precision="int8")
    assert (choice.layers, choice.screened) == ((), ())
    assert "Decomposing" not in outcome.stderr


@pytest.mark.soak
def test_a_way_to_store_is_searched_and_written(cli, redundant, tmp_path):
    """The least changed of those within a budget that no precision alone keeps."""
    file = tmp_path / "small.json"
    arguments = ("--budget-mb", "0.013", "--max-accuracy-loss", "30", "--storage", "dictionary")
    outcome = cli("compress", redundant, *arguments, "--json", "-o", file, timeout=600)
    assert outcome.exit_code == 0, outcome.stderr
    choice = decode(outcome.stdout, CompressDocument, source="stdout").choice
    tried = [each for each in choice.tried if each.variant.storage is not None]
    assert tried
    assert choice.chosen.size_bytes <= 13_000
    assert json.loads(file.read_bytes())["storage"] == json.loads(outcome.stdout)["choice"][
        "chosen"
    ]["variant"].get("storage")


def test_a_network_that_cannot_be_stored_is_refused_before_the_search(cli, tmp_path):
    """Its layers are of a class of their own, whose computing is not known."""
    model = tmp_path / "derived.py"
    model.write_text(DERIVED)
    outcome = cli("compress", model, "--budget-mb", "5", "--storage", "all")
    assert outcome.exit_code == UsageError.exit_code
    assert "No layer of this network" in outcome.stderr
    assert "Trying" not in outcome.stderr


def test_shared_values_are_refused_in_int8(cli, redundant, tmp_path):
    file = stored(tmp_path, {"way": "shared", "values": 4}, "int8")
    outcome = cli("export", redundant, "--compressed", file)
    assert outcome.exit_code == UsageError.exit_code
    assert "pruned" in outcome.stderr


def test_pruned_int8_is_smaller_than_int8(cli, redundant, tmp_path):
    file = stored(tmp_path, {"way": "pruned", "percent": 80}, "int8")
    outcome = cli("export", redundant, "--compressed", file)
    assert outcome.exit_code == 0, outcome.stderr
    assert "condensed  from" in outcome.stdout


def test_a_size_that_nothing_keeps_names_the_nearest(cli, redundant):
    """The smallest network is tried, however far from the budget it is foreseen to be."""
    outcome = cli("compress", redundant, "--budget-mb", "0.0005", "--json")
    assert outcome.exit_code == NothingFitsError.exit_code
    facts = json.loads(outcome.stdout)["error"]["facts"]
    assert "low rank" in facts["nearest"]
    assert facts["misses"] == "size"


def test_a_time_that_nothing_keeps_names_the_nearest(cli, redundant):
    """Which that is, is as fast as the computer happened to be when it was measured."""
    outcome = cli("compress", redundant, "--budget-ms", "0.0000001", "--json")
    assert outcome.exit_code == NothingFitsError.exit_code
    facts = json.loads(outcome.stdout)["error"]["facts"]
    assert facts["misses"] == "latency"
    assert {"nearest", "size", "latency"} <= facts.keys()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{}x",
        f'{{{TAG}, "model": "a", "precision": "int4", "compression": null}}',
        f'{{{TAG}, "model": "a", "precision": "fp32", "compression": {{"ranks": []}}}}',
        f'{{{TAG}, "model": "a", "precision": "fp32", "compression": null, "storage": '
        '{"way": "shared", "values": 1}}',
    ],
)
def test_a_file_that_is_no_variant_is_refused(cli, redundant, tmp_path, text):
    file = tmp_path / "small.json"
    file.write_text(text)
    outcome = cli("export", redundant, "--compressed", file)
    assert outcome.exit_code == UsageError.exit_code
    assert "--compressed cannot be read" in outcome.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("deploy", "-d", "pc"),
        ("compare", "-d", "pc", "--against", "pc"),
        ("evaluate", "-d", "pc"),
        ("profile", "-d", "pc"),
        ("energy", "measure", "-d", "nexus7"),
        ("energy", "life", "--every", "10s"),
        ("predict", "-d", "nexus7"),
    ],
    ids=" ".join,
)
def test_a_file_of_another_network_is_refused_by_every_command(cli, redundant, tmp_path, command):
    """A layer of that name would be there, with other weights."""
    file = tmp_path / "small.json"
    ranks = '{"ranks": [{"layer": "0", "rank": 3}]}'
    file.write_text(f'{{{TAG}, "model": "svhn", "precision": "fp32", "compression": {ranks}}}')
    outcome = cli(*command, redundant, "--compressed", file)
    assert outcome.exit_code == UsageError.exit_code
    said = " ".join(outcome.stderr.split())
    assert "small.json was made for svhn, and this is redundant" in said


CONVOLUTIONS = '''
"""Large enough for its latency to be told."""

from torch import nn

INPUT_SHAPES = ((1, 256, 56, 56),)


def build():
    first, second = nn.Conv2d(256, 512, 1), nn.Conv2d(512, 512, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
'''


def test_a_compressed_network_is_predicted_as_one_of_its_own(cli, tmp_path):
    """It has fewer multiply-accumulates, so that it takes less time, and is named so."""
    model, file = tmp_path / "layers.py", tmp_path / "small.json"
    model.write_text(CONVOLUTIONS)
    ranks = '{"ranks": [{"layer": "2", "rank": 64}]}'
    file.write_text(f'{{{TAG}, "model": "layers", "precision": "fp32", "compression": {ranks}}}')
    asked = ("predict", model, "-d", "4xA76@2.4,4xA55@1.8", "--json")
    whole, cut = (cli(*asked, *more) for more in ((), ("--compressed", file)))
    assert whole.exit_code == cut.exit_code == 0, cut.stderr
    (before,), (after,) = (each.document["predictions"] for each in (whole, cut))
    assert before["network"] == "layers"
    assert after["network"].startswith("layers-lowrank")
    assert after["latency_ms"] < 0.8 * before["latency_ms"]


@pytest.mark.parametrize(
    "options", [("digits",), ("--precision", "int8"), ("--level", "1")], ids=" ".join
)
def test_what_a_prediction_of_a_compressed_network_does_not_take(cli, redundant, tmp_path, options):
    file = tmp_path / "small.json"
    ranks = '{"ranks": [{"layer": "0", "rank": 3}]}'
    file.write_text(f'{{{TAG}, "model": "redundant", "precision": "fp32", "compression": {ranks}}}')
    outcome = cli("predict", redundant, *options, "-d", "SM8350", "--compressed", file)
    assert outcome.exit_code == UsageError.exit_code


def test_without_a_budget_nothing_is_searched(cli, redundant):
    assert cli("compress", redundant).exit_code == UsageError.exit_code


def test_a_compressed_network_takes_no_placement(cli, redundant, tmp_path):
    both = ("--compressed", tmp_path / "a.json", "--placement", tmp_path / "b.json")
    outcome = cli("deploy", redundant, "--device", "pc", *both)
    assert outcome.exit_code == UsageError.exit_code
    assert "Give one of them" in outcome.stderr


@pytest.fixture
def deploy_in_campaign(monkeypatch, tmp_path):
    """Deploys several networks as far as to the campaign that they are, which is returned."""
    plans = []
    monkeypatch.setattr(
        "mobilekit.cli.campaign.run_plan", lambda plan, *_, **__: plans.append(plan)
    )

    def deploy(*words):
        outcome = CliRunner().invoke(app, ["deploy", *map(str, words)])
        if outcome.exception is not None:
            raise outcome.exception
        return plans.pop()

    return deploy


def test_a_file_changes_its_own_network_of_several(deploy_in_campaign, redundant, tmp_path):
    """On every device; the others are measured whole, in the precision that is asked for."""
    file = tmp_path / "small.json"
    ranks = '{"ranks": [{"layer": "0", "rank": 3}]}'
    file.write_text(f'{{{TAG}, "model": "redundant", "precision": "int8", "compression": {ranks}}}')
    asked = ("digits", redundant, "-d", "pc", "-d", "nexus7", "--compressed", file)
    plan = deploy_in_campaign(*asked)
    found = {(run.model, run.device): run.variant for run in expand(plan)}
    cut = Compression(ranks=(LayerRank(layer="0", rank=3),))
    for device in ("pc", "nexus7"):
        assert found["digits", device] == Variant()
        assert found[str(redundant), device] == Variant(precision="int8", compression=cut)
    with pytest.raises(UsageError, match="made for redundant"):
        deploy_in_campaign("digits", "nin", "-d", "pc", "--compressed", file)
