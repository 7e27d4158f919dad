import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from examples import measurement, samples
from msgspec.structs import replace
from test_store import WINDOWS

from mobilekit.errors import StoreError
from mobilekit.results.own_latencies import open_own
from mobilekit.results.store import Store
from mobilekit.results.version import SCHEMA_VERSION

READ_WITHOUT_SQLALCHEMY = """
import sys
from mobilekit.results.own_latencies import open_own
assert len(open_own(None).list_latencies()) == 2
assert not list(open_own(None).energy_of_device("nexus7"))
assert "sqlalchemy" not in sys.modules
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The default results, in a directory whose name a URL has to escape."""
    home = tmp_path / "100%3F of?it#"
    monkeypatch.setenv("MOBILEKIT_HOME", str(home))
    monkeypatch.delenv("MOBILEKIT_STORE", raising=False)
    return home / "data/results.sqlite"


@pytest.fixture
def store(file):
    """Two runs with a latency, and one without."""
    store = Store(file)
    for day in (1, 2):
        store.save(measurement(id=f"nin-{day}", started_at=f"2026-01-0{day}T00:00:00+00:00"))
    store.save(measurement(id="untimed", result=run_with(iteration_ns=())))
    return store


def run_with(**fields):
    return replace(measurement().result, samples=samples(**fields))


def change(file, statement):
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(statement)


def test_nothing_stored_is_nothing_to_tell_from(file):
    """As long as there is no file, and none is made."""
    assert open_own(None) is None
    assert not file.exists()


def test_latencies_are_those_of_the_store(store):
    """The newest first, and none of a run without one."""
    found = open_own(None).list_latencies()

    assert found == store.list_latencies()
    assert [each.measurement_id for each in found] == ["nin-2", "nin-1"]


@pytest.mark.parametrize(
    ("fields", "device", "count"),
    [
        ({}, "nexus7", 1),
        ({}, measurement().device.key, 1),
        ({}, "another", 0),
        ({"virtual": True}, "nexus7", 0),
        ({"purpose": "calibrate"}, "nexus7", 0),
    ],
)
def test_energy_runs_are_those_of_the_store(store, fields, device, count):
    """By name or key of a real phone, and of no other purpose."""
    store.save(measurement(id="energy", result=run_with(windows=WINDOWS), **fields))

    found = list(open_own(None).energy_of_device(device))

    assert found == list(store.energy_of_device(device))
    assert count == len(found)


def test_sqlalchemy_is_not_imported_to_read_latencies(store):
    """Which would take longer than a prediction, on a phone of which there are no energy runs: a
    virtual one's, and those for a gauge, are none."""
    energy = run_with(windows=WINDOWS, iteration_ns=())
    store.save(measurement(id="virtual", result=energy, virtual=True))
    store.save(measurement(id="gauge", result=energy, purpose="calibrate"))

    subprocess.run([sys.executable, "-c", READ_WITHOUT_SQLALCHEMY], check=True)


def test_results_at_a_url_are_read_too(tmp_path):
    """By the store, as any database that is no file of its own."""
    url = f"sqlite:///{tmp_path / 'results.sqlite'}"
    Store(url).save(measurement())

    assert len(open_own(url).list_latencies()) == 1


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (f"UPDATE mobilekit_schema SET version = {SCHEMA_VERSION + 1}", "reads no later"),
        ("ALTER TABLE measurements RENAME TO elsewhere", "no such table"),
        ("ALTER TABLE measurements DROP COLUMN latency", "no such column"),
    ],
)
def test_what_cannot_be_read_is_told_by_the_store(store, file, statement, reason):
    """Which says of another schema, and of damage, what is wrong."""
    change(file, statement)

    with pytest.raises(StoreError, match=reason):
        open_own(None).list_latencies()


def test_a_view_in_a_tables_place_is_not_read(store, file):
    """It may never end."""
    change(file, "ALTER TABLE measurements RENAME TO elsewhere")
    change(file, "CREATE VIEW measurements AS SELECT * FROM elsewhere")

    with pytest.raises(StoreError, match="is a view"):
        open_own(None).list_latencies()
