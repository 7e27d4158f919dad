"""What the tests of runs share."""

import os

import pytest
from run_roots import make_roots


@pytest.fixture
def roots(tmp_path):
    return make_roots(tmp_path)


@pytest.fixture(autouse=True)
def _no_disk_loses_its_power(monkeypatch):
    """A sync for each event would take most of the tests' time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
