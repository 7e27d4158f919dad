import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from examples import (
    THERMAL,
    artifact,
    device_info,
    gauge_gain,
    gauge_verdict,
    measured,
    measurement,
)

from mobilekit import places
from mobilekit.analysis.energy.gauge import Overrides
from mobilekit.contract.protocol import Window
from mobilekit.contract.samples import interrupted
from mobilekit.errors import DamagedResultError, StoreError, UsageError
from mobilekit.records.energy import GaugeRefusal
from mobilekit.results import database
from mobilekit.results.store import PendingRun, Store, open_to_read
from mobilekit.results.version import SCHEMA_VERSION

WINDOWS = (
    Window(
        kind="load",
        started_ns=0,
        ended_ns=10**10,
        iterations=100,
        battery=(),
        rails=(),
        thermal=THERMAL,
    ),
)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'below/results.sqlite'}"


def test_a_measurement_comes_back_whole(url):
    """What is saved is read back equal, by another opening of the same database."""
    Store(url).save(measurement())

    assert Store(url).read("nin-nexus7-1") == measurement()


def test_a_store_holds_its_file_only_while_it_is_asked(url, tmp_path):
    """So that any number of them may have been opened."""
    stores = [Store(url) for _ in range(3)]
    for number, store in enumerate(stores):
        store.save(measurement(id=f"nin-{number}"))
        assert len(list(store.iterate_measurements())) == number + 1

    opened = [str(each.readlink()) for each in _descriptors()]
    assert not [path for path in opened if path.startswith(str(tmp_path))]


def _descriptors():
    """Of those that this process has now; the one by which it lists them is gone."""
    return [path for path in Path("/proc/self/fd").iterdir() if path.exists()]


def test_the_newest_come_first_and_models_are_told_apart(url):
    """Listing is by time, and of one model where asked."""
    store = Store(url)
    for day in (3, 1, 2):
        store.save(measurement(id=f"run-{day}", started_at=f"2026-05-0{day}T00:00:00+00:00"))

    assert [item.id for item in store.iterate_measurements()] == ["run-3", "run-2", "run-1"]
    assert list(store.iterate_measurements("alexnet")) == []
    assert (len(store.result_ids()), store.result_ids(model="alexnet")) == (3, [])
    assert store.read("last").id == "run-3"


def test_the_beginning_of_an_id_is_enough(url):
    """One match is it, a whole id is it, several are listed, none is said; % is no wildcard."""
    store = Store(url)
    for name in ("abc", "abc-1", "xyz"):
        store.save(measurement(id=name))

    assert store.read("x").id == "xyz"
    assert store.read("abc").id == "abc"
    with pytest.raises(UsageError, match="abc-1"):
        store.read("ab")
    for nothing in ("nope", "%"):
        with pytest.raises(UsageError, match="no result"):
            store.read(nothing)


def test_a_whole_id_is_found_among_any_number_that_begin_like_it(url):
    """Nothing is cut but what is shown, which says so."""
    store = Store(url)
    for name in (*(f"ab{number}" for number in range(8)), "ab8-1", "ab8"):
        store.save(measurement(id=name))

    assert store.read("ab8").id == "ab8"
    with pytest.raises(UsageError, match="ab0, ab1, ab2, ab3, ab4 and 5 more"):
        store.read("ab")


def test_energy_is_found_however_much_was_measured_since(url):
    """By device, those that were meant to tell it, the newest first, and no other is read."""
    store = Store(url)
    phones = [device_info(name=name, hardware_serial=name) for name in ("nexus5", "nexus7")]
    for number, device in enumerate((*phones, *phones)):
        run = {"id": f"energy-{number}", "device": device, "windows": WINDOWS}
        store.save(measured(started_at=f"2026-05-0{number + 1}T00:00:00+00:00", **run))
    pilot = {"purpose": "pilot", "windows": WINDOWS}
    store.save(measured("pilot", started_at="2026-06-01T00:00:00+00:00", **pilot))
    for number in range(60):
        store.save(measurement(id=f"plain-{number}", started_at="2026-06-02T00:00:00+00:00"))

    found = [[each.id for each in of_device] for of_device in store.energy_by_device("nin")]

    assert found == [["energy-2", "energy-0"], ["energy-3", "energy-1"]]
    assert list(store.energy_by_device("alexnet")) == []


