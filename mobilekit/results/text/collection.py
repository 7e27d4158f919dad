"""Runs that are waited for, for people."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.records.measurement import WaitingRun
from mobilekit.results.listing import waiting_table
from mobilekit.results.tables.text import render_text

_ADVICE = {
    "not attached": "Attach the phone, then collect again; --forget ID gives a run up.",
    "not on its phone": "The phone has nothing of it any more; --forget ID gives it up.",
    "running": "Pull the cable again and collect later, or follow it with --wait.",
    "waiting": "It begins by itself when the runs before it are over.",
    "left to itself": "It goes on: pull the cable again and collect later.",
    "followed by another mobilekit": "Wait until the other one is done.",
}


def render_waiting(runs: Sequence[WaitingRun]) -> str:
    """What could not be collected, a run a line, and what to do about it."""
    if not runs:
        return "No run is waiting to be collected."
    lines = [_ADVICE[why] for why in sorted({run.why for run in runs})]
    return "\n".join([render_text(waiting_table(runs)), *lines])
