"""Rows of campaigns: which run one is, what it tells, and what makes a run wait anew."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from mobilekit.contract.codec import decode
from mobilekit.errors import ProtocolError
from mobilekit.records.campaign import OVER, AgentInfo, Campaign, CampaignRun, PlacedRun
from mobilekit.records.measurement import Measurement
from mobilekit.results.schema import campaign_runs_table
from mobilekit.results.store import PendingRun

RUNS = campaign_runs_table.c
IS_OPEN = RUNS.state.not_in(OVER)


class RunId(NamedTuple):
    """One attempt at one run."""

    campaign: str
    key: str
    attempt: int


class Taken(NamedTuple):
    """A run whose phone is its own now."""

    placed: PlacedRun


class BegunRuns(NamedTuple):
    """What was started on a phone for a run of a campaign, by whatever attempt and host."""

    pending: tuple[PendingRun, ...]
    """In the order in which they were started."""
    stored: tuple[Measurement, ...]
    """Those that somebody has collected and stored since."""


Refused = Literal["busy", "over"]
"""``busy``: somebody else has the phone; ``over``: nobody wants this attempt any more."""


def select_runs(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*(RUNS[name] for name in CampaignRun.__struct_fields__), *more)


def is_run(run: RunId) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return RUNS.campaign == run.campaign, RUNS.key == run.key


def anew(attempt: object) -> dict[str, object]:
    """What makes a run wait as another attempt."""
    return {"state": "queued", "attempt": attempt, "deaths": 0, "detail": "", "started_s": None}


def wait_anew(connection: sa.Connection, run: RunId, **changed: object) -> RunId | None:
    """Have an attempt wait as the next one; ``None``: it is over, or is not the newest."""
    updated = connection.execute(
        campaign_runs_table.update()
        .where(*is_run(run), RUNS.attempt == run.attempt, IS_OPEN)
        .values(**anew(run.attempt + 1), **changed)
    )
    return run._replace(attempt=run.attempt + 1) if updated.rowcount == 1 else None


def decode_campaign(document: bytes) -> Campaign:
    campaign: Campaign = decode(document, Campaign, source="the stored campaign")
    return campaign


def decode_placed(document: bytes) -> PlacedRun:
    placed: PlacedRun = decode(document, PlacedRun, source="the stored run of a campaign")
    return placed


def decode_agent(document: bytes, name: str, place: str) -> AgentInfo:
    """What another mobilekit says of itself may be no news to this one; that it lives is."""
    try:
        info: AgentInfo = decode(document, AgentInfo, source="the stored agent")
    except ProtocolError:
        return AgentInfo(
            name=name, place=place, pid=0, mobilekit_version="another", started_at="", offers=()
        )
    return info
