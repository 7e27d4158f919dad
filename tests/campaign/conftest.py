"""Campaigns on both databases."""

import itertools

import pytest

NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'results.sqlite'}"
    server = request.getfixturevalue("postgres")
    name = f"lab{next(NUMBERS)}"
    server.execute(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
