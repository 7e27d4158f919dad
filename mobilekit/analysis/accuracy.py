"""How often a network is right, how sure that is, and whether a device agrees with PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mobilekit.contract.outputs import Array, check_outputs
from mobilekit.records.measurement import Classification, Examples, PredictedClasses
from mobilekit.records.statistics import Accuracy, AccuracyAnswer, Interval, Proportion

MIN_TOP5_CLASSES = 10
_SCORES_AT_ONCE = 1 << 18


def wilson_interval(successes: int, count: int, coverage: float = 0.95) -> Interval:
    """The score interval of a proportion of ``count`` independent trials, at least one.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. Am.
    Stat. Assoc. 22 (1927). Unlike p +- 1.96 sigma it stays within [0, 1] and has a width where
    every trial succeeded.
    """
    from scipy.special import ndtri  # at no command's start, as in ``energy.budget``

    z = float(ndtri((1 + coverage) / 2))
    share = successes / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    # The share is in it, and nothing beyond the ends is, but for rounding.
    return Interval(
        low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half))
    )


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, Interval]:
    """The first share less the second, of the same examples, at least one, and its 95 % interval.

    The square-and-add interval of paired proportions: R. G. Newcombe, "Improved confidence
    intervals for the difference between binomial proportions based on paired data", Statistics in
    Medicine 17 (1998), method 10. Two networks are right on mostly the same examples, so that it is
    far narrower than the two intervals of the shares tell.
    """
    pairs = list(zip(first, second, strict=True))
    both, only_first, only_second = (pairs.count(each) for each in _KINDS)
    count = len(pairs)
    neither = count - both - only_first - only_second
    one, other = (both + only_first) / count, (both + only_second) / count
    of_one = wilson_interval(both + only_first, count)
    of_other = wilson_interval(both + only_second, count)
    marginals = (
        (both + only_first)
        * (only_second + neither)
        * (both + only_second)
        * (only_first + neither)
    )
    excess = float(both * neither - only_first * only_second)
    if excess > 0:
        excess = max(excess - count / 2, 0.0)
    correlation = excess / math.sqrt(marginals) if marginals else 0.0

    def reach(ours: float, theirs: float) -> float:
        return math.sqrt(max(0.0, ours**2 - 2 * correlation * ours * theirs + theirs**2))

    difference = one - other
    return difference, Interval(
        low=difference - reach(one - of_one.low, of_other.high - other),
        high=difference + reach(of_one.high - one, other - of_other.low),
    )


_KINDS = ((True, True), (True, False), (False, True))


def predict(outputs: Array, labels: Sequence[int]) -> PredictedClasses:
    """The class that each row of scores names, and how many classes outdo the right one.

    ``outputs`` is (examples, ...), with a score for each class along the rest. Of equal scores the
    first counts as the highest, as in ``argmax``. A class whose score is not a number is outdone
    by every other.
    """
    classes: list[int] = []
    label_ranks: list[int] = []
    # A few at a time: outputs may be mapped, and more than memory holds.
    at_once = max(1, _SCORES_AT_ONCE * len(outputs) // outputs.size)
    for start in range(0, len(outputs), at_once):
        some = slice(start, start + at_once)
        told, ranks = _predict(outputs[some], labels[some])
        classes += told
        label_ranks += ranks
    return PredictedClasses(classes=tuple(classes), label_ranks=tuple(label_ranks))


def _predict(outputs: Array, labels: Sequence[int]) -> tuple[list[int], list[int]]:
    scores = outputs.reshape(len(outputs), -1).astype(np.float64)
    right = np.asarray(labels)[:, np.newaxis]
    right_score = np.take_along_axis(scores, right, axis=1)
    before = np.arange(scores.shape[1]) < right
    ahead = (scores > right_score) | ((scores == right_score) & before)
    ranks = np.where(np.isnan(right_score), scores.shape[1] - 1, ahead.sum(axis=1, keepdims=True))
    scores = np.where(np.isnan(scores), -np.inf, scores)
    return scores.argmax(axis=1).tolist(), ranks[:, 0].tolist()


def classify(
    examples: Examples, outputs: Array, reference_outputs: Array, relative_tolerance: float
) -> Classification:
    """What a device's outputs and PyTorch's, of the same shape, say of the examples.

    ``relative_tolerance`` as in the contract's check, here over the outputs for all examples. The
    artifact's own will not do below fp32: it is from one input, and some example loses more.
    """
    return Classification(
        classes=reference_outputs.size // len(reference_outputs),
        device=predict(outputs, examples.labels),
        pytorch=predict(reference_outputs, examples.labels),
        agreement=check_outputs([outputs], [reference_outputs], relative_tolerance),
    )


def estimate_accuracy(classification: Classification) -> AccuracyAnswer:
    """The shares that the predictions come to."""
    device, pytorch = classification.device, classification.pytorch
    return AccuracyAnswer(
        examples=len(device.classes),
        device=_accuracy(device, classification.classes),
        pytorch=_accuracy(pytorch, classification.classes),
        same_class=sum(
            here == there for here, there in zip(device.classes, pytorch.classes, strict=True)
        ),
    )


def _accuracy(predictions: PredictedClasses, classes: int) -> Accuracy:
    return Accuracy(
        top1=_within(predictions, 1),
        top5=_within(predictions, 5) if classes >= MIN_TOP5_CLASSES else None,
    )


def _within(predictions: PredictedClasses, places: int) -> Proportion:
    count, total = sum(rank < places for rank in predictions.label_ranks), len(predictions.classes)
    return Proportion(count=count, share=count / total, interval=wilson_interval(count, total))
