"""Every measurement, saved the moment it exists: one row each, the record whole as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mobilekit import places
from mobilekit.analysis.energy.gauge import NO_OVERRIDES, Overrides
from mobilekit.contract.codec import decode, encode
from mobilekit.contract.samples import was_lost
from mobilekit.errors import StoreError, UsageError
from mobilekit.records.energy import GaugeFound, GaugeGain
from mobilekit.records.measurement import Measurement

# Of the tables and of the records in them. History: 1: first; 2: profiles, queues, evaluations and
# what calibration finds.
SCHEMA_VERSION = 2
OPEN_TRIES, OPEN_PAUSE_S = 10, 0.05
LOCK_TIMEOUT_S = 30
"""How long a save waits for another process that writes to the same SQLite file."""

_tables = sa.MetaData()
_schema = sa.Table("mobilekit_schema", _tables, sa.Column("version", sa.Integer, primary_key=True))
_measurements = sa.Table(
    "measurements",
    _tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("started_at", sa.String(40), nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("device", sa.String(200), nullable=False),
    sa.Column("virtual", sa.Boolean, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)


def _device_table(name: str) -> sa.Table:
    """What was found out about devices: every finding is kept, and the newest counts."""
    return sa.Table(
        name,
        _tables,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("device", sa.String(200), nullable=False, index=True),
        sa.Column("measured_at", sa.String(40), nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )


_gauges, _gains = _device_table("gauges"), _device_table("gauge_gains")
_pending = sa.Table(
    "pending_runs",
    _tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("purpose", sa.String(20), nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)


class PendingRun(NamedTuple):
    """A run that was started on a phone and whose result has not been stored yet."""

    measurement: Measurement
    """With a failure that holds no samples in the place of the result."""
    overrides: Overrides = NO_OVERRIDES
    """A person's own word for what a calibration finds."""


def open_to_read(given: str | None) -> Store:
    """The store at the URL that a person gave, or the default one; nothing is made.

    The default one is empty as long as nothing was stored. Raises ``StoreError`` for a given URL
    of no database.
    """
    url = given or places.store_url()
    file = _sqlite_file(url)
    if file is None or file.exists():
        return Store(url)
    if given is None:
        return Store("sqlite://")
    raise StoreError(
        "There is no such results database",
        url=url,
        fix="Check --store or MOBILEKIT_STORE; the first measurement that is stored there makes "
        "it.",
    )


