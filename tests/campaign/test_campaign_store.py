"""How runs stand in the store: a phone has one at a time, and a run is stored once."""

import threading
from collections import Counter
from contextlib import suppress

import pytest
import sqlalchemy as sa
from campaign_makers import make_campaign, make_plan, of_another_mobilekit, outcome_of
from examples import measured, measurement
from msgspec.structs import replace
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.contract.samples import interrupted, was_lost
from mobilekit.errors import ProtocolError, StoreError, UsageError
from mobilekit.records.campaign import AgentInfo, Outcome
from mobilekit.results import campaigns as campaigns_module
from mobilekit.results import store as store_module
from mobilekit.results.campaign_rows import (
    RunId,
    Taken,
)
from mobilekit.results.campaigns import (
    Campaigns,
)
from mobilekit.results.schema import agents_table, campaigns_table, decode_measurement
from mobilekit.results.store import PendingRun, Store


@pytest.fixture
def campaigns(place):
    opened = Campaigns(place)
    yield opened
    opened.close()


@pytest.fixture
def runs(campaigns):
    """Of two models on phones a and b, by phone."""
    campaigns.add(*make_campaign(make_plan()))
    found = {}
    for run in campaigns.list_runs("test-1"):
        found.setdefault(run.phone, []).append(RunId("test-1", run.key, run.attempt))
    return found


def state_of(campaigns, run):
    return next(each for each in campaigns.list_runs(run.campaign) if each.key == run.key)


def test_a_campaign_is_found_by_its_id_and_as_the_last(campaigns):
    """By a beginning too; several of one beginning and none are told."""
    for id in ("night-1", "night-2"):
        campaigns.add(*make_campaign(make_plan(), id=id))

    assert campaigns.find("night-1").id == "night-1"
    assert campaigns.find("last").id == "night-2"
    with pytest.raises(UsageError, match="Several campaigns begin with 'night'"):
        campaigns.find("night")
    with pytest.raises(UsageError, match="There is no campaign 'day'"):
        campaigns.find("day")


def test_a_phone_is_taken_by_one_run_at_a_time(campaigns, runs):
    """The other waits, also on another host, until the first is stored."""
    first, second = runs["a"]

    assert isinstance(campaigns.take(first, "desk1/x"), Taken)
    assert campaigns.take(second, "desk1/x") == "busy"
    assert campaigns.take(second, "desk2/y") == "busy"
    assert isinstance(campaigns.take(runs["b"][0], "desk2/y"), Taken)
    assert campaigns.finish(first, "desk1/x", outcome_of(first))
    assert isinstance(campaigns.take(second, "desk2/y"), Taken)