def test_an_empty_database_has_no_last_result(tmp_path):
    """Asking for the last of none is an error with a way on."""
    with pytest.raises(UsageError, match="deploy"):
        Store(f"sqlite:///{tmp_path / 'empty.sqlite'}").read("last")


def test_reading_makes_no_database(url, tmp_path, monkeypatch):
    """The default one is empty as long as it is not there; a given one has to be there."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MOBILEKIT_STORE", raising=False)

    assert list(open_to_read(None).iterate_measurements()) == []
    with pytest.raises(StoreError, match=r"no such results database \(url: sqlite:.*below"):
        open_to_read(url)
    monkeypatch.setenv("MOBILEKIT_STORE", url)
    with pytest.raises(StoreError, match="no such results database"):
        open_to_read(url)

    assert list(tmp_path.iterdir()) == []


def test_reading_finds_what_is_stored(url, tmp_path, monkeypatch):
    """In a given database and in the default one."""
    monkeypatch.delenv("MOBILEKIT_STORE", raising=False)
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / "home"))
    Store(url).save(measurement(id="given"))
    Store(places.default_store()).save(measurement(id="default"))

    assert open_to_read(url).read("last").id == "given"
    assert open_to_read(None).read("last").id == "default"


def test_the_same_id_twice_is_refused_and_changes_nothing(url):
    """A measurement is never overwritten."""
    store = Store(url)
    store.save(measurement())

    with pytest.raises(StoreError):
        store.save(measurement(device=device_info(name="other")))

    assert store.read("nin-nexus7-1").device.name == "nexus7"


def test_another_schema_version_is_refused(url, tmp_path):
    """A database of a later mobilekit is neither read nor changed."""
    Store(url)
    database = sqlite3.connect(tmp_path / "below/results.sqlite")
    database.execute("UPDATE mobilekit_schema SET version = ?", (SCHEMA_VERSION + 1,))
    database.commit()

    with pytest.raises(StoreError, match=f"version {SCHEMA_VERSION + 1}, and .* reads no later"):
        Store(url)


@pytest.mark.parametrize("bad", ["nonsense", "oracleish://x", "sqlite:////proc/none/r.sqlite"])
def test_a_database_that_cannot_be_used_says_so(bad):
    """A bad URL, an unknown dialect and a directory that cannot be made are told in one line."""
    with pytest.raises(StoreError, match="cannot be used"):
        Store(bad)


def test_a_file_that_is_no_database_says_so(tmp_path):
    """Somebody's text file is not taken for a database, and is left as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be read as the header of one " * 20)
    before = path.read_text()

    with pytest.raises(StoreError, match="cannot be used"):
        Store(f"sqlite:///{path}")

    assert path.read_text() == before


def test_passwords_are_not_shown():
    """An error names the URL without its password."""
    with pytest.raises(StoreError) as caught:
        Store("postgresql+nodriver://me:secret@db/x")

    assert "secret" not in str(caught.value)


def test_a_model_of_another_name_is_listed_by_it(url):
    """The model's name is what ``results list --model`` goes by."""
    store = Store(url)
    renamed = artifact(model=msgspec.structs.replace(artifact().model, name="mynet"))
    store.save(measurement(artifact=renamed))

    assert [item.artifact.model.name for item in store.iterate_measurements("mynet")] == ["mynet"]


def test_several_may_open_a_new_database_at_once(tmp_path):
    """Six openings of a database that is not there yet all succeed."""
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    problems = []

    def open_it():
        try:
            list(Store(url).iterate_measurements())
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []


