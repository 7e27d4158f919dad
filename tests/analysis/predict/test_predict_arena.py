"""What ONNX Runtime's arena is told to hold."""

import pytest
from examples import description, layer
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekit.analysis.predict.arena import (
    Tensor,
    arena_growths,
    pattern_bytes,
)
from mobilekit.analysis.predict.memory_parts import _scratch, parts_of
from mobilekit.flow.shipped import load_memory_models
from mobilekit.model.describe import PACKAGED, read_description
from mobilekit.model.zoo import find_model
from mobilekit.records.network import Window

KIB, MIB = 1 << 10, 1 << 20

tensors = st.lists(
    st.tuples(st.integers(1, 3 * MIB), st.integers(0, 9), st.integers(0, 9)).map(
        lambda made: Tensor(made[0], min(made[1:]), max(made[1:]))
    ),
    max_size=8,
)


def test_one_tensor_is_written_once():
    """The block of later inferences fits where it was."""
    assert arena_growths([Tensor(500 * KIB, 0, 1)]).added == 500 * KIB


def test_later_inferences_hold_all_in_one_block():
    """Two of 600 KiB lie in regions of 1 and 2 MiB, neither of which had 1,200 KiB written."""
    both = [Tensor(600 * KIB, 0, 2), Tensor(600 * KIB, 1, 2)]

    assert pattern_bytes(both) == 1200 * KIB
    assert arena_growths(both).added == 600 * KIB + 1200 * KIB


def test_a_region_is_as_large_as_what_needs_it():
    """What is too large for 2 MiB has 4 MiB, in which the block of both lies."""
    both = [Tensor(MIB, 0, 1), Tensor(3 * MIB, 1, 2)]

    assert arena_growths(both).added == MIB + 4 * MIB


def test_what_is_freed_is_used_again():
    """One after the other they are one, also in the block."""
    made = [Tensor(900 * KIB, step, step) for step in range(5)]

    assert pattern_bytes(made) == arena_growths(made).added == 900 * KIB


def test_what_operators_take_for_themselves_is_never_in_the_block():
    """It lies in a region of its own, which the block of all that is alive would not fit in."""
    made, scratch = [Tensor(600 * KIB, 0, 1)], [Tensor(200 * KIB, 1, 1)]

    assert arena_growths(made, scratch) == (0, 800 * KIB)
    assert arena_growths([*made, *scratch]) == (0, 800 * KIB + 200 * KIB)


def test_inferences_use_what_turned_weights_leave():
    """The copies are freed while the program loads, one before the next is made."""
    turned = [400 * KIB, 300 * KIB]

    assert arena_growths([Tensor(400 * KIB, 0, 0)], turned_bytes=turned) == (400 * KIB, 0)
    assert arena_growths([Tensor(500 * KIB, 0, 0)], turned_bytes=turned) == (400 * KIB, 100 * KIB)


@given(tensors)
@settings(max_examples=60)
def test_an_arena_holds_what_is_alive_together(made):
    """Never less than the largest sum, and no more than everything twice, in whole pages."""
    alive = [
        sum(one.size_bytes for one in made if one.first <= step <= one.last) for step in range(10)
    ]
    rounded = sum(one.size_bytes + 8192 for one in made)

    assert max(alive) <= pattern_bytes(made) <= rounded
    assert max(alive) <= arena_growths(made).added <= 2 * rounded


@pytest.mark.parametrize(
    ("network", "measured_mb"), [("squeezenet", 12.76), ("googlenet", 40.28), ("alexnet", 15.54)]
)
def test_it_is_what_was_measured(network, measured_mb):
    """Without a factor: GoogLeNet and AlexNet with the slices of their local normalizations."""
    described = read_description(find_model(network), cache_directory=PACKAGED)

    told = parts_of(described, "fp32", is_onnx=True).arena

    assert told / 1e6 == pytest.approx(measured_mb, rel=0.08)


@pytest.mark.parametrize(
    ("network", "measured_mb"), [("mobilenet_v2", 7.25), ("squeezenet", 9.57), ("nin", 4.74)]
)
def test_in_int8_it_is_what_was_measured(network, measured_mb):
    """With the sums and the windows of convolutions, and pointers of depthwise ones."""
    described = read_description(find_model(network), cache_directory=PACKAGED)

    told = parts_of(described, "int8", is_onnx=True).arena

    assert told / 1e6 == pytest.approx(measured_mb, rel=0.08)


def test_packed_weights_are_what_onnx_runtime_reserves():
    """For NIN's twelve convolutions, by its own log."""
    reserved_bytes = (
        *(35328, 9600, 9600, 615424, 66560, 66560),
        *(886272, 148992, 148992, 3543040, 1052672, 1036224),
    )
    described = read_description(find_model("nin"), cache_directory=PACKAGED)

    assert parts_of(described, "int8", is_onnx=True).packed == sum(reserved_bytes)


def test_a_depthwise_convolution_takes_a_pointer_for_each_place_below_its_windows():
    """In int8: 7 x 5 windows of 3 x 3."""
    window = Window(kernel=(3, 3), stride=(1, 1), dilation=(1, 1), groups=24, transposed=False)
    each = layer(
        "0", "convolution", output_shapes=((1, 24, 7, 5),), window=window, macs=24 * 7 * 5 * 9
    )

    (taken,) = _scratch(description(each))

    assert taken.size_bytes == 7 * 5 * 9 * 8


@pytest.mark.parametrize(
    "shape", [(), (4,), (1, 0, 3), (2, 3, 3)], ids=["none", "row", "empty", "unbatched"]
)
@pytest.mark.parametrize("type", ["convolution", "feed-forward", "multiplication"])
def test_layers_of_any_shape_are_counted(shape, type):
    """A network of somebody's own may have them; whether it is told is decided elsewhere."""
    window = Window(kernel=(3,), stride=(1,), dilation=(1,), groups=4, transposed=False)
    odd = layer("odd", type, output_shapes=(shape,), window=window, macs=100)

    assert parts_of(description(odd), "int8", is_onnx=True).packed >= 0


def test_weights_of_fully_connected_layers_are_turned_in_the_arena():
    """MobileNet v2's 1,280 x 1,000 are in its first region, by its own log."""
    described = read_description(find_model("mobilenet_v2"), cache_directory=PACKAGED)

    packed = parts_of(described, "int8", is_onnx=True).packed

    assert 1_280_000 < packed - described.cost.parameters < 1_400_000


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_shipped_factors_are_one(precision):
    shipped = {(each.format, each.precision): each for each in load_memory_models().models}

    assert shipped["onnx", precision].inference["arena"] == pytest.approx(1, abs=0.1)
