"""Which pairs come about when something goes wrong between them."""

from pathlib import Path

import pytest
from examples import MS, measured, traced_run

from mobilekit.cli.options import DeviceOptions, RunOptions, deploy_options
from mobilekit.errors import (
    DeviceError,
    DisconnectedError,
    ExportError,
    MobilekitError,
    StoppedError,
    UnknownModelError,
    UnsavedError,
    UsageError,
)
from mobilekit.flow import compare as comparison
from mobilekit.flow.compare import measure_pairs
from mobilekit.records.network import Variant

INT8 = Variant(precision="int8")
OPTIONS = deploy_options("nin", DeviceOptions(device="nexus7"), RunOptions(), energy=False)


class FakeFlow:
    """Measures at once; fails where it is told to, and traces badly."""

    def __init__(self, failures, runs, segment_failure):
        self.failures = failures
        self.runs = runs
        self.segment_failure = segment_failure
        self.asked = []

    def deploy(self, options, store, reporter, *, traced_iterations):
        place = (options.model, options.device)
        self.asked.append(place)
        if place in self.failures:
            raise self.failures[place]
        id = "-".join(place)
        if traced_iterations is None:
            return measured(id)
        return self.runs.get(place) or traced_run(id, 10 * MS, 3 * MS)

    def profile(self, options, store, reporter, *, iterations, by_segments):
        assert (iterations, by_segments) == (3, True)
        self.asked.append((options.model, options.device, "segments"))
        if self.segment_failure:
            raise self.segment_failure
        return measured(f"{options.model}-{options.device}-segments")


class FakeReporter:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def sides_of(models, options=OPTIONS, against="pc"):
    each = [options._replace(model=model) for model in models]
    return [(first, first._replace(device=against)) for first in each]


def pairs_of(monkeypatch, models, failures=None, *, runs=None, segment_failure=None, iterations=3):
    flow, reporter = FakeFlow(failures or {}, runs or {}, segment_failure), FakeReporter()
    monkeypatch.setattr(comparison, "deploy", flow.deploy)
    monkeypatch.setattr(comparison, "profile", flow.profile)
    pairs = measure_pairs(sides_of(models), None, reporter, traced_iterations=iterations)
    return pairs, flow.asked, reporter.notes


def test_each_model_is_measured_on_both_devices(monkeypatch):
    """One after the other, so that a pair is as close in time as it can be."""
    found, asked, _ = pairs_of(monkeypatch, ["nin", "alexnet"])

    assert asked == [("nin", "nexus7"), ("nin", "pc"), ("alexnet", "nexus7"), ("alexnet", "pc")]
    assert [(pair.device.id, pair.against.id) for pair in found.pairs] == [
        ("nin-nexus7", "nin-pc"),
        ("alexnet-nexus7", "alexnet-pc"),
    ]


def test_a_failed_export_ends_that_network_alone(monkeypatch):
    """What cannot be exported is told, and the next network is measured."""
    error = ExportError("cannot", fix="-")

    found, _, _ = pairs_of(monkeypatch, ["nin", "alexnet"], {("nin", "nexus7"): error})

    assert found.unmeasured == [("nin", error)]
    assert [pair.device.id for pair in found.pairs] == ["alexnet-nexus7"]


def test_a_device_that_goes_away_ends_all_but_what_is_there(monkeypatch):
    """The pairs before it are kept, and the networks after it are not tried."""
    error = DeviceError("gone", fix="-")

    found, asked, _ = pairs_of(
        monkeypatch, ["nin", "alexnet", "googlenet"], {("alexnet", "nexus7"): error}
    )

    assert [pair.device.id for pair in found.pairs] == ["nin-nexus7"]
    assert found.unmeasured == [("alexnet", error)]
    assert ("googlenet", "nexus7") not in asked


def test_a_measurement_that_could_not_be_saved_is_not_passed_over(monkeypatch):
    """It is nowhere but in its error, so that no pair before it hides it."""
    unsaved = UnsavedError("disk full", document=b"{}", fix="-")

    with pytest.raises(UnsavedError):
        pairs_of(monkeypatch, ["nin", "alexnet"], {("alexnet", "nexus7"): unsaved})
    with pytest.raises(UnsavedError):
        pairs_of(monkeypatch, ["nin"], runs={("nin", "pc"): UNTRACED}, segment_failure=unsaved)