def test_many_who_want_a_phone_at_once_get_it_once(campaigns, place):
    """However their transactions meet."""
    campaigns.add(*make_campaign(make_plan(models=[f"m{n}" for n in range(8)], phones=["a"])))
    runs = [RunId("test-1", run.key, 1) for run in campaigns.list_runs("test-1")]
    answers, together = [], threading.Barrier(len(runs))

    def take(run):
        own = Campaigns(place)
        together.wait()
        answers.append(own.take(run, f"desk/{run.key}"))
        own.close()

    threads = [threading.Thread(target=take, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 8
    assert sum(isinstance(answer, Taken) for answer in answers) == 1


def test_a_run_is_stored_once(campaigns, runs, place):
    """A second result of the same run changes nothing, and neither does one of an old attempt."""
    run = runs["a"][0]
    campaigns.take(run, "desk1/x")

    assert campaigns.finish(run, "desk1/x", outcome_of(run))
    again = outcome_of(run._replace(attempt=9))
    assert not campaigns.finish(run, "desk1/x", again)
    assert campaigns.take(run, "desk1/x") == "over"
    assert Store(place).result_ids() == [f"{run.key}-1"]
    assert state_of(campaigns, run).result_id == f"{run.key}-1"


def test_a_lease_without_a_sign_runs_out(place, runs, monkeypatch):
    """As long as its holder gives signs it is kept; then another one may have the phone."""
    first, second = runs["a"]
    now_s = 1000.0
    clock = sa.bindparam(None, callable_=lambda: now_s, type_=sa.Float(53))
    monkeypatch.setattr(campaigns_module, "clock_s", lambda _: clock)
    campaigns = Campaigns(place)
    campaigns.take(first, "desk1/x")
    now_s += campaigns_module.LEASE_S - 1
    assert campaigns.renew("desk1/x", ["a", "b"]) == {"a"}
    now_s += campaigns_module.LEASE_S - 1
    assert campaigns.take(second, "desk2/y") == "busy"
    now_s += 2

    assert isinstance(campaigns.take(second, "desk2/y"), Taken)
    assert campaigns.renew("desk1/x", ["a"]) == set()
    campaigns.close()


def test_what_is_stopped_does_not_begin(campaigns, runs):
    """What waits is over, what is under way is to be stopped; both are resumed as new attempts."""
    under_way, waits = runs["a"]
    campaigns.take(under_way, "desk1/x")

    assert len(campaigns.stop("test-1")) == 3
    assert campaigns.take(waits, "desk1/x") == "over"
    assert campaigns.read_stopping("desk1") == {under_way}
    assert campaigns.read_stopping("desk2") == set()
    campaigns.finish(under_way, "desk1/x", Outcome(state="stopped", measurements=(), detail=""))
    assert campaigns.count_states("test-1") == Counter(stopped=4)
    campaigns.requeue("test-1")
    assert {(run.state, run.attempt) for run in campaigns.list_runs("test-1")} == {("queued", 2)}


def test_resume_leaves_what_ran(campaigns, runs):
    """What is done, and what failed in the middle; not what could not begin."""
    done, failed = runs["a"]
    never = runs["b"][0]
    campaigns.take(done, "desk1/x")
    campaigns.finish(done, "desk1/x", outcome_of(done))
    campaigns.take(failed, "desk1/x")
    campaigns.finish(failed, "desk1/x", outcome_of(failed, "failed"))
    campaigns.take(never, "desk1/x")
    campaigns.finish(never, "desk1/x", Outcome(state="failed", measurements=(), detail="away"))

    campaigns.requeue("test-1")

    assert state_of(campaigns, done).state == "done"
    assert state_of(campaigns, failed).state == "failed"
    assert (state_of(campaigns, never).state, state_of(campaigns, never).attempt) == ("queued", 2)


def test_one_who_ends_gives_its_runs_back(campaigns, runs):
    """They wait as another attempt, the old one is over, and the phone is free."""
    first, second = runs["a"]
    campaigns.take(first, "desk1/x")

    assert campaigns.give_back(first, "desk1/x") == first._replace(attempt=2)
    assert campaigns.take(first, "desk1/x") == "over"
    assert isinstance(campaigns.take(second, "desk1/x"), Taken)


def agent(place):
    return AgentInfo(
        name="desk1",
        place=place,
        pid=1,
        mobilekit_version="0",
        started_at="",
        offers=(),
    )


def test_a_host_of_another_mobilekit_is_known_to_live(campaigns):
    """What it offers is no news to this one; its name stays its own."""
    campaigns.join(agent("there"), "1")
    of_another_mobilekit(campaigns, agents_table, name="desk1")

    (listed,) = campaigns.list_agents()

    assert (listed.info.name, listed.info.place, listed.info.offers) == ("desk1", "there", ())
    assert listed.is_alive
    assert campaigns.join(agent("here"), "2").info.place == "there"


def test_a_campaign_is_found_beside_one_of_another_mobilekit(campaigns):
    """Even where that one's id begins with its own."""
    campaigns.add(*make_campaign(make_plan(), id="night"))
    campaigns.add(*make_campaign(make_plan(), id="night-2"))
    of_another_mobilekit(campaigns, campaigns_table, id="night-2")

    assert campaigns.find("night").id == "night"
    assert campaigns.list_open_ids() == ["night-2", "night"]
    with pytest.raises(ProtocolError, match="of_tomorrow"):
        campaigns.find("night-2")


def test_a_name_is_one_hosts(campaigns, monkeypatch):
    """While it gives signs; from its own place a dead one's is taken at once."""
    now_s = 1000.0
    monkeypatch.setattr(campaigns_module, "clock_s", lambda _: sa.literal(now_s, sa.Float(53)))

    assert campaigns.join(agent("here"), "1") is None
    assert campaigns.join(agent("there"), "2").info.place == "here"
    assert campaigns.join(agent("here"), "3") is None
    assert not campaigns.beat(agent("here"), "1")
    now_s += campaigns_module.AGENT_SILENT_S + 1
    assert not campaigns.list_agents()[0].is_alive
    assert campaigns.join(agent("there"), "2") is None
    assert campaigns.beat(agent("there"), "2")


def test_files_are_shared_once(campaigns, tmp_path):
    """Under their name; nothing is known of others."""
    (tmp_path / "f").write_bytes(b"network")
    campaigns.share_file("f", tmp_path / "f")
    (tmp_path / "f").write_bytes(b"another")
    campaigns.share_file("f", tmp_path / "f")

    assert campaigns.read_file("f") == b"network"
    assert campaigns.read_file("g") is None


def test_a_run_in_which_its_host_dies_again_and_again_is_given_up(campaigns, runs):
    """After three deaths, and not for as long as it only waits; a resume tries it anew."""
    run, waits = runs["a"]
    for number in range(3):
        assert isinstance(campaigns.take(run, f"desk1/{number}"), Taken)
        assert campaigns.take(waits, f"desk1/{number}") == "busy"
        campaigns.forget_leases("desk1")

    assert campaigns.take(run, "desk1/3") == "over"
    assert "3 times in the middle" in state_of(campaigns, run).detail
    assert state_of(campaigns, waits).deaths == 0
    campaigns.requeue("test-1")
    assert isinstance(campaigns.take(run._replace(attempt=2), "desk1/3"), Taken)


def test_what_the_engine_gave_up_begins_anew(campaigns, runs):
    """As another attempt; not what is over or of which there is another attempt already."""
    done, lost = runs["a"]
    campaigns.take(done, "desk1/x")
    campaigns.finish(done, "desk1/x", outcome_of(done))

    assert campaigns.begin_anew([done, lost]) == [lost._replace(attempt=2)]
    assert campaigns.begin_anew([lost]) == []


def begin_on_phone(campaigns, run, id):
    result = interrupted(id, [], "gone", "disconnected")
    begun = measurement(id=id, campaign=run.campaign, result=result)
    campaigns.add_begun(run.campaign, run.key, PendingRun(begun))
    return begun


def test_what_is_begun_on_a_phone_is_known_to_every_attempt(campaigns, runs, place):
    """Of that run, wherever it goes; once that is over, nothing of it waits to be collected."""
    run, other = runs["a"][0], runs["b"][0]
    first = begin_on_phone(campaigns, run, "first")
    begin_on_phone(campaigns, other, "other")
    campaigns.take(run, "desk1/x")
    again = campaigns.give_back(run, "desk1/x")

    begun = campaigns.list_begun(again.campaign, again.key)
    assert ([each.measurement for each in begun.pending], begun.stored) == ([first], ())
    campaigns.take(again, "desk2/y")
    assert campaigns.finish(again, "desk2/y", outcome_of(again))

    assert campaigns.list_begun(run.campaign, run.key) == ((), ())
    assert [each.measurement.id for each in Store(place).list_pending()] == ["other"]


def test_what_is_stopped_may_still_be_on_its_phone(campaigns, runs):
    """One that was left to itself there is taken up by a resume."""
    run = runs["a"][0]
    begin_on_phone(campaigns, run, "first")
    campaigns.take(run, "desk1/x")
    campaigns.finish(run, "desk1/x", Outcome(state="stopped", measurements=(), detail=""))

    assert len(campaigns.list_begun(run.campaign, run.key).pending) == 1


def test_what_a_failed_run_left_on_its_phone_waits_to_be_collected(campaigns, runs, place):
    """An attempt without a result has not seen its phone: the next one has what was begun. One that
    failed on the phone gives up itself alone."""
    unseen, failed = runs["a"]
    begin_on_phone(campaigns, unseen, "unseen")
    campaigns.take(unseen, "desk1/x")
    nothing = Outcome(state="failed", measurements=(), detail="away")
    assert campaigns.finish(unseen, "desk1/x", nothing)
    begin_on_phone(campaigns, failed, "earlier")
    begin_on_phone(campaigns, failed, f"{failed.key}-1")
    campaigns.take(failed, "desk1/x")
    assert campaigns.finish(failed, "desk1/x", outcome_of(failed, "failed"))

    waiting = [each.measurement.id for each in Store(place).list_pending()]
    assert sorted(waiting) == ["earlier", "unseen"]
    begun = campaigns.list_begun(unseen.campaign, unseen.key).pending
    assert [each.measurement.id for each in begun] == ["unseen"]


def test_what_a_person_collected_first_stays(campaigns, runs, place):
    """The run takes it for its own, and stores no second one; what was lost stays to collect."""
    run, lost = runs["a"]
    begun = begin_on_phone(campaigns, run, "first")
    collected = replace(begun, result=measured("first").result)
    Store(place).save(collected)
    assert campaigns.list_begun(run.campaign, run.key) == ((), (collected,))
    campaigns.take(run, "desk1/x")
    outcome = Outcome(state="done", measurements=(collected,), detail="")
    assert campaigns.finish(run, "desk1/x", outcome)

    away = begin_on_phone(campaigns, lost, "second")
    campaigns.take(lost, "desk1/x")
    campaigns.finish(lost, "desk1/x", Outcome(state="failed", measurements=(away,), detail=""))

    assert sorted(Store(place).result_ids()) == ["first", "second"]
    assert [each.measurement.id for each in Store(place).list_pending()] == ["second"]


def test_a_campaign_that_cannot_be_read_is_told_and_hides_no_other(campaigns, place):
    """By its id, after the list of the others."""
    for id in ("newer", "older"):
        campaigns.add(*make_campaign(make_plan(models=["m"], phones=["a"]), id=id))
    of_another_mobilekit(campaigns, campaigns_table, id="newer")

    outcome = CliRunner().invoke(app, ["campaign", "list", "--store", place])

    assert "older" in outcome.stdout
    assert outcome.exit_code == ProtocolError.exit_code
    assert "A campaign cannot be read" in outcome.stderr
    assert "campaign: newer" in outcome.stderr


def test_of_two_that_replace_a_lost_run_one_does(place, monkeypatch):
    """As a person's ``collect`` and a campaign's host at the same moment: the other one finds it
    whole."""
    lost = interrupted("nin-nexus7-1", [], "gone", "disconnected")
    stores = [Store(place), Store(place)]
    stores[0].save(measurement(result=lost))
    both = threading.Barrier(2)

    def is_partial(document):
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        return was_lost(decode_measurement(document).result)

    monkeypatch.setattr(store_module, "_is_partial", is_partial)
    said = []

    def save(store):
        try:
            store.save(measurement())
        except StoreError as error:
            said.append(error.what)

    threads = [threading.Thread(target=save, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert said == ["The results database cannot be used: nin-nexus7-1 is stored already"]
