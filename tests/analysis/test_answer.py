import msgspec
from examples import measurement, samples

from mobilekit.analysis.answer import derive_answer
from mobilekit.contract.protocol import PROTOCOL_VERSION, MemorySample, RunSuccess


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
