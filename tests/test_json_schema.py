"""``docs/schema.json``: made from the records, and true of what the commands print.

Every ``--json`` of ``tests/cli`` and ``tests/meter`` is checked against it too.
"""

import importlib.util
import json
import sys
from pathlib import Path

import jsonschema
import pytest
from examples import MS, device_info, energy_plan, measured, traced_run
from schemas import SCHEMA, check_document, validators
from simulated import work
from typer.testing import CliRunner

from mobilekit.cli import main
from mobilekit.errors import UsageError
from mobilekit.results.store import Store

SCRIPT = Path(__file__).parents[1] / "scripts/make_json_schema.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_json_schema", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_is_that_of_the_records(script):
    """After a change of a record, ``scripts/make_json_schema.py`` writes it anew."""
    assert SCHEMA.read_text(encoding="utf-8") == script.render_schema()


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_every_document_has_a_schema_of_its_own(script):
    """No two records say the same of themselves."""
    assert len(validators()) == len(script.DOCUMENTS) == 39


@pytest.mark.parametrize("name", sorted(validators()))
def test_the_guide_names_every_schema(name):
    """A person finds out which command prints it."""
    page = (SCHEMA.parent / "results.md").read_text(encoding="utf-8")

    assert f"`{name}`" in page


# --- what commands print -----------------------------------------------------------------------


def paid_windows():
    """Three blocks on a simulated battery."""
    windows, _, _ = work(energy_plan(blocks=3, idle_ns=60 * 10**9, load_ns=60 * 10**9))
    return tuple(windows)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A home with a traced run, another one like it, and one that a battery paid for."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path))
    monkeypatch.setenv("MOBILEKIT_STORE", f"sqlite:///{tmp_path / 'results.sqlite'}")
    store = Store(f"sqlite:///{tmp_path / 'results.sqlite'}")
    for run in (
        traced_run("one", 30 * MS, 10 * MS, device=device_info(name="nexus7")),
        traced_run("other", 10 * MS, 10 * MS, device=device_info(name="pc")),
        measured("paid", windows=paid_windows()),
    ):
        store.save(run)


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        (("results", "list"), "mobilekit.results/2"),
        (("results", "list", "--model", "none"), "mobilekit.results/2"),
        (("results", "show", "paid"), "mobilekit.measurement/3"),
        (("results", "profile", "one"), "mobilekit.profile/2"),
        (("energy", "life", "nin", "--every", "10s"), "mobilekit.life/2"),
        (
            ("compare", "--results", "one", "other", "--published", "fantozzi2016"),
            "mobilekit.comparison/3",
        ),
        (("virtual", "list"), "mobilekit.virtual-phones/1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_commands_document_fits_its_schema(stored, arguments, schema):
    """As a person gets it, of real records."""
    outcome = CliRunner().invoke(main.app, [*arguments, "--json"])

    assert outcome.exit_code == 0, outcome.output
    assert check_document(outcome.stdout)["schema"] == schema


def test_an_exported_document_fits_its_schema(stored):
    """It is the same as what is shown."""
    exported = CliRunner().invoke(main.app, ["results", "export", "paid"])
    shown = CliRunner().invoke(main.app, ["results", "show", "paid", "--json"])

    assert check_document(exported.stdout) == check_document(shown.stdout)


def test_an_error_document_fits_its_schema(stored, monkeypatch, capsys):
    """It is all that stdout holds, and its facts are by name."""
    words = ("compare", "--results", "one", "other", "--published", "nobody1999", "--json")
    monkeypatch.setattr(sys, "argv", ["mobilekit", *words])
    monkeypatch.setattr(main.signal, "signal", lambda number, action: None)

    with pytest.raises(SystemExit) as ended:
        main.run()

    document = check_document(capsys.readouterr().out)
    assert ended.value.code == UsageError.exit_code
    assert document["error"]["kind"] == "UsageError"
    assert document["error"]["facts"] == {"published": "fantozzi2016, lane2015"}


@pytest.mark.parametrize(
    "change",
    [
        lambda document: [document],
        lambda document: {**document, "schema": "mobilekit.results/0"},
        lambda document: {**document, "more": 1},
        lambda document: {"schema": document["schema"]},
        lambda document: {**document, "results": [{"id": "only"}]},
    ],
    ids=["a list", "unknown schema", "unknown field", "missing field", "wrong below"],
)
def test_what_does_not_fit_is_found(change):
    """Else the tests above could not fail."""
    document = {"schema": "mobilekit.results/2", "stored": 0, "results": [], "imports": []}
    check_document(json.dumps(document))

    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        check_document(json.dumps(change(document)))
