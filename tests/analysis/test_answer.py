import msgspec
import pytest
from comparisons import compared
from examples import MS, measurement, samples
from simulated import PROFILE, work

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.energy.planning import plan_pilot
from mobilekit.contract.protocol import PROTOCOL_VERSION, MemorySample, RunSuccess
from mobilekit.results.compare_tables import comparison_table
from mobilekit.results.tables.text import render_text


def measured(**sample_fields):
    result = RunSuccess(
        protocol_version=PROTOCOL_VERSION, run_id="r", samples=samples(**sample_fields)
    )
    return measurement(result=result)


def reading(stage, pss_bytes, rss_bytes, peak_rss_bytes):
    return MemorySample(
        at_ns=0,
        stage=stage,
        pss_bytes=pss_bytes,
        rss_bytes=rss_bytes,
        peak_rss_bytes=peak_rss_bytes,
    )


def test_memory_is_growth_over_the_closed_program():
    """PSS where it is told, and the peak of load and inference, whichever is higher."""
    memory = (
        reading("closed", 90, 100, 100),
        reading("loaded", 190, 200, 900),
        reading("inferred", 200, 210, 220),
    )

    growth = derive_answer(measured(memory=memory)).memory

    assert growth.measure == "PSS"
    assert (growth.load_bytes, growth.inference_bytes) == (100, 110)
    assert growth.peak_rss_bytes == 800


def test_memory_falls_back_to_rss_or_to_nothing():
    """Without PSS it is RSS and says so; without any reading it is not told."""
    memory = tuple(msgspec.structs.replace(sample, pss_bytes=None) for sample in samples().memory)

    assert derive_answer(measured(memory=memory)).memory.measure == "RSS"
    assert derive_answer(measured(memory=())).memory is None


def test_a_failed_run_answers_what_it_can():
    """Loads without iterations give an init and no latency."""
    answer = derive_answer(measured(iteration_ns=()))

    assert answer.init.count == 3
    assert answer.latency is None


def test_an_energy_of_another_inference_than_the_p50_is_marked():
    """In the answer, and in a comparison's cells of energies and charge, but of nothing else."""
    windows, _, _ = work(plan_pilot(), latency_ns=[59 * MS])
    slow, like = (
        msgspec.structs.replace(
            measured(windows=tuple(windows), iteration_ns=(p50_ms * MS,) * 9),
            id=f"p50-of-{p50_ms}",
            profile=PROFILE,
        )
        for p50_ms in (10, 58)
    )

    table = render_text(comparison_table(compared(slow, like)))

    assert derive_answer(slow).far_p50_ratio == pytest.approx(5.9, rel=0.02)
    assert derive_answer(like).far_p50_ratio is None
    marked = [line.split("  ")[0] for line in table.splitlines() if "x the p50)" in line]
    assert marked == ["energy, gross", "energy, marginal", "inferences/charge"]
    assert all(line.count("x the p50)") <= 1 for line in table.splitlines())