def test_a_database_that_another_process_holds_is_waited_for_once(url, tmp_path, monkeypatch):
    """To read, to save and to make: each fails when its time is over, and says why."""
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 0.5)
    store = Store(url)
    new = f"sqlite:///{tmp_path / 'new.sqlite'}"
    with (
        closing(sqlite3.connect(tmp_path / "below/results.sqlite", isolation_level=None)) as held,
        closing(sqlite3.connect(tmp_path / "new.sqlite", isolation_level=None)) as held_too,
    ):
        held.execute("BEGIN EXCLUSIVE")
        held_too.execute("BEGIN IMMEDIATE")
        for use in (
            lambda: store.save(measurement()),
            lambda: store.read("last"),
            lambda: Store(url),
            lambda: Store(new),
        ):
            began = time.monotonic()
            with pytest.raises(StoreError, match="database is locked") as caught:
                use()
            assert "wait until that is done" in caught.value.fix
            assert time.monotonic() - began < 2


def test_a_save_waits_for_its_turn(url, tmp_path):
    """Another process that writes only delays it."""
    store = Store(url)
    path = tmp_path / "below/results.sqlite"
    held = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    held.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, held.rollback)
    release.start()

    store.save(measurement())

    release.join()
    held.close()
    assert store.read("last") == measurement()


def test_values_of_another_kind_keep_no_other_back(url, tmp_path):
    """SQLite keeps a number where text belongs, and bytes."""
    from typer.testing import CliRunner

    from mobilekit.cli.main import app

    store = Store(url)
    for name in ("whole", "number", "early", "nameless"):
        store.save(measurement(id=name))
    with closing(sqlite3.connect(tmp_path / "below/results.sqlite")) as file, file:
        file.execute("UPDATE measurements SET document = 5 WHERE id = 'number'")
        file.execute("UPDATE measurements SET started_at = x'ff' WHERE id = 'early'")
        file.execute("UPDATE measurements SET id = x'ff' WHERE id = 'nameless'")

    listed = CliRunner().invoke(app, ["results", "list", "--store", url])

    assert listed.exit_code == 1
    assert "It is no text but 5 (id: number)" in listed.stderr
    for name in ("whole", "early"):
        assert name in listed.stdout


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["measurements", "mobilekit_schema"])
def test_a_view_in_the_place_of_a_table_is_refused(url, tmp_path, name):
    """This one yields rows without end."""
    Store(url).save(measurement())
    with closing(sqlite3.connect(tmp_path / "below/results.sqlite")) as file, file:
        file.execute(f"ALTER TABLE {name} RENAME TO real")
        file.execute(
            f"CREATE VIEW {name} AS WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 "
            "FROM more) SELECT real.* FROM real, more"
        )

    with pytest.raises(StoreError, match=f"no results database of mobilekit's: {name} is a view"):
        Store(url)


def test_a_damaged_result_keeps_no_other_back(url, tmp_path):
    """It is told by its id, and how to be rid of it."""
    from typer.testing import CliRunner

    from mobilekit.cli.main import app

    store = Store(url)
    store.save(measurement(id="whole"))
    store.save(measurement(id="broken"))
    with closing(sqlite3.connect(tmp_path / "below/results.sqlite")) as connection:
        text = "UPDATE measurements SET document = replace(document, '60000000', '0') WHERE id = ?"
        connection.execute(text, ("broken",))
        connection.commit()

    listed = CliRunner().invoke(app, ["results", "list", "--store", url])
    with pytest.raises(
        DamagedResultError, match=r"load_ns\[0\].*id: broken.*results delete broken"
    ):
        store.read("broken")

    assert listed.exit_code == 1
    assert "whole" in listed.stdout
    assert "id: broken" in listed.stderr

    # Of nothing else there is no page, and it is said why.
    page = tmp_path / "report.html"
    report = ["report", "broken", "--output", str(page), "--store", url]
    with pytest.raises(DamagedResultError, match="id: broken"):
        CliRunner().invoke(app, report, standalone_mode=False, catch_exceptions=False)
    assert not page.exists()


