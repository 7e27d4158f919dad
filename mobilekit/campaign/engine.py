"""The engine of campaigns: DBOS, in the same PostgreSQL as the results or in a file beside them.

It queues runs (a queue for each host, in it a partition for each phone, in which one runs at a
time), keeps how far each has come, and takes up what a dead host left when that host comes back.
What it does not hold, ``Campaigns`` does: who has which phone, and that a run is stored once.

This is the only module that knows DBOS. It is imported where a campaign is run, since its import
takes longer than an answer from the store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mobilekit import places
from mobilekit.contract.protocol import PROTOCOL_VERSION
from mobilekit.errors import MobilekitError, StoreError, UsageError
from mobilekit.results.campaign_rows import RunId
from mobilekit.results.database import Database, use_write_ahead_log

if TYPE_CHECKING:
    from dbos import DBOSClient

APPLICATION = "mobilekit"
VERSION = f"contract-{PROTOCOL_VERSION}"
"""Work waits for a host of the same contract."""
MOST_RECOVERIES = 20
"""How often the engine begins a run again whose host died, whether or not the run had begun on its
phone. Whether the run itself may be what kills its host, the store counts."""
POLL_S = 1.0
"""How often a host looks for work: with 100 phones a host it costs PostgreSQL little."""
QUICK_POLL_S = 0.25
"""... where its database is a file of its own."""
ENGINE_CONNECTIONS = 4
"""Of one host to PostgreSQL: ten hosts stay below its usual limit of 100."""
AT_ONCE = 500
LOG_BYTES = 2**20


class Carrier(Protocol):
    """Who carries out runs."""

    def carry_out(self, run: RunId) -> None:
        """Measure it, unless it is over, and store what came of it. Asked again, as after a death
        of this process, it goes on where it was: nothing is measured or stored twice."""


class Waiting(NamedTuple):
    """A run for a queue."""

    run: RunId
    host: str
    turn: str
    """Of those that have the same, one runs at a time."""
    number: int
    """The lower ones first."""


def find_engine(place: str | Path) -> str:
    """The URL of the engine's own database, for the results database at ``place``.

    Raises ``UsageError`` for a database that cannot have one.
    """
    database = Database(place)
    if database.is_postgres:
        return str(place)
    if database.file is None:
        raise UsageError(
            "Campaigns need a results database in a file or in PostgreSQL",
            store=database.shown_url,
            fix="Give another --store, such as sqlite:///results.sqlite.",
        )
    return f"sqlite:///{database.file.absolute().with_suffix('.campaigns.sqlite')}"


@contextmanager
def _engine_errors(url: str) -> Iterator[None]:
    """What DBOS and its database raise, as one of ours."""
    try:
        yield
    except MobilekitError:
        raise
    except Exception as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines() or [repr(error)]
        raise StoreError(
            f"The campaigns' engine cannot be used: {reason[0]}",
            url=Database(url).shown_url,
            fix="Check that the database is there and may be written to: --store, MOBILEKIT_STORE.",
        ) from None


def _import_dbos() -> Any:
    try:
        import dbos
    except ImportError as error:
        raise UsageError(
            "Campaigns need the packages of mobilekit's extra `farm`",
            missing=error.name or error,
            fix="pip install 'mobilekit[farm]'",
        ) from None
    _quieten()
    return dbos


def _quieten() -> None:
    """Its log goes to a file: an outage of the database is pages of traces there, and one line of
    ours."""
    logger = logging.getLogger("dbos")
    logger.propagate = False
    if not any(handler.name == "mobilekit" for handler in logger.handlers):
        from logging.handlers import RotatingFileHandler

        path = places.campaigns_directory() / "engine.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, delay=True)
        handler.name = "mobilekit"
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.handlers = [handler]


def _plain_serializer() -> Any:
    """JSON in place of DBOS' pickles, which would let who can write to the database run code on
    every host; all that is kept is a run's id."""
    import json

    from dbos import Serializer

    class PlainSerializer(Serializer):
        def name(self) -> str:
            return "mobilekit_json"

        def serialize(self, data: Any) -> str:
            told = {"error": repr(data)} if isinstance(data, BaseException) else {"value": data}
            return json.dumps(told)

        def deserialize(self, serialized_data: str) -> Any:
            told = json.loads(serialized_data)
            return RuntimeError(told["error"]) if "error" in told else told["value"]

    return PlainSerializer()


def _make_ready(url: str) -> None:
    """Its tables; and for a file the journal that lets one write while others read, without which
    each run takes more than twice as long."""
    Database(url).make_directory()
    use_write_ahead_log(url)
    dbos = _import_dbos()
    with _engine_errors(url):
        dbos.DBOS.migrate(url)


