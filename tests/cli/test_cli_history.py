"""What became of a network's figures, from the store, through the command line."""

import json
import random

import pytest
from examples import MS, device_info, measured, measurement
from msgspec.structs import replace
from schemas import check_document
from typer.testing import CliRunner

from mobilekit.analysis.history import trace_histories
from mobilekit.cli.main import app
from mobilekit.results.history_plot import MOST_DRAWN, draw_histories
from mobilekit.results.store import Store


def changed(content):
    artifact = measurement().artifact
    return replace(artifact, model=replace(artifact.model, content_sha256=content * 64))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Ten runs, the last five of a network that was made slower by a tenth; one on another phone,
    and a pilot."""
    place = f"sqlite:///{tmp_path / 'results.sqlite'}"
    store, chance = Store(place), random.Random(1)
    for number in range(10):
        latency_ns = int(20 * MS * (1.1 if number >= 5 else 1) * chance.gauss(1, 0.005))
        run = measured(
            id=f"run-{number}",
            started_at=f"2026-05-{number + 1:02}T10:00:00.000+00:00",
            iteration_ns=tuple(latency_ns + each * 1000 for each in range(30)),
            artifact=changed("b" if number >= 5 else "a"),
            findings=(),
        )
        store.save(run)
    other = device_info(name="pixel8", hardware_serial="another")
    store.save(replace(run, id="other", device=other, started_at="2026-06-01T10:00:00.000+00:00"))
    store.save(replace(run, id="pilot", purpose="pilot"))
    monkeypatch.setenv("MOBILEKIT_STORE", place)
    return store


def run(*arguments):
    outcome = CliRunner().invoke(app, ["results", "history", *arguments])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_a_step_is_found_and_what_changed_is_told(store, tmp_path):
    """In text, as JSON and as a picture; other phones' runs and pilots are not of it."""
    plot = tmp_path / "history.png"

    text = run("nin", "--device", "nexus7", "--plot", str(plot))
    document = check_document(run("nin", "--device", "nexus7", "--json"))

    assert text.startswith(
        "nin on nexus7, .pte fp32 xnnpack, 4 threads, 3 loads, 100 iterations or more: 10 runs\n"
    )
    before, after = (line for line in text.splitlines() if line.startswith("latency p50  "))
    assert "2026-05-01 10:00  5 " in before
    assert "2026-05-06 10:00  5 " in after
    assert " +10." in after
    assert f"latency p50 at run-5: network: nin {'a' * 12} -> nin {'b' * 12}" in text
    (history,) = document["histories"]
    latency = next(each for each in history["figures"] if each["name"] == "latency")
    (change,) = latency["changes"]
    assert (change["before_id"], change["after_id"]) == ("run-4", "run-5")
    assert change["ratio"]["interval"]["low"] > 1.05
    assert [level["runs"] for level in latency["levels"]] == [5, 5]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_unlike_runs_are_histories_of_their_own(store):
    """The one with the newest run first."""
    document = json.loads(run("nin", "--json"))

    assert [each["arrangement"]["device"] for each in document["histories"]] == ["pixel8", "nexus7"]


def test_every_history_of_several_runs_is_drawn(store, tmp_path):
    """That of the newest run and the others, each under its name."""
    one = store.read("other")
    store.save(replace(one, id="another", started_at="2026-06-02T10:00:00.000+00:00"))
    plot = tmp_path / "history.svg"
    run("nin", "--plot", str(plot))

    drawn = plot.read_text(encoding="utf-8")
    assert [name for name in ("nin on pixel8", "nin on nexus7") if name in drawn] == [
        "nin on pixel8",
        "nin on nexus7",
    ]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("nope",), "no run of nope that measured it"),
        (("nin", "--device", "nope"), "no run of nin that measured it on nope"),
        (("nin", "--plot", "x.txt"), "cannot be written as '.txt'"),
        (("nin", "--device", "pixel8", "--plot", "x.png"), "One run has no history"),
    ],
)
def test_what_has_no_history_is_told(store, arguments, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(app, ["results", "history", *arguments])

    assert what in str(outcome.exception)


def test_a_picture_has_so_many_histories_at_most(store):
    """Of more it would be too large to be made."""
    histories = trace_histories(store.iterate_measurements("nin"))
    assert len(draw_histories(histories * 30).subfigs) == MOST_DRAWN
