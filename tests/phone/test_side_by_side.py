import threading
import time

import pytest

from mobilekit.executor import open as opening
from mobilekit.phone.side_by_side import BEHIND_S, read_side_by_side


def test_one_that_hangs_costs_its_own_time_only():
    """The others' answers are there, in order, and it is given up, as is one that goes on for ever
    by small steps."""
    over = threading.Event()

    def drip():
        while not over.wait(0.01):
            pass
        return "late"

    started_s = time.monotonic()
    results = read_side_by_side([over.wait, lambda: "first", drip, lambda: "last"], limit_s=0.2)
    took_s = time.monotonic() - started_s
    over.set()

    assert results == [None, "first", None, "last"]
    assert 0.2 <= took_s < 5


@pytest.mark.parametrize(("first_s", "at_least_s"), [(0.0, 0.1), (0.1, 0.5)])
def test_one_is_given_up_earlier_where_others_have_answered(first_s, at_least_s):
    """Later where the computer is slow for all of them."""
    over = threading.Event()
    readers = [over.wait, lambda: time.sleep(first_s) or "first"]

    started_s = time.monotonic()
    results = read_side_by_side(readers, limit_s=60, behind_s=0.1)
    took_s = time.monotonic() - started_s
    over.set()

    assert results == [None, "first"]
    assert at_least_s <= took_s < 30


def test_one_alone_has_all_its_time():
    over = threading.Event()

    started_s = time.monotonic()
    results = read_side_by_side([over.wait], limit_s=0.3, behind_s=0.1)
    took_s = time.monotonic() - started_s
    over.set()

    assert results == [None]
    assert took_s >= 0.3


def test_a_list_gives_one_up_earlier(monkeypatch):
    given = []
    monkeypatch.setattr(opening, "list_attachments", list)
    monkeypatch.setattr(
        opening, "read_side_by_side", lambda readers, *, behind_s: given.append(behind_s) or []
    )

    assert opening.list_devices() == []
    assert given == [BEHIND_S]


def test_all_read_at_once():
    """Each of them waits until all have begun."""
    together = threading.Barrier(5)

    assert read_side_by_side([lambda: together.wait(5) < 5] * 5, limit_s=10) == [True] * 5


def test_what_a_reader_raises_is_raised():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_side_by_side([fail, lambda: None], limit_s=10)


def test_nothing_to_read():
    assert read_side_by_side([]) == []
