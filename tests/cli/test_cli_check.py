"""Runs against a baseline, through the CLI: verdicts, exit codes, and what is refused."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from examples import measurement, samples
from msgspec.structs import replace

from mobilekit.contract.codec import encode
from mobilekit.results.saved import BaselineDocument
from mobilekit.results.store import Store

SPREADS = (0.99, 1.0, 1.01, 1.005, 0.995)


@pytest.fixture
def keep(tmp_path):
    """Stores runs of so many ns, each; returns their ids."""
    place = f"sqlite:///{tmp_path}/results.sqlite"

    def save(name, ns, **fields):
        store = Store(place)
        ids = []
        for number, spread in enumerate(SPREADS):
            run = run_of(f"{name}-{number}", int(ns * spread), **fields)
            store.save(run)
            ids.append(run.id)
        return ids

    save.place = place
    return save


def run_of(id, ns, **fields):
    run = measurement(id=id, **fields)
    told = replace(samples(), iteration_ns=tuple([ns] * len(samples().iteration_ns)))
    return replace(run, result=replace(run.result, samples=told), findings=())


def options(baseline):
    return [word for each in baseline for word in ("--baseline", each)]


def check(cli, keep, now, baseline, *more):
    return cli(
        *("check", *now, "--results", *options(baseline), "--store", keep.place),
        *("--max-regression", "latency=5%", *more),
    )


@pytest.mark.parametrize(
    ("ns", "verdict", "exit_code"),
    [(22e6, "regressed", 10), (20.1e6, "unchanged", 0), (17e6, "improved", 0)],
)
def test_verdicts_have_exit_codes(cli, keep, ns, verdict, exit_code):
    before, now = keep("before", 20e6), keep("now", ns)
    outcome = check(cli, keep, now, before, "--json")

    assert outcome.exit_code == exit_code, outcome.stderr
    gate = outcome.document["gate"]
    assert gate["verdict"] == verdict
    (figure,) = gate["figures"]
    assert figure["ratio"]["value"] == pytest.approx(ns / 20e6, rel=1e-3)
    assert (gate["baseline_ids"], gate["now_ids"]) == (before, now)


def test_a_regression_is_told_to_people(cli, keep):
    outcome = check(cli, keep, keep("now", 22e6), keep("before", 20e6))

    assert outcome.exit_code == 10
    row = next(line for line in outcome.stdout.splitlines() if line.startswith("latency p50"))
    assert "+10.0% [" in row
    assert row.endswith("regressed")
    assert "Regressed: latency" in outcome.stderr


def test_one_run_against_one_cannot_be_told(cli, keep):
    outcome = check(cli, keep, keep("now", 22e6)[:1], keep("before", 20e6)[:1])

    assert outcome.exit_code == 5
    assert "--repeat" in outcome.stdout


def test_another_phone_is_no_regression(cli, keep):
    """Slower, since it is another one: refused, with what differs."""
    run = measurement()
    other = replace(run.device, hardware_serial="another")
    outcome = check(cli, keep, keep("now", 22e6, device=other), keep("before", 20e6))

    assert outcome.exit_code == 1
    assert "device" in outcome.stderr
    assert other.key in outcome.stderr


def test_a_network_that_was_changed_is_judged(cli, keep):
    """It is what is under test; but the runs of one side are of one network."""
    model = measurement().artifact.model
    artifact = replace(measurement().artifact, model=replace(model, content_sha256="9" * 64))
    before, now = keep("before", 20e6), keep("now", 22e6, artifact=artifact)
    outcome = check(cli, keep, now, before)
    mixed = check(cli, keep, [now[0], before[0]], before[1:])

    assert outcome.exit_code == 10, outcome.stderr
    assert "Regressed: latency" in outcome.stderr
    assert mixed.exit_code == 1
    assert "network" in mixed.stderr


def test_a_baseline_outlives_the_program_but_not_the_way_of_measuring(cli, keep):
    """Another version is told beside the verdict, another protocol refused."""
    newer = replace(measurement().host, mobilekit_version="99.1")
    request = replace(measurement().request, protocol_version=99)
    before = keep("before", 20e6)
    now, other = keep("now", 20e6, host=newer), keep("other", 20e6, request=request)
    judged = check(cli, keep, now, before)
    refused = check(cli, keep, other, before)

    assert judged.exit_code == 0, judged.stderr
    assert "mobilekit: now 99.1, the baseline" in judged.stdout
    assert refused.exit_code == 1
    assert "protocol: 99" in refused.stderr


def test_a_baseline_file_stands_for_its_runs(cli, keep, tmp_path):
    path = tmp_path / "before.json"
    path.write_bytes(encode(BaselineDocument(measurements=(run_of("b0", int(2e7)),))))
    outcome = check(cli, keep, keep("now", 22e6), [path], "--json")

    assert outcome.exit_code == 10, outcome.stderr
    assert outcome.document["gate"]["baseline_ids"] == ["b0"]


@pytest.mark.parametrize("text", ["", "{}", '{"schema":"mobilekit.baseline/1","measurements":[]}'])
def test_a_file_that_is_no_baseline(cli, keep, tmp_path, text):
    path = tmp_path / "before.json"
    path.write_text(text)
    outcome = check(cli, keep, keep("now", 22e6), [path])

    assert outcome.exit_code == 2
    assert "--save" in outcome.stderr


@pytest.mark.parametrize("limit", ["latency", "speed=5%", "latency=-1%", "latency=nan"])
def test_limits_that_are_none(cli, keep, limit):
    before = keep("before", 20e6)
    outcome = cli(
        *("check", before[0], "--results", "--baseline", before[1], "--store", keep.place),
        *("--max-regression", limit),
    )
    assert outcome.exit_code == 2
    assert "latency=5%,energy=10%" in outcome.stderr


def test_measured_now_against_a_saved_baseline(cli, tmp_path):
    """The way of a build: once with --save, then with --baseline."""
    path = tmp_path / "before.json"
    of = ("check", "tiny.py", "-d", "pc", "--fast", "--repeat", "1")
    saved = cli(*of, "--save", path)
    checked = cli(*of, "--baseline", path, "--max-regression", "size=0%", "--json")

    assert saved.exit_code == 0, saved.stderr
    assert json.loads(path.read_bytes())["schema"] == "mobilekit.baseline/1"
    assert checked.exit_code == 0, checked.stderr
    (size,) = checked.document["gate"]["figures"]
    assert (size["name"], size["verdict"]) == ("size", "unchanged")


def test_nothing_to_set_against(cli):
    outcome = cli("check", "tiny.py", "-d", "pc")
    assert outcome.exit_code == 2
    assert "--baseline" in outcome.stderr


def test_the_actions_last_step_calls_it(cli, tmp_path):
    """Its shell text, with a program that tells what it was called with in mobilekit's place."""
    step = project_action()["runs"]["steps"][-1]
    program = tmp_path / "bin/mobilekit"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    values = {
        "MODEL": "tiny.py",
        "DEVICE": "pc",
        "BASELINE": "",
        "SAVE": str(tmp_path / "a b.json"),
        "MAX_REGRESSION": "size=1%",
        "REPEAT": "1",
    }
    assert set(step["env"]) == set(values)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step["run"]],
        env=values | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    outcome = cli(*ran.stdout.splitlines(), "--fast")

    assert outcome.exit_code == 0, outcome.stderr
    assert (tmp_path / "a b.json").exists()


def project_action():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((Path(__file__).parents[2] / "action.yml").read_text(encoding="utf-8"))


def test_a_baseline_is_not_written_over(cli, keep, tmp_path):
    """Neither by its own name, nor by runs that cannot be judged by it."""
    before, now = keep("before", 20e6), keep("now", 22e6)
    path = tmp_path / "before.json"
    path.write_bytes(encode(BaselineDocument(measurements=(run_of("b0", int(2e7)),))))
    same = check(cli, keep, now, [path], "--save", path)
    other = replace(measurement().device, hardware_serial="another")
    strange = keep("strange", 22e6, device=other)
    unlike = check(cli, keep, strange, before, "--save", tmp_path / "new.json")

    assert same.exit_code == 2
    assert "over the baseline" in same.stderr
    assert unlike.exit_code == 1
    assert not (tmp_path / "new.json").exists()
