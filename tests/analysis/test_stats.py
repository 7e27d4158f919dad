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


def with_spikes(random, values, share):
    """Some of the values replaced by 1 to 20 ms."""
    spiked = values.copy()
    chosen = random.choice(len(values), int(share * len(values)), replace=False)
    spiked[chosen] = np.exp(random.uniform(np.log(1e6), np.log(2e7), len(chosen)))
    return spiked


@pytest.mark.parametrize("seed", range(5))
def test_spikes_do_not_hide_two_groups(seed):
    """An eighth at 210 us beside 31 us, though one sample in a hundred took milliseconds."""
    random = np.random.default_rng(seed)
    slow = np.arange(1000) % 8 == 0
    grouped = np.where(slow, random.normal(2.1e5, 1e4, 1000), random.normal(3.1e4, 600, 1000))

    modes = two_modes(list(with_spikes(random, grouped, 0.01)))

    assert modes.fast_ns == pytest.approx(3.1e4, rel=0.02)
    assert modes.slow_ns == pytest.approx(2.1e5, rel=0.05)
    assert modes.slow_share == pytest.approx(0.13, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_spikes_tails_and_drifts_are_no_second_group(seed):
    """Up to a tenth of spikes, a long tail, and a steady drift."""
    random = np.random.default_rng(seed)
    steady = random.normal(3.1e4, 600, 400)

    for values in (
        with_spikes(random, steady, 0.01),
        with_spikes(random, steady, 0.09),
        5e6 + random.exponential(1e6, 400),
        5e6 * (1 + random.pareto(2, 400)),
        np.linspace(5e6, 15e6, 400) * random.normal(1, 0.01, 400),
    ):
        assert two_modes(list(values)) is None
