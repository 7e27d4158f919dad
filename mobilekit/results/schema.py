"""The store's tables: each row holds a record whole, as JSON, and columns to find it by.

The documents are the truth. Columns are derived from them, here and nowhere else, so that another
version's tables can be made from its documents alone.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from mobilekit.analysis.energy.gauge import Overrides
from mobilekit.analysis.predict.stored import latency_of
from mobilekit.contract.codec import decode, encode
from mobilekit.records.energy import GaugeGain, GaugeOutcome
from mobilekit.records.measurement import Measurement, Tag
from mobilekit.records.meter import MeterResult

TABLES = sa.MetaData()


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    """A column that is searched."""
    return sa.Column(name, sa.String(length), nullable=nullable, index=True)


def _document() -> sa.Column[bytes]:
    return sa.Column("document", sa.LargeBinary, nullable=False)


version_table = sa.Table(
    "mobilekit_schema", TABLES, sa.Column("version", sa.Integer, primary_key=True)
)
measurements_table = sa.Table(
    "measurements",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    _text("started_at", 40),
    _text("purpose", 20),
    _text("model", 200),
    _text("precision", 20),
    _text("format", 20),
    _text("device", 200),
    _text("device_key", 200),
    _text("host", 200, nullable=True),
    _text("campaign", 200, nullable=True),
    sa.Column("virtual", sa.Boolean, nullable=False),
    sa.Column("has_windows", sa.Boolean, nullable=False),
    # A part of the document: predictions read that of every row, and a document is large.
    sa.Column("latency", sa.LargeBinary, nullable=True),
    _document(),
)
meter_table = sa.Table(
    "meter_results",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    _text("imported_at", 40),
    _text("model", 200, nullable=True),
    _text("device", 200, nullable=True),
    _text("plane", 20),
    _document(),
)
tags_table = sa.Table(
    "tags",
    TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _text("result_id", 64),
    _text("tag", 40),
    _document(),
)
pending_table = sa.Table(
    "pending_runs",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    _text("started_at", 40),
    _text("purpose", 20),
    _text("device_key", 200),
    _text("host", 200, nullable=True),
    _text("campaign", 200, nullable=True),
    _document(),
)
campaigns_table = sa.Table(
    "campaigns",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    _text("started_at", 40),
    _document(),
)
campaign_runs_table = sa.Table(
    "campaign_runs",
    TABLES,
    sa.Column("campaign", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(120), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("phone", sa.String(300), nullable=False),
    sa.Column("result_id", sa.String(64), nullable=True, unique=True),
    sa.Column("detail", sa.String(500), nullable=False),
    # On the store's own clock, in seconds since 1970: hosts' clocks may differ.
    sa.Column("started_s", sa.Float(53), nullable=True),
    sa.Column("ended_s", sa.Float(53), nullable=True),
    _document(),
    sa.Index("campaign_runs_by_state", "campaign", "state"),
    sa.Index("campaign_runs_by_end", "campaign", "ended_s"),
    # Who looks after a host's runs asks every half second.
    sa.Index("campaign_runs_by_host", "host", "state"),
)
begun_runs_table = sa.Table(
    "campaign_runs_begun",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("key", sa.String(120), nullable=False),
    sa.Index("campaign_runs_begun_by_run", "campaign", "key"),
)
"""The ids of runs that were started on a phone for a run of a campaign that has not taken place:
whichever host has the phone then takes them up."""
leases_table = sa.Table(
    "phone_leases",
    TABLES,
    sa.Column("phone", sa.String(300), primary_key=True),
    _text("holder", 300),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("key", sa.String(120), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("until_s", sa.Float(53), nullable=False),
)
agents_table = sa.Table(
    "agents",
    TABLES,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("token", sa.String(64), nullable=False),
    sa.Column("place", sa.String(500), nullable=False),
    sa.Column("beat_s", sa.Float(53), nullable=False),
    _document(),
)
shared_files_table = sa.Table(
    "shared_files",
    TABLES,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""Files of exported networks for other hosts, each by its content's hash."""


def _device_table(name: str) -> sa.Table:
    """What was found out about devices: every finding is kept, and the newest counts."""
    return sa.Table(
        name,
        TABLES,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        _text("device", 200),
        sa.Column("measured_at", sa.String(40), nullable=False),
        _document(),
    )


gauges_table, gains_table = _device_table("gauges"), _device_table("gauge_gains")

Row = dict[str, Any]


def measurement_row(measurement: Measurement) -> Row:
    latency = latency_of(measurement)
    return {
        "id": measurement.id,
        "started_at": measurement.started_at,
        "purpose": measurement.purpose,
        "model": measurement.artifact.model.name,
        "precision": measurement.artifact.precision,
        "format": measurement.artifact.file.format,
        "device": measurement.device.name,
        "device_key": measurement.device.key,
        "host": measurement.host.name,
        "campaign": measurement.campaign,
        "virtual": measurement.virtual,
        "has_windows": bool(measurement.result.samples.windows),
        "latency": None if latency is None else encode(latency),
        "document": encode(measurement),
    }


def meter_row(result: MeterResult) -> Row:
    return {
        "id": result.id,
        "imported_at": result.imported_at,
        "model": result.model,
        "device": result.profile.name if result.profile is not None else None,
        "plane": result.estimate.plane,
        "document": encode(result),
    }


def tag_row(tag: Tag) -> Row:
    return {"result_id": tag.result_id, "tag": tag.tag, "document": encode(tag)}


def pending_row(measurement: Measurement, overrides: Overrides) -> Row:
    """Of a run that was started, with what a person set for the calibration that it is."""
    return {
        "id": measurement.id,
        "started_at": measurement.started_at,
        "purpose": measurement.purpose,
        "device_key": measurement.device.key,
        "host": measurement.host.name,
        "campaign": measurement.campaign,
        "document": encode((measurement, overrides)),
    }


def device_row(found: GaugeOutcome | GaugeGain) -> Row:
    return {
        "device": found.device,
        "measured_at": found.measured_at,
        "document": encode(found),
    }


def decode_measurement(document: bytes) -> Measurement:
    measurement: Measurement = decode(document, Measurement, source="the stored result")
    return measurement


def decode_meter(document: bytes) -> MeterResult:
    result: MeterResult = decode(document, MeterResult, source="the stored import of a trace")
    return result


def decode_tag(document: bytes) -> Tag:
    tag: Tag = decode(document, Tag, source="the stored tag")
    return tag


def decode_pending(document: bytes) -> tuple[Measurement, Overrides]:
    pending: tuple[Measurement, Overrides] = decode(
        document, tuple[Measurement, Overrides], source="the stored pending run"
    )
    return pending


def decode_gauge(document: bytes) -> GaugeOutcome:
    found: GaugeOutcome = decode(document, GaugeOutcome, source="the stored gauge")
    return found


def decode_gain(document: bytes) -> GaugeGain:
    gain: GaugeGain = decode(document, GaugeGain, source="the stored gain")
    return gain
