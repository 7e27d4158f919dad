"""Which pairs come about when something goes wrong between them."""

import pytest
from examples import measurement

from mobilekit import comparison
from mobilekit.cli.options import wanted_of
from mobilekit.comparison import measure_pairs
from mobilekit.errors import DeviceError, ExportError, UnknownModelError

WANTED = wanted_of("nin", "nexus7", fast=True, rigorous=False, energy=False)


class FakeDeploys:
    """Measures at once; fails where it is told to."""

    def __init__(self, failures):
        self.failures = failures
        self.asked = []

    def __call__(self, wanted, store, reporter, *, traced_iterations):
        assert traced_iterations == 3
        place = (wanted.model, wanted.device)
        self.asked.append(place)
        if place in self.failures:
            raise self.failures[place]
        return measurement(id="-".join(place))


class SilentReporter:
    def note(self, text):
        """Nobody listens."""


def pairs_of(monkeypatch, models, failures):
    deploys = FakeDeploys(failures)
    monkeypatch.setattr(comparison, "deploy", deploys)
    measured = measure_pairs(models, WANTED, "pc", None, SilentReporter(), traced_iterations=3)
    return measured, deploys.asked


def test_each_model_is_measured_on_both_devices(monkeypatch):
    """One after the other, so that a pair is as close in time as it can be."""
    measured, asked = pairs_of(monkeypatch, ["nin", "alexnet"], {})

    assert asked == [("nin", "nexus7"), ("nin", "pc"), ("alexnet", "nexus7"), ("alexnet", "pc")]
    assert [tuple(item.id for item in pair) for pair in measured.pairs] == [
        ("nin-nexus7", "nin-pc"),
        ("alexnet-nexus7", "alexnet-pc"),
    ]


def test_a_failed_export_ends_that_network_alone(monkeypatch):
    """What cannot be exported is told, and the next network is measured."""
    error = ExportError("cannot", fix="-")

    measured, _ = pairs_of(monkeypatch, ["nin", "alexnet"], {("nin", "nexus7"): error})

    assert measured.unmeasured == [("nin", error)]
    assert [pair[0].id for pair in measured.pairs] == ["alexnet-nexus7"]


def test_a_device_that_goes_away_ends_all_but_what_is_there(monkeypatch):
    """The pairs before it are kept, and the networks after it are not tried."""
    error = DeviceError("gone", fix="-")

    measured, asked = pairs_of(
        monkeypatch, ["nin", "alexnet", "googlenet"], {("alexnet", "nexus7"): error}
    )

    assert [pair[0].id for pair in measured.pairs] == ["nin-nexus7"]
    assert measured.unmeasured == [("alexnet", error)]
    assert ("googlenet", "nexus7") not in asked


def test_without_a_pair_the_failure_is_all_there_is(monkeypatch):
    """It is raised, as ``deploy`` would raise it."""
    with pytest.raises(DeviceError, match="gone"):
        pairs_of(monkeypatch, ["nin"], {("nin", "pc"): DeviceError("gone", fix="-")})


def test_an_unknown_model_is_found_before_anything_is_measured(monkeypatch):
    """Also where it is the last of several."""
    deploys = FakeDeploys({})
    monkeypatch.setattr(comparison, "deploy", deploys)

    with pytest.raises(UnknownModelError):
        measure_pairs(["nin", "nothing"], WANTED, "pc", None, SilentReporter(), traced_iterations=3)

    assert deploys.asked == []
