"""Programs for Vulkan keep to the textures of every phone's driver, and to what it computes."""

from math import prod
from pathlib import Path

import pytest
from executorch.backends.vulkan.serialization.vulkan_graph_schema import VkMemoryLayout
from executorch.backends.vulkan.serialization.vulkan_graph_serialize import (
    extract_vk_flatbuffer,
    flatbuffer_to_vk_graph,
)
from executorch.backends.vulkan.utils import required_image_extents
from torch import Size

from mobilekit.errors import ExportError
from mobilekit.formats import VULKAN_TEXTURE_TEXELS
from mobilekit.model.export import export_artifact
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.network import Placed, Variant

# Four values to a texel, so that the second layer's outputs take 2,250 of them.
WIDE = """
from torch import nn

INPUT_SHAPES = ((1, 16),)

def build():
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 9000))
"""
HEADER = b"VH00"
_HEADER_AT = 4


def tensors_of(program: bytes):
    """Of the one delegate."""
    assert program.count(HEADER) == 1
    delegate = program[program.index(HEADER) - _HEADER_AT :]
    graph = flatbuffer_to_vk_graph(extract_vk_flatbuffer(delegate))
    return [each.value for each in graph.values if hasattr(each.value, "storage_type")]


def test_what_fits_no_texture_lies_in_a_buffer(write_model, tmp_path):
    spec = with_variant(read_spec(write_model(WIDE)), Variant(backend="vulkan"))
    made = export_artifact(spec, cache_directory=tmp_path, on_progress=lambda _: None)

    tensors = tensors_of((tmp_path / Path(made.file.path).name).read_bytes())
    textures = [each for each in tensors if str(each.storage_type) == "TEXTURE_3D"]
    buffers = [each for each in tensors if str(each.storage_type) == "BUFFER"]

    for each in textures:
        sides = required_image_extents(Size(each.dims), VkMemoryLayout[str(each.memory_layout)])
        assert max(sides) <= VULKAN_TEXTURE_TEXELS
    assert 9000 in {prod(each.dims) for each in buffers}


GROUPED = """
from torch import nn

INPUT_SHAPES = ((1, {inputs}, 8, 8),)

def build():
    return nn.Sequential(nn.Conv2d({inputs}, {outputs}, {kernel}, groups={groups}), nn.ReLU())
"""


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "groups"),
    [
        *((24, 24, 1, 3), (24, 60, 3, 2)),
        pytest.param(24, 60, 1, 2, marks=pytest.mark.soak),
        pytest.param(18, 24, 3, 3, marks=pytest.mark.soak),
    ],
)
def test_groups_that_vulkan_gets_wrong(write_model, tmp_path, inputs, outputs, kernel, groups):
    text = GROUPED.format(inputs=inputs, outputs=outputs, kernel=kernel, groups=groups)
    for variant in (
        Variant(backend="vulkan"),
        Variant(placement=(Placed(backend="vulkan", layers=("0",)),)),
    ):
        spec = with_variant(read_spec(write_model(text)), variant)
        with pytest.raises(ExportError, match=r"convolution in groups \(0\)"):
            export_artifact(spec, cache_directory=tmp_path, on_progress=lambda _: None)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "groups"),
    [(24, 24, 3, 24), pytest.param(24, 60, 3, 3, marks=pytest.mark.soak)],
)
def test_groups_that_it_gets_right(write_model, tmp_path, inputs, outputs, kernel, groups):
    text = GROUPED.format(inputs=inputs, outputs=outputs, kernel=kernel, groups=groups)
    spec = with_variant(read_spec(write_model(text)), Variant(backend="vulkan"))

    made = export_artifact(spec, cache_directory=tmp_path, on_progress=lambda _: None)

    assert made.delegation.mac_fraction == 1
