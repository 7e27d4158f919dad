"""The guide comes with the program, and messages name its chapters."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mobilekit.cli.main import app

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
SOURCES = sorted((ROOT / "mobilekit").rglob("*.py"))


def test_chapters_are_listed_and_printed():
    """Each by its name, with or without what a link adds to it."""
    listed = CliRunner().invoke(app, ["docs"]).stdout
    printed = CliRunner().invoke(app, ["docs", "meter"]).stdout
    by_path = CliRunner().invoke(app, ["docs", "docs/meter.md"]).stdout

    assert [line.split()[0] for line in listed.splitlines()] == CHAPTERS
    assert printed == by_path == (ROOT / "docs/meter.md").read_text(encoding="utf-8")


def test_a_chapter_that_is_not_there_is_refused():
    outcome = CliRunner().invoke(app, ["docs", "../README"])

    assert "no chapter '../README'" in str(outcome.exception)
    assert "meter" in str(outcome.exception)


def test_a_wheel_has_the_guide():
    """The place that the program looks in is where the wheel puts it."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert re.search(r'^docs = "mobilekit/guide"$', project, flags=re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_name_chapters_as_a_user_can_open_them(path):
    """As ``mobilekit docs NAME``, of one that there is; no path into a checkout."""
    text = path.read_text(encoding="utf-8")

    assert set(re.findall(r"`mobilekit docs ([a-z-]+)`", text)) <= set(CHAPTERS)
    if path.name != "docs.py":
        assert re.findall(r"docs/[a-z-]+\.md", text) == []
