import json
import lzma
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from examples import measurement
from stored_fields import FILE, stored_fields
from typer.testing import CliRunner

from mobilekit.analysis.answer import derive_answer
from mobilekit.cli.main import app
from mobilekit.contract import protocol
from mobilekit.errors import StoreError
from mobilekit.records.energy import GaugeRefusal, GaugeVerdict
from mobilekit.results.migrations import to_3
from mobilekit.results.store import Store
from mobilekit.results.version import SCHEMA_VERSION

CAPTURED = Path(__file__).parents[1] / "captured"
EXPECTED = json.loads((CAPTURED / "store-2.json").read_text(encoding="utf-8"))
"""What the mobilekit that made the store said of it, and what each of its runs was for."""
REFUSED = "virtual:nexus7-off-by-half"


def unpack(name, path):
    path.write_bytes(lzma.decompress((CAPTURED / name).read_bytes()))


@pytest.fixture
def old(tmp_path):
    """A store of the last version, with a % and a ? in its path."""
    directory = tmp_path / "a 100%41 home?x=1"
    directory.mkdir()
    path = directory / "results.sqlite"
    unpack("store-2.sqlite.xz", path)
    return path


def version_of(path):
    with sqlite3.connect(path) as database:
        return database.execute("SELECT version FROM mobilekit_schema").fetchall()


def tables_of(path):
    with sqlite3.connect(path) as database:
        return sorted(database.execute("SELECT name, sql FROM sqlite_master"))


def samples_of(path):
    """What each stored document holds of what was measured, as it is written there."""
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT id, document FROM measurements").fetchall()
    return {name: json.loads(document)["result"]["samples"] for name, document in rows}


def about(value):
    """What is estimated from samples may be told a little better since."""
    return None if value is None else pytest.approx(value, rel=1e-3)


def said_of(measured):
    answer, result = derive_answer(measured), measured.result
    energy, charge, accuracy = answer.energy, answer.charge, answer.accuracy
    return {
        "purpose": measured.purpose,
        "energy_wanted": measured.energy_wanted,
        "latency_p50_ns": answer.latency and answer.latency.p50_ns,
        "init_p50_ns": answer.init and answer.init.p50_ns,
        "gross_j": about(energy and energy.gross_j),
        "marginal_j": about(energy and energy.marginal_j),
        "inferences": about(charge and charge.inferences),
        "top1": accuracy and accuracy.device.top1.count,
        "iterations": len(result.samples.iteration_ns),
        "windows": len(result.samples.windows),
        "code": getattr(result, "code", None),
        "message": getattr(result, "message", None),
        "findings": [finding.id for finding in measured.findings],
    }


def test_a_store_of_the_last_version_is_carried_over(old):
    """Every measurement is there with its samples, knows what it was for, and says what it said."""
    before = samples_of(old)
    store = Store(old)

    found = {each.id: said_of(each) for each in store.iterate_measurements()}

    assert found == EXPECTED["measurements"]
    assert samples_of(old) == {name: each | {"trials": []} for name, each in before.items()}
    assert {each["purpose"] for each in found.values()} >= {
        "measure",
        "pilot",
        "calibrate",
        "profile",
        "evaluate",
    }
    assert version_of(old) == [(SCHEMA_VERSION,)]


def test_what_waits_and_what_is_known_of_gauges_is_carried_over(old):
    """A run that was left on its phone, a verdict and a refusal; new ones come behind them."""
    store = Store(old)
    (pending,) = store.list_pending()
    verdict, refusal = store.read_gauge("virtual:nexus7"), store.read_gauge(REFUSED)

    assert pending.measurement.id == EXPECTED["pending"]
    assert (pending.measurement.purpose, pending.measurement.energy_wanted) == ("measure", True)
    assert isinstance(verdict, GaugeVerdict)
    assert isinstance(refusal, GaugeRefusal)
    assert refusal.contradictory

    store.save_gauge(msgspec.structs.replace(verdict, source="current_now"))
    store.save(measurement(id=pending.measurement.id))

    assert store.read_gauge("virtual:nexus7").source == "current_now"
    assert store.list_pending() == []


