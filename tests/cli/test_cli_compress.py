"""Compressing to a budget, through the CLI, on this computer."""

import json

import pytest

from mobilekit.contract.codec import decode
from mobilekit.errors import NothingFitsError, UsageError
from mobilekit.results.documents import CompressDocument, MeasurementDocument

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


def test_a_budget_that_nothing_keeps_names_the_nearest(cli, redundant):
    outcome = cli("compress", redundant, "--budget-mb", "0.0005", "--json")
    assert outcome.exit_code == NothingFitsError.exit_code
    assert "low rank" in json.loads(outcome.stdout)["error"]["facts"]["nearest"]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{}x",
        f'{{{TAG}, "model": "a", "precision": "int4", "compression": null}}',
        f'{{{TAG}, "model": "a", "precision": "fp32", "compression": {{"ranks": []}}}}',
    ],
)
def test_a_file_that_is_no_variant_is_refused(cli, redundant, tmp_path, text):
    file = tmp_path / "small.json"
    file.write_text(text)
    outcome = cli("export", redundant, "--compressed", file)
    assert outcome.exit_code == UsageError.exit_code
    assert "--compressed cannot be read" in outcome.stderr


def test_without_a_budget_nothing_is_searched(cli, redundant):
    assert cli("compress", redundant).exit_code == UsageError.exit_code


def test_a_compressed_network_takes_no_placement(cli, redundant, tmp_path):
    both = ("--compressed", tmp_path / "a.json", "--placement", tmp_path / "b.json")
    outcome = cli("deploy", redundant, "--device", "pc", *both)
    assert outcome.exit_code == UsageError.exit_code
    assert "Give one of them" in outcome.stderr


@pytest.mark.parametrize("option", ["--compressed", "--placement"])
def test_several_networks_are_not_deployed_as_one_is_changed(cli, redundant, option, tmp_path):
    """It would be left out without a word."""
    outcome = cli("deploy", redundant, "digits", "--device", "pc", option, tmp_path / "a.json")
    assert outcome.exit_code == UsageError.exit_code
    assert option in outcome.stderr
