"""Accuracy, its interval, and agreement with PyTorch."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.analysis.accuracy import (
    classify,
    estimate_accuracy,
    paired_difference,
    predict,
    wilson_interval,
)
from mobilekit.contract.protocol import TensorFile
from mobilekit.records.measurement import Examples


def examples(labels, shape) -> Examples:
    tensor = TensorFile(sha256="0" * 64, dtype="float32", shape=shape)
    return Examples(directory="somewhere", labels=labels, inputs=tensor, reference_outputs=tensor)


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(successes, count, low, high):
    """The examples of R. G. Newcombe, Statistics in Medicine 17 (1998), Table I, method 3."""
    interval = wilson_interval(successes, count)

    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def paired(both, only_first, only_second, neither):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def test_the_interval_of_a_paired_difference_is_the_published_one():
    """The example of R. G. Newcombe, Statistics in Medicine 17 (1998), on paired data, method
    10."""
    difference, interval = paired_difference(*paired(36, 12, 2, 0))

    assert difference == pytest.approx(0.2)
    assert (interval.low, interval.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300))
def test_a_paired_difference_has_a_sign_and_an_interval_around_it(pairs):
    first, second = zip(*pairs, strict=True)
    difference, interval = paired_difference(first, second)
    turned, other = paired_difference(second, first)

    assert -1 - 1e-9 <= interval.low <= difference <= interval.high <= 1 + 1e-9
    assert interval.low < interval.high
    assert (turned, other.low, other.high) == pytest.approx(
        (-difference, -interval.high, -interval.low)
    )


def test_mostly_the_same_examples_tell_a_small_loss():
    """Where the two intervals of the shares overlap widely."""
    _, interval = paired_difference(*paired(270, 12, 0, 18))

    assert interval.low > 0
    assert wilson_interval(270, 300).high > wilson_interval(282, 300).low


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_has_a_width(counted):
    """Also where all or none succeeded, it lies within [0, 1] and is no point."""
    successes, count = counted
    interval = wilson_interval(successes, count)

    assert 0 <= interval.low < interval.high <= 1
    assert interval.low <= successes / count <= interval.high


def test_ranks_count_the_classes_ahead():
    """Rank 0 is the highest score; of equal scores the first is ahead, as in argmax."""
    outputs = np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [3, 2, 1]], np.float32)

    predictions = predict(outputs, (1, 1, 0, 2))

    assert predictions.classes == (1, 0, 0, 0)
    assert predictions.label_ranks == (0, 1, 0, 2)


def test_dimensions_beyond_the_first_are_classes():
    """A network may give (1, classes, 1, 1) for each example."""
    assert (
        predict(np.eye(4, dtype=np.float32).reshape(4, 1, 4, 1), range(4)).label_ranks == (0,) * 4
    )


def test_what_is_not_a_number_is_never_right():
    """An output of NaN does not tell class 0 by chance."""
    outputs = np.array([[np.nan] * 3, [np.nan, 1, 0], [1, np.nan, 0]], np.float32)

    predictions = predict(outputs, (0, 0, 0))

    assert predictions.label_ranks == (2, 2, 0)
    assert predictions.classes[1:] == (1, 0)


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1), st.data())
def test_rank_0_is_the_predicted_class(rows, data):
    """The two agree for every label, ties included."""
    labels = [data.draw(st.integers(0, 3)) for _ in rows]
    predictions = predict(np.array(rows, np.float32), labels)

    right = [told == label for told, label in zip(predictions.classes, labels, strict=True)]
    assert [rank == 0 for rank in predictions.label_ranks] == right


def test_outputs_that_are_mapped_are_not_read_as_a_whole(tmp_path):
    """What is told of them is the same, in a fraction of their memory."""
    shape = (8000, 1, 1000)
    labels = tuple(np.random.default_rng(1).integers(0, 1000, 8000).tolist())
    outputs = np.memmap(tmp_path / "outputs.bin", np.float32, "w+", shape=shape)
    np.random.default_rng(2).standard_normal(out=outputs, dtype=np.float32)
    reference = np.memmap(tmp_path / "reference.bin", np.float32, "w+", shape=shape)
    reference[:] = outputs
    reference[7999, 0, 999] = 100

    tracemalloc.start()
    made = classify(examples(labels, shape), outputs, reference, 1e-3)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < outputs.nbytes / 2
    assert made.device.classes == tuple(outputs[:, 0].argmax(axis=1).tolist())
    right = outputs[range(8000), 0, labels]
    assert made.device.label_ranks == tuple(
        int((row > score).sum()) for row, score in zip(outputs[:, 0], right, strict=True)
    )
    assert made.pytorch.classes == (*made.device.classes[:-1], 999)
    assert made.agreement.max_absolute_error == 100 - float(outputs[7999, 0, 999])
    assert made.agreement.max_relative_error == made.agreement.max_absolute_error / 100


def test_device_and_pytorch_are_told_apart():
    """Each has its own accuracy; agreement is over classes and over outputs."""
    reference = np.zeros((4, 12), np.float32)
    reference[range(4), [0, 1, 2, 3]] = 1
    device = reference.copy()
    device[3, 7] = 2  # Now class 7 is ahead of 3.

    made = classify(examples((0, 1, 9, 3), (4, 1, 12)), device, reference, 1e-3)
    answer = estimate_accuracy(made)

    assert made.classes == 12
    assert (answer.device.top1.count, answer.pytorch.top1.count) == (2, 3)
    assert answer.device.top1.share == 0.5
    # 9 has eight equal scores and the one of class 2 ahead of it.
    assert (answer.device.top5.count, answer.pytorch.top5.count) == (3, 3)
    assert (answer.same_class, answer.examples) == (3, 4)
    assert made.agreement.max_absolute_error == 2
    assert not made.agreement.matches


def test_a_few_classes_have_no_top_5():
    """Five of nine says little."""
    outputs = np.eye(9, dtype=np.float32)
    made = classify(examples(tuple(range(9)), (9, 9)), outputs, outputs, 0.0)

    assert estimate_accuracy(made).device.top5 is None
    assert made.agreement.matches