@pytest.mark.parametrize("name", ["100%", "a%41b", "what?mode=ro", "a b#c", "äö"])
def test_a_home_may_be_called_anything(tmp_path, monkeypatch, name):
    """The default store's path is a path, not part of a URL."""
    monkeypatch.delenv("MOBILEKIT_STORE", raising=False)
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / name))

    Store(places.default_store()).save(measurement())

    assert open_to_read(None).read("last") == measurement()
    assert (tmp_path / name / "data/results.sqlite").is_file()


# --- runs that are left on their phones --------------------------------------------------------


def lost_run(**fields):
    return measurement(result=interrupted("nin-nexus7-1", [], "gone", "disconnected"), **fields)


def test_a_pending_run_waits_until_its_result_is_stored(url):
    """It is listed with its purpose by any opening of the database, until its result is saved."""
    overrides = Overrides(current_scale=1000, source="current_now")
    pending = PendingRun(lost_run(purpose="calibrate"), overrides)
    Store(url).add_pending(pending)

    assert Store(url).list_pending() == [pending]
    Store(url).save(measurement())
    assert Store(url).list_pending() == []


def test_a_lost_run_stays_pending_and_is_replaced(url):
    """What a lost phone had told is stored at once; what is collected later takes its place."""
    store = Store(url)
    store.add_pending(PendingRun(lost_run()))

    store.save(lost_run())
    assert len(store.list_pending()) == 1
    store.save(measurement())

    assert store.list_pending() == []
    assert store.read("nin-nexus7-1") == measurement()


def test_what_was_stored_of_a_lost_run_and_is_damaged_is_replaced_too(url, tmp_path):
    """Or the whole measurement, once it is there, could never be stored."""
    store = Store(url)
    store.add_pending(PendingRun(lost_run()))
    store.save(lost_run())
    with closing(sqlite3.connect(tmp_path / "below/results.sqlite")) as file, file:
        file.execute("UPDATE measurements SET document = '{'")

    store.save(measurement())

    assert store.read("nin-nexus7-1") == measurement()


def test_a_pending_run_can_be_forgotten_once(url):
    """Forgetting what does not wait is a usage error."""
    store = Store(url)
    store.add_pending(PendingRun(lost_run()))

    store.forget_pending("nin-nexus7-1")

    assert store.list_pending() == []
    with pytest.raises(UsageError, match="waiting"):
        store.forget_pending("nin-nexus7-1")


def test_the_newest_word_about_a_gauge_counts_and_the_older_are_kept(url):
    """Verdicts and refusals by device; the newest is read, all are listed, each device apart."""
    store = Store(url)
    refusal = GaugeRefusal(
        device="virtual:nexus7",
        run_id="calibration-2",
        measured_at="2026-05-05T10:00:00+00:00",
        reason="the current's integral is 0.5 of the charge counter's change",
        contradictory=True,
        evidence=(),
    )
    store.save_gauge(gauge_verdict())
    store.save_gauge(gauge_verdict(device="0123", source="current_now"))
    assert store.read_gauge("virtual:nexus7") == gauge_verdict()

    store.save_gauge(refusal)

    assert Store(url).read_gauge("virtual:nexus7") == refusal
    assert store.list_gauges("virtual:nexus7") == [refusal, gauge_verdict()]
    assert store.read_gauge("0123").source == "current_now"
    assert store.read_gauge("4567") is None


def test_the_newest_gain_counts(url):
    """A later comparison with a meter replaces the one before."""
    store = Store(url)
    assert store.read_gain("virtual:nexus7") is None

    store.save_gain(gauge_gain(gain=1.05))
    store.save_gain(gauge_gain())

    assert Store(url).read_gain("virtual:nexus7") == gauge_gain()
