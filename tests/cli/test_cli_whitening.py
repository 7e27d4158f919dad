"""Ranks that are whitened where that is righter, through the CLI, on this computer."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mobilekit.campaign.expand import expand
from mobilekit.campaign.file import parse_plan
from mobilekit.contract.codec import decode
from mobilekit.errors import UsageError
from mobilekit.model.calibration import calibration_sha256
from mobilekit.results.documents import MeasurementDocument
from mobilekit.results.network_documents import ArtifactDocument, CompressDocument

INPUTS, CLASSES, EXAMPLES = 200, 4, 96
NETWORK = f'''
"""A wide layer that says little of the first inputs, and a last one that tells them alone."""

import torch
from torch import nn

INPUT_SHAPES = ((1, {INPUTS}),)


def build():
    wide, last = nn.Linear({INPUTS}, {INPUTS}, bias=False), nn.Linear({INPUTS}, {CLASSES})
    wide.weight.data = torch.randn({INPUTS}, {INPUTS})
    wide.weight.data[:, :{CLASSES}] *= 0.5
    last.weight.data = torch.linalg.pinv(wide.weight.data[:, :{CLASSES}])
    last.bias.data.zero_()
    return nn.Sequential(wide, last)
'''
REDUNDANT = NETWORK.replace(
    f"wide.weight.data = torch.randn({INPUTS}, {INPUTS})",
    f"wide.weight.data = torch.randn({INPUTS}, {CLASSES}) @ torch.randn({CLASSES}, {INPUTS})",
)
"""The same, of whose wide layer that rank is all."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of which the first ones alone are not 0; the largest tells the class."""
    directory = tmp_path_factory.mktemp("data")
    drawn = np.random.default_rng(0)
    inputs = np.zeros((EXAMPLES, INPUTS), dtype=np.float32)
    inputs[:, :CLASSES] = drawn.standard_normal((EXAMPLES, CLASSES))
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "labels.npy", inputs[:, :CLASSES].argmax(axis=1))
    return directory


def search(cli, model: Path, data: Path, file: Path) -> CompressDocument:
    budget = ("--budget-mb", "0.02", "--max-accuracy-loss", "5")
    outcome = cli("compress", model, *budget, "--data", data, "--json", "-o", file)
    assert outcome.exit_code == 0, outcome.stderr
    return decode(outcome.stdout, CompressDocument, source="stdout")


def test_what_whitening_makes_righter_is_chosen_and_made_again(cli, data, tmp_path):
    """No plain rank keeps the few inputs that there are. The file is of the examples that it names,
    without which nothing takes it."""
    model, file = tmp_path / "narrow.py", tmp_path / "small.json"
    model.write_text(NETWORK)
    choice = search(cli, model, data, file).choice
    chosen = choice.chosen
    calibration = Path(choice.calibration)
    assert chosen.variant.whitened_by == calibration_sha256(calibration)
    assert choice.examples + len(np.load(calibration)) == EXAMPLES
    assert choice.uncompressed.accuracy.share == chosen.accuracy.share == 1
    (layer,) = choice.layers
    assert layer.least_plain_rank > layer.most_rank >= layer.least_rank
    step = next(each for each in choice.screened if each.compression == chosen.variant.compression)
    assert step.loss_points == 0 < step.other_loss_points
    assert json.loads(file.read_bytes())["compression"]["whitened_by"]

    # Its examples are known by what they are, wherever they lie.
    moved = tmp_path / "examples.npy"
    shutil.copyfile(calibration, moved)
    again = ("--compressed", file, "--calibration", moved)
    used = cli("deploy", model, "--device", "pc", "--fast", *again, "--json")
    assert used.exit_code == 0, used.stderr
    deployed = decode(used.stdout, MeasurementDocument, source="stdout").measurement.artifact
    assert deployed.model.variant == chosen.variant
    assert deployed.file.size_bytes == chosen.size_bytes
    predicted = cli("predict", model, "-d", "SM8350", *again)
    assert "narrow-whitened" in predicted.stdout
    # Made anew, it is the same to the byte.
    exported = cli("export", model, *again, "--json", MOBILEKIT_HOME=str(tmp_path / "home"))
    made = decode(exported.stdout, ArtifactDocument, source="stdout").artifact
    assert made.file == deployed.file
    # It is checked with a generated input, as all in fp32 are: its examples are of its ranks alone.
    assert chosen.variant.precision == "fp32"
    first = hashlib.sha256(np.load(calibration)[:1].tobytes()).hexdigest()
    assert made.inputs[0].sha256 != first

    others = tmp_path / "others.npy"
    np.save(others, np.load(calibration)[::-1])
    for command in (("export",), ("deploy", "-d", "pc"), ("predict", "-d", "SM8350")):
        for given, why in (((), "there is no --calibration"), ((others,), "other examples")):
            options = ("--calibration", *given) if given else ()
            refused = cli(*command, model, "--compressed", file, *options)
            assert refused.exit_code == UsageError.exit_code
            assert why in " ".join(refused.stderr.split())
    table = f'{{ model = "{model}", compressed = "{file}" }}'
    plan = parse_plan(f"models = [{table}]\ndevices = ['pc']".encode(), tmp_path / "lab.toml")
    with pytest.raises(UsageError, match="a campaign does not take"):
        expand(plan)


def test_where_whitening_makes_nothing_righter_the_plain_ranks_are_chosen(cli, data, tmp_path):
    """Both are right on every example, and the plain one needs no others to be made."""
    model, file = tmp_path / "redundant.py", tmp_path / "small.json"
    model.write_text(REDUNDANT)
    choice = search(cli, model, data, file).choice
    assert choice.chosen.variant.compression is not None
    assert choice.chosen.variant.whitened_by is None
    tried = [each for each in choice.screened if each.compression is not None]
    assert all(each.other_loss_points is not None for each in tried)
    assert "whitened_by" not in json.loads(file.read_bytes())["compression"]
