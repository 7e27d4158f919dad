"""Campaigns in words: how one stands, and each run of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from mobilekit.records.campaign import OVER, Campaign, CampaignRun, RunState
from mobilekit.results.tables.cells import Column, Number, make_table
from mobilekit.results.tables.text import render_text

SHOWN_FAILURES = 20
STATES: tuple[RunState, ...] = ("done", "failed", "stopped", "running", "stopping", "queued")


def render_campaign(
    campaign: Campaign,
    runs: Sequence[CampaignRun],
    *,
    all_runs: bool = False,
    width: int | None = None,
) -> str:
    """Counts by phone; then what is under way and what failed or, as asked, every run."""
    counts = Counter(run.state for run in runs)
    states = [state for state in STATES if counts[state]]
    told = ", ".join(f"{counts[state]} {state}" for state in states) or "no runs"
    plan = campaign.plan
    lines = [
        f"{campaign.id} · {plan.preset} · {len(runs)} runs: {told}",
        f"begun {campaign.started_at[:16].replace('T', ' ')} UTC on {campaign.planned_on}, "
        f"in the random order of seed {plan.seed}",
        "",
    ]
    by_phone: dict[str, list[CampaignRun]] = defaultdict(list)
    for run in runs:
        by_phone[run.phone].append(run)
    table = make_table(
        ("phone", "host", *(Column(state, holds="numbers") for state in states)),
        (
            (
                phone,
                theirs[0].host,
                *(Number(sum(run.state == state for run in theirs), "count") for state in states),
            )
            for phone, theirs in sorted(by_phone.items())
        ),
    )
    lines.append(render_text(table, width))
    begun = [run for run in runs if run.state in ("running", "stopping")]
    failed = [run for run in runs if run.state == "failed"]
    if all_runs:
        lines += ["", *(describe_run(run) for run in runs)]
    else:
        if begun:
            lines += ["", *(describe_run(run) for run in begun)]
        if failed:
            lines += ["", *(describe_run(run) for run in failed[:SHOWN_FAILURES])]
        if len(failed) > SHOWN_FAILURES:
            more = len(failed) - SHOWN_FAILURES
            lines.append(f"... and {more} more that failed: `campaign status --all`")
    return "\n".join(lines)


def describe_run(run: CampaignRun) -> str:
    """``done nin-nexus7-fp32-1-1c7f0a92 on nexus7 in 12 s: nin-nexus7-...``."""
    words = [run.state, run.key, "on", run.phone]
    if run.started_s is not None and run.ended_s is not None and run.state in OVER:
        words.append(f"in {max(0.0, run.ended_s - run.started_s):.0f} s")
    told = [each for each in (run.result_id, run.detail) if each]
    return " ".join(words) + (f": {' '.join(told)}" if told else "")


def describe_total(ended: int, total: int, spent_s: float, *, more_phones: int = 0) -> str:
    """Of a campaign that goes on: ``12 of 60 runs, 4 min``."""
    more = f"{more_phones} phones more; " if more_phones else ""
    spent = f"{spent_s:.0f} s" if spent_s < 120 else f"{spent_s / 60:.0f} min"
    return f"{more}{ended} of {total} runs, {spent}"
