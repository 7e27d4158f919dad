"""Whether the results database takes what is measured, tried before anything is."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from mobilekit import places
from mobilekit.errors import StoreError
from mobilekit.records.checkup import StoreFacts
from mobilekit.results.database import Database
from mobilekit.results.migrations.chain import read_version
from mobilekit.results.schema import pending_table
from mobilekit.results.version import SCHEMA_VERSION

LOOK_TIMEOUT_S = 2.0
"""A look need not wait as long as saving a result does."""


def read_store_facts(place: str | Path) -> StoreFacts:
    """Of the store at a URL or in a file: what waits in it, and whether it takes what a deploy
    would write, which is taken back. Nothing is made."""
    try:
        database = Database(place, lock_timeout_s=LOOK_TIMEOUT_S)
    except StoreError as error:
        return _facts(str(place), failure=error.what, fix=error.fix)
    try:
        # Unlike Path.exists, this raises nothing for a directory that may not be searched.
        if database.file is not None and not os.path.lexists(database.file):
            return _judge_absent(database.shown_url, database.file.parent)
        return _try_writing(database)
    except StoreError as error:
        fix = error.fix
        if database.file is not None and "locked" in error.what:
            fix = (
                f"Wait until the command that uses it is done; `fuser -v {database.file}` names it."
            )
        return _facts(database.shown_url, failure=error.what, fix=fix)


def _try_writing(database: Database) -> StoreFacts:
    pending_runs = 0
    with database.reading() as connection:
        version = read_version(connection)
        if version == SCHEMA_VERSION:
            query = sa.select(sa.func.count()).select_from(pending_table)
            pending_runs = connection.scalar(query) or 0
    if version is not None and version > SCHEMA_VERSION:
        raise StoreError(
            f"It has schema version {version}, and this mobilekit reads no later one than "
            f"{SCHEMA_VERSION}",
            fix="Use the mobilekit that wrote it, or another database: MOBILEKIT_STORE.",
        )
    database.try_writing()
    return _facts(database.shown_url, pending_runs=pending_runs)


def _judge_absent(url: str, directory: Path) -> StoreFacts:
    reason = places.why_not_writable(directory)
    if reason is None:
        return _facts(url, exists=False)
    return _facts(
        url,
        exists=False,
        failure=f"nothing can be written to {directory}: {reason}",
        fix=f"`ls -ld {directory}`, or another place: MOBILEKIT_STORE or MOBILEKIT_HOME",
    )


def _facts(
    url: str,
    *,
    exists: bool = True,
    pending_runs: int = 0,
    failure: str | None = None,
    fix: str | None = None,
) -> StoreFacts:
    return StoreFacts(url=url, exists=exists, pending_runs=pending_runs, failure=failure, fix=fix)
