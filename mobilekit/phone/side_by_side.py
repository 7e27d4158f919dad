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


def read_side_by_side(
    readers: Sequence[Callable[[], T]], limit_s: float = LOOK_LIMIT_S
) -> list[T | None]:
    """What each reader returns, all of them begun at once; ``None`` for one that takes longer than
    ``limit_s``. Raises what a reader raised.

    A reader that takes too long is left alone, in a thread that does not keep the program from
    its end: a limit on each answer of a phone would not bound what sends a byte now and then.
    """
    results: list[T | None] = [None] * len(readers)
    errors: list[BaseException] = []

    def read(place: int) -> None:
        try:
            results[place] = readers[place]()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=read, args=(place,), daemon=True) for place in range(len(readers))
    ]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    if errors:
        raise errors[0]
    return list(results)  # What comes later changes nothing.
