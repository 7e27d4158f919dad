"""What Vulkan in the companion app's library lacks is left to portable kernels."""

from pathlib import Path

import pytest
from executorch.backends.vulkan.serialization.vulkan_graph_serialize import (
    extract_vk_flatbuffer,
    flatbuffer_to_vk_graph,
)
from native import needs_native, run_natively

from mobilekit.contract.protocol import RunSuccess
from mobilekit.errors import ExportError
from mobilekit.model.export import export_artifact
from mobilekit.model.packed import read_packed
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.network import Variant
from mobilekit.virtual.gpus import find_gpus

NETWORK = """
from torch import nn

INPUT_SHAPES = (({shape}),)


def build():
    return nn.Sequential({layers})
"""
IMAGE, SIGNAL = "1, 8, 12, 12", "1, 8, 40"
HEADER = b"VH00"
_HEADER_AT = 4
LEFT = [
    ("nn.Conv2d(8, 8, 3), nn.PReLU(8)", IMAGE, "aten::gt"),
    ("nn.Conv2d(8, 8, 3), nn.Softplus()", IMAGE, "aten::gt"),
    ("nn.Conv2d(8, 8, 3), nn.Hardshrink()", IMAGE, "aten::le"),
    ("nn.Conv2d(8, 8, 3, padding=1, padding_mode='replicate')", IMAGE, "aten::index"),
    ("nn.Conv2d(8, 8, 3, padding=1, padding_mode='reflect')", IMAGE, "aten::index"),
    ("nn.Conv1d(8, 8, 3, padding=1, padding_mode='reflect')", SIGNAL, "aten::arange"),
    ("nn.Conv1d(8, 8, 3, padding=1, padding_mode='circular')", SIGNAL, "aten::copy"),
    ("nn.ReLU(), nn.BatchNorm1d(8)", SIGNAL, "aten::_native_batch_norm_legit_no_training"),
    ("nn.Conv2d(8, 8, 3), nn.LPPool2d(2, 2)", IMAGE, "aten::avg_pool2d"),
]
TAKEN = [
    ("nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)", IMAGE),
    ("nn.Conv1d(8, 8, 3), nn.BatchNorm1d(8)", SIGNAL),
    ("nn.MaxPool2d(2), nn.BatchNorm2d(8)", IMAGE),
    ("nn.AvgPool2d(3, 2, 1)", IMAGE),
    ("nn.Upsample(scale_factor=2)", IMAGE),
    ("nn.Upsample((20, 17), mode='bilinear')", IMAGE),
    ("nn.Conv2d(8, 8, 3), nn.LeakyReLU(), nn.LayerNorm(10), nn.GELU()", IMAGE),
]


def export(layers, shape, write_model, cache):
    spec = read_spec(write_model(NETWORK.format(layers=layers, shape=shape)))
    variant = Variant(backend="vulkan")
    return export_artifact(
        with_variant(spec, variant), cache_directory=cache, on_progress=lambda _: None
    )


def called(program: bytes) -> set[str]:
    """The operators of all delegates."""
    names, start = set(), program.find(HEADER)
    while start >= 0:
        graph = flatbuffer_to_vk_graph(extract_vk_flatbuffer(program[start - _HEADER_AT :]))
        names |= {each.name for each in graph.chain}
        start = program.find(HEADER, start + 1)
    return names


@pytest.mark.parametrize(("layers", "shape", "kernel"), LEFT)
def test_what_the_library_lacks_is_left_to_kernels(layers, shape, kernel, write_model, tmp_path):
    """An operator that it has not, or a form of one that it does not take; the rest is Vulkan's."""
    made = export(layers, shape, write_model, tmp_path)

    found = called((tmp_path / Path(made.file.path).name).read_bytes())

    assert kernel in made.delegation.portable_operator_counts
    assert found
    assert {each for each in found if each.startswith("aten.")} <= read_packed().pte.vulkan


@pytest.mark.parametrize(("layers", "shape"), TAKEN)
def test_what_the_library_has_is_vulkans(layers, shape, write_model, tmp_path):
    made = export(layers, shape, write_model, tmp_path)

    assert made.delegation.portable_operator_counts == {}


def test_nearest_upsampling_by_no_whole_number_is_refused(write_model, tmp_path):
    """Which the exporter leaves to no kernel."""
    layers = "nn.Conv2d(8, 8, 3), nn.Upsample((20, 17))"
    with pytest.raises(ExportError, match=r"nearest upsampling by no whole number \(1\)"):
        export(layers, IMAGE, write_model, tmp_path)


@needs_native
@pytest.mark.soak
@pytest.mark.parametrize(("layers", "shape"), [*((each, shape) for each, shape, _ in LEFT), *TAKEN])
def test_it_computes_right_in_the_phones_library(layers, shape, write_model, tmp_path):
    if not find_gpus():
        pytest.skip("this computer has no Vulkan")
    made = export(layers, shape, write_model, tmp_path / "cache")

    result = run_natively(tmp_path / "run", made, tmp_path / "cache")

    assert isinstance(result, RunSuccess)
    assert result.samples.output_check.matches
