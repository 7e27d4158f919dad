"""Results as others' programs read them, by what those programs ask for."""

import io
import itertools
import json
import lzma
from pathlib import Path

import msgspec
import pandas
import pytest
from examples import MS, THERMAL, artifact, device_info, measured, traced_run
from msgspec.structs import replace

from mobilekit.contract.protocol import PhaseStart
from mobilekit.errors import UsageError
from mobilekit.records.prediction import EarlierPrediction
from mobilekit.results.exchange import (
    benchmark_name,
    render_action_benchmark,
    render_bencher,
    render_figures_csv,
)
from mobilekit.results.run_trace import render_run_trace
from mobilekit.results.store import Store

CAPTURED = Path(__file__).parents[1] / "captured/store-2.sqlite.xz"
PRESET = "3 loads, 100 iterations or more"
BENCHMARK = f"nin on nexus7, .pte fp32 xnnpack, 4 threads, {PRESET}"


class Metric(msgspec.Struct, forbid_unknown_fields=True):
    """``JsonNewMetric`` of Bencher's adapters."""

    value: float
    lower_value: float | None = None
    upper_value: float | None = None


class BenchmarkResult(msgspec.Struct, forbid_unknown_fields=True):
    """As github-action-benchmark's ``extract.ts`` checks it."""

    name: str
    value: float
    unit: str
    range: str | None = None
    extra: str | None = None


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A run of a virtual phone whose battery tells its energy."""
    file = tmp_path_factory.mktemp("captured") / "captured.sqlite"
    file.write_bytes(lzma.decompress(CAPTURED.read_bytes()))
    return Store(file).read("digits-nexus7-20261128-070706-8c8a")


def runs(count, begin_ms=10):
    return [
        measured(id=f"run-{number}", iteration_ns=(int((begin_ms + number / 10) * MS),) * 30)
        for number in range(count)
    ]


def test_pandas_reads_figures_with_their_intervals_and_origins(simulated):
    """Numbers as numbers; what a virtual phone measured is not said to be a phone's."""
    predicted = EarlierPrediction(
        latency_ns=9e6, low_ns=8e6, high_ns=11e6, known=3, seen=False, threads=4, widening=1.0
    )

    text = render_figures_csv([measured(predicted=predicted), simulated])

    table = pandas.read_csv(io.StringIO(text)).set_index(["device", "figure", "origin"])
    assert all(table[name].dtype == float for name in ("value", "low", "high"))
    latencies = table[table.virtual & ~table.low.isna()]
    assert (latencies.low <= latencies.value).all()
    assert (latencies.value <= latencies.high).all()
    ours = table[~table.virtual].droplevel("device")
    assert ours.loc["latency_ns", "measured"].value == 13_020_000
    assert tuple(ours.loc["latency_ns", "predicted"][["value", "low", "high"]]) == (9e6, 8e6, 11e6)
    origins = {(name, origin) for _, name, origin in table[table.virtual].index}
    assert {("latency_ns", "virtual"), ("energy_gross_j", "simulated")} <= origins
    assert not any(origin == "measured" for _, origin in origins)


def test_bencher_reads_runs_that_were_alike_as_one_benchmark(simulated):
    """Each metric with its interval; a simulated one has a name of its own."""
    read = msgspec.json.decode(
        render_bencher([*runs(6), simulated]), type=dict[str, dict[str, Metric]]
    )

    virtual = "digits on nexus7 (virtual), .pte fp32 xnnpack, 2 threads, fast"
    assert list(read) == [BENCHMARK, virtual]
    latency = read[BENCHMARK]["latency"]
    assert latency.value == pytest.approx(10.25 * MS, rel=1e-3)
    assert latency.lower_value < latency.value < latency.upper_value
    assert "energy_gross_j_simulated" in read[virtual]
    assert "energy_gross_j" not in read[virtual]


def test_two_networks_are_not_one_benchmark():
    """The benchmark's name is that of a network as it changes: two at once are refused."""
    one = artifact()
    other = msgspec.structs.replace(
        one, model=msgspec.structs.replace(one.model, content_sha256="9" * 64)
    )

    for render in (render_bencher, render_action_benchmark):
        with pytest.raises(UsageError, match="would be one benchmark") as raised:
            render([measured(id="a"), measured(id="b", artifact=other)])
        assert raised.value.facts["other"] == "b"


