"""A described network in the terms of the latency model: what is folded, and what each layer is."""

import pytest
from examples import layer

from mobilekit.analysis.predict.work import work_of
from mobilekit.records.network import Description, ModelCost, Window


def window(*kernel, stride=1, dilation=1, groups=1, transposed=False):
    dimensions = len(kernel)
    return Window(
        kernel=kernel,
        stride=(stride,) * dimensions,
        dilation=(dilation,) * dimensions,
        groups=groups,
        transposed=transposed,
    )


def works(*layers):
    described = Description(
        cost=ModelCost(parameters=0, macs=0),
        layers=layers,
        unused_parameters=0,
        input_bytes=0,
        peak_activation_bytes=0,
        peak_layer="",
    )
    return work_of("small", described).layers


@pytest.mark.parametrize(
    ("window", "macs", "kind"),
    [
        (window(1, 1), 64, "pw"),
        (window(1, 1, stride=2), 64, "pw"),
        (window(3, 3), 64, "c3s1"),
        (window(3, 3, stride=2), 64, "conv"),
        (window(3, 3, dilation=2), 64, "conv"),
        (window(5, 3), 64, "conv"),
        (window(3), 64, "conv"),
        (window(3, 3, groups=8), 8 * 9, "dw"),
        (window(3, 3, groups=2), 8 * 9 * 4, "group"),
        (window(3, 3, 3), 64, "transposed or 3-D convolution"),
        (window(3, 3, transposed=True), 64, "transposed or 3-D convolution"),
    ],
)
def test_a_convolution_is_of_its_kind(window, macs, kind):
    """Of eight outputs; depthwise is what multiplies each window once."""
    (work,) = works(layer("c", window=window, macs=macs))

    assert (work.kind, work.kernel) == (kind, max(window.kernel))


def test_what_follows_a_product_is_computed_with_it():
    """A batch normalization and an activation; after an addition an activation is a layer."""
    told = works(
        layer("c", window=window(1, 1), macs=64),
        layer("bn", "normalization", parameters=16, weights_bytes=132, reads=("c",)),
        layer("relu", "non-linear", reads=("bn",)),
        layer("add", "addition", input_bytes=64, reads=("relu", "c")),
        layer("last", "non-linear", reads=("add",)),
    )

    assert [(work.name, work.kind) for work in told] == [
        ("c", "pw"),
        ("add", "elt"),
        ("last", "elt"),
    ]
    assert (told[1].input_elements, told[1].output_elements) == (16, 8)


def test_what_only_looks_at_memory_is_nothing():
    """A view and dropout; a copy moves its elements."""
    told = works(
        layer("fc", "feed-forward", parameters=72, macs=64),
        layer("drop", "dropout", in_place=True, reads=("fc",)),
        layer("view", "reshape", in_place=True, reads=("drop",)),
        layer("relu", "non-linear", reads=("view",)),
        layer("copy", "reshape", reads=("relu",)),
    )

    assert [(work.name, work.kind) for work in told] == [("fc", "fc"), ("copy", "elt")]
    assert told[0].weights == 64


@pytest.mark.parametrize(
    ("type", "fields", "kind"),
    [
        ("normalization", {}, "lrn"),
        ("normalization", {"parameters": 16, "weights_bytes": 132}, "elt"),
        ("normalization", {"parameters": 16, "weights_bytes": 64}, "normalization"),
        ("pooling", {"window": window(3, 3, stride=2)}, "pool"),
        ("attention", {"macs": 64}, "attention"),
        ("recurrent", {"macs": 64}, "recurrent"),
        ("other", {}, "other"),
    ],
)
def test_what_was_not_measured_keeps_its_word(type, fields, kind):
    """So that it is refused by that: a normalization over a sequence has no statistics."""
    (work,) = works(layer("x", type, **fields))

    assert work.kind == kind
