"""What predictions read of results, without SQLAlchemy where that is an SQLite file of today's.

Importing SQLAlchemy takes longer than a prediction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mobilekit import places
from mobilekit.analysis.predict.stored import decode_latency
from mobilekit.records.prediction import StoredLatency
from mobilekit.results.version import SCHEMA_VERSION

if TYPE_CHECKING:
    from mobilekit.records.measurement import Measurement

LOCK_TIMEOUT_S = 2.0
"""Then the store waits for it, which waits longer."""
_ENERGY = "(device = ? OR device_key = ?) AND NOT virtual AND purpose = 'measure' AND has_windows"


class OwnResults(Protocol):
    """As ``Store`` has them."""

    def list_latencies(self) -> list[StoredLatency]: ...

    def energy_of_device(self, device: str) -> Iterator[Measurement]: ...


def open_own(given: str | None) -> OwnResults | None:
    """At the URL that a person gave, or the default place; ``None``: nothing was stored there.

    Raises what ``open_to_read`` does, now or once it is read.
    """
    place = given or places.default_store()
    if isinstance(place, str):
        return _open_store(given)
    return _ResultsFile(place) if place.exists() else None


class _ResultsFile:
    """The default place, where it is a file. What cannot be read here is asked of the store, which
    brings an older one to today's schema, and says what is wrong with another."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def list_latencies(self) -> list[StoredLatency]:
        rows = self._select(
            "latency FROM measurements WHERE latency IS NOT NULL ORDER BY started_at DESC, id DESC"
        )
        if rows is None:
            return _open_store(None).list_latencies()
        return [decode_latency(document) for (document,) in rows]

    def energy_of_device(self, device: str) -> Iterator[Measurement]:
        query = f"1 FROM measurements WHERE {_ENERGY} LIMIT 1"
        if self._select(query, device, device) == []:
            return iter(())
        return _open_store(None).energy_of_device(device)

    def _select(self, query: str, *values: str) -> list[Any] | None:
        """``None``: it is no database of today's schema, or cannot be read now."""
        try:
            with closing(
                sqlite3.connect(
                    f"{self._file.absolute().as_uri()}?mode=ro", LOCK_TIMEOUT_S, uri=True
                )
            ) as connection:
                # A view in a table's place may never end.
                tables = connection.execute(
                    "SELECT count(*) FROM sqlite_master WHERE type = 'table' "
                    "AND name IN ('mobilekit_schema', 'measurements')"
                ).fetchone()
                version = "SELECT max(version) FROM mobilekit_schema"
                if tables != (2,) or connection.execute(version).fetchone() != (SCHEMA_VERSION,):
                    return None
                return connection.execute(f"SELECT {query}", values).fetchall()
        except sqlite3.Error:
            return None


def _open_store(given: str | None) -> OwnResults:
    from mobilekit.results.store import open_to_read

    return open_to_read(given)
