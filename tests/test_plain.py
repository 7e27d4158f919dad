"""What others wrote does no more than inform, wherever it is printed."""

import json
import re

import pytest
from examples import device_info, measured
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.errors import UsageError
from mobilekit.plain import plain, plain_lines
from mobilekit.records.finding import Finding

FORGED = "\x1b[2J\x1b]0;title\x07\r\nError: all is lost\x9b31m\u202egnp.exe\u2028"
HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]"
)


def test_nothing_that_moves_a_terminal_is_left():
    """Escape sequences, C1, carriage returns and what turns text around become visible."""
    assert plain("a\x1b[31mb\x9bc\u202ed\r\ne\tf") == r"a\u001b[31mb\u009bc\u202ed e\u0009f"
    assert plain_lines("a\tb\nc\rd") == "a\tb\nc\\u000dd"
    assert plain("Übergröße 13 µs · 🔋") == "Übergröße 13 µs · 🔋"


@given(st.text())
def test_any_text(text):
    """Whatever it holds, it is one line then, without anything but characters to read."""
    assert not HARMFUL.search(plain(text))
    assert "\n" not in plain(text)
    assert not HARMFUL.search(plain_lines(text))
    plain_lines(text).encode()


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
)
def test_a_document_says_the_same(value):
    """In JSON an escaped character is that character."""
    document = json.dumps(value, ensure_ascii=False)

    assert json.loads(plain_lines(document)) == value


def test_an_error_is_one_paragraph():
    """A line of somebody else's that looks like ours is in the middle of ours."""
    error = UsageError(f"It is {FORGED}", fix=f"Try {FORGED}", file=FORGED)

    assert "\n" not in str(error)
    assert not HARMFUL.search(str(error))


@pytest.fixture
def stored(tmp_path):
    """A store with what a hostile phone and a hostile model file have said."""
    from msgspec.structs import replace

    from mobilekit.contract.samples import interrupted
    from mobilekit.results.store import Store

    url = f"sqlite:///{tmp_path / 'results.sqlite'}"
    run = measured(device=device_info(name=FORGED, model=FORGED))
    model = replace(run.artifact.model, name=FORGED, title=FORGED)
    failure = interrupted("a", [], FORGED)
    finding = Finding(id="VIRTUAL", severity="info", summary=FORGED, advice=FORGED)
    run = replace(
        run,
        artifact=replace(run.artifact, model=model),
        result=replace(failure, samples=run.result.samples),
        findings=(finding,),
    )
    Store(url).save(run)
    return url


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--csv"),
        ("show", "last"),
        ("show", "last", "--json"),
        ("show", "last", "--json", "--summary"),
        ("export", "last", "--format", "durations"),
        ("export", "last", "--format", "figures"),
    ],
    ids=" ".join,
)
def test_what_is_stored_is_printed_harmless(stored, arguments):
    """Through a pipe too; and no line of it is a forged one."""
    from typer.testing import CliRunner

    from mobilekit.cli.main import app

    outcome = CliRunner().invoke(app, ["results", *arguments, "--store", stored])

    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.strip()
    assert not HARMFUL.search(outcome.stdout)
    if "--csv" not in arguments and "--format" not in arguments:
        assert not re.search("^Error: all is lost", outcome.stdout, re.MULTILINE)


def test_an_error_of_megabytes_is_a_paragraph():
    """What to do stands at its end, and is not lost."""
    error = UsageError("x" * 2**20, path="y" * 2**20, fix="Name another.")

    assert len(str(error)) < 5000
    assert str(error).startswith("xxx")
    assert str(error).endswith(" more]. Name another.")
