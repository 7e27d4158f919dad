"""When the layers are measured once more."""

from types import SimpleNamespace

import pytest
from examples import MS, traced_run

from mobilekit.flow import profile as profiling

DISTURBED = traced_run("one", 6 * MS, 2 * MS, iteration_ns=(13 * MS, 13 * MS, 8 * MS))
WORSE = traced_run("two", 6 * MS, 2 * MS, iteration_ns=(20 * MS, 20 * MS, 8 * MS))
SOUND = traced_run("three", 6 * MS, 2 * MS, iteration_ns=(8 * MS,) * 3)


class FakeReporter:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize(
    ("passes", "kept"),
    [
        pytest.param([SOUND], SOUND, id="sound"),
        pytest.param([DISTURBED, SOUND], SOUND, id="better the second time"),
        pytest.param([DISTURBED, WORSE], DISTURBED, id="worse: there is no third"),
    ],
)
def test_a_disturbed_pass_is_repeated_once(monkeypatch, passes, kept):
    """What is better of the two counts, and why there is a second one is said."""
    left = list(passes)
    monkeypatch.setattr(profiling, "deploy", lambda *_, **__: left.pop(0))
    reporter = FakeReporter()

    found = profiling.profile(
        SimpleNamespace(format="auto", seek_backend=False),
        None,
        reporter,
        iterations=3,
        by_segments=None,
    )

    assert found == kept
    assert left == []
    assert len(reporter.notes) == len(passes) - 1
    assert all("measured once more" in note for note in reporter.notes)
