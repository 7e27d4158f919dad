"""Campaigns of tests: plans, placed runs, and hosts that measure nothing."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import sqlalchemy as sa
from examples import measured
from msgspec.structs import replace

from mobilekit.campaign.expand import expand
from mobilekit.campaign.file import parse_plan
from mobilekit.records.campaign import Campaign, Outcome, PlacedRun

TOML = """
models = [{models}]
devices = [{devices}]
repeats = {repeats}
seed = 1
"""


def make_plan(models=("m1", "m2"), phones=("a", "b"), repeats=1):
    text = TOML.format(
        models=", ".join(f'"{each}"' for each in models),
        devices=", ".join(f'"{each}"' for each in phones),
        repeats=repeats,
    )
    return parse_plan(text.encode(), Path("/nowhere/test.toml"))


def make_campaign(plan, id="test-1", host=lambda phone: "desk1"):
    """A campaign and its runs, each on the phone of its device's name."""
    campaign = Campaign(
        id=id, started_at="2026-11-28T00:00:00+00:00", planned_on="desk1", plan=plan
    )
    placed = [
        PlacedRun(
            run=run,
            host=host(run.device),
            phone=run.device,
            computes_here=False,
            artifact=None,
        )
        for run in expand(plan)
    ]
    return campaign, placed


def outcome_of(run, state="done"):
    """A result that says which attempt it is of."""
    made = replace(
        _measured(), id=f"{run.key}-{run.attempt}", campaign=run.campaign, started_at=now_text()
    )
    return Outcome(
        state=state,
        measurements=(made,),
        detail="",
    )


@functools.cache
def _measured():
    """Made once: it reads profiles, which is no part of what a campaign costs."""
    return measured()


def of_another_mobilekit(campaigns, table, **which):
    """Give a stored document a field that this mobilekit does not know."""
    rows = [table.c[name] == value for name, value in which.items()]
    with campaigns._database.writing() as connection:
        document = connection.scalar(sa.select(table.c.document).where(*rows))
        newer = document.replace(b"{", b'{"of_tomorrow":1,', 1)
        connection.execute(table.update().where(*rows).values(document=newer))


def now_text():
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
