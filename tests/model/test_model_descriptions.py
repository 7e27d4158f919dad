"""The networks' descriptions that come with mobilekit are those that would be made now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mobilekit.model.describe import (
    PACKAGED,
    find_description,
    keep_description,
    layers_path,
    make_description,
)
from mobilekit.model.zoo import find_model, list_models, read_spec

SMALL = ("all_cnn_c", "deep_kws", "deep_kws_digits", "deepear", "digits", "nin", "resnet18", "svhn")
"""Of all operators but normalization across channels, which AlexNet has, and depthwise ones."""
CHECKED = (*SMALL, "alexnet", "mobilenet_v1")
LARGER = (
    *("googlenet", "inception_bn", "mobilenet_v2", "places_cnds_8", "resnet50", "shufflenet"),
    *("squeezenet", "vgg16"),
)


@pytest.fixture(autouse=True)
def _packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without models of its own."""
    monkeypatch.chdir(tmp_path)


def test_each_network_has_one_and_nothing_else_has() -> None:
    """After a change of a network or its weights ``scripts/describe_networks.py`` writes it."""
    specs = list_models()
    assert {layers_path(spec, PACKAGED) for spec in specs} == set(PACKAGED.iterdir())
    assert sorted((*CHECKED, *LARGER)) == [spec.name for spec in specs]


@pytest.mark.parametrize(
    "name", [*CHECKED, *(pytest.param(name, marks=pytest.mark.soak) for name in LARGER)]
)
def test_it_is_what_the_network_is_counted_to_be(name: str, tmp_path: Path) -> None:
    """Each field of each layer."""
    spec = find_model(name)
    assert find_description(spec, cache_directory=tmp_path) == make_description(spec)


def test_a_changed_copy_is_not_answered_from_it(tmp_path: Path) -> None:
    """A network is known by its file and its weights, not by its name; a true copy is known."""
    own = Path(find_model("digits").path).parent
    for name in ("digits.py", "digits.safetensors"):
        shutil.copy(own / name, tmp_path)
    copy = tmp_path / "digits.py"
    assert find_description(read_spec(copy), cache_directory=tmp_path) is not None

    weights = tmp_path / "digits.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert find_description(read_spec(copy), cache_directory=tmp_path) is None

    weights.write_bytes(data)
    copy.write_text(copy.read_text().replace("32", "33", 1))
    assert find_description(read_spec(copy), cache_directory=tmp_path) is None


def test_what_the_cache_has_comes_first(tmp_path: Path) -> None:
    """An export leaves there what its own graph says, which its operators are matched with."""
    spec = find_model("digits")
    other = find_description(find_model("svhn"), cache_directory=tmp_path)
    assert other is not None

    keep_description(spec, other, cache_directory=tmp_path)
    assert find_description(spec, cache_directory=tmp_path) == other

    layers_path(spec, tmp_path).write_text('{"cost": 1')  # What is damaged there is not.
    assert find_description(spec, cache_directory=tmp_path) == make_description(spec)
