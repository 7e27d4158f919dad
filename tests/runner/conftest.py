"""What the tests of runs share."""

import gc
import os

import pytest
from run_roots import make_roots

from mobilekit.contract.protocol import MemorySample
from mobilekit.runner import run


@pytest.fixture
def roots(tmp_path):
    return make_roots(tmp_path)


@pytest.fixture(autouse=True)
def _no_disk_loses_its_power(monkeypatch):
    """A sync for each event would take most of the tests' time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    """To add up the pages of the tests' own process would take most of a run."""

    def read(at_ns, stage):
        return MemorySample(at_ns=at_ns, stage=stage, pss_bytes=2, rss_bytes=3, peak_rss_bytes=None)

    monkeypatch.setattr(run, "read_memory", read)


@pytest.fixture(scope="module", autouse=True)
def _no_garbage_in_what_was_imported():
    """A run collects garbage before each measurement, and would look through all of pytest."""
    gc.freeze()
    yield
    gc.unfreeze()
