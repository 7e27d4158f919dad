import msgspec
import pytest
from examples import energy_estimate, measurement

from mobilekit.analysis.answer import derive_answer
from mobilekit.results.listing import results_table
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.measurement import render_measurement


@pytest.mark.parametrize(("ratio", "shown"), [(1.05, False), (1.6, True)])
def test_a_mean_far_from_the_median_is_shown_beside_the_energy(ratio, shown):
    """The energy is for an inference of the mean time, and p50 may be another."""
    run = measurement()
    answer = derive_answer(run)
    seconds = ratio * answer.latency.p50_ns / 1e9
    answer = msgspec.structs.replace(
        answer,
        energy=energy_estimate(seconds_per_inference=seconds),
        energy_p50_ratio=ratio,
    )

    text = render_measurement(run, answer)

    assert ("1.60 times the p50" in text) is shown
    assert ("\n  mean " in text) is shown
    assert ("(at 1.60 x the p50)" in render_text(results_table([(run, answer)]))) is shown