def test_a_store_of_the_first_version_is_carried_over(tmp_path):
    """Through every step; what was not kept then is told as not known."""
    path = tmp_path / "results.sqlite"
    unpack("store-1.sqlite.xz", path)
    on_pc, on_phone = "tiny-pc-20261128-072747-0c69", "tiny-nexus7-20261128-072852-fa52"
    before = samples_of(path)
    store = Store(path)

    found = [store.read(name) for name in (on_pc, on_phone)]

    assert [each.purpose for each in found] == ["measure", "measure"]
    assert [each.gauge for each in found] == [None, None]
    assert len(found[1].result.samples.windows) == 11
    assert derive_answer(found[0]).latency.p50_ns == 23459.0
    assert derive_answer(found[1]).energy.gross_j == about(0.000722184)
    for name, samples in samples_of(path).items():
        kept = [{**window, "rails": [], "thermal": None} for window in before[name]["windows"]]
        told = [{**window, "thermal": None} for window in samples["windows"]]
        assert {**samples, "windows": told} == {**samples, **before[name], "windows": kept}
    assert store.list_pending() == []
    assert path.with_name("results.sqlite.schema-1").is_file()


def test_the_command_line_reads_a_store_of_the_last_version(old, monkeypatch):
    """``results list`` and ``show``, ``energy life`` and ``collect``, as before."""
    monkeypatch.setenv("MOBILEKIT_STORE", "")
    monkeypatch.setenv("MOBILEKIT_HOME", str(old.parent))
    (old.parent / "data").mkdir()
    old.rename(old.parent / "data/results.sqlite")

    def run(*arguments):
        outcome = CliRunner().invoke(app, arguments)
        assert outcome.exit_code == 0, outcome.output
        return outcome.stdout

    life = json.loads(run("energy", "life", "digits", "--every", "10s", "--json"))
    listed = run("results", "list", "--all")

    assert life["measurement_id"] == EXPECTED["life"]["measurement_id"]
    assert life["life"]["hours"] == about(EXPECTED["life"]["hours"])
    for name in EXPECTED["measurements"]:
        assert name in listed
        assert name in run("results", "show", name)


def test_a_store_that_was_carried_over_is_as_a_new_one(old, tmp_path):
    """The same tables, columns and indexes; what it was is kept beside it."""
    Store(old)
    Store(tmp_path / "new.sqlite")

    assert tables_of(old) == tables_of(tmp_path / "new.sqlite")
    backup = old.with_name("results.sqlite.schema-2")
    assert version_of(backup) == [(2,)]
    assert sorted(path.name for path in old.parent.iterdir()) == [old.name, backup.name]


def test_columns_are_what_the_documents_say(old):
    """What is searched by is there of what was stored before."""
    Store(old)
    columns = "purpose, model, precision, format, device, device_key, host, campaign, has_windows"

    with sqlite3.connect(old) as database:
        stored = database.execute(f"SELECT id, {columns} FROM measurements").fetchall()
    rows = {row[0]: row[1:] for row in stored}

    of_pc, of_phone = (rows[EXPECTED[name]] for name in ("int8_on_pc", "energy_on_phone"))
    assert of_pc == ("measure", "digits", "int8", "onnx", "pc", "vm", "vm", None, 0)
    phone = ("nexus7", "virtual:nexus7", None, None)
    assert of_phone == ("measure", "digits", "fp32", "pte", *phone, 1)


KILLED = """
import os, signal, sys
from contextlib import closing
from pathlib import Path
from mobilekit.results.migrations import to_3
from mobilekit.results.store import Store
step, rows = to_3.STEPS["measurements"], []
def dying(row):
    rows.append(row)
    if len(rows) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(row)
to_3.STEPS["measurements"] = dying
Store(Path(sys.argv[1]))
"""


def test_a_migration_that_is_killed_changes_nothing(old):
    """The next opening does all of it."""
    before = old.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(old)], env=os.environ, timeout=60)

    assert done.returncode == -signal.SIGKILL
    assert version_of(old) == [(2,)]
    assert old.read_bytes() == before
    assert len(list(Store(old).iterate_measurements())) == len(EXPECTED["measurements"])


OPENED = """
import sys
from contextlib import closing
from pathlib import Path
from mobilekit.results.store import Store
print(len(Store(Path(sys.argv[1])).result_ids()))
"""


