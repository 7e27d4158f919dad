"""What a search does with a network that cannot be made or run."""

import pytest

from mobilekit.errors import ExportError, RunFailedError, UsageError
from mobilekit.flow import compress
from mobilekit.records.compression import Budget, Candidate
from mobilekit.records.network import SharedValues, Variant

STORED = [Variant(storage=SharedValues(values=count)) for count in (16, 8)]
BUDGET = Budget(size_bytes=1000, latency_ns=None, energy_j=None, max_loss_points=5)


class Notes:
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def candidate(variant):
    return Candidate(
        variant=variant,
        size_bytes=100,
        latency_p50_ns=None,
        energy_j=None,
        accuracy=None,
        loss_points=None,
    )


def search_whose_try_raises(monkeypatch, error):
    """One that has found the whole network already."""

    def fail(self, variant):
        raise error("It cannot be", fix="Do not.")

    monkeypatch.setattr(compress._Search, "_try", fail)
    whole = candidate(Variant())
    return compress._Search(
        None, BUDGET, None, None, Notes(), None, {whole.variant.key: whole}, set()
    )


@pytest.mark.parametrize("error", [ExportError, RunFailedError, UsageError])
def test_what_cannot_be_stored_ends_its_ladder_alone(monkeypatch, error):
    """What was found stands, and no precision is left out for it."""
    search = search_whose_try_raises(monkeypatch, error)
    (whole,) = search.tried.values()

    search.follow(STORED, whole)

    assert list(search.tried.values()) == [whole]
    assert search.left_out == set()
    (note,) = search.reporter.texts
    assert note.startswith(STORED[0].text)
    assert "It cannot be" in note


def test_a_precision_that_cannot_be_exported_is_left_out(monkeypatch):
    search = search_whose_try_raises(monkeypatch, ExportError)
    (whole,) = search.tried.values()

    search.consider(Variant(precision="int8"), whole)

    assert search.left_out == {"int8"}
    assert search.is_hopeless(Variant(precision="int8"), 1)
    assert not search.is_hopeless(Variant(), 1)
