"""Carry a database of an older schema over to today's.

A migration makes today's tables anew from the old ones' documents, each taken through the steps
from its version on. A step is pure, works on plain JSON and imports no record, so that it stays
true when records change; what comes out of the last is decoded as today's record, strictly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from mobilekit.contract.codec import encode
from mobilekit.contract.samples import interrupted
from mobilekit.errors import ProtocolError, StoreError
from mobilekit.results.migrations import to_2, to_3
from mobilekit.results.schema import (
    TABLES,
    Row,
    decode_gain,
    decode_gauge,
    decode_measurement,
    decode_meter,
    decode_pending,
    decode_tag,
    device_row,
    measurement_row,
    meter_row,
    pending_row,
    tag_row,
    version_table,
)
from mobilekit.results.version import SCHEMA_VERSION

STEPS = (to_2.STEPS, to_3.STEPS)
"""For each version from 1 on, by table, what makes the next one's row of it: ``document`` is plain
JSON, the other columns are as they were. A table that a step does not name stays as it is."""


def _measurement_row(document: bytes) -> Row:
    """One whose result has values that are out of today's ranges is kept as it is, and found as the
    others are: whoever reads it is told of them. Raises ``ProtocolError`` where more is wrong."""
    try:
        return measurement_row(decode_measurement(document))
    except ProtocolError:
        told = msgspec.json.decode(document)
        bare = interrupted(told["id"], [], "its values are out of range", "internal")
        row = measurement_row(decode_measurement(encode({**told, "result": bare})))
        return {**row, "document": document}


_TODAYS_ROWS: dict[str, Callable[[bytes], Row]] = {
    "measurements": _measurement_row,
    "meter_results": lambda document: meter_row(decode_meter(document)),
    "tags": lambda document: tag_row(decode_tag(document)),
    "pending_runs": lambda document: pending_row(*decode_pending(document)),
    "gauges": lambda document: device_row(decode_gauge(document)),
    "gauge_gains": lambda document: device_row(decode_gain(document)),
}


def read_version(connection: sa.Connection) -> int | None:
    """``None``: there is no store in this database yet.

    Raises ``StoreError`` for one with a view in the place of a table: reading it may never end.
    """
    inspector = sa.inspect(connection)
    views = TABLES.tables.keys() & inspector.get_view_names()
    if views:
        raise StoreError(
            f"That is no results database of mobilekit's: {min(views)} is a view",
            url=connection.engine.url.render_as_string(hide_password=True),
            fix="Check --store or MOBILEKIT_STORE.",
        )
    if not inspector.has_table(version_table.name):
        return None
    version: int | None = connection.scalar(sa.select(sa.func.max(version_table.c.version)))
    # What made the tables was ended before it could say of which version they are.
    return 1 if version is None else version


def make_tables(connection: sa.Connection) -> None:
    """Those of a new store."""
    TABLES.create_all(connection, checkfirst=False)
    connection.execute(version_table.insert().values(version=SCHEMA_VERSION))


def migrate(connection: sa.Connection, version: int) -> None:
    """Within the transaction of ``connection``, which is undone by an error.

    Raises ``StoreError`` for a row of which no record of today can be made.
    """
    old_tables = _set_aside(connection, version)
    version_table.drop(connection)
    make_tables(connection)
    for name, old in old_tables.items():
        columns = sa.Table(old, sa.MetaData(), autoload_with=connection).c
        key = columns.id if "id" in columns else columns.number
        # One row at a time, since one can be of megabytes.
        for value in connection.scalars(sa.select(key).order_by(key)).all():
            row = connection.execute(sa.select(*columns).where(key == value)).mappings().one()
            todays = _todays_row(name, dict(row), version, value)
            connection.execute(TABLES.tables[name].insert().values(todays))
        connection.execute(sa.text(f"DROP TABLE {old}"))


def _set_aside(connection: sa.Connection, version: int) -> dict[str, str]:
    """Rename the old tables, and drop their indexes, whose names today's take; each table's name
    now, by its own."""
    inspector = sa.inspect(connection)
    aside = {}
    for name in _TODAYS_ROWS:
        if inspector.has_table(name):
            for index in inspector.get_indexes(name):
                connection.execute(sa.text(f"DROP INDEX {index['name']}"))
            aside[name] = f"{name}_{version}"
            connection.execute(sa.text(f"ALTER TABLE {name} RENAME TO {aside[name]}"))
    return aside


def _todays_row(table: str, row: Row, version: int, key: object) -> Row:
    try:
        row["document"] = msgspec.json.decode(bytes(row["document"]))
        for step in STEPS[version - 1 :]:
            row = step.get(table, _unchanged)(row)
        return _TODAYS_ROWS[table](msgspec.json.encode(row["document"]))
    except (msgspec.DecodeError, ProtocolError, LookupError, TypeError, AttributeError) as error:
        reason = error.what if isinstance(error, ProtocolError) else repr(error)
        raise StoreError(
            f"The results database cannot be carried over from schema version {version} to "
            f"{SCHEMA_VERSION}: {reason}",
            table=table,
            row=key,
            fix="Nothing in it was changed; the mobilekit that wrote it reads it.",
        ) from None


def _unchanged(row: dict[str, Any]) -> dict[str, Any]:
    return row
