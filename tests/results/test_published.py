import pytest

from mobilekit.errors import UsageError
from mobilekit.results.published import load_publication, publication_names


def values(name, model):
    return {
        (figure.platform, figure.name): (figure.value, figure.unit)
        for figure in load_publication(name).of(model)
    }


def test_fantozzi_as_printed():
    """Each column of a row, in the unit that ours are in; a model's size as printed."""
    assert values("fantozzi2016", "nin") == {
        (None, "model_size"): (26, "MB"),
        ("pc", "init"): (239e6, "ns"),
        ("pc", "latency"): (132e6, "ns"),
        ("nexus7", "init"): (pytest.approx(2067e6), "ns"),
        ("nexus7", "latency"): (pytest.approx(1079e6), "ns"),
        ("nexus7", "energy"): (3.65, "J"),
        ("nexus7", "charge"): (14_800, "inferences"),
    }


def test_fantozzis_charge_is_the_batterys_over_the_energy():
    """The paper's own three columns agree: 54 kJ over the energy, within its rounding."""
    for model in ("alexnet", "nin", "googlenet"):
        row = values("fantozzi2016", model)
        inferences, _ = row["nexus7", "charge"]
        energy_j, _ = row["nexus7", "energy"]
        assert inferences == pytest.approx(54_000 / energy_j, rel=0.005)


def test_lane_as_printed():
    """Milliseconds and millijoules of every platform; a dash in the source is absent."""
    row = values("lane2015", "alexnet")

    assert row["snapdragon_cpu", "latency"] == (pytest.approx(159_383.1e6), "ns")
    assert row["tegra_gpu", "energy"] == (pytest.approx(0.2322), "J")
    assert ("snapdragon_dsp", "latency") not in row
    assert values("lane2015", "deep-kws") == values("lane2015", "deep_kws") != {}


@pytest.mark.parametrize("name", publication_names())
def test_every_publication_names_its_source(name):
    """Who measured, and how, goes with the figures."""
    publication = load_publication(name)

    assert publication.name == name
    assert publication.source
    assert publication.notes
    assert publication.figures


def test_an_unknown_publication_lists_the_known():
    """A wrong name is answered with the right ones."""
    with pytest.raises(UsageError, match="fantozzi2016, lane2015"):
        load_publication("nobody1999")
