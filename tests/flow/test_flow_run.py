"""A run from its request to the store, with recorded runs in the place of a device."""

import pytest
from examples import energy_plan, measured, run_request
from recordings import recorded, state_of

from mobilekit.contract.samples import interrupted
from mobilekit.errors import AppError, StoppedError
from mobilekit.executor.base import Look
from mobilekit.executor.phone import SILENT
from mobilekit.executor.replay import ReplayExecutor
from mobilekit.flow import collect as collecting
from mobilekit.flow.collect import collect
from mobilekit.flow.prepare import Prepared
from mobilekit.flow.reporter import Steps
from mobilekit.flow.run import Queued, begin, run, run_queue
from mobilekit.results.store import Store


class FakeReporter:
    """Keeps what it is told."""

    def __init__(self):
        self.notes, self.events, self.queued = [], [], []

    def step(self, name):
        pass

    def note(self, text):
        self.notes.append(text)

    def event(self, event):
        self.events.append(event)

    def queued_run(self, name, number, count, plan):
        self.queued.append((number, count))

    def lost(self, requests):
        pass

    def back(self):
        pass


class OutlivingExecutor(ReplayExecutor):
    """Its runs stay where they ran until they are fetched; ``lost`` of them, the link breaks."""

    outlives = True

    def __init__(self, *measurements, lost=(), refuses=(), stopped_at=None):
        super().__init__([recorded(each) for each in measurements])
        self.lost, self.refuses, self.stopped_at = lost, refuses, stopped_at
        self.cleaned, self.followed = [], []

    def follow(self, request, listener):
        self.followed.append(request.run_id)
        if request.run_id in self.refuses:
            raise AppError("The companion app did not start the run", fix="-")
        if request.run_id == self.stopped_at:
            raise KeyboardInterrupt
        if request.run_id in self.lost:
            return interrupted(request.run_id, [], "the phone went away", "disconnected")
        return super().follow(request, listener)

    def held_runs(self):
        return set(self.lost)

    def look(self, request, on_event):
        return Look(super().follow(request, SILENT), has_begun=True)

    def clean(self, run_id, corrupt):
        self.cleaned.append(run_id)


@pytest.fixture
def store(tmp_path):
    return Store(f"sqlite:///{tmp_path / 'results.sqlite'}")


def prepared(executor, like):
    state = state_of(like)
    return Prepared(state, executor, like.artifact, (), None, None, Steps(FakeReporter()))


def request_of(run_id, **fields):
    return run_request(run_id=run_id, **fields)


def test_a_run_is_stored_with_its_purpose_and_nothing_is_left(store):
    """All samples of it, and neither a pending run nor a file."""
    recorded_run = measured("before")
    executor = OutlivingExecutor(recorded_run)
    ready = prepared(executor, recorded_run)

    begun = begin(ready, request_of("run-1"), "measure", energy_wanted=True)
    measurement = run(ready, begun, store, FakeReporter())

    assert store.read("run-1") == measurement
    assert (measurement.purpose, measurement.energy_wanted) == ("measure", True)
    assert measurement.result.samples == recorded_run.result.samples
    assert store.list_pending() == []
    assert executor.cleaned == ["run-1"]


def pilot_of(store, *, lost):
    """A pilot that is followed to its end, or collected after its link was lost."""
    pilot = measured("before", request=run_request(energy=energy_plan(blocks=2)))
    executor = OutlivingExecutor(pilot, lost=("pilot-1",) if lost else ())
    ready = prepared(executor, pilot)
    request = request_of("pilot-1", energy=energy_plan(blocks=2))
    return executor, run(ready, begin(ready, request, "pilot"), store, FakeReporter())


def test_a_pilot_that_is_collected_has_the_findings_of_one_that_was_followed(
    store, tmp_path, monkeypatch
):
    """What a run is for is in its record, and not in who fetched it."""
    _, followed = pilot_of(store, lost=False)
    other = Store(f"sqlite:///{tmp_path / 'other.sqlite'}")
    executor, _ = pilot_of(other, lost=True)
    monkeypatch.setattr(collecting, "attached_phones", lambda: iter([("the-phone", executor)]))
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / "home"))

    (collected,) = collect(other, FakeReporter(), wait=False).collected

    assert collected.purpose == followed.purpose == "pilot"
    assert collected.findings == followed.findings
    assert collected.result.samples == followed.result.samples


def queue_of(executor, like, *run_ids):
    ready = prepared(executor, like)
    return [
        Queued(ready, begin(ready, request_of(each, energy=energy_plan()), "measure"))
        for each in run_ids
    ]


def test_a_queue_goes_on_after_a_run_that_is_not_taken(store):
    """Only the first one's is a failure of the command; each is told and stored."""
    like = measured("before", request=run_request(energy=energy_plan()))
    executor = OutlivingExecutor(like, refuses=("b",))
    reporter, told = FakeReporter(), []

    run_queue(queue_of(executor, like, "a", "b", "c"), store, reporter, told.append)

    assert [each.result.run_id for each in told] == ["a", "b", "c"]
    assert [store.read(each).result.__class__.__name__ for each in "abc"] == [
        "RunSuccess",
        "RunFailure",
        "RunSuccess",
    ]
    assert reporter.queued == [(1, 3), (2, 3), (3, 3)]


def test_a_queue_whose_first_run_is_not_taken_leaves_nothing_pending(store):
    """It is raised, and no run of it waits to be collected."""
    like = measured("before", request=run_request(energy=energy_plan()))
    executor = OutlivingExecutor(like, refuses=("a",))

    with pytest.raises(AppError):
        run_queue(queue_of(executor, like, "a", "b"), store, FakeReporter(), lambda _: None)

    assert store.list_pending() == []
    assert executor.cleaned == ["a", "b"]


def test_ctrl_c_stops_the_run_and_those_behind_it(store):
    """What came before is kept, and all are stored, each as stopped."""
    like = measured("before", request=run_request(energy=energy_plan()))
    executor = OutlivingExecutor(like, stopped_at="b")
    told = []

    stopped = run_queue(queue_of(executor, like, "a", "b", "c"), store, FakeReporter(), told.append)

    assert [getattr(each.result, "code", None) for each in told] == [None, "stopped", "stopped"]
    assert executor.followed == ["a", "b"]
    assert stopped.facts["runs"] == "b, c"


def test_ctrl_c_ends_what_was_to_follow_a_run(store):
    """It is raised, once what had been measured is stored."""
    like = measured("before", request=run_request(energy=energy_plan()))
    executor = OutlivingExecutor(like, stopped_at="a")
    (one,) = queue_of(executor, like, "a")

    with pytest.raises(StoppedError, match="Interrupted from the keyboard"):
        run(one.prepared, one.begun, store, FakeReporter())

    assert store.read("a").result.code == "stopped"
