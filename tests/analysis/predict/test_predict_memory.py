"""What a described network occupies of memory, and what is told from it."""

import pytest
from examples import layer
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mobilekit.analysis.predict.memory import (
    SLACK_BYTES,
    MemoryModel,
    MemoryModels,
    predict_memory,
)
from mobilekit.analysis.predict.memory_parts import Tensor, block_bytes, parts_of
from mobilekit.flow.shipped import load_memory_models
from mobilekit.records.network import Description, ModelCost, Window

KIB = 1024


def described(*layers, input_bytes=0):
    return Description(
        cost=ModelCost(parameters=0, macs=0),
        layers=layers,
        unused_parameters=0,
        input_bytes=input_bytes,
        peak_activation_bytes=0,
        peak_layer="",
    )


def convolution(name, kernel=1, stride=1, dilation=1, groups=1, shape=(1, 4, 6, 5), **fields):
    macs = {1: 10**6, 4: 4 * 6 * 5 * kernel**2}[groups]
    window = Window(
        kernel=(kernel, kernel),
        stride=(stride, stride),
        dilation=(dilation, dilation),
        groups=groups,
        transposed=False,
    )
    return layer(name, window=window, macs=macs, output_shapes=(shape,), **fields)


def sized(name, type="convolution", reads=(), reads_bytes=0, writes_bytes=0, **fields):
    return layer(
        name, type, reads=reads, input_bytes=reads_bytes, output_bytes=writes_bytes, **fields
    )


# --- parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "pointers"),
    [
        (convolution("c"), 0),
        (convolution("c", stride=2), 30),
        (convolution("c", kernel=3), 30 * 9),
        (convolution("c", kernel=3, groups=4), 6 * (9 + 4 * 1 * 3)),
        (convolution("c", kernel=3, groups=4, stride=2), 6 * (9 + 4 * 2 * 3)),
        (convolution("c", kernel=3, groups=4, dilation=2), 6 * (9 + 4 * 3 * 3)),
    ],
)
def test_pointers_are_to_each_place_below_the_windows(made, pointers):
    """Of a 6 x 5 map; depthwise windows share the columns in which they overlap."""
    assert parts_of(described(made), "int8").pointers == 8 * pointers
    assert parts_of(described(made), "int8", pointer_bytes=4).pointers == 4 * pointers


def test_a_convolution_is_laid_out_with_what_it_reads():
    """Until the next has read it: at most two of a chain are alive, of which the largest pair
    decides; an activation writes over what it reads."""
    chain = described(
        sized("a", reads_bytes=400, writes_bytes=1000),
        sized("relu", "non-linear", ("a",), 1000, 1000),
        sized("b", reads=("relu",), reads_bytes=1000, writes_bytes=600),
        sized("c", reads=("b",), reads_bytes=600, writes_bytes=100),
        input_bytes=400,
    )

    assert parts_of(chain, "fp32").activations == 1600
    assert parts_of(chain, "fp16").activations == 800
    assert parts_of(chain, "int8").activations == 400


def test_what_a_later_layer_still_reads_is_kept():
    """A branch around two layers; their sum is written over one of them."""
    network = described(
        sized("a", reads_bytes=100, writes_bytes=1000),
        sized("b", reads=("a",), reads_bytes=1000, writes_bytes=1000),
        sized("c", reads=("b",), reads_bytes=1000, writes_bytes=1000),
        sized("sum", "addition", ("a", "c"), 2000, 1000),
        input_bytes=100,
    )

    assert parts_of(network, "fp32").activations == 3000


def test_a_relu_does_not_write_over_what_another_reads():
    network = described(
        sized("a", reads_bytes=0, writes_bytes=1000),
        sized("relu", "non-linear", ("a",), 1000, 1000),
        sized("sum", "addition", ("a", "relu"), 2000, 1000),
    )

    assert parts_of(network, "fp32").activations == 2000


def test_a_local_normalization_holds_four_maps_in_fp32():
    """In int8 too, which it is not computed in: 250 bytes read, 3500 besides, 250 yielded."""
    network = described(
        sized("a", reads_bytes=0, writes_bytes=1000),
        sized("lrn", "normalization", ("a",), 1000, 1000),
    )

    assert parts_of(network, "fp32").activations == 4000
    assert parts_of(network, "int8").activations == 4000


def test_weights_are_told_apart():
    """A fully connected layer of 32 MiB in fp32 is less in int8."""
    network = described(
        convolution("c", parameters=100),
        layer("large", "feed-forward", parameters=8 << 20),
        layer("small", "feed-forward", parameters=1000),
    )

    parts = parts_of(network, "fp32")

    assert parts.weights == 4 * (100 + (8 << 20) + 1000)
    assert (parts.small_product_weights, parts.large_product_weights) == (4000, 32 << 20)
    assert parts.convolution_weights == 400
    assert parts_of(network, "int8").large_product_weights == 0


