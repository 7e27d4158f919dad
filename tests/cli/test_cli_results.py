"""What is stored, found by the command line however much of it there is."""

import csv
import io
import json
import lzma
import re
import shutil
from pathlib import Path

import msgspec
import pytest
from schemas import check_document
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.results.store import Store
from mobilekit.results.text.words import PLANE_NAMES

CAPTURED = Path(__file__).parents[1] / "captured/store-2.sqlite.xz"


@pytest.fixture(scope="module")
def full_store(tmp_path_factory):
    """The directory of a store with a run that tells energy, and then sixty that do not."""
    directory = tmp_path_factory.mktemp("store")
    captured = directory / "captured.sqlite"
    captured.write_bytes(lzma.decompress(CAPTURED.read_bytes()))
    all_kinds = Store(captured)
    store = Store(directory / "results.sqlite")
    store.save(all_kinds.read("digits-nexus7-20261128-070706-8c8a"))
    plain = all_kinds.read("digits-pc-20261128-070258-08f2")
    for second in range(60):
        started_at = f"2026-12-01T00:00:{second:02}.000+00:00"
        store.save(msgspec.structs.replace(plain, id=f"plain-{second}", started_at=started_at))
    return directory


@pytest.fixture
def store(full_store, tmp_path, monkeypatch):
    """A store of the test's own, as the full one."""
    # With what SQLite keeps beside it.
    shutil.copytree(full_store, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "results.sqlite"
    monkeypatch.setenv("MOBILEKIT_STORE", f"sqlite:///{file}")
    return Store(file)


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


# --- imports of traces, tags, many results -----------------------------------------------------


@pytest.fixture
def trace(tmp_path):
    """A meter's file: 3 loads of 4 s at 3 W over 1 W, which is 0.6 J for each of 60 inferences."""
    powers = ((n / 50, 3.0 if n / 50 // 4 % 2 == 1 else 1.0) for n in range(1400))
    file = tmp_path / "shunt wire.csv"
    file.write_text("t(s),P(W)\n" + "".join(f"{t:.2f},{p}\n" for t, p in powers))
    return file


def import_trace(trace, *words):
    arguments = ("meter", "import", str(trace), "-n", "60", "--plane", "usb", "--json", *words)
    return json.loads(run(*arguments).stdout)


def test_an_import_is_a_result_with_its_plane(store, trace):
    """It is listed with plane and source, shown as when it was imported, and no run."""
    made = import_trace(trace, "--device", "nexus7")

    lines = run("results", "list", "--all").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(made["id"])]
    assert made["id"].startswith("meter-shunt-wire-")
    assert line.split(maxsplit=3)[3].split("  ")[0] == "shunt wire.csv"
    assert line.split()[-7:] == ["nexus7", "(meter)", "-", "599", "mJ", "usb", "-"]
    assert json.loads(run("results", "show", made["id"], "--json").stdout) == made
    assert "599 mJ [" in run("results", "show", "meter-").stdout
    listed = check_document(run("results", "list", "--all", "--json").stdout)
    assert [each["id"] for each in listed["imports"]] == [made["id"]]
    assert json.loads(run("results", "export", made["id"]).stdout) == made
    refused = CliRunner().invoke(app, ["results", "profile", made["id"]])
    assert "no measurement of a run" in str(refused.exception)


def test_an_import_is_on_the_page_as_measured_by_a_meter(store, trace, tmp_path):
    """With its file, where its meter was, and its energy with the mark of what is measured."""
    made = import_trace(trace, "--device", "nexus7")

    run("report", made["id"], "plain-7", "-o", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text("utf-8")
    row = page.partition("Traces of external meters</h3>")[2].partition(made["id"])[2]
    cells = re.sub(r"<[^>]*>", "|", row.partition("</tr>")[0])

    assert "1 result, 1 meter trace" in page
    assert "|nexus7|" in cells
    assert "|shunt wire.csv|" in cells
    assert f"|{PLANE_NAMES['usb']}|" in cells
    assert "|●||measured: || 599 mJ [" in cells


def test_an_import_that_fails_stores_nothing(store, trace):
    """Neither a result nor a tag."""
    trace.write_text("t(s),P(W)\n" + "0.1,1\n" * 40)

    outcome = CliRunner().invoke(app, ["meter", "import", str(trace), "-n", "1", "--plane", "usb"])

    assert outcome.exception is not None
    assert len(store.result_ids()) == 61


def test_a_list_is_csv_for_programs(store, trace):
    """Each number with its unit and origin, in full."""
    made = import_trace(trace)

    rows = list(csv.DictReader(io.StringIO(run("results", "list", "--all", "--csv").stdout)))

    assert len(rows) == 62
    (row,) = [row for row in rows if row["id"] == made["id"]]
    assert float(row["energy value"]) == made["estimate"]["gross_j"]
    assert (row["energy unit"], row["energy origin"], row["plane"]) == ("J", "measured", "usb")
    (measured,) = [row for row in rows if row["id"] == "plain-7"]
    assert (measured["latency p50 unit"], measured["plane"]) == ("ns", "-")


def test_a_tag_finds_results(store, trace):
    """In the list and in an export; a result that is deleted takes its tags with it."""
    made = import_trace(trace)
    run("results", "tag", "paper", "plain-7", made["id"], "plain-8")
    run("results", "tag", "paper", "plain-7")

    listed = json.loads(run("results", "list", "--tag", "paper", "--json").stdout)
    exported = check_document(run("results", "export", "--tag", "paper").stdout)

    assert [each["id"] for each in listed["results"]] == ["plain-8", "plain-7"]
    assert {"paper"} == {tag for each in listed["results"] for tag in each["tags"]}
    assert [each["id"] for each in exported["measurements"]] == ["plain-8", "plain-7"]
    assert [each["id"] for each in exported["imports"]] == [made["id"]]
    assert run("results", "list", "--all").stdout.splitlines()[0].endswith("tags")

    run("results", "tag", "paper", "plain-8", "--remove")
    run("results", "delete", "plain-7", made["id"])

    assert store.list_tags() == {}
    assert len(store.result_ids()) == 60


@pytest.mark.parametrize("word", ["", "two words", "-x", "a" * 41])
def test_what_is_no_tag_is_refused(store, word):
    outcome = CliRunner().invoke(app, ["results", "tag", "--", word, "plain-7"])

    assert "is no tag" in str(outcome.exception)


def test_several_are_deleted_or_none(store):
    """One that is not there keeps the others."""
    outcome = CliRunner().invoke(app, ["results", "delete", "plain-7", "nope"])

    assert "no result 'nope'" in str(outcome.exception)
    assert len(store.result_ids()) == 61


def test_many_results_are_one_table_of_durations(store, trace):
    """With the id of each in its lines; an imported trace has none, and is named."""
    made = import_trace(trace)

    outcome = run("results", "export", "--all", "--format", "durations")

    ids = {row["id"] for row in csv.DictReader(io.StringIO(outcome.stdout))}
    assert len(ids) == 61
    assert outcome.stderr.strip().endswith(made["id"])


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("figures", "id,started_at,model,"),
        ("bencher", '{\n "digits on pc'),
        ("github-action-benchmark", '[\n {\n  "name": "digits on pc'),
        ("perfetto", '{"displayTimeUnit"'),
    ],
)
def test_results_are_exported_for_others(store, trace, form, begins):
    """What is no run is left out by name; alone it is refused."""
    made = import_trace(trace)

    outcome = run("results", "export", "plain-7", made["id"], "plain-8", "--format", form)
    alone = CliRunner().invoke(app, ["results", "export", made["id"], "--format", form])

    assert outcome.stdout.startswith(begins)
    assert outcome.stderr.strip().endswith(made["id"])
    assert "is no run" in str(alone.exception)


def test_what_failed_is_no_benchmark(store):
    """It is left out by its id; alone it is refused."""
    plain = store.read("plain-1")
    store.save(msgspec.structs.replace(plain, id="pilot-1", purpose="pilot"))

    outcome = run("results", "export", "plain-7", "pilot-1", "--format", "bencher")
    alone = CliRunner().invoke(app, ["results", "export", "pilot-1", "--format", "bencher"])

    assert outcome.stderr.strip().endswith("measure the network: pilot-1")
    assert "None of these runs" in str(alone.exception)


def test_a_summary_has_no_raw_samples(store, trace):
    """What is derived, of one result or of all."""
    import_trace(trace)
    whole = run("results", "show", "plain-7", "--json").stdout
    one = run("results", "show", "plain-7", "--json", "--summary").stdout
    many = check_document(run("results", "export", "--all", "--format", "summary").stdout)

    (summary,) = check_document(one)["summaries"]
    assert summary["answer"] == json.loads(whole)["answer"]
    assert "iteration_ns" not in one
    assert len(one) < len(whole) / 5
    assert len(many["summaries"]) == 61
    assert len(many["imports"]) == 1


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("show", "plain-7", "--summary"), "--json is not given"),
        (("export",), "Which results"),
        (("export", "plain-7", "--all"), "Which results"),
        (("export", "--model", "nope"), "no such result"),
        (("list", "--csv", "--json"), "exclude each other"),
    ],
)
def test_options_that_contradict_each_other_are_refused(store, words, what):
    outcome = CliRunner().invoke(app, ["results", *words])

    assert what in str(outcome.exception)
