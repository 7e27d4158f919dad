"""Hosts that carry out campaigns, and that are killed: each run once, a phone for one at a time."""

import errno
import random
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import msgspec
import pytest
import sqlalchemy as sa
from campaign_makers import make_campaign, make_plan, of_another_mobilekit, outcome_of
from examples import measured
from simulated_lab import Lab, counts_of, overlaps

from mobilekit.campaign import control, engine, host
from mobilekit.campaign.host import holding_name
from mobilekit.errors import DeviceError, InUseError, StoreError
from mobilekit.records.campaign import AgentInfo, Gates, Offer
from mobilekit.results import campaigns as campaigns_module
from mobilekit.results.campaign_rows import RunId
from mobilekit.results.campaigns import (
    Campaigns,
    opened,
)
from mobilekit.results.schema import campaign_runs_table, campaigns_table
from mobilekit.results.store import Store

pytest.importorskip("dbos")


@pytest.fixture
def make_lab(place, tmp_path):
    labs = []

    def make(hosts, run_s):
        labs.append(Lab(place, tmp_path / "lab", hosts, run_s))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def test_hosts_that_are_killed_lose_nothing(make_lab, place):
    """Two hosts with eight phones, one killed at each of two moments: all stored once, and no
    phone used by two at once. The soak kills many more."""
    lab = make_lab(hosts=2, run_s=0.3)
    campaign = lab.plan(phones=8, runs=40)
    lab.keep_alive()
    chance = random.Random(1)
    for done in (5, 20):
        lab.wait(campaign.id, 60, done=done, between=lab.keep_alive)
        lab.kill(chance.choice(lab.names))
    lab.wait(campaign.id, 60, between=lab.keep_alive)

    intervals = lab.intervals()
    with opened(place) as campaigns:
        runs = campaigns.list_runs(campaign.id)
        assert counts_of(campaigns, campaign.id) == {"done": 40}
    assert sorted(Store(place).result_ids()) == sorted(run.result_id for run in runs)
    assert len({run.result_id for run in runs}) == 40
    assert overlaps(intervals) == []
    assert len({each.run for each in intervals}) == 40
    # What was under way at a kill, four phones at most.
    assert len(intervals) <= 40 + 2 * 4


class Silence:
    """Follows a campaign and says nothing."""

    def note(self, text):
        pass

    def ended(self, run):
        pass

    def stands(self, standing):
        pass


def test_who_follows_heals_what_never_came_to_its_queue(make_lab, place, monkeypatch):
    """As after a death between the store and the queue: the runs wait, and nobody has them."""
    lab = make_lab(hosts=1, run_s=0.0)
    monkeypatch.setattr(control, "LOOK_S", 0.05)
    monkeypatch.setattr(lab, "enqueue", lambda _: None)
    campaign = lab.plan(phones=2, runs=4)
    lab.keep_alive()

    standing = control.follow(place, campaign, Silence())

    assert standing.counts == {"done": 4}


def test_the_engine_forgets_what_is_over(make_lab, place):
    """Its queue does not grow from campaign to campaign."""
    lab = make_lab(hosts=1, run_s=0.0)
    campaign = lab.plan(phones=4, runs=8)
    lab.keep_alive()
    lab.wait(campaign.id, 60)
    time.sleep(0.5)
    with engine.open_queues(place) as queues:
        queues.forget(campaign.id)
        left = queues._client.list_workflows(workflow_id_prefix=f"{campaign.id}/")

    assert left == []


def test_a_second_host_of_a_name_is_refused(place):
    """Here by a lock; the first one's work goes on."""
    with (
        holding_name("desk1", engine.find_engine(place)),
        pytest.raises(InUseError, match="under this name") as raised,
        control.serving_host(place, "desk1", print),
    ):
        pass

    assert raised.value.facts["host"] == "desk1"


def test_a_lent_device_that_vanishes_silences_no_host(place, monkeypatch):
    """Its beats go on, with what it offered last."""
    monkeypatch.setattr(host, "BEAT_S", 0.05)
    asked, beaten = threading.Event(), threading.Event()
    answers = iter([()])

    def offers():
        found = next(answers, None)
        if found is None:
            asked.set()
            raise DeviceError("It is not attached", fix="Plug it in.")
        return found

    with opened(place) as campaigns:
        beat = campaigns.beat

        def heard(*told):
            if asked.is_set():
                beaten.set()
            return beat(*told)

        monkeypatch.setattr(campaigns, "beat", heard)
        served = host.Host("desk1", campaigns, None, None, print, offers)
        with served.joined():
            assert asked.wait(10)
            for _ in range(2):
                assert beaten.wait(10)
                beaten.clear()
            (agent,) = campaigns.list_agents()

    assert agent.info.offers == ()