def test_several_may_carry_the_same_store_over_at_once(old):
    """One does it, and the others find it done."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPENED, str(old)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    outcomes = [(process.communicate(timeout=60)[0], process.returncode) for process in started]

    assert outcomes == [(f"{len(EXPECTED['measurements'])}\n", 0)] * 3
    kept = {path.name for path in old.parent.iterdir()}
    assert kept == {"results.sqlite", "results.sqlite.schema-2"}


def test_a_row_that_cannot_be_carried_over_is_named_and_nothing_is_changed(old):
    """It is no reason to lose the others."""
    name = EXPECTED["int8_on_pc"]
    with sqlite3.connect(old) as database:
        database.execute("UPDATE measurements SET document = '{}' WHERE id = ?", (name,))
    before = old.read_bytes()

    with pytest.raises(StoreError, match=f"carried over from schema version 2.*row: {name}"):
        Store(old)

    assert old.read_bytes() == before


def test_a_result_out_of_todays_ranges_is_kept_and_told(old, monkeypatch):
    """It holds no other back, and what it had measured can be had as it was stored."""
    name = EXPECTED["int8_on_pc"]
    with closing(sqlite3.connect(old)) as database, database:
        (document,) = database.execute(
            "SELECT document FROM measurements WHERE id = ?", (name,)
        ).fetchone()
        told = json.loads(document)
        told["result"]["samples"]["iteration_ns"][0] = 0
        database.execute(
            "UPDATE measurements SET document = ? WHERE id = ?", (json.dumps(told).encode(), name)
        )
    monkeypatch.setenv("MOBILEKIT_STORE", "")
    monkeypatch.setenv("MOBILEKIT_HOME", str(old.parent))
    (old.parent / "data").mkdir()
    old.rename(old.parent / "data/results.sqlite")

    listed = CliRunner().invoke(app, ["results", "list", "--all"])
    exported = CliRunner().invoke(app, ["results", "export", name])
    others = CliRunner().invoke(app, ["results", "export", "--all", "--format", "summary"])

    assert listed.exit_code == exported.exit_code == others.exit_code == 1
    assert all(each in listed.stdout for each in EXPECTED["measurements"] if each != name)
    for each in (listed, exported, others):
        assert "iteration_ns[0]" in each.stderr
        assert f"id: {name}" in each.stderr
    kept = json.loads(exported.stdout)["result"]["samples"]
    assert kept["iteration_ns"] == told["result"]["samples"]["iteration_ns"]
    assert len(json.loads(others.stdout)["summaries"]) == len(EXPECTED["measurements"]) - 1


def test_a_store_without_room_for_a_copy_stays_as_it_is(old):
    """What is in the way of the copy is named."""
    (old.parent / "results.sqlite.schema-2.part").mkdir()
    before = old.read_bytes()

    with pytest.raises(StoreError, match="no copy of it can be made"):
        Store(old)

    assert old.read_bytes() == before


# --- single steps ------------------------------------------------------------------------------


def document(**changes):
    """A stored document of version 2, as far as a step looks at it."""
    request = {"energy": None, "profile_iterations": None, "protocol_version": 1}
    return {
        "id": "nin-nexus7-20261121-095601-4d73",
        "request": request | changes.pop("request", {}),
        "result": {"type": "success", "protocol_version": 1, "samples": {}},
        "examples": None,
        "findings": [],
        "device": {
            "name": "nexus7",
            "serial": "0123",
            "hardware_serial": "0123",
            "virtual": False,
        },
        "host": {},
        **changes,
    }


def plan(blocks, period_ns):
    return {"energy": {"blocks": blocks, "sample_period_ns": period_ns}}


LONG = "a-network-whose-name-is-longer-than-forty-characters"[:40]


@pytest.mark.parametrize(
    ("changes", "purpose"),
    [
        ({}, "measure"),
        ({"id": "nin-nexus7-pilot-20261121-095601-4d73"}, "pilot"),
        ({"id": "nin-nexus7-calibrate-20261121-095601-4d73"}, "calibrate"),
        ({"id": "my-pilot-net-pc-20261121-095601-4d73"}, "measure"),
        ({"id": f"{LONG}-20261121-095601-4d73"}, "measure"),
        ({"id": f"{LONG}-20261121-095601-4d73", "request": plan(2, 193_000_000)}, "pilot"),
        ({"id": f"{LONG}-20261121-095601-4d73", "request": plan(3, 47_000_000)}, "calibrate"),
        ({"id": f"{LONG}-20261121-095601-4d73", "request": plan(5, 193_000_000)}, "measure"),
        ({"request": {"profile_iterations": 10}}, "profile"),
        ({"examples": {}}, "evaluate"),
    ],
)
def test_what_a_run_was_for_is_told_by_how_it_was_asked_for(changes, purpose):
    """By the end of its id, by the plan where the id had no room, else by its phases."""
    assert to_3.with_purpose(document(**changes))["purpose"] == purpose


@pytest.mark.parametrize("finding", ["CHARGING", "NO-PROFILE", "GAUGE-REFUSED"])
def test_energy_was_asked_for_where_a_finding_says_why_there_is_none(finding):
    """Of other runs without a plan it is not known, and of pilots it is never so."""
    found, pilot = [{"id": finding}], "nin-nexus7-pilot-20261121-095601-4d73"

    assert to_3.with_purpose(document(findings=found))["energy_wanted"]
    assert not to_3.with_purpose(document(findings=found, id=pilot))["energy_wanted"]
    assert not to_3.with_purpose(document())["energy_wanted"]


@pytest.mark.parametrize(
    ("name", "activation", "plain"), [("deepear-tanh", "tanh", "deepear"), ("nin", None, "nin")]
)
def test_what_changes_a_network_becomes_its_variant(name, activation, plain):
    """The activation is in the variant and no more in the name, and the precision beside it."""
    artifact = {"model": {"name": name, "activation": activation}, "precision": "int8"}

    assert to_3.with_variant(artifact) == {
        "model": {"name": plain, "variant": {"activation": activation, "precision": "int8"}}
    }


@pytest.mark.parametrize(("path", "builder"), [("models/nin.py", "build"), ("net.onnx", None)])
def test_a_network_tells_what_made_it(path, builder):
    """A model file's own ``build``, or another tool; its inputs were generated."""
    model = to_3.with_origin({"model": {"path": path}})["model"]

    assert model == {"path": path, "builder": builder, "inputs_path": None}