def test_without_a_pair_the_failure_is_all_there_is(monkeypatch):
    """It is raised, as ``deploy`` would raise it."""
    with pytest.raises(DeviceError, match="gone"):
        pairs_of(monkeypatch, ["nin"], {("nin", "pc"): DeviceError("gone", fix="-")})


def test_an_unknown_model_is_found_before_anything_is_measured(monkeypatch):
    """Also where it is the last of several."""
    flow = FakeFlow({}, {}, None)
    monkeypatch.setattr(comparison, "deploy", flow.deploy)

    with pytest.raises(UnknownModelError):
        measure_pairs(sides_of(["nin", "nothing"]), None, FakeReporter(), traced_iterations=3)

    assert flow.asked == []


UNTRACED = measured("untraced", profile_refusal="LiteRT records no operators")
SWOLLEN = traced_run("swollen", 30_000, 9_000, iteration_ns=(30_000, 31_000, 32_000))


@pytest.mark.parametrize("when", ["first", "segments"])
def test_ctrl_c_ends_all_of_them(monkeypatch, when):
    """No other network is measured, and no layer by segments."""
    stopped = StoppedError("Interrupted", fix="-")
    failures = {("nin", "nexus7"): stopped} if when == "first" else {}
    runs = {("nin", "pc"): UNTRACED}

    with pytest.raises(StoppedError):
        pairs_of(monkeypatch, ["nin", "alexnet"], failures, runs=runs, segment_failure=stopped)


@pytest.mark.parametrize(
    ("run", "said"),
    [(UNTRACED, "LiteRT records no operators"), (SWOLLEN, "Tracing costs too much")],
)
@pytest.mark.parametrize("device", ["nexus7", "pc"])
def test_layers_that_one_trace_cannot_tell_are_measured_by_segments_on_both(
    monkeypatch, device, run, said
):
    """Like against like; the figures stay those of the first runs."""
    found, asked, notes = pairs_of(monkeypatch, ["nin"], runs={("nin", device): run})

    (pair,) = found.pairs
    assert [each.id for each in pair.layers] == ["nin-nexus7-segments", "nin-pc-segments"]
    assert run in (pair.device, pair.against)
    assert asked[2:] == [("nin", "nexus7", "segments"), ("nin", "pc", "segments")]
    assert any(said in note for note in notes)


@pytest.mark.parametrize("error", [ExportError, DisconnectedError])
def test_a_pair_without_segments_keeps_what_it_has(monkeypatch, error):
    """And what keeps it from being cut, or measured so, is said."""
    found, _, notes = pairs_of(
        monkeypatch,
        ["nin"],
        runs={("nin", "pc"): UNTRACED},
        segment_failure=error("It cannot be", fix="-"),
    )

    assert [pair.layers for pair in found.pairs] == [None]
    assert any("It cannot be" in note for note in notes)


def test_no_layers_no_segments(monkeypatch):
    """Without layers nothing is measured for them."""
    found, asked, _ = pairs_of(monkeypatch, ["nin"], iterations=None)

    assert [pair.layers for pair in found.pairs] == [None]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("models", "against", "changes", "error"),
    [
        (["nin"], "replay:absent", {}, MobilekitError),
        (["nin", "digits"], "pc", {"calibration": Path("absent.npy")}, UsageError),
        (["nin"], "pc", {"calibration": Path("pyproject.toml"), "variant": INT8}, UsageError),
    ],
    ids=["device", "unwanted examples", "other examples"],
)
def test_what_can_be_known_is_known_before_anything_is_measured(
    monkeypatch, models, against, changes, error
):
    """The second device, and every network's options: the first pair may take minutes."""
    flow = FakeFlow({}, {}, None)
    monkeypatch.setattr(comparison, "deploy", flow.deploy)
    with pytest.raises(error):
        measure_pairs(
            sides_of(models, OPTIONS._replace(**changes), against),
            None,
            FakeReporter(),
            traced_iterations=None,
        )
    assert flow.asked == []
