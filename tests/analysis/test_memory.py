"""What running a network takes at the very least."""

import msgspec
import pytest
from examples import artifact, description, layer

from mobilekit.analysis.memory import least_need
from mobilekit.contract.protocol import ArtifactFile, TensorFile
from mobilekit.records.network import Variant

FILE = ArtifactFile(sha256="a" * 64, format="pte", size_bytes=10**9, method="forward")
INPUT = TensorFile(sha256="b" * 64, dtype="float32", shape=(1, 25))


def product(name, reads, input_bytes, output_bytes, type="convolution"):
    """A layer that has weights."""
    return layer(
        name,
        type,
        reads=reads,
        input_bytes=input_bytes,
        output_bytes=output_bytes,
        weights_bytes=4,
    )


def step(name, reads, input_bytes, output_bytes, type="non-linear"):
    """A layer without any."""
    return layer(name, type, reads=reads, input_bytes=input_bytes, output_bytes=output_bytes)


def need(*layers, **fields):
    made = artifact(**({"file": FILE, "inputs": (INPUT,)} | fields))
    return least_need(made, description(*layers))


STEM = product("stem", (), 100, 1000)


def test_weights_activations_and_inputs_are_added():
    """Of the activations, those that the neediest layer reads and yields."""
    found = need(STEM, product("next", ("stem",), 1000, 500), product("end", ("next",), 500, 40))

    assert found.weights_bytes == 4 * artifact().cost.parameters
    assert (found.activation_bytes, found.layer) == (1500, "next")
    assert found.input_bytes == 100
    assert found.total_bytes == found.weights_bytes + 1500 + 100


def test_inputs_count_once():
    """What the first layer reads is what the companion holds."""
    assert need(STEM).activation_bytes == 1000


def test_a_smaller_file_is_all_that_is_needed_of_weights():
    """Parameters that nothing reads are not in it."""
    assert need(STEM, file=msgspec.structs.replace(FILE, size_bytes=30)).weights_bytes == 30


@pytest.mark.parametrize(("precision", "expected"), [("fp32", 1500), ("fp16", 750), ("int8", 375)])
def test_a_lower_precision_needs_less(precision, expected):
    """Activations as well as weights, but not inputs, which stay as they are."""
    found = need(STEM, product("next", ("stem",), 1000, 500), variant=Variant(precision=precision))

    assert found.activation_bytes == expected
    assert found.weights_bytes == artifact().cost.parameters * expected * 4 // 1500
    assert found.input_bytes == 100


@pytest.mark.parametrize(
    ("between", "read_bytes"),
    [
        pytest.param([step("x", ("stem",), 1000, 1000)], 1000, id="folded"),
        pytest.param([step("x", ("stem",), 1000, 1500, "reshape")], 1000, id="padded"),
        pytest.param([step("x", ("stem",), 1000, 250, "pooling")], 250, id="pooled"),
        pytest.param([step("x", (), 100, 1500, "reshape")], 0, id="of the network's input"),
        pytest.param(
            [
                step("relu", ("stem",), 1000, 1000),
                step("x", ("relu", "stem"), 2000, 1000, "addition"),
            ],
            1000,
            id="added",
        ),
        pytest.param(
            [
                step("relu", ("stem",), 1000, 1000),
                step("x", ("relu", "stem"), 2000, 2000, "concatenation"),
            ],
            2000,
            id="concatenated",
        ),
        pytest.param([step("x", ("stem",), 1000, 1000, "reshape")], 500, id="half of it is read"),
    ],
)
def test_other_layers_hold_no_more_than_what_they_come_from(between, read_bytes):
    """A runtime may compute them on the way."""
    reads_bytes = 500 if read_bytes == 500 else between[-1].output_bytes
    found = need(STEM, *between, product("next", ("x",), reads_bytes, 3000))

    assert (found.activation_bytes, found.layer) == (read_bytes + 3000, "next")


def test_products_of_activations_need_nothing_of_their_own():
    """An attention's scores may never lie in memory as a whole."""
    scores = step("scores", ("stem",), 1000, 10**6, "feed-forward")

    assert need(STEM, scores).activation_bytes == 1000
