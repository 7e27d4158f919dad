import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "energy_coverage.py"


def load_script():
    spec = importlib.util.spec_from_file_location("energy_coverage", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def study():
    """A phone with each simulated gauge, calibrated, planned, measured and estimated."""
    script = load_script()
    return script, script.studies(script.gauges_studied(), 1, 0.05)


def test_intervals_cover_the_truth_of_every_gauge(study):
    """Nine in ten at least, of 17 seeded runs; the guide's table has the share of many more."""
    script, outcomes = study

    for covered in script.coverage(outcomes):
        assert covered >= 0.9


def test_the_error_is_within_the_target(study):
    """The median error of the planned runs, with the gauge's gain in it and without."""
    script, outcomes = study

    for errors in script.errors(outcomes):
        assert abs(sorted(abs(errors))[len(errors) // 2]) < 0.05


def test_no_oddity_is_used_unknowingly(study):
    """Unit and sign found in every run, contradictions refused in every run, and nothing sound."""
    script, outcomes = study

    assert all(item.unit_known for item in outcomes)
    assert not any(item.used_wrongly for item in outcomes)
    for item in outcomes:
        assert item.contradictory == (item.gauge in script.CONTRADICTORY)
        assert item.refused == (item.gauge in (*script.CONTRADICTORY, *script.UNTELLABLE))
        assert (item.energy is None) == item.refused
