"""Programs for Vulkan keep to the textures of every phone's driver, and to what it computes."""

from math import prod
from pathlib import Path

import pytest
import torch
from executorch.backends.vulkan.serialization.vulkan_graph_schema import VkMemoryLayout
from executorch.backends.vulkan.serialization.vulkan_graph_serialize import (
    extract_vk_flatbuffer,
    flatbuffer_to_vk_graph,
)
from executorch.backends.vulkan.utils import required_image_extents
from native import needs_native, run_natively
from torch import Size, nn

from mobilekit.contract.protocol import RunSuccess
from mobilekit.errors import ExportError
from mobilekit.formats import VULKAN_TEXTURE_TEXELS
from mobilekit.model import partition
from mobilekit.model.export import export_artifact
from mobilekit.model.vulkan_convolutions import read_convolution, why_miscomputed
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.network import Placed, Variant
from mobilekit.virtual.gpus import find_gpus

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


CONVOLVING = """
from torch import nn

INPUT_SHAPES = (({shape}),)

def build():
    return nn.Sequential(nn.{layer}, nn.ReLU())
"""


def test_a_convolution_that_vulkan_gets_wrong(write_model, tmp_path):
    """Where the whole network is on it, and where that layer is."""
    text = CONVOLVING.format(shape="1, 24, 8, 8", layer="Conv2d(24, 24, 1, groups=3)")
    for variant in (
        Variant(backend="vulkan"),
        Variant(placement=(Placed(backend="vulkan", layers=("0",)),)),
    ):
        spec = with_variant(read_spec(write_model(text)), variant)
        with pytest.raises(ExportError, match=r"in groups with a kernel of 1 x 1 \(0\)"):
            export_artifact(spec, cache_directory=tmp_path, on_progress=lambda _: None)


IMAGE, SIGNAL, VOLUME = "1, 24, 14, 14", "1, 24, 40", "1, 3, 6, 8, 8"


def convolution_of(layer, shape):
    module = eval(f"nn.{layer}", {"nn": nn})
    graph = torch.export.export(module, (torch.zeros([int(each) for each in shape.split(",")]),))
    (found,) = [read for each in graph.graph.nodes if (read := read_convolution(each))]
    return found