class Queues:
    """What waits for each host. Its methods raise ``StoreError``."""

    def __init__(self, url: str, client: DBOSClient) -> None:
        self._url = url
        self._client = client
        self._database = Database(url, most_connections=1)

    def add(self, runs: Iterable[Waiting]) -> None:
        """One that is there stays."""
        listed = list(runs)
        with _engine_errors(self._url):
            for host in sorted({each.host for each in listed}):
                self._client.register_queue(
                    queue_of(host),
                    partition_concurrency=1,
                    polling_interval_sec=self._poll_s,
                    on_conflict="never_update",
                    application_name=APPLICATION,
                )
            for first in range(0, len(listed), AT_ONCE):
                with self._database.writing() as connection:
                    for run, host, turn, number in listed[first : first + AT_ONCE]:
                        self._client.enqueue_in_transaction(
                            connection,
                            {
                                "workflow_name": "run",
                                "queue_name": queue_of(host),
                                "queue_partition_key": turn,
                                "workflow_id": workflow_id_of(run),
                                "app_version": VERSION,
                                "priority": number,
                                "application_name": APPLICATION,
                            },
                            *run,
                        )

    def drop(self, runs: Sequence[RunId]) -> None:
        """What need not begin any more."""
        ids = [workflow_id_of(run) for run in runs]
        with _engine_errors(self._url):
            for first in range(0, len(ids), AT_ONCE):
                self._client.cancel_workflows(ids[first : first + AT_ONCE])

    def find_dead(self, campaign_id: str) -> list[RunId]:
        """Attempts of it that ended without having been carried out."""
        ended = ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", "ERROR", "CANCELLED")
        with _engine_errors(self._url):
            found = self._client.list_workflows(
                status=list(ended),
                workflow_id_prefix=f"{campaign_id}/",
                load_input=False,
                load_output=False,
            )
        return [run_of(each.workflow_id) for each in found]

    def forget(self, campaign_id: str) -> None:
        """Of a campaign that is over nothing needs to be kept: its runs are in the store."""
        with _engine_errors(self._url):
            while True:
                ended = self._client.list_workflows(
                    status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                    workflow_id_prefix=f"{campaign_id}/",
                    limit=AT_ONCE,
                    load_input=False,
                    load_output=False,
                )
                if not ended:
                    return
                self._client.delete_workflows([each.workflow_id for each in ended])

    @property
    def _poll_s(self) -> float:
        return POLL_S if self._database.is_postgres else QUICK_POLL_S

    def close(self) -> None:
        self._client.destroy()
        self._database.close()


@contextmanager
def open_queues(place: str | Path) -> Iterator[Queues]:
    """Raises ``StoreError``, and ``UsageError`` where a package is missing."""
    url = find_engine(place)
    dbos = _import_dbos()
    _make_ready(url)
    with ExitStack() as stack:
        with _engine_errors(url):
            client = dbos.DBOSClient(
                system_database_url=url,
                application_name=APPLICATION,
                serializer=_plain_serializer(),
            )
            queues = Queues(url, client)
        stack.callback(queues.close)
        yield queues


@contextmanager
def serving(place: str | Path, host: str, carrier: Carrier) -> Iterator[None]:
    """Carry out what waits for this host, in threads, for as long as the context.

    The caller holds the host's name: two processes under one would use a phone at once. What its
    last process left in the middle is begun again. Raises as ``open_queues``.
    """
    url = find_engine(place)
    dbos = _import_dbos()
    _make_ready(url)
    DBOS = dbos.DBOS  # noqa: N806
    poll_s = POLL_S if Database(url).is_postgres else QUICK_POLL_S
    with _engine_errors(url):
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": url,
                "executor_id": host,
                "application_version": VERSION,
                "serializer": _plain_serializer(),
                "sys_db_pool_size": ENGINE_CONNECTIONS,
                # Nothing is waited for that it would tell of; its listener keeps a connection of
                # its own, and the end of its host waiting for ten seconds.
                "use_listen_notify": False,
                "log_level": "WARNING",
            }
        )
        _quieten()
        _register(DBOS, carrier)
        DBOS.listen_queues([queue_of(host)])
        DBOS.launch()
        DBOS.register_queue(queue_of(host), partition_concurrency=1, polling_interval_sec=poll_s)
    try:
        yield
    finally:
        DBOS.destroy(destroy_registry=True)


def _register(DBOS: Any, carrier: Carrier) -> None:  # noqa: N803
    # Its steps are none of the engine's: that would note each in four statements more, and what was
    # measured and what is over are known without.
    @DBOS.workflow(name="run", max_recovery_attempts=MOST_RECOVERIES)  # type: ignore[untyped-decorator]
    def run(campaign: str, key: str, attempt: int) -> None:
        carrier.carry_out(RunId(campaign, key, attempt))


def queue_of(host: str) -> str:
    return f"host-{host}"


def workflow_id_of(run: RunId) -> str:
    return f"{run.campaign}/{run.key}/{run.attempt}"


def run_of(workflow_id: str) -> RunId:
    campaign, key, attempt = workflow_id.split("/")
    return RunId(campaign, key, int(attempt))
