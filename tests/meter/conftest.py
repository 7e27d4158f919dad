"""``mobilekit meter import`` in this process, with a home of its own."""

from dataclasses import dataclass

import pytest
from schemas import check_document
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.errors import MobilekitError


@dataclass(frozen=True)
class Said:
    text: str
    error: MobilekitError | None

    @property
    def document(self):
        assert self.error is None, str(self.error)
        return check_document(self.text)

    @property
    def estimate(self):
        return self.document["estimate"]


@pytest.fixture
def mobilekit(tmp_path, monkeypatch):
    """The command with words; an expected failure is kept, any other one is raised."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MOBILEKIT_STORE", raising=False)

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if isinstance(result.exception, MobilekitError):
            return Said(result.stdout, result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return Said(result.stdout, None)

    return run


@pytest.fixture
def meter_import(mobilekit):
    """``mobilekit meter import ... --json``."""
    return lambda *words: mobilekit("meter", "import", *words, "--json")
