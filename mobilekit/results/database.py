"""An SQL database: where it is, its transactions, and what its failures say."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mobilekit.errors import StoreError

LOCK_TIMEOUT_S = 30
"""How long opening, reading and saving wait for another process that holds the same database."""
POOL_TIMEOUT_S = 60
"""How long a thread waits for a connection that others of its process use."""
TRIAL_BYTES = 2**20
"""A measurement with 100,000 latencies."""
_TRIAL = sa.Table(
    "mobilekit_trial", sa.MetaData(), sa.Column("document", sa.LargeBinary, nullable=False)
)
"""Only there while it is tried whether anything can be written."""
_FIXES = {
    "database is locked": "Another program has it open and is writing: wait until that is done, or "
    "end it, then run the command again.",
    "database or disk is full": "Make room where it is, or give another place with --store.",
}
"""For what SQLite says of a place that is right."""
_LOCK_KEY = 0x6D6F62696C656B69
"""Of PostgreSQL's advisory lock: ``mobileki`` in ASCII."""


class Database:
    """A place to keep results in: an SQLAlchemy URL, or the path of an SQLite file."""

    def __init__(
        self,
        place: str | Path,
        *,
        lock_timeout_s: float | None = None,
        most_connections: int | None = None,
    ) -> None:
        """Raises ``StoreError`` for a URL of nothing that can be used. Nothing is opened yet.

        ``lock_timeout_s``: ``LOCK_TIMEOUT_S`` unless told. ``most_connections``: for threads that
        share them; 0: none is kept beyond its transaction; ``None``: as many as are needed.
        """
        self._place = place
        wait_s = LOCK_TIMEOUT_S if lock_timeout_s is None else lock_timeout_s
        try:
            self._engine = _make_engine(_url_of(place), wait_s, most_connections)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise self.error(_reason_of(error)) from None

    @property
    def file(self) -> Path | None:
        """Of an SQLite database; of others and of one in memory, ``None``."""
        return _sqlite_file(self._engine.url)

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    @property
    def is_postgres(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    def close(self) -> None:
        """Give its connections back; it can be used again."""
        self._engine.dispose()

    @property
    def shown_url(self) -> str:
        """Without its password."""
        try:
            return _url_of(self._place).render_as_string(hide_password=True)
        except ArgumentError:
            return str(self._place)

    def make_directory(self) -> None:
        """That of an SQLite file. Raises ``StoreError``."""
        if self.file is not None:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self.error(_reason_of(error)) from None

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that changes nothing. It raises ``StoreError`` for what goes wrong."""
        return self._transaction(writes=False)

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """A transaction: all of it or nothing, and one that writes at a time, where it is SQLite.
        It raises ``StoreError`` for what goes wrong."""
        return self._transaction(writes=True)

    @contextmanager
    def rebuilding(self) -> Iterator[sa.Connection]:
        """As ``writing``, and one at a time in PostgreSQL too."""
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
            yield connection

    def try_writing(self) -> None:
        """Write as much as a large measurement is, for real, and take it away again. An SQLite file
        keeps the room. Raises ``StoreError``."""
        with self.rebuilding() as connection:
            _TRIAL.drop(connection, checkfirst=True)  # One whose command was killed.
            _TRIAL.create(connection)
            connection.execute(_TRIAL.insert().values(document=bytes(TRIAL_BYTES)))
        with self.rebuilding() as connection:
            _TRIAL.drop(connection, checkfirst=True)

    def back_up(self, name: str) -> None:
        """Copy an SQLite file as it was last committed to one of this ending beside it, in place of
        an older copy. Raises ``StoreError``."""
        file = self.file
        if file is None:
            return
        backup = file.with_name(f"{file.name}.{name}")
        aside = backup.with_name(f"{backup.name}.part")
        try:
            aside.unlink(missing_ok=True)
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(aside)) as copy:
                source.backup(copy)
            aside.replace(backup)
        except (OSError, sqlite3.Error) as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise self.error(f"no copy of it can be made: {_reason_of(error)}") from None

    def error(self, reason: str) -> StoreError:
        return StoreError(
            f"The results database cannot be used: {reason}",
            url=self.shown_url,
            fix=_FIXES.get(
                reason,
                "Check --store or MOBILEKIT_STORE; it takes an SQLAlchemy URL such as "
                "sqlite:///results.sqlite.",
            ),
        )

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[sa.Connection]:
        try:
            with self._engine.execution_options(writes=writes).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self.error(_reason_of(error)) from None


def use_write_ahead_log(place: str | Path) -> None:
    """Have an SQLite file kept so that one writes while others read, and a commit is one write: for
    many short transactions. It stays so. Raises ``StoreError``."""
    database = Database(place)
    if database.file is None:
        return
    try:
        with closing(sqlite3.connect(database.file, timeout=LOCK_TIMEOUT_S)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise database.error(_reason_of(error)) from None


def _url_of(place: str | Path) -> sa.URL:
    """Raises ``ArgumentError`` for text that is not a URL."""
    if isinstance(place, Path):
        return sa.URL.create("sqlite", database=str(place))
    return sa.make_url(place)


def _sqlite_file(url: sa.URL) -> Path | None:
    name = url.database or ":memory:"
    if url.get_backend_name() == "sqlite" and not name.startswith((":memory:", "file:")):
        return Path(name)
    return None


def _make_engine(url: sa.URL, lock_timeout_s: float, most_connections: int | None) -> sa.Engine:
    shared: dict[str, Any] = {
        "poolclass": sa.QueuePool,
        "pool_size": most_connections,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT_S,
    }
    if url.get_backend_name() != "sqlite":
        if most_connections is None:
            return sa.create_engine(url)
        return sa.create_engine(url, **shared if most_connections else {"poolclass": sa.NullPool})
    # A file is opened for each transaction, so that nothing holds it between two of them, unless
    # threads share it: who closes its write-ahead log last writes all of it back. What is in memory
    # alone would be gone.
    pool: dict[str, Any] = {} if _sqlite_file(url) is None else {"poolclass": sa.NullPool}
    arguments: dict[str, Any] = {"timeout": lock_timeout_s}
    if pool and most_connections:
        pool, arguments = shared, {**arguments, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=arguments, **pool)

    # Left to itself, Python's driver begins a transaction at the first row that is written: what
    # was read and which tables were made before would not be in it. A transaction that is to write
    # takes its turn at once, since two that began by reading could only refuse each other.
    @sa.event.listens_for(engine, "connect")
    def leave_transactions_alone(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _reason_of(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
