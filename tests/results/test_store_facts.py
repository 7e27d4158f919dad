"""Whether a store takes results, of stores in every state."""

import sqlite3
import time
from contextlib import closing

import pytest
import sqlalchemy as sa
from examples import measurement

from mobilekit.results.schema import version_table
from mobilekit.results.store import PendingRun, Store
from mobilekit.results.store_facts import read_store_facts


@pytest.fixture
def place(tmp_path):
    return tmp_path / "data/results.sqlite"


def test_one_that_is_not_there_is_not_made(place):
    facts = read_store_facts(place)

    assert (facts.exists, facts.failure) == (False, None)
    assert not place.parent.exists()


def rows_of(place):
    with closing(sqlite3.connect(place)) as connection:
        return list(connection.iterdump())


def test_one_that_is_there_is_left_as_it_is(place):
    """A write is tried and taken back; runs that wait for their phone are counted."""
    store = Store(place)
    store.add_pending(PendingRun(measurement()))
    before = rows_of(place)

    facts = read_store_facts(place)

    assert (facts.exists, facts.pending_runs, facts.failure) == (True, 1, None)
    assert rows_of(place) == before


def test_one_without_room_for_a_result(place):
    """What a deploy would write is written, not one byte that any full disk takes."""
    store = Store(place)
    store.save(measurement())
    pages = place.stat().st_size // 4096

    def limited(connection, _record):
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    sa.event.listen(sa.engine.Engine, "connect", limited)
    try:
        facts = read_store_facts(place)
    finally:
        sa.event.remove(sa.engine.Engine, "connect", limited)

    assert "full" in facts.failure


def test_a_locked_one_is_not_waited_for_as_a_result_would(place):
    Store(place)
    with closing(sqlite3.connect(place, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        started_s = time.monotonic()
        facts = read_store_facts(place)
        took_s = time.monotonic() - started_s

    assert "locked" in facts.failure
    assert f"fuser -v {place}" in facts.fix
    assert 1 < took_s < 15


@pytest.mark.parametrize("place", ["nonsense://x", "sqlite:////proc/nowhere/x.sqlite"])
def test_one_that_cannot_be(place):
    facts = read_store_facts(place)

    assert facts.failure
    assert facts.fix


def test_one_of_a_later_mobilekit(place):
    """It would be refused; it is not written to."""
    Store(place)
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(f"update {version_table.name} set version = 99")

    assert "99" in read_store_facts(place).failure


def test_no_database_at_all(place):
    place.parent.mkdir()
    place.write_text("some text" * 1000)

    assert "not a database" in read_store_facts(place).failure
