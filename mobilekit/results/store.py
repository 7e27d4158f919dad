"""Every measurement, saved the moment it exists: one row each, the record whole as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Union

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mobilekit import places
from mobilekit.analysis.energy.gauge import NO_OVERRIDES, Overrides
from mobilekit.analysis.predict.stored import decode_latency
from mobilekit.contract.samples import was_lost
from mobilekit.errors import DamagedResultError, ProtocolError, StoreError, UsageError
from mobilekit.records.energy import GaugeGain, GaugeOutcome
from mobilekit.records.measurement import Measurement, Tag
from mobilekit.records.meter import MeterResult
from mobilekit.records.prediction import StoredLatency
from mobilekit.results.database import Database
from mobilekit.results.migrations.chain import make_tables, migrate, read_version
from mobilekit.results.schema import (
    decode_gain,
    decode_gauge,
    decode_measurement,
    decode_meter,
    decode_pending,
    decode_tag,
    device_row,
    gains_table,
    gauges_table,
    measurement_row,
    measurements_table,
    meter_row,
    meter_table,
    pending_row,
    pending_table,
    tag_row,
    tags_table,
)
from mobilekit.results.version import SCHEMA_VERSION

SHOWN_IDS = 5
"""Of those that begin like an id that was given."""


LAST = "last"
"""In place of an id: the newest."""
StoredResult = Union[Measurement, MeterResult]
_WHEN = {measurements_table: "started_at", meter_table: "imported_at"}
"""The tables of results, and the column of each that tells which is newer."""


def _undamaged(measurement_id: str, document: bytes) -> Measurement:
    with _told_by_id(measurement_id, document):
        return decode_measurement(document)


def _is_partial(document: bytes) -> bool:
    """Whether it is of a run whose phone was lost; what cannot be read is no more than that."""
    try:
        return was_lost(decode_measurement(document).result)
    except ProtocolError:
        return True


@contextmanager
def _told_by_id(result_id: str, document: bytes, *, fix: str | None = None) -> Iterator[None]:
    """Raises ``DamagedResultError`` for a document that is not what this mobilekit has written."""
    try:
        yield
    except ProtocolError as error:
        raise DamagedResultError(
            f"A stored result is damaged: {error.what}",
            document=document,
            id=result_id,
            fix=fix
            or f"`mobilekit results export {result_id}` writes what there is of it, and `mobilekit "
            f"results delete {result_id}` removes it; the others are whole.",
        ) from None


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
    place = given or places.default_store()
    file = Database(place).file
    if file is None or file.exists():
        return Store(place)
    if isinstance(place, Path):
        return Store("sqlite://")
    raise StoreError(
        "There is no such results database",
        url=place,
        fix="Check --store or MOBILEKIT_STORE; storing a measurement there makes it.",
    )


def save_measurement(connection: sa.Connection, measurement: Measurement) -> bool:
    """As ``Store.save``, within a transaction of others, but for what is pending; ``False``: it is
    there already, and whole, and what is stored stays."""
    row = measurement_row(measurement)
    inserting = insert_or_not(connection.dialect, measurements_table)
    once = inserting.on_conflict_do_nothing().returning(measurements_table.c.id)
    if connection.execute(once, row).first() is not None:
        return True
    # Locked: of two that would replace what is partial the second one finds the first one's.
    query = sa.select(measurements_table.c.document).with_for_update()
    stored = connection.scalar(query.where(measurements_table.c.id == measurement.id))
    if stored is not None and not _is_partial(stored):
        return False
    connection.execute(inserting.values(row).on_conflict_do_update(index_elements=["id"], set_=row))
    return True


def insert_or_not(dialect: sa.Dialect, table: sa.Table) -> Any:
    """An insertion that can say what is to become of a row that is there."""
    is_postgres = dialect.name == "postgresql"
    return (postgresql if is_postgres else sqlite).insert(table)


def insert_pending(connection: sa.Connection, run: PendingRun) -> None:
    """As ``Store.add_pending``, within a transaction of others."""
    connection.execute(pending_table.insert().values(pending_row(run.measurement, run.overrides)))


class Store:
    """The results database at an SQLAlchemy URL or in an SQLite file.

    It is opened, checked and brought to today's schema before anything is measured.
    """

    def __init__(self, place: str | Path, *, keeps_connections: bool = True) -> None:
        """``keeps_connections``: ``False`` where very many processes use a server at once.

        Raises ``StoreError`` for a URL or database that cannot be used.
        """
        self._database = Database(place, most_connections=None if keeps_connections else 0)
        self._database.make_directory()
        with self._database.reading() as connection:
            version = read_version(connection)
        if version != SCHEMA_VERSION:
            self._refuse_newer(version)
            self._rebuild()

    def close(self) -> None:
        """Give its connections back."""
        self._database.close()

    def _rebuild(self) -> None:
        """Make the tables, or those of an older version anew."""
        with self._database.rebuilding() as connection:
            # Another process may have been first.
            version = read_version(connection)
            if version is None:
                make_tables(connection)
            elif version != SCHEMA_VERSION:
                self._refuse_newer(version)
                self._database.back_up(f"schema-{version}")
                migrate(connection, version)

    def _refuse_newer(self, version: int | None) -> None:
        if version is not None and version > SCHEMA_VERSION:
            raise StoreError(
                f"The results database has schema version {version}, and this mobilekit reads no "
                f"later one than {SCHEMA_VERSION}",
                url=self._database.shown_url,
                fix="Use the mobilekit that wrote it, or another database: --store.",
            )

    def check_writable(self) -> None:
        """Before anything is measured that could not be kept. Raises ``StoreError``."""
        self._database.try_writing()

    def save(self, measurement: Measurement) -> None:
        """Add one measurement; all of it or nothing.

        It replaces what was stored when the phone of the same run was lost. Its run is pending no
        longer, unless its phone was lost.
        """
        with self._database.writing() as connection:
            if not save_measurement(connection, measurement):
                raise self._database.error(f"{measurement.id} is stored already")
            if not was_lost(measurement.result):
                pending = pending_table.c.id
                connection.execute(pending_table.delete().where(pending == measurement.id))

    def add_pending(self, run: PendingRun) -> None:
        """Remember a run before it is started, so that its result can be collected later."""
        with self._database.writing() as connection:
            insert_pending(connection, run)

    def list_pending(self) -> list[PendingRun]:
        """In the order of their ids."""
        columns = pending_table.c
        query = sa.select(columns.id, columns.document).order_by(columns.id)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        runs = []
        for run_id, document in rows:
            with _told_by_id(
                run_id, document, fix=f"`mobilekit collect --forget {run_id}` gives it up."
            ):
                runs.append(PendingRun(*decode_pending(document)))
        return runs

    def forget_pending(self, run_id: str) -> None:
        """Raises ``UsageError`` for a run that is not pending."""
        with self._database.writing() as connection:
            done = connection.execute(pending_table.delete().where(pending_table.c.id == run_id))
        if not done.rowcount:
            raise UsageError(
                f"No run {run_id!r} is waiting to be collected",
                fix="`mobilekit collect` lists those that are.",
            )

    def iterate_measurements(self, model: str | None = None) -> Iterator[Measurement]:
        """The newest first, each read when it is asked for."""
        columns = measurements_table.c
        return self._iterate(() if model is None else (columns.model == model,))

    def energy_by_device(self, model: str) -> Iterator[Iterator[Measurement]]:
        """For each device, those of this model that were meant to tell its energy and have windows,
        the newest first, each read when it is asked for."""
        columns = measurements_table.c
        told = (
            columns.model == model,
            columns.purpose == "measure",
            columns.has_windows == sa.true(),
        )
        query = sa.select(columns.device_key).where(*told).distinct()
        with self._database.reading() as connection:
            keys = connection.scalars(query.order_by(columns.device_key)).all()
        return (self._iterate((*told, columns.device_key == key)) for key in keys)

    def energy_of_device(self, device: str) -> Iterator[Measurement]:
        """Those of a real phone, by its name or its key, that were meant to tell a network's energy
        and have windows, the newest first, each read when it is asked for."""
        columns = measurements_table.c
        return self._iterate(
            (
                sa.or_(columns.device == device, columns.device_key == device),
                columns.virtual == sa.false(),
                columns.purpose == "measure",
                columns.has_windows == sa.true(),
            )
        )

    def list_latencies(self) -> list[StoredLatency]:
        """Of all measurements that have one, the newest first; none is decoded whole."""
        columns = measurements_table.c
        query = sa.select(columns.latency).where(columns.latency.is_not(None))
        query = query.order_by(columns.started_at.desc(), columns.id.desc())
        with self._database.reading() as connection:
            documents = connection.scalars(query).all()
        return [decode_latency(document) for document in documents]

    def _iterate(self, conditions: Sequence[sa.ColumnElement[bool]]) -> Iterator[Measurement]:
        columns = measurements_table.c
        query = sa.select(columns.id).where(*conditions)
        query = query.order_by(columns.started_at.desc(), columns.id.desc())
        with self._database.reading() as connection:
            ids = connection.scalars(query).all()
        for measurement_id in ids:
            measurement = self.find(measurement_id)
            if measurement is not None:
                yield measurement

    def result_ids(
        self, *, model: str | None = None, tag: str | None = None, campaign: str | None = None
    ) -> list[str]:
        """Of measurements and imports of traces, the newest first; no import is of a campaign."""
        rows: list[tuple[str, str]] = []
        with self._database.reading() as connection:
            for table, when in _WHEN.items():
                query = sa.select(table.c[when], table.c.id)
                if campaign is not None:
                    if "campaign" not in table.c:
                        continue
                    query = query.where(table.c.campaign == campaign)
                if model is not None:
                    query = query.where(table.c.model == model)
                if tag is not None:
                    tagged = sa.select(tags_table.c.result_id).where(tags_table.c.tag == tag)
                    query = query.where(table.c.id.in_(tagged))
                rows += [(started_at, id) for started_at, id in connection.execute(query)]
        # SQLite keeps what it is given, whatever the column is of.
        in_order = sorted(rows, key=lambda row: (str(row[0]), str(row[1])), reverse=True)
        return [id for _, id in in_order]

    def find(self, measurement_id: str) -> Measurement | None:
        """The measurement of exactly this id."""
        columns = measurements_table.c
        query = sa.select(columns.document).where(columns.id == measurement_id)
        with self._database.reading() as connection:
            document = connection.scalar(query)
        return None if document is None else _undamaged(measurement_id, document)

    def read(self, measurement_id: str) -> Measurement:
        """The measurement of this id or, where only one has it, this beginning of an id.

        ``last`` is the newest. Raises ``UsageError`` for none, for several and for what is another
        kind of result.
        """
        if measurement_id == LAST:
            for newest in self.iterate_measurements():
                return newest
        result = self.read_result(measurement_id)
        if isinstance(result, Measurement):
            return result
        raise UsageError(
            f"{result.id} is an import of a meter's trace, and no measurement of a run",
            fix="`mobilekit results show` shows it; `mobilekit results list` lists both.",
        )

    def read_result(self, given: str) -> StoredResult:
        """As ``read``, of imports of traces too."""
        (result_id,) = self.resolve([given])
        result = self.find_result(result_id)
        assert result is not None
        return result

    def find_result(self, result_id: str) -> StoredResult | None:
        """The measurement or the import of exactly this id."""
        query = sa.select(meter_table.c.document).where(meter_table.c.id == result_id)
        with self._database.reading() as connection:
            document = connection.scalar(query)
        if document is None:
            return self.find(result_id)
        with _told_by_id(result_id, document):
            return decode_meter(document)

    def resolve(self, given: Sequence[str]) -> list[str]:
        """The whole ids, each once: of ids, of beginnings that only one has, and of ``last``.

        Raises ``UsageError`` for one that none or several begin with.
        """
        return list(dict.fromkeys(self._whole_id(each) for each in given))

    def _whole_id(self, given: str) -> str:
        if given == LAST:
            ids = self.result_ids()
            if ids:
                return ids[0]
            raise UsageError(
                "There are no results yet", fix="`mobilekit deploy nin --device nexus7` makes one."
            )
        ids = self._ids_beginning(given)
        if given in ids or len(ids) == 1:
            return given if given in ids else ids[0]
        if ids:
            more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
            raise UsageError(
                f"Several results begin with {given!r}",
                ids=", ".join(ids[:SHOWN_IDS]) + more,
                fix="Give more of the id.",
            )
        raise UsageError(
            f"There is no result {given!r}", fix="`mobilekit results list --all` shows all."
        )

    def _ids_beginning(self, beginning: str) -> list[str]:
        with self._database.reading() as connection:
            return sorted(
                id
                for table in _WHEN
                for id in connection.scalars(
                    sa.select(table.c.id).where(table.c.id.startswith(beginning, autoescape=True))
                )
            )

    def save_meter(self, result: MeterResult) -> None:
        """Add an import of a meter's trace."""
        with self._database.writing() as connection:
            connection.execute(meter_table.insert().values(meter_row(result)))

    def delete(self, result_ids: Sequence[str]) -> None:
        """Of these whole ids all or none, with their tags. What they told of a phone's gauge is
        kept with the phone."""
        with self._database.writing() as connection:
            for table in _WHEN:
                connection.execute(table.delete().where(table.c.id.in_(result_ids)))
            connection.execute(tags_table.delete().where(tags_table.c.result_id.in_(result_ids)))

    def tag(self, result_ids: Sequence[str], words: Sequence[str]) -> None:
        """Give each result each word; one that it has stays."""
        with self._database.writing() as connection:
            self._untag(connection, result_ids, words)
            for result_id in result_ids:
                for word in words:
                    tag = Tag(result_id=result_id, tag=word)
                    connection.execute(tags_table.insert().values(tag_row(tag)))

    def untag(self, result_ids: Sequence[str], words: Sequence[str]) -> None:
        """Take each word from each result that has it."""
        with self._database.writing() as connection:
            self._untag(connection, result_ids, words)

    def _untag(
        self, connection: sa.Connection, result_ids: Sequence[str], words: Sequence[str]
    ) -> None:
        columns = tags_table.c
        connection.execute(
            tags_table.delete().where(columns.result_id.in_(result_ids), columns.tag.in_(words))
        )

    def list_tags(self) -> dict[str, tuple[str, ...]]:
        """The words of each result that has any, in the order of the alphabet."""
        tags: dict[str, list[str]] = defaultdict(list)
        with self._database.reading() as connection:
            for document in connection.scalars(sa.select(tags_table.c.document)):
                tag = decode_tag(document)
                tags[tag.result_id].append(tag.tag)
        return {result_id: tuple(sorted(words)) for result_id, words in tags.items()}

    def save_gauge(self, found: GaugeOutcome) -> None:
        """Add what a calibration run found; a refusal takes the place of an older verdict."""
        self._save_of_device(gauges_table, found)

    def read_gauge(self, device: str) -> GaugeOutcome | None:
        """The newest of this ``DeviceInfo.gauge_key``."""
        found = self.list_gauges(device)
        return found[0] if found else None

    def list_gauges(self, device: str) -> list[GaugeOutcome]:
        """All that was found of this device, the newest first."""
        documents = self._documents_of_device(gauges_table, device)
        return [decode_gauge(document) for document in documents]

    def save_gain(self, gain: GaugeGain) -> None:
        """Add the comparison of a device's gauge with an external meter."""
        self._save_of_device(gains_table, gain)

    def read_gain(self, device: str) -> GaugeGain | None:
        """The newest of this device key."""
        documents = self._documents_of_device(gains_table, device)
        return decode_gain(documents[0]) if documents else None

    def _save_of_device(self, table: sa.Table, found: GaugeOutcome | GaugeGain) -> None:
        with self._database.writing() as connection:
            connection.execute(table.insert().values(device_row(found)))

    def _documents_of_device(self, table: sa.Table, device: str) -> list[bytes]:
        query = sa.select(table.c.document).where(table.c.device == device)
        with self._database.reading() as connection:
            return list(connection.scalars(query.order_by(table.c.number.desc())).all())