def _sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; of others and of one in memory, ``None``."""
    with suppress(ArgumentError):
        parsed = sa.make_url(url)
        name = parsed.database or ":memory:"
        if parsed.get_backend_name() == "sqlite" and not name.startswith((":memory:", "file:")):
            return Path(name)
    return None


class Store:
    """The results database at an SQLAlchemy URL, opened and checked before anything is measured."""

    def __init__(self, url: str) -> None:
        """Raises ``StoreError`` for a URL or database that cannot be used."""
        self._url = url
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, ":memory:"):
                Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            waiting = {"timeout": LOCK_TIMEOUT_S} if parsed.get_backend_name() == "sqlite" else {}
            self._engine = sa.create_engine(parsed, connect_args=waiting)
        except (ArgumentError, NoSuchModuleError, ImportError, OSError) as error:
            raise self._error(error) from None
        version = self._prepare_with_others()
        if version not in (None, SCHEMA_VERSION):
            raise StoreError(
                f"The results database has schema version {version}, not {SCHEMA_VERSION}",
                url=self._shown_url,
                fix="Move it away, use the mobilekit that wrote it, or another database: --store.",
            )

    def _prepare_with_others(self) -> int | None:
        """``_prepare``, tried again where others make the same tables at the same time."""
        for _ in range(OPEN_TRIES - 1):
            with suppress(StoreError):
                return self._prepare()
            time.sleep(OPEN_PAUSE_S)
        return self._prepare()

    def _prepare(self) -> int | None:
        """Make what is missing; the schema's version that was there."""
        with self._begin() as connection:
            _tables.create_all(connection)
            version: int | None = connection.scalar(sa.select(sa.func.max(_schema.c.version)))
            if version is None:
                connection.execute(_schema.insert().values(version=SCHEMA_VERSION))
            return version

    def save(self, measurement: Measurement) -> None:
        """Add one measurement; all of it or nothing.

        It replaces what was stored when the phone of the same run was lost. Its run is pending no
        longer, unless its phone was lost.
        """
        with self._begin() as connection:
            same = _measurements.c.id == measurement.id
            stored = connection.scalar(sa.select(_measurements.c.document).where(same))
            if stored is not None and was_lost(self._decode(stored).result):
                connection.execute(_measurements.delete().where(same))
            if not was_lost(measurement.result):
                connection.execute(_pending.delete().where(_pending.c.id == measurement.id))
            connection.execute(
                _measurements.insert().values(
                    id=measurement.id,
                    started_at=measurement.started_at,
                    model=measurement.artifact.model.name,
                    device=measurement.device.name,
                    virtual=measurement.virtual,
                    document=encode(measurement),
                )
            )

    def add_pending(self, run: PendingRun) -> None:
        """Remember a run before it is started, so that its result can be collected later."""
        with self._begin() as connection:
            connection.execute(
                _pending.insert().values(
                    id=run.measurement.id,
                    purpose=run.measurement.purpose,
                    document=encode((run.measurement, run.overrides)),
                )
            )

    def list_pending(self) -> list[PendingRun]:
        """In the order of their ids."""
        query = sa.select(_pending.c.document).order_by(_pending.c.id)
        with self._begin() as connection:
            rows = connection.scalars(query).all()
        pending = []
        for row in rows:
            measurement, overrides = decode(
                row, tuple[Measurement, Overrides], source="the stored pending run"
            )
            pending.append(PendingRun(measurement, overrides))
        return pending

    def forget_pending(self, run_id: str) -> None:
        """Raises ``UsageError`` for a run that is not pending."""
        with self._begin() as connection:
            done = connection.execute(_pending.delete().where(_pending.c.id == run_id))
        if not done.rowcount:
            raise UsageError(
                f"No run {run_id!r} is waiting to be collected",
                fix="`mobilekit collect` lists those that are.",
            )

    def list_measurements(self, model: str | None = None, limit: int = 50) -> list[Measurement]:
        """The newest first."""
        query = sa.select(_measurements.c.document).order_by(_measurements.c.started_at.desc())
        if model is not None:
            query = query.where(_measurements.c.model == model)
        with self._begin() as connection:
            rows = connection.scalars(query.limit(limit)).all()
        return [self._decode(row) for row in rows]

    def find(self, measurement_id: str) -> Measurement | None:
        """The measurement of exactly this id."""
        query = sa.select(_measurements.c.document).where(_measurements.c.id == measurement_id)
        with self._begin() as connection:
            document = connection.scalar(query)
        return None if document is None else self._decode(document)

    def read(self, measurement_id: str) -> Measurement:
        """The measurement of this id or, where only one has it, this beginning of an id.

        ``last`` is the newest. Raises ``UsageError`` for none and for several.
        """
        if measurement_id == "last":
            newest = self.list_measurements(limit=1)
            if newest:
                return newest[0]
            raise UsageError(
                "There are no results yet", fix="`mobilekit deploy nin --device nexus7` makes one."
            )
        query = sa.select(_measurements.c.id, _measurements.c.document).where(
            _measurements.c.id.startswith(measurement_id, autoescape=True)
        )
        with self._begin() as connection:
            rows = connection.execute(query.limit(5)).all()
        exact = [row for row in rows if row.id == measurement_id] or rows
        if len(exact) == 1:
            return self._decode(exact[0].document)
        if exact:
            raise UsageError(
                f"Several results begin with {measurement_id!r}",
                ids=", ".join(row.id for row in exact),
                fix="Give more of the id.",
            )
        raise UsageError(
            f"There is no result {measurement_id!r}", fix="`mobilekit results list` shows all."
        )

    def save_gauge(self, found: GaugeFound) -> None:
        """Add what a calibration run found; a refusal takes the place of an older verdict."""
        self._save_of_device(_gauges, found)

    def read_gauge(self, device: str) -> GaugeFound | None:
        """The newest of this ``DeviceInfo.gauge_key``."""
        found = self.list_gauges(device)
        return found[0] if found else None

    def list_gauges(self, device: str) -> list[GaugeFound]:
        """All that was found of this device, the newest first."""
        return [
            decode(row, GaugeFound, source="the stored gauge")
            for row in self._documents_of_device(_gauges, device)
        ]

    def save_gain(self, gain: GaugeGain) -> None:
        """Add the comparison of a device's gauge with an external meter."""
        self._save_of_device(_gains, gain)

    def read_gain(self, device: str) -> GaugeGain | None:
        """The newest of this device key."""
        rows = self._documents_of_device(_gains, device)
        if not rows:
            return None
        gain: GaugeGain = decode(rows[0], GaugeGain, source="the stored gain")
        return gain

    def _save_of_device(self, table: sa.Table, found: GaugeFound | GaugeGain) -> None:
        with self._begin() as connection:
            connection.execute(
                table.insert().values(
                    device=found.device, measured_at=found.measured_at, document=encode(found)
                )
            )

    def _documents_of_device(self, table: sa.Table, device: str) -> list[bytes]:
        query = sa.select(table.c.document).where(table.c.device == device)
        with self._begin() as connection:
            return list(connection.scalars(query.order_by(table.c.number.desc())).all())

    def _decode(self, document: bytes | str) -> Measurement:
        measurement: Measurement = decode(document, Measurement, source="the stored result")
        return measurement

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._error(error) from None

    @property
    def _shown_url(self) -> str:
        """Without its password."""
        try:
            return sa.make_url(self._url).render_as_string(hide_password=True)
        except ArgumentError:
            return self._url

    def _error(self, error: Exception) -> StoreError:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return StoreError(
            f"The results database cannot be used: {reason}",
            url=self._shown_url,
            fix="Check --store or MOBILEKIT_STORE; it takes an SQLAlchemy URL such as "
            "sqlite:///results.sqlite.",
        )
