"""A measurement is never lost for want of a place: what cannot be written is told before it."""

import sqlite3
from contextlib import closing

import pytest

from mobilekit.contract.codec import decode
from mobilekit.records.measurement import Measurement


@pytest.fixture
def no_data_home(tmp_path, exports):
    """A home in which the cache is there and nothing can be put below ``data``."""
    home = tmp_path / "home"
    (home / "cache").mkdir(parents=True)
    (home / "cache/artifacts").symlink_to(exports, target_is_directory=True)
    (home / "data").write_bytes(b"")
    return home


def refuse_measurements(path):
    """As a disk does that has filled up since it was tried."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER refusal BEFORE INSERT ON measurements "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )


def test_a_store_that_cannot_be_written_is_told_before_anything_is_measured(cli, tmp_path):
    """By a real write: that it opens and has its tables is no promise."""
    assert cli("results", "list").exit_code == 0
    read_only = f"sqlite:///file:{tmp_path / 'results.sqlite'}?mode=ro&uri=true"

    outcome = cli("deploy", "tiny.py", "-d", "pc", "--fast", MOBILEKIT_STORE=read_only)

    assert outcome.exit_code == 1
    assert "readonly database" in outcome.stderr
    assert "Running" not in outcome.stderr
    assert "Exporting" not in outcome.stderr


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
def test_a_measurement_that_nothing_takes_is_printed(cli, tmp_path, no_data_home, arguments):
    """The whole document, whatever was to be printed, and the first cause."""
    assert cli("collect").exit_code == 0
    refuse_measurements(tmp_path / "results.sqlite")

    process = cli.start(
        *("deploy", "tiny.py", "-d", "pc", "--fast", *arguments), MOBILEKIT_HOME=str(no_data_home)
    )
    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "database or disk is full" in stderr
    assert "on standard output" in stderr
    assert "Traceback" not in stderr
    measured = decode(stdout, Measurement, source="stdout")
    assert len(measured.result.samples.iteration_ns) >= 30


def test_a_run_that_cannot_be_stored_stays_on_its_phone(cli, tmp_path, no_data_home, bench_phone):
    """Nothing is cleared up, so that ``collect`` has it once there is room."""
    assert cli("collect").exit_code == 0
    database = tmp_path / "results.sqlite"
    refuse_measurements(database)
    arguments = ("deploy", "tiny.py", "-d", bench_phone.serial, "--fast", "--no-energy")

    outcome = cli(*arguments, MOBILEKIT_HOME=str(no_data_home))
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER refusal")
    collected = cli("collect", "--json")

    assert outcome.exit_code == 1
    assert "mobilekit collect" in outcome.stderr
    printed = decode(outcome.stdout, Measurement, source="stdout")
    (document,) = collected.document["collected"]
    assert document["id"] == printed.id
    iterations = document["measurement"]["result"]["samples"]["iteration_ns"]
    assert tuple(iterations) == printed.result.samples.iteration_ns
