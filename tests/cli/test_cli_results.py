"""What is stored, found by the command line however much of it there is."""

import json
import lzma
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.results.store import Store

CAPTURED = Path(__file__).parents[1] / "captured/store-2.sqlite.xz"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with a run that tells energy, and then sixty that do not."""
    captured = tmp_path / "captured.sqlite"
    captured.write_bytes(lzma.decompress(CAPTURED.read_bytes()))
    all_kinds = Store(captured)
    store = Store(tmp_path / "results.sqlite")
    store.save(all_kinds.read("digits-nexus7-20261128-070706-8c8a"))
    plain = all_kinds.read("digits-pc-20261128-070258-08f2")
    for second in range(60):
        started_at = f"2026-12-01T00:00:{second:02}.000+00:00"
        store.save(msgspec.structs.replace(plain, id=f"plain-{second}", started_at=started_at))
    monkeypatch.setenv("MOBILEKIT_STORE", f"sqlite:///{tmp_path / 'results.sqlite'}")
    return store


def run(*arguments):
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    return outcome


def test_energy_counts_however_much_was_measured_since(store):
    """A measured energy is not forgotten behind sixty plain deploys."""
    life = json.loads(run("energy", "life", "digits", "--every", "10s", "--json").stdout)

    assert life["measurement_id"] == "digits-nexus7-20261128-070706-8c8a"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_list_says_what_it_leaves_out(store, form):
    """The newest, and how many there are; all of them where asked, and then no word."""
    short, longer = run("results", "list", *form), run("results", "list", "--limit", "30", *form)
    whole = run("results", "list", "--all", *form)

    assert [out.stdout.count("plain-") for out in (short, longer, whole)] == [20, 30, 60]
    assert short.stderr == "The newest 20 of 61; --limit N or --all shows more.\n"
    assert longer.stderr == "The newest 30 of 61; --limit N or --all shows more.\n"
    assert whole.stderr == ""
    assert "plain-59" in short.stdout
    if form:
        assert [json.loads(out.stdout)["stored"] for out in (short, whole)] == [61, 61]
