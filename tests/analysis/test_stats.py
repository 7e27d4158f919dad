import numpy as np
import pytest

from mobilekit.analysis.stats import (
    bootstrap_median_interval,
    relative_drift,
    summarize,
    two_modes,
)


def test_summary_of_a_known_series():
    """Percentiles, MAD and extremes of 1 to 101 are the textbook's."""
    summary = summarize(list(range(101, 0, -1)))

    assert summary.count == 101
    assert summary.p50_ns == 51
    assert summary.p90_ns == 91
    assert summary.p99_ns == 100
    assert summary.mad_ns == 25
    assert (summary.min_ns, summary.max_ns) == (1, 101)


def test_a_single_sample_is_its_own_interval():
    """One duration has no spread, and no crash either."""
    summary = summarize([7])

    assert (summary.p50_interval_ns.low, summary.p50_interval_ns.high) == (7, 7)


@pytest.mark.parametrize("count", [5, 30, 101])
def test_exact_bootstrap_agrees_with_resampling(count):
    """The computed interval is the one that resampling the upper median converges to."""
    random = np.random.default_rng(1)
    values = random.lognormal(size=count) * 1e6
    resamples = random.choice(values, size=(20_000, count))
    medians = np.sort(resamples, axis=1)[:, count // 2]
    expected = np.quantile(medians, [0.025, 0.975], method="inverted_cdf")

    interval = bootstrap_median_interval(list(values))

    ordered = list(np.sort(values))
    for found, wanted in zip((interval.low, interval.high), expected, strict=True):
        assert abs(ordered.index(found) - ordered.index(wanted)) <= 1


def test_interval_covers_the_true_median():
    """Of 400 samples of 50, about 95 % have the true median within their interval."""
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        interval = bootstrap_median_interval(list(random.normal(100.0, 5.0, size=50)))
        covered += interval.low <= 100.0 <= interval.high

    assert 0.91 <= covered / 400 <= 0.99


def test_drift_compares_the_halves():
    """A series that gets a tenth slower half-way drifts by a tenth; a steady one does not."""
    assert relative_drift([100] * 10 + [110] * 10) == pytest.approx(0.1)
    assert relative_drift([100] * 20) == 0
    assert relative_drift([100]) == 0


def test_two_groups_are_told_apart():
    """A third of the samples at twice the time are a second mode, with its share."""
    random = np.random.default_rng(3)
    fast, slow = random.normal(5e6, 5e4, 100), random.normal(1e7, 1e5, 50)

    modes = two_modes(list(np.concatenate([fast, slow])))

    assert modes.fast_ns == pytest.approx(5e6, rel=0.01)
    assert modes.slow_ns == pytest.approx(1e7, rel=0.01)
    assert modes.slow_share == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_one_group_is_not_split(seed):
    """Normal, uniform and long-tailed latencies, and a few outliers, are one group."""
    random = np.random.default_rng(seed)
    outliers = np.concatenate([random.normal(5e6, 5e4, 97), [1e7, 1.1e7, 2e7]])

    for values in (
        random.normal(5e6, 5e5, 200),
        random.uniform(4e6, 6e6, 200),
        random.lognormal(15, 0.3, 200),
        outliers,
        np.full(50, 5e6),
    ):
        assert two_modes(list(values)) is None
