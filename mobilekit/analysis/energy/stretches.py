"""Stretches: windows one after the other, idle first and last, without a plugged sample."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.contract.protocol import Window
from mobilekit.units import NS_PER_S

MAX_GAP_S = 1.0
"""Between two windows of a stretch; what the phone did in a longer one is not known."""


def find_stretches(windows: Sequence[Window]) -> list[list[Window]]:
    """The runs of complete idle-load-idle blocks without a plugged sample.

    A window in which any sample is plugged belongs to none, and ends the stretch; so do a gap in
    time and an idle window after an idle one, with which the windows begin again.
    """
    stretches: list[list[Window]] = []
    current: list[Window] = []
    for window in windows:
        if any(sample.plugged for sample in window.battery):
            stretches.append(current)
            current = []
            continue
        if current and not _continues(current[-1], window):
            stretches.append(current)
            current = []
        if current or window.kind == "idle":
            current.append(window)
    stretches.append(current)
    whole = [stretch[: len(stretch) - (len(stretch) + 1) % 2] for stretch in stretches]
    return [
        stretch
        for stretch in whole
        if len(stretch) >= 3 and all(window.iterations > 0 for window in stretch[1::2])
    ]


def _continues(before: Window, after: Window) -> bool:
    gap_s = (after.started_ns - before.ended_ns) / NS_PER_S
    return before.kind != after.kind and 0 <= gap_s <= MAX_GAP_S