tensors = st.lists(
    st.tuples(st.integers(1, 100), st.integers(0, 9), st.integers(0, 9)).map(
        lambda made: Tensor(made[0], min(made[1:]), max(made[1:]))
    ),
    max_size=8,
)


@given(tensors)
@settings(max_examples=60)
def test_a_block_holds_what_is_alive_together(made):
    """Never less than the largest sum, never more than everything."""
    alive = [
        sum(one.size_bytes for one in made if one.first <= step <= one.last) for step in range(10)
    ]

    assert max(alive) <= block_bytes(made) <= sum(one.size_bytes for one in made)


def test_a_block_reuses_what_is_free():
    """The small one goes into the gap that fits it best."""
    made = [Tensor(100, 0, 1), Tensor(50, 0, 3), Tensor(80, 2, 3), Tensor(20, 2, 3)]

    assert block_bytes(made) == 150


# --- what is told ------------------------------------------------------------------------------

MODEL = MemoryModel(
    format="pte",
    precision="fp32",
    networks=9,
    load={"weights": 1.0, "layers": 1000.0},
    inference={"activations": 1.0},
    load_peak={"weights": 1.0},
    spreads=(0.1, 0.2, 0.3),
    weights_bytes=(100 * KIB, 10**9),
    most_activation_bytes=10**6,
)
NETWORK = described(
    sized("a", reads_bytes=0, writes_bytes=1000, parameters=100_000, window=convolution("c").window)
)


def predict(network=NETWORK, artifact_format="pte", precision="fp32", abi="x86_64", **fields):
    models = MemoryModels(
        computer="a computer", models=(replace(MODEL, format=artifact_format, **fields),)
    )
    return predict_memory(network, artifact_format, precision, models, abi=abi)


def test_a_growth_is_the_sum_of_its_parts():
    """The load's peak is told where it is above an inference's."""
    told = predict()

    assert told.load.expected_bytes == 401_000
    assert told.inference.expected_bytes == 402_000
    assert told.peak.expected_bytes == 801_000
    assert told.load.high_bytes == 401_000 + round(0.1 * (401_000 + SLACK_BYTES))
    assert told.load.low_bytes == 401_000 - round(0.1 * (401_000 + SLACK_BYTES))
    assert (told.origin, told.reasons) == ("predicted", ())


def test_an_inference_may_be_the_peak():
    told = predict(load_peak={})

    assert told.peak.expected_bytes == told.inference.expected_bytes


OUTSIDE = {
    "large": ({"weights_bytes": (1, 100 * KIB)}, "it is larger than any"),
    "large activations": ({"most_activation_bytes": 400}, "it is larger than any"),
    "small": ({"weights_bytes": (10**6, 10**9)}, "it is smaller than any"),
    "precision": ({"precision": "int8"}, "too few networks were measured as .pte in fp32"),
    "a phone's order": ({"artifact_format": "onnx", "abi": "arm64-v8a"}, "ONNX Runtime on x86"),
    "engine": ({"abi": "armeabi-v7a"}, "ExecuTorch is not packed for armeabi-v7a"),
    "attention": (
        {"network": described(*NETWORK.layers, layer("heads", "attention", reads=("a",)))},
        "its layer heads is of a kind that was not measured, attention",
    ),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_was_not_checked_is_refused(name):
    fields, reason = OUTSIDE[name]
    if "precision" in fields:
        told = predict_memory(
            NETWORK,
            "pte",
            "fp32",
            MemoryModels(computer="", models=(replace(MODEL, **fields),)),
            abi="x86_64",
        )
    else:
        told = predict(**fields)

    assert (told.load, told.inference, told.peak) == (None, None, None)
    assert reason in told.reasons[0]


def test_the_shipped_models_hold_weights_once_or_twice():
    """ExecuTorch keeps them in its own order, and LiteRT the mapped file besides, which no fit
    needs to be told."""
    shipped = {(each.format, each.precision): each for each in load_memory_models().models}

    assert shipped["pte", "fp32"].load["weights"] == pytest.approx(1, abs=0.02)
    assert shipped["pte", "fp32"].load_peak["weights"] == pytest.approx(1, abs=0.02)
    assert shipped["tflite", "fp32"].load["weights"] == pytest.approx(2, abs=0.02)
    for artifact_format in ("pte", "tflite"):
        model = shipped[artifact_format, "fp32"]
        added = {**model.load, **model.inference}
        for part in ("activations", "pointers"):
            assert added[part] == pytest.approx(1, abs=0.15)
