"""The code that runs while latencies are measured: all of it."""

from __future__ import annotations

import gc
from collections.abc import Callable

UNLIMITED_NS = 2**63 - 1


def iterate(
    execute: Callable[[], object],
    clock_ns: Callable[[], int],
    *,
    min_iterations: int,
    min_duration_ns: int,
    max_duration_ns: int,
) -> list[int]:
    """The timed loop: latencies in nanoseconds, in time order.

    Ends when ``min_iterations`` and ``min_duration_ns`` are both reached, or ``max_duration_ns``.
    The garbage collector rests, and bookkeeping lies outside each timed interval.
    """
    latency_ns: list[int] = []
    add = latency_ns.append
    gc.collect()
    gc.disable()
    try:
        loop_started_ns = clock_ns()
        while True:
            started_ns = clock_ns()
            execute()
            ended_ns = clock_ns()
            add(ended_ns - started_ns)
            elapsed_ns = ended_ns - loop_started_ns
            if elapsed_ns >= max_duration_ns or (
                elapsed_ns >= min_duration_ns and len(latency_ns) >= min_iterations
            ):
                return latency_ns
    finally:
        gc.enable()