def test_a_stop_from_the_keyboard_becomes_a_code():
    """Other interruptions keep theirs."""
    failure = {"type": "failure", "protocol_version": 1, "code": "interrupted", "samples": {}}

    def code(message):
        result = {**failure, "message": message}
        return to_3.with_purpose(document(result=result))["result"]["code"]

    assert code("interrupted from the keyboard, before it began") == "stopped"
    assert code("its process died") == "interrupted"


@pytest.mark.parametrize("name", ["message", "profile_refusal", "energy_refusal"])
def test_a_text_that_is_longer_than_a_record_takes_is_cut(name):
    """What it is cut to says so, and a record takes it; a shorter one stays."""

    def carried(text):
        samples = {"profile_refusal": None, "energy_refusal": None}
        failure = {"type": "failure", "protocol_version": 1, "code": "internal", "message": "x"}
        where = failure if name == "message" else samples
        where[name] = text
        result = to_3.with_purpose(document(result={**failure, "samples": samples}))["result"]
        return (result if name == "message" else result["samples"])[name]

    longest = "é" * protocol.MAX_TEXT_CHARACTERS
    cut = carried(longest + "é")

    assert carried(longest) == longest
    assert msgspec.convert(cut, protocol.Text) == cut
    assert cut.startswith("é" * 4000)
    assert cut.endswith("é ... (the beginning of 4097 characters)")


@pytest.mark.parametrize(
    ("name", "activation", "precision"),
    [("nin", None, "int8"), ("nin-tanh", "tanh", "fp32"), ("my-tanh-tanh", "tanh", "fp16")],
)
def test_what_changes_a_network_becomes_one_record(name, activation, precision):
    """Its name loses the activation, which was put behind it once."""
    old = {"model": {"name": name, "activation": activation}, "precision": precision}

    model = to_3.with_variant(old)["model"]

    assert model["variant"] == {"activation": activation, "precision": precision}
    assert model["name"] == {"nin": "nin", "nin-tanh": "nin", "my-tanh-tanh": "my-tanh"}[name]


@pytest.mark.parametrize(
    ("device", "gauge"),
    [
        ({"hardware_serial": "virtual-nexus5-dual-cell", "virtual": True}, "dual-cell"),
        ({"hardware_serial": "virtual-nexus5", "virtual": True}, None),
        ({"hardware_serial": "", "virtual": True}, None),
        ({"hardware_serial": "R58M123", "virtual": False}, None),
    ],
)
def test_the_gauge_of_a_virtual_phone_becomes_a_field(device, gauge):
    """Its serial number held it."""
    assert to_3.gauge_of({"name": "nexus5", **device}) == gauge


# --- what is stored ----------------------------------------------------------------------------


def test_what_is_stored_changes_with_the_schema_version():
    """A stored record that is changed makes stores of before unreadable, unless a migration goes
    with it: write one, count ``SCHEMA_VERSION`` on once it has been released, keep a store of the
    version before in ``tests/captured``, and run ``tests/results/stored_fields.py``."""
    assert stored_fields() == FILE.read_text(encoding="utf-8")
