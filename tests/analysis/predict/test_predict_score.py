"""Scores of earlier predictions, and the width that they ask for: against simulated truth."""

import math
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mobilekit.analysis.predict.score import miss_of, score, widening_for, widening_of
from mobilekit.records.prediction import ScoredPrediction, Setting

SDS_OF_90_PERCENT = 1.6449


_NUMBERS = count()


def prediction(miss=0.0, *, known=3, device="phone", model=None, widening=1.0, half=0.2):
    """Of 10 ms, of another network each; the time lies off by so many halves of the interval."""
    predicted_ns = 1e7
    return ScoredPrediction(
        measurement_id="a",
        model=model or f"network {next(_NUMBERS)}",
        device=device,
        device_key=device,
        population="phones",
        setting=Setting(format="pte", precision="fp32"),
        threads=4,
        predicted_ns=predicted_ns,
        low_ns=predicted_ns * math.exp(-half * widening),
        high_ns=predicted_ns * math.exp(half * widening),
        known=known,
        seen=True,
        widening=widening,
        measured_ns=predicted_ns * math.exp(miss * half),
        measured_origin="measured",
    )


@given(miss=st.floats(-3, 3), widening=st.floats(0.3, 5), half=st.floats(0.01, 1))
def test_a_miss_is_told_in_the_width_that_was_shipped(miss, widening, half):
    """Whatever it had been widened by."""
    assert miss_of(prediction(miss, widening=widening, half=half)) == pytest.approx(miss, abs=1e-6)


def test_without_a_score_nothing_is_changed():
    assert widening_of([]) == 1


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.0])
def test_from_a_hundred_scores_on_nine_in_ten_lie_within(truth):
    """Times that lie as far off as claimed, half or twice as far: what the widened intervals then
    cover, over many users."""
    random = np.random.default_rng(0)
    for number in (100, 300):
        covered = []
        for _ in range(40):
            misses = random.normal(0, truth / SDS_OF_90_PERCENT, number)
            factor = widening_of([prediction(miss) for miss in misses])
            covered.append(math.erf(factor * SDS_OF_90_PERCENT / truth / math.sqrt(2)))
        assert 0.85 <= np.mean(covered) <= 0.95, (number, np.mean(covered))


@pytest.mark.parametrize("number", [1, 3, 10, 30])
def test_a_few_scores_leave_intervals_that_are_right_as_they_are(number):
    """On average over users; of none are they less than two thirds or more than twice as wide."""
    random = np.random.default_rng(1)
    covered, factors = [], []
    for _ in range(100):
        misses = random.normal(0, 1 / SDS_OF_90_PERCENT, number)
        factors.append(widening_of([prediction(miss) for miss in misses]))
        covered.append(math.erf(factors[-1] * SDS_OF_90_PERCENT / math.sqrt(2)))
    assert 0.85 <= np.mean(covered) <= 0.95
    assert 0.66 < min(factors) <= max(factors) < 2


def test_one_phone_that_was_told_wrong_from_the_chip_counts_once():
    """Its networks are all off by the same factor; as many phones are something else."""
    one = [prediction(2.0, known=0) for _ in range(20)]
    many = [prediction(2.0, known=0, device=f"phone {index}") for index in range(20)]

    assert widening_of(one) < 1.6 < 1.9 < widening_of(many)


def test_a_network_that_is_measured_again_and_again_counts_once():
    same = [prediction(2.0, model="nin") for _ in range(20)]
    others = [prediction(2.0) for _ in range(20)]

    assert widening_of(same) < 1.6 < 1.9 < widening_of(others)


def test_predictions_are_scored_with_those_from_as_much():
    """None known, one or two, three or more; each group has its own width."""
    scored = [
        *(prediction(3.0, known=0, device=f"phone {index}") for index in range(30)),
        *(prediction(0.1, known=2) for _ in range(30)),
        prediction(-0.5, known=3),
        prediction(-0.5, known=9),
        replace(prediction(-2.0, known=5), device_key="another"),
    ]

    alone, few, more = score(scored)

    assert (alone.known_least, alone.known_most) == (0, 0)
    assert (few.known_least, few.known_most) == (1, 2)
    assert (more.known_least, more.known_most) == (3, None)
    assert (alone.predictions, few.predictions, more.predictions) == (30, 30, 3)
    assert (alone.phones, more.phones) == (30, 2)
    assert (alone.coverage, few.coverage) == (0, 1)
    assert more.coverage == pytest.approx(2 / 3)
    # Three halves of 0.2 more than predicted: the prediction is by exp(-0.6) too short.
    assert alone.bias_percent == pytest.approx((math.exp(-0.6) - 1) * 100)
    assert alone.median_ape_percent == pytest.approx((1 - math.exp(-0.6)) * 100)
    assert few.widening < 0.8 < 2.5 < alone.widening
    assert {each.population for each in (alone, few, more)} == {"phones"}
    assert widening_for(1, scored) == few.widening
    assert widening_for(4, scored) == more.widening
    assert widening_for(0, []) == 1
