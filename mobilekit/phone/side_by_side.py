"""Reading several phones at once, none for longer than its own time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

LOOK_LIMIT_S = 10.0
"""For all that is read of one phone to list it: a sound one takes some tenths of a second, over
Wi-Fi one or two."""
BEHIND_S = 5.0
"""... and for one that is only listed, where others have answered;"""
TIMES_BEHIND = 5.0
"""or so many times what the last of those took, on a computer that is slow for all of them."""


def read_side_by_side(
    readers: Sequence[Callable[[], T]],
    limit_s: float = LOOK_LIMIT_S,
    *,
    behind_s: float | None = None,
) -> list[T | None]:
    """What each reader returns, all of them begun at once; ``None`` for one that takes longer than
    ``limit_s``, or with ``behind_s`` longer than both that and ``TIMES_BEHIND`` what the last that
    returned took. Raises what a reader raised.

    A reader that takes too long is left alone, in a thread that does not keep the program from
    its end: a limit on each answer of a phone would not bound what sends a byte now and then.
    """
    results: list[T | None] = [None] * len(readers)
    errors: list[BaseException] = []
    took_s: list[float] = []
    one_more = threading.Condition()
    begun_s = time.monotonic()

    def read(place: int) -> None:
        try:
            results[place] = readers[place]()
        except BaseException as error:
            errors.append(error)
        with one_more:
            took_s.append(time.monotonic() - begun_s)
            one_more.notify()

    for place in range(len(readers)):
        threading.Thread(target=read, args=(place,), daemon=True).start()
    with one_more:
        while len(took_s) < len(readers):
            allowed_s = limit_s
            if behind_s is not None and took_s:
                allowed_s = min(limit_s, max(behind_s, TIMES_BEHIND * took_s[-1]))
            if not one_more.wait(begun_s + allowed_s - time.monotonic()):
                break
    if errors:
        raise errors[0]
    return list(results)  # What comes later changes nothing.