WRONG = [
    ("Conv2d(24, 24, 1, groups=3)", IMAGE, "in groups with a kernel of 1 x 1"),
    ("Conv2d(24, 60, 3, groups=2)", IMAGE, "in groups of 12 to 30 channels"),
    ("Conv2d(24, 60, (3, 1), groups=12)", IMAGE, "in groups of 2 to 5 channels"),
    ("Conv2d(24, 48, 3, groups=24)", IMAGE, "in groups of 1 to 2 channels"),
    ("Conv2d(24, 24, 7, groups=24, padding=3)", IMAGE, "a kernel of 7 x 7 and padding"),
    ("Conv2d(24, 24, 7, groups=24, padding='same')", IMAGE, "a kernel of 7 x 7 and padding"),
    ("Conv2d(24, 24, (3, 5), groups=24, padding=(0, 1))", IMAGE, "3 x 5 and padding"),
    ("Conv2d(24, 24, 2, groups=24, stride=2)", IMAGE, "2 x 2 and strides or dilation"),
    ("Conv2d(24, 24, 7, groups=24, dilation=2)", IMAGE, "7 x 7 and strides or dilation"),
    ("Conv2d(1, 1, 7, padding=3)", "1, 1, 14, 14", "by depth"),
    ("ConvTranspose2d(24, 24, 2, groups=24, stride=2)", IMAGE, "transposed and in groups"),
    ("ConvTranspose2d(24, 48, 3, groups=2)", IMAGE, "transposed and in groups"),
    ("ConvTranspose2d(24, 8, 3, dilation=2)", IMAGE, "transposed and dilated"),
    ("Conv2d(24, 8, 3, padding='valid')", IMAGE, "the word 'valid'"),
    ("Conv3d(3, 8, 3, padding=1)", VOLUME, "over volumes"),
    ("ConvTranspose3d(3, 8, 2, stride=2)", VOLUME, "over volumes"),
    ("Conv1d(24, 24, 1, groups=24)", SIGNAL, "in groups with a kernel of 1"),
    ("Conv1d(24, 8, 1, stride=2)", SIGNAL, "with strides or padding"),
    ("Conv1d(24, 8, 1, padding=1)", SIGNAL, "with strides or padding"),
]
RIGHT = [
    ("Conv2d(24, 60, 3, groups=3)", IMAGE),
    ("Conv2d(24, 8, (1, 3), groups=2, stride=2)", IMAGE),
    ("Conv2d(24, 24, 3, groups=24, padding=1, stride=2)", IMAGE),
    ("Conv2d(24, 24, 5, groups=24, padding=4, dilation=2)", IMAGE),
    ("Conv2d(24, 24, 7, groups=24)", IMAGE),
    ("Conv2d(24, 24, 7, groups=24, padding=(3, 0))", IMAGE),
    ("Conv2d(24, 24, (1, 7), groups=24, padding=(0, 3))", IMAGE),
    ("Conv2d(24, 24, (7, 1), groups=24, padding=(3, 2))", IMAGE),
    ("Conv2d(24, 24, 7, groups=24, stride=2, dilation=2)", "1, 24, 20, 20"),
    ("Conv2d(24, 7, 11, stride=4, padding=2)", IMAGE),
    ("Conv2d(24, 7, 1, stride=2, padding=1)", IMAGE),
    ("ConvTranspose2d(24, 8, 3, stride=2, padding=1, output_padding=1)", IMAGE),
    ("Conv1d(24, 24, 3, groups=12)", SIGNAL),
    ("Conv1d(24, 20, 7, groups=4, padding=3, stride=2, dilation=2)", SIGNAL),
    ("Conv1d(24, 24, 9, groups=24)", SIGNAL),
    ("Conv1d(24, 8, 1)", SIGNAL),
    ("Conv1d(24, 8, 3, padding='valid')", SIGNAL),
    ("Conv2d(24, 8, 3, padding='same')", IMAGE),
    ("ConvTranspose1d(24, 24, 3, groups=2)", SIGNAL),
]


def test_channels_of_a_transposed_convolution_are_told():
    """Its weights have inputs and outputs the other way round."""
    found = convolution_of("ConvTranspose2d(24, 12, 3, groups=4)", IMAGE)

    assert (found.outputs, found.inputs_of_group) == (12, 6)


@pytest.mark.parametrize(("layer", "shape", "why"), WRONG)
def test_why_it_gets_a_convolution_wrong(layer, shape, why):
    assert why in why_miscomputed(convolution_of(layer, shape))


@pytest.mark.parametrize(("layer", "shape"), RIGHT)
def test_convolutions_that_it_gets_right(layer, shape):
    assert why_miscomputed(convolution_of(layer, shape)) is None


@needs_native
@pytest.mark.soak
@pytest.mark.parametrize(("layer", "shape"), [*((each, shape) for each, shape, _ in WRONG), *RIGHT])
def test_a_convolution_in_the_phones_library(write_model, tmp_path, monkeypatch, layer, shape):
    """It is wrong there, or not loaded, if the rule says so."""
    if not find_gpus():
        pytest.skip("this computer has no Vulkan")
    why = why_miscomputed(convolution_of(layer, shape))
    monkeypatch.setattr(partition, "why_miscomputed", lambda convolution: None)
    text = CONVOLVING.format(shape=shape, layer=layer)
    spec = with_variant(read_spec(write_model(text)), Variant(backend="vulkan"))
    made = export_artifact(spec, cache_directory=tmp_path / "cache", on_progress=lambda _: None)

    result = run_natively(tmp_path / "run", made, tmp_path / "cache")

    runs = isinstance(result, RunSuccess)
    assert (runs and result.samples.output_check.matches) == (why is None)
