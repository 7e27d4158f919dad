"""The clock of leases and signs of life in an SQLite store: nobody sets it."""

import time

import pytest
import sqlalchemy as sa
from campaign_makers import make_campaign, make_plan
from msgspec.structs import replace

from mobilekit.records.campaign import AgentInfo
from mobilekit.results import campaigns as campaigns_module
from mobilekit.results import shared_clock
from mobilekit.results.campaign_rows import RunId, Taken
from mobilekit.results.campaigns import Campaigns
from mobilekit.results.database import Database
from mobilekit.results.shared_clock import clock_s

HOUR_S = 3600.0


@pytest.fixture
def database(tmp_path):
    return Database(tmp_path / "results.sqlite")


def now_s(database):
    with database.reading() as connection:
        return connection.scalar(sa.select(clock_s(database)))


@pytest.fixture(autouse=True)
def forgotten():
    """As in another process."""
    shared_clock._steady_clock.cache_clear()
    yield
    shared_clock._steady_clock.cache_clear()


def test_it_is_about_the_time_of_day(database):
    assert abs(now_s(database) - time.time()) < 1


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_another_process_has_the_same_whatever_the_day_is_said_to_be(
    database, monkeypatch, ahead_s
):
    before_s = now_s(database)
    set_clock = time.time() + ahead_s
    monkeypatch.setattr(time, "time", lambda: set_clock)
    shared_clock._steady_clock.cache_clear()

    assert 0 <= now_s(database) - before_s < 60


def test_a_start_of_the_computer_sets_it_anew(database, monkeypatch, tmp_path):
    """What is kept of the one before, or is no time, is not believed."""
    now_s(database)
    kept = tmp_path / "results.sqlite.clock"
    boot, _ = kept.read_text().split()
    for told in (f"another {time.time() - HOUR_S!r}\n", f"{boot} noon\n", "", f"{boot} 1 2\n"):
        kept.write_text(told)
        shared_clock._steady_clock.cache_clear()

        assert abs(now_s(database) - time.time()) < 1
        assert kept.read_text() != told
    assert [each.name for each in tmp_path.glob("*.clock*")] == [kept.name]


@pytest.mark.parametrize("missing", ["boot id", "file"])
def test_without_what_it_needs_it_is_the_time_of_day(missing, database, monkeypatch, tmp_path):
    if missing == "boot id":
        monkeypatch.setattr(shared_clock, "BOOT_ID", tmp_path / "none")
    else:
        database = Database("sqlite://")
    monkeypatch.setattr(time, "time", lambda: 5000.0)

    assert now_s(database) == 5000.0


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_a_set_clock_takes_nothing_from_a_host_that_lives(tmp_path, monkeypatch, ahead_s):
    """Its phone stays its own and it counts as alive, as other hosts of the store see it too."""
    place = tmp_path / "results.sqlite"
    here = Campaigns(place)
    here.add(*make_campaign(make_plan(phones=("a",))))
    first, second = (RunId(run.campaign, run.key, 1) for run in here.list_runs("test-1"))
    info = AgentInfo("desk1", "here", 1, "0", "", ())
    here.join(info, "1")
    assert isinstance(here.take(first, "desk1/x"), Taken)

    set_clock = time.time() + ahead_s
    monkeypatch.setattr(time, "time", lambda: set_clock)
    shared_clock._steady_clock.cache_clear()
    there = Campaigns(place)

    for campaigns in (here, there):
        assert campaigns.take(second, "desk2/y") == "busy"
        (found,) = campaigns.list_agents()
        assert (found.is_alive, found.silent_s < 20) == (True, True)
    assert there.join(replace(info, place="there"), "2") is not None
    here.close()
    there.close()


def test_a_lease_of_a_later_clock_is_nobodys(tmp_path, monkeypatch):
    """As one is that was given before the computer started anew with its clock behind."""
    now_s = time.time() + HOUR_S
    clock = sa.bindparam(None, callable_=lambda: now_s, type_=sa.Float(53))
    monkeypatch.setattr(campaigns_module, "clock_s", lambda _: clock)
    campaigns = Campaigns(tmp_path / "results.sqlite")
    campaigns.add(*make_campaign(make_plan(phones=("a",))))
    first, second = (RunId(run.campaign, run.key, 1) for run in campaigns.list_runs("test-1"))
    campaigns.take(first, "desk1/x")
    campaigns.join(AgentInfo("desk1", "here", 1, "0", "", ()), "1")
    assert campaigns.take(second, "desk2/y") == "busy"
    now_s -= HOUR_S

    assert isinstance(campaigns.take(second, "desk2/y"), Taken)
    assert not campaigns.list_agents()[0].is_alive
    campaigns.close()