def test_a_host_waits_once_for_all_its_threads(place, monkeypatch):
    """Both hang, and it leaves all the same."""
    waited_s, now_s = [], [0.0]

    class Hanging:
        def __init__(self, **_):
            pass

        def start(self):
            pass

        def join(self, timeout_s):
            waited_s.append(timeout_s)
            now_s[0] += timeout_s

    with opened(place) as campaigns:
        served = host.Host("desk1", campaigns, None, None, print, tuple)
        monkeypatch.setattr(
            host, "threading", SimpleNamespace(Event=threading.Event, Thread=Hanging)
        )
        monkeypatch.setattr(host, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
        with served.joined():
            pass
        assert campaigns.list_agents() == []

    assert waited_s == [host.LOOKING_ENDS_S, 0.0]


def test_what_no_disk_takes_goes_to_the_store_at_once(place, monkeypatch):
    """And it is tried for as long as neither takes it: what was measured is not lost."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(host, "write_whole", refuse)
    monkeypatch.setattr(host, "AWAY_S", 0.05)
    refusals = iter([StoreError("It is away", fix="-")] * 2)
    campaign, placed = make_campaign(make_plan(models=["m"], phones=["a"]))

    class Refusing(Campaigns):
        def finish(self, *given):
            error = next(refusals, None)
            if error is not None:
                raise error
            return super().finish(*given)

    campaigns = Refusing(place)
    campaigns.add(campaign, placed)
    run = RunId(campaign.id, placed[0].run.key, 1)
    served = host.Host("desk1", campaigns, lambda order, *_: outcome_of(order.run), None, print)

    served.carry_out(run)
    assert campaigns.count_states(campaign.id) == {"done": 1}
    assert len(Store(place).result_ids()) == 1
    assert next(refusals, None) is None


def test_a_phone_rests_between_two_runs(place):
    """As long as the campaign says, from the end of one; what waits for it says so, and can be
    stopped. Other phones go on."""
    campaign, placed = make_campaign(make_plan(models=["m1", "m2", "m3"], phones=["a", "b"]))
    placed = [
        msgspec.structs.replace(
            each,
            run=msgspec.structs.replace(
                each.run,
                gates=Gates(rest_s=60.0 if each.run.model == "m3" or each.phone == "b" else 0.5),
            ),
        )
        for each in sorted(placed, key=lambda each: each.run.model)
    ]
    began_s = {}

    def measure(order, *_):
        began_s[order.run.key] = time.monotonic()
        return outcome_of(order.run)

    campaigns = Campaigns(place)
    campaigns.add(campaign, placed)
    served = host.Host("desk1", campaigns, measure, None, print)
    first, second, third = [
        RunId(campaign.id, each.run.key, 1) for each in placed if each.phone == "a"
    ]
    other = next(RunId(campaign.id, each.run.key, 1) for each in placed if each.phone == "b")

    for run in (first, other, second):
        served.carry_out(run)
    deadline_s = time.monotonic() + 20
    with served.joined():
        thread = threading.Thread(target=served.carry_out, args=(third,))
        thread.start()
        while "rests for" not in (told := served._details.get(third, "")):
            assert time.monotonic() < deadline_s
        campaigns.stop(campaign.id)
        thread.join(10)

    assert began_s[second.key] - began_s[first.key] >= 0.5
    assert began_s[other.key] - began_s[first.key] < 60
    assert told.startswith("waits: the phone rests for ")
    assert third.key not in began_s
    assert campaigns.count_states(campaign.id) == {"done": 3, "stopped": 3}
    campaigns.close()


def test_what_is_kept_for_runs_that_are_over_is_swept(place, home):
    """As of a run that was moved from here in the middle and ended elsewhere; another store's
    stays, and so does what a run of here may go on from. Which mobilekit planned them is all the
    same."""
    campaign, placed = make_campaign(make_plan(models=["m1", "m2"], phones=["a"]))
    over, waits = [RunId(campaign.id, each.run.key, 1) for each in placed]
    kept = home / "state/campaigns/kept"
    kept.mkdir(parents=True)
    left = {
        f"{over.campaign}.{over.key}.measured": False,
        f"{over.campaign}.{over.key}.1.json": False,
        f"{waits.campaign}.{waits.key}.measured": True,
        f"{waits.campaign}.{waits.key}.1.json": True,
        f"{waits.campaign}.{waits.key}.7.json": False,
        "elsewhere-1.m-1.measured": True,
    }
    for name in left:
        (kept / name).write_text("-")
    with opened(place) as campaigns:
        campaigns.add(campaign, placed)
        campaigns.take(over, "desk2/x")
        campaigns.finish(over, "desk2/x", outcome_of(over))
        for run in (over, waits):
            of_another_mobilekit(campaigns, campaign_runs_table, campaign=run.campaign, key=run.key)
        with host.Host("desk1", campaigns, None, None, print).joined():
            pass

    assert host.places.campaigns_directory() == kept.parent
    assert {name: (kept / name).exists() for name in left} == left


def test_a_late_attempt_leaves_what_another_one_keeps(place, home):
    """An old attempt that hears from its store again is over, and the next one measures here, of
    which a sweep leaves what it keeps too, though the run was over when the sweep looked."""
    campaign, placed = make_campaign(make_plan(models=["m"], phones=["a"]))
    first = RunId(campaign.id, placed[0].run.key, 1)
    left = []

    class Late(Campaigns):
        def find_standing(self, *which):
            """As it was before a resume."""
            return msgspec.structs.replace(super().find_standing(*which), state="stopped")

    def measure(order, *_):
        order.measured.write_text("-")
        with opened(place) as current:
            late = host.Host("desk1", current, None, None, print)
            late._finish(first, outcome_of(first))
        left.append(order.measured.exists())
        sweeper._sweep()
        left.append(order.measured.exists())
        return outcome_of(order.run)

    campaigns = Late(place)
    campaigns.add(campaign, placed)
    campaigns.take(first, "desk1/old")
    second = campaigns.give_back(first, "desk1/old")
    (home / "state/campaigns/kept").mkdir(parents=True)
    sweeper = host.Host("desk1", campaigns, measure, None, print)
    sweeper.carry_out(second)

    assert left == [True, True]
    assert campaigns.count_states(campaign.id) == {"done": 1}
    assert list((home / "state/campaigns/kept").iterdir()) == []
    campaigns.close()


def test_work_is_moved_to_who_has_the_phone_now(make_lab, place):
    """Of a host that was killed; what it had measured stays, and it finds nothing when it comes
    back."""
    lab = make_lab(hosts=2, run_s=0.2)
    campaign = lab.plan(phones=4, runs=20)
    lab.start("desk0")
    lab.start("desk1")
    lab.wait(campaign.id, 60, done=4)
    lab.kill("desk0")
    with opened(place) as campaigns, engine.open_queues(place) as queues:
        old, new = [], []
        for run, placed in campaigns.iterate_open(campaign.id):
            if run.host == "desk0" and run.state in ("queued", "running"):
                run_id = engine.run_of(f"{campaign.id}/{run.key}/{run.attempt}")
                there = control.replace(placed, host="desk1")
                assert campaigns.move(run_id, there) == run_id._replace(attempt=2)
                old.append(run_id)
                new.append(control.waiting_of(campaigns.find_run(*run_id[:2])[0], there))
        campaigns.forget_leases("desk0")
        queues.add(new)
        queues.drop(old)
    lab.start("desk0")
    lab.wait(campaign.id, 60)

    with opened(place) as campaigns:
        runs = campaigns.list_runs(campaign.id)
    assert {run.state for run in runs} == {"done"}
    assert {run.host for run in runs if run.attempt == 2} == {"desk1"}
    assert overlaps(lab.intervals()) == []


@pytest.mark.soak
@pytest.mark.parametrize("away_s", [6, 40])
def test_an_outage_of_the_database_repeats_nothing(postgres, make_lab, place, away_s):
    """Away for a while in the middle of runs: each is measured once, and stored when it is
    back."""
    if place.startswith("sqlite"):
        pytest.skip("a file is not away")
    lab = make_lab(hosts=1, run_s=4.0)
    campaign = lab.plan(phones=6, runs=6)
    lab.keep_alive()
    deadline_s = time.monotonic() + 30
    while sum(1 for each in lab.intervals()) < 6:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    postgres.stop(abruptly=True)
    with pytest.raises(StoreError):
        Store(place)
    time.sleep(away_s)
    postgres.start()
    lab.wait(campaign.id, 60)

    assert len(lab.intervals()) == 6
    assert len(Store(place).result_ids()) == 6


@pytest.mark.parametrize("ended", ["never queued", "given up"])
def test_an_agent_heals_what_nobody_follows(place, tmp_path, monkeypatch, ended):
    """As after ``--detach``: what died between the store and the queue, and what the engine has
    given up, begins all the same."""
    monkeypatch.setattr(control, "TEND_S", 0.2)
    monkeypatch.setattr(control, "read_offers", lambda *_: ())
    campaign, placed = make_campaign(make_plan(models=["m"], phones=["a"]))
    run = RunId(campaign.id, placed[0].run.key, 1)
    with opened(place) as campaigns:
        campaigns.add(campaign, placed)
        if ended == "given up":
            with engine.open_queues(place) as queues:
                queues.add([control.waiting_of(*campaigns.find_run(run.campaign, run.key))])
                queues.drop([run])
        with control.serving_host(
            place, "desk1", print, lent=(), measure=lambda order, *_: outcome_of(order.run)
        ):
            deadline_s = time.monotonic() + 30
            while campaigns.count_states(campaign.id) != {"done": 1}:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)


class Queues:
    """Loses what it is given, and keeps what that was."""

    def __init__(self):
        self.added = []

    def find_dead(self, campaign_id):
        return []

    def add(self, waiting):
        self.added.append([*waiting])


def test_what_a_queue_has_lost_is_brought_there_again_and_again(place):
    """More and more rarely, and for each host by itself: a busy one keeps no other waiting."""
    campaign, placed = make_campaign(
        make_plan(models=["m"], phones=["a", "b"]), host={"a": "desk1", "b": "desk2"}.get
    )
    queues, turns = Queues(), []
    with opened(place) as campaigns:
        campaigns.add(campaign, placed)
        busy = next(each for each in placed if each.host == "desk1")
        campaigns.take(RunId(campaign.id, busy.run.key, 1), "desk1/x")
        tending = control.Tending(campaign, lambda _: None)
        for turn in range(1, 12):
            tending.turn(queues, campaigns)
            if len(queues.added) > len(turns):
                turns.append(turn)

    assert turns == [2, 4, 8]
    assert [[each.host for each in waiting] for waiting in queues.added] == [["desk2"]] * 3


def test_a_campaign_of_another_mobilekit_keeps_no_agent_from_the_others(place, monkeypatch):
    """It is told of once, and nothing else is."""
    monkeypatch.setattr(control, "TEND_S", 0.02)
    for id in ("newer", "older"):
        with opened(place) as campaigns:
            campaigns.add(*make_campaign(make_plan(models=["m"], phones=["a"]), id=id))
    with opened(place) as campaigns:
        of_another_mobilekit(campaigns, campaigns_table, id="newer")
    queues, said = Queues(), []
    monkeypatch.setattr(control.engine, "open_queues", lambda _: nullcontext(queues))
    with control._tending_all(place, "desk1", said.append):
        deadline_s = time.monotonic() + 20
        while not queues.added:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    assert queues.added[0][0].run.campaign == "older"
    assert len(said) == 1
    assert said[0].startswith("newer is not looked after here: ")


def test_an_agent_moves_the_work_of_a_host_that_stays_away(place, monkeypatch):
    """After the time that the plan states and not before, and only what it can carry out."""
    now_s = 1000.0
    monkeypatch.setattr(campaigns_module, "clock_s", lambda _: sa.literal(now_s, sa.Float(53)))
    plan = msgspec.structs.replace(make_plan(models=["m"], phones=["a", "b"]), move_after_s=60.0)
    campaign, (exported, bare) = make_campaign(plan)
    exported = msgspec.structs.replace(exported, artifact=measured().artifact)

    def offer(phone):
        return Offer(
            device=phone,
            phone=phone,
            name=phone,
            state="device",
            computes_here=False,
            formats=("pte",),
            level_percent=None,
        )

    def join(name, *phones):
        info = AgentInfo(
            name=name,
            place=name,
            pid=1,
            mobilekit_version="0",
            started_at="",
            offers=tuple(map(offer, phones)),
        )
        assert campaigns.join(info, name) is None

    said = []
    with opened(place) as campaigns, engine.open_queues(place) as queues:
        campaigns.add(campaign, [exported, bare])
        join("desk1", "a", "b")
        tending = control.Tending(campaign, said.append, "desk2")
        now_s += 59
        join("desk2", "a", "b")
        tending.turn(queues, campaigns)
        before = [run.host for run in campaigns.list_runs(campaign.id)]
        now_s += 2
        tending.turn(queues, campaigns)
        after = {run.key: (run.host, run.attempt) for run in campaigns.list_runs(campaign.id)}

    assert before == ["desk1", "desk1"]
    assert after == {exported.run.key: ("desk2", 2), bare.run.key: ("desk1", 1)}
    assert said[-1] == "1 runs of desk1 go to desk2."
