"""Layers that are placed on a backend of their own, in one program."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_files import WriteModel

from mobilekit.contract.protocol import Format
from mobilekit.errors import ExportError, UsageError
from mobilekit.model.artifact_cache import read_operators
from mobilekit.model.export import check_request, export_artifact
from mobilekit.model.packed import find_lacking
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import Placed, PlacedBackend, Variant

SMALL = """
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)

def build():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4),
    )
"""


def placement(**layers: str) -> tuple[Placed, ...]:
    return tuple(
        Placed(backend=backend, layers=tuple(names.split()))  # type: ignore[arg-type]
        for backend, names in layers.items()
    )


@pytest.fixture
def export_placed(write_model: WriteModel, tmp_path: Path):
    def export(placed: tuple[Placed, ...]) -> Artifact:
        spec = with_variant(read_spec(write_model(SMALL)), Variant(placement=placed))
        return export_artifact(spec, cache_directory=tmp_path / "c", on_progress=lambda _: None)

    return export


def backends_of(made: Artifact, cache: Path) -> dict[str, set[bool]]:
    """By layer, whether its operators are in a delegate."""
    found: dict[str, set[bool]] = {}
    for each in read_operators(made, cache_directory=cache):
        found.setdefault(each.layer or "?", set()).add(each.delegated)
    return found


@pytest.mark.parametrize("names", ["0", "3 4", "0 2 6", "8"])
def test_placed_layers_leave_xnnpack_and_no_other_does(export_placed, tmp_path, names):
    """The export itself compares the outputs with PyTorch's."""
    made = export_placed(placement(portable=names))
    delegated = backends_of(made, tmp_path / "c")

    for layer in ("0", "1", "2", "3", "4", "6", "7", "8"):
        assert delegated[layer] == {layer not in names.split()}, layer
    assert made.relative_error < 1e-5
    assert made.backend == "xnnpack+portable"


@pytest.mark.parametrize(
    "names",
    [
        *("3 4", "0 2 4 6 8"),
        *(pytest.param(names, marks=pytest.mark.soak) for names in ("0 1 2", "1 3 7", "6")),
    ],
)
def test_two_backends_share_a_program(export_placed, tmp_path, names):
    """All is in delegates of the two, and the app's library has all that it needs."""
    made = export_placed(placement(vulkan=names))

    assert made.backend == "xnnpack+vulkan"
    assert made.relative_error is None
    assert made.delegation.portable_operators == 0, made.delegation.portable_text
    assert find_lacking(made.file, made.inputs, tmp_path / "c") is None


def test_three_backends_share_a_program(export_placed, tmp_path):
    made = export_placed(placement(vulkan="0 1", portable="2 8"))
    delegated = backends_of(made, tmp_path / "c")

    assert made.backend == "xnnpack+vulkan+portable"
    assert delegated["2"] == delegated["8"] == {False}
    assert delegated["0"] == delegated["3"] == {True}


def test_a_layer_that_is_not_there_is_named(export_placed):
    with pytest.raises(ExportError, match=r"no layer 9 .*mobilekit partition"):
        export_placed(placement(portable="0 9"))


@pytest.mark.parametrize(
    ("variant", "format"),
    [
        (Variant(placement=placement(portable="0")), "onnx"),
        (Variant(placement=placement(portable="0"), precision="int8"), "pte"),
        (Variant(placement=placement(portable="0"), backend="vulkan"), "pte"),
    ],
)
def test_what_a_placement_does_not_go_with_is_refused(
    write_model: WriteModel, variant: Variant, format: Format
):
    spec = with_variant(read_spec(write_model(SMALL)), variant)
    with pytest.raises(UsageError, match=r"[Aa] placement"):
        check_request(spec, format, None)


def test_placements_have_keys_of_their_own():
    def key(backend: PlacedBackend, *layers: str) -> str:
        return Variant(placement=(Placed(backend=backend, layers=layers),)).key

    keys = {key("vulkan", "0"), key("vulkan", "1"), key("portable", "0"), Variant().key}
    assert len(keys) == 4
    assert key("vulkan", "0") == key("vulkan", "0")
    assert key("vulkan", "0").startswith("placed-")
