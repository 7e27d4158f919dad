"""Variants of a network: one record, one key, and the same change however the network came."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import torch
from model_files import SMALL, WriteModel
from torch import nn

from mobilekit.model.load import load_module
from mobilekit.model.reference import make_inputs, run_eager
from mobilekit.model.zoo import find_model, read_spec, with_variant
from mobilekit.records.network import Activation, Precision, Variant

SIGMOID = Variant(activation="sigmoid")
SHAPE = (1, 3, 8, 8)


def test_every_variant_has_a_key_of_its_own_for_names() -> None:
    """Of what a run's id may hold; the network as it is has none, and people read words."""
    variants = [
        Variant(activation=activation, precision=precision)
        for activation, precision in product((None, *get_args(Activation)), get_args(Precision))
    ]
    keys = [variant.key for variant in variants]

    assert len(set(keys)) == len({variant.text for variant in variants}) == len(variants) == 12
    assert Variant().key == ""
    assert all(re.fullmatch(r"[a-z0-9-]*", key) for key in keys)
    assert Variant(activation="tanh", precision="int8").key == "tanh-int8"
    assert (SIGMOID.text, Variant(precision="int8").text) == ("sigmoid, fp32", "int8")


def test_a_precision_is_the_programs_and_an_activation_the_networks(
    write_model: WriteModel,
) -> None:
    """What was described of the network stays known in every precision, in no other activation."""
    spec = read_spec(write_model(SMALL))
    narrow = with_variant(spec, Variant(precision="int8"))
    swapped = with_variant(spec, Variant(activation="tanh", precision="int8"))

    assert (spec.label, narrow.label) == ("small", "small-int8")
    assert (swapped.name, swapped.label) == ("small", "small-tanh-int8")
    assert narrow.content_sha256 == spec.content_sha256
    assert swapped.content_sha256 != spec.content_sha256
    assert with_variant(spec, SIGMOID).content_sha256 != swapped.content_sha256


def _network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.ReLU6()).eval()


def _as_model_file(directory: Path, network: nn.Module) -> Path:
    path = directory / "own.py"
    torch.save(network.state_dict(), directory / "own.pt")
    path.write_text(
        "from torch import nn\nINPUT_SHAPES = ((1, 3, 8, 8),)\nWEIGHTS = 'own.pt'\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.ReLU6())\n"
    )
    return path


def _as_pt2(directory: Path, network: nn.Module) -> Path:
    path = directory / "other.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(SHAPE),)), path)
    return path


def _as_onnx(directory: Path, network: nn.Module) -> Path:
    path = directory / "other.onnx"
    torch.onnx.export(network, (torch.zeros(SHAPE),), path, dynamo=True, verbose=False)
    return path


@pytest.mark.parametrize("write", [_as_model_file, _as_pt2, _as_onnx])
def test_activations_are_swapped_however_the_network_came(write, tmp_path: Path) -> None:
    """A file of another tool is changed like a model file, and not measured as it is."""
    network = _network()
    spec = with_variant(find_model(str(write(tmp_path, network))), SIGMOID)
    inputs = make_inputs(spec)

    (found,) = run_eager(spec, load_module(spec), inputs)

    with torch.no_grad():
        expected = network[2](network[0](*inputs).sigmoid()).sigmoid()
    torch.testing.assert_close(found, expected)
