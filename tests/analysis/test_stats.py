import numpy as np
import pytest

from mobilekit.analysis.stats import bootstrap_median_interval, relative_drift, summarize


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