def test_the_benchmark_action_reads_what_is_better_when_smaller(simulated):
    """As ``customSmallerIsBetter``: nothing of which more is better; names of their own."""
    read = msgspec.json.decode(
        render_action_benchmark([*runs(6), simulated]), type=list[BenchmarkResult]
    )

    named = {each.name: each for each in read}
    assert len(named) == len(read)
    assert named[f"{BENCHMARK}: latency"].unit == "ns"
    assert named[f"{BENCHMARK}: latency"].range.count(" to ") == 1
    assert "run-5" in named[f"{BENCHMARK}: latency"].extra
    assert [name for name in named if "energy_gross" in name] == [
        "digits on nexus7 (virtual), .pte fp32 xnnpack, 2 threads, fast: energy_gross, simulated"
    ]
    assert not any("charge" in name or "available" in name for name in named)


def test_a_run_is_a_trace(simulated):
    """Spans of a row one after another from 0 on, and counters that are numbers."""
    phone = traced_run("a", 3 * MS, MS, device=device_info(name="pixel8"))

    events = json.loads(render_run_trace([simulated, phone]))["traceEvents"]

    names = [one["args"]["name"] for one in events if one["name"] == "process_name"]
    assert names[:2] == [f"digits on nexus7 (virtual), {simulated.id}", "nin on pixel8, a"]
    rows = {}
    for one in events:
        if one["ph"] == "X":
            rows.setdefault((one["pid"], one["tid"]), []).append((one["ts"], one["dur"]))
    assert rows[0, 0][0][0] == 0
    over = max(began + took for began, took in rows[0, 0])
    spans = [span for (process, _), row in rows.items() if process == 0 for span in row]
    assert all(0 <= began <= began + took <= over + 1e-3 for began, took in spans)
    assert (0, 2) in rows  # What it waited for.
    for spans in rows.values():
        for (began, took), (then, _) in itertools.pairwise(sorted(spans)):
            assert then >= began + took - 1e-3 or (then, took) == (began, took)
    windows = [one for one in events if one.get("cat") == "window"]
    assert len(windows) == len(simulated.result.samples.windows)
    counters = [one for one in events if one["ph"] == "C"]
    assert all(
        isinstance(value, (int, float)) for one in counters for value in one["args"].values()
    )
    powers = {one["name"] for one in counters if one["name"].startswith("power_w")}
    assert powers == {
        f"{name} (simulated, charge_counter)"
        for name in ("power_w", "power_w, low", "power_w, high")
    }
    assert {one["name"] for one in events if one["pid"] == 3 and one["ph"] == "X"} >= {"0", "1"}


@pytest.mark.parametrize(("read_at_ns", "lasted_us"), [(20 * MS, 30_000), (150 * MS, 50_000)])
def test_a_failed_runs_trace_has_the_phase_that_it_failed_in(read_at_ns, lasted_us):
    """As long as it is known to have lasted."""
    begun = (("verify", 0), ("load", 10 * MS), ("warmup", 60 * MS), ("iterate", 100 * MS))
    phases = tuple(PhaseStart(phase=phase, at_ns=at_ns) for phase, at_ns in begun)
    thermal = (replace(THERMAL, at_ns=read_at_ns),)
    run = measured(
        phases=phases, iteration_ns=(10 * MS,) * 3, memory=(), thermal=thermal, ended_ns=None
    )

    events = json.loads(render_run_trace([run]))["traceEvents"]

    spans = [(one["name"], one["ts"], one["dur"]) for one in events if one.get("cat") == "phase"]
    assert [name for name, *_ in spans] == ["verify", "load", "warmup", "iterate"]
    assert spans[-1] == ("iterate", 100_000, lasted_us)


def test_a_benchmark_without_threads_has_a_name():
    """Of a run that did not get so far as to tell them."""
    from mobilekit.analysis.repeats import arrangement_of

    made = arrangement_of(measured(companion=None))
    assert benchmark_name(msgspec.structs.replace(made, threads=None)).endswith(
        f"xnnpack, {PRESET}"
    )
