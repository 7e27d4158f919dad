"""Campaigns in the results database: how each run stands, who holds which phone, which hosts live.

Every step of a run is one short transaction. What is asked of it is told by its return value: a run
that is over stays over, whoever comes late with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from mobilekit.contract.codec import encode
from mobilekit.contract.samples import was_lost
from mobilekit.errors import ProtocolError, UsageError
from mobilekit.records.campaign import (
    AgentInfo,
    Campaign,
    CampaignRun,
    ListedAgent,
    Outcome,
    PlacedRun,
    RunState,
)
from mobilekit.results.campaign_rows import (
    IS_OPEN,
    RUNS,
    BegunRuns,
    Refused,
    RunId,
    Taken,
    anew,
    decode_agent,
    decode_campaign,
    decode_placed,
    is_run,
    select_runs,
    wait_anew,
)
from mobilekit.results.campaign_steps import RunSteps, of
from mobilekit.results.database import Database, use_write_ahead_log
from mobilekit.results.schema import (
    agents_table,
    begun_runs_table,
    campaign_runs_table,
    campaigns_table,
    decode_measurement,
    decode_pending,
    leases_table,
    measurements_table,
    pending_table,
    shared_files_table,
)
from mobilekit.results.shared_clock import clock_s
from mobilekit.results.store import (
    LAST,
    SHOWN_IDS,
    PendingRun,
    Store,
    insert_or_not,
    insert_pending,
    save_measurement,
)

LEASE_S = 90.0
"""How long a phone stays taken without a sign of who took it: longer than a database is away while
it is restarted, since nobody else can take it meanwhile."""
AGENT_SILENT_S = 30.0
"""How long a host that gives no sign counts as alive."""
MOST_DEATHS = 3
"""A run in the middle of which its host's process died so often is given up: it may be what kills
it."""
STARTED_OVER = f"its host's process ended {MOST_DEATHS} times in the middle of it"
ROWS_AT_ONCE = 1000
LONGEST_DETAIL = 500


class Campaigns:
    """The campaigns of one store. Its methods raise ``StoreError`` while it cannot be used."""

    def __init__(self, place: str | Path, *, most_connections: int | None = None) -> None:
        """Threads share one object. Raises ``StoreError``."""
        Store(place).close()  # Makes it, or brings it to today's schema.
        use_write_ahead_log(place)
        self._database = Database(place, most_connections=most_connections)
        dialect = self._database.dialect
        self._steps = RunSteps(
            insert_or_not(dialect, leases_table), clock_s(self._database), LEASE_S
        )

    def close(self) -> None:
        self._database.close()

    # --- campaigns ------------------------------------------------------------------------------

    def add(self, campaign: Campaign, placed: Sequence[PlacedRun]) -> None:
        """All of it or nothing; the runs are in the order in which they are to begin."""
        with self._database.writing() as connection:
            connection.execute(
                campaigns_table.insert().values(
                    id=campaign.id, started_at=campaign.started_at, document=encode(campaign)
                )
            )
            rows = [
                {
                    "campaign": campaign.id,
                    "key": each.run.key,
                    "number": number,
                    "attempt": 1,
                    "deaths": 0,
                    "state": "queued",
                    "host": each.host,
                    "phone": each.phone,
                    "detail": "",
                    "document": encode(each),
                }
                for number, each in enumerate(placed, start=1)
            ]
            for first in range(0, len(rows), ROWS_AT_ONCE):
                connection.execute(campaign_runs_table.insert(), rows[first : first + ROWS_AT_ONCE])
            if connection.dialect.name == "postgresql":
                # Until its own time for that comes, it takes a campaign for a few rows, and would
                # read through all of them for each step of a run.
                connection.exec_driver_sql(f"ANALYZE {campaign_runs_table.name}")

    def find(self, given: str) -> Campaign:
        """Of this id, this beginning that only one has, or ``last``. Raises ``UsageError``."""
        columns = campaigns_table.c
        query = sa.select(columns.id, columns.document)
        query = query.order_by(columns.started_at.desc(), columns.id.desc())
        if given == LAST:
            query = query.limit(1)
        else:
            query = query.where(columns.id.startswith(given, autoescape=True))
        with self._database.reading() as connection:
            found = connection.execute(query).all()
        exact = [each for each in found if each.id == given]
        if exact or len(found) == 1:
            return decode_campaign((exact or found)[0].document)
        if not found:
            raise UsageError(
                "There is no campaign yet" if given == LAST else f"There is no campaign {given!r}",
                fix="`mobilekit campaign list` shows all; `campaign run FILE` begins one.",
            )
        ids = ", ".join(each.id for each in found[:SHOWN_IDS])
        raise UsageError(
            f"Several campaigns begin with {given!r}", ids=ids, fix="Give more of the id."
        )

    def list_campaigns(self, on_unread: Callable[[ProtocolError], None]) -> list[Campaign]:
        """The newest first. One that cannot be read, as of another mobilekit, is told, and keeps
        none of the others back."""
        columns = campaigns_table.c
        query = sa.select(columns.id, columns.document)
        query = query.order_by(columns.started_at.desc(), columns.id.desc())
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        listed = []
        for id, document in rows:
            try:
                listed.append(decode_campaign(document))
            except ProtocolError as error:
                on_unread(
                    ProtocolError(
                        f"A campaign cannot be read: {error.what}",
                        campaign=id,
                        fix="The mobilekit that began it can: use that, or update this one.",
                    )
                )
        return listed

    def list_open_ids(self) -> list[str]:
        """Of campaigns with runs that are not over, whichever mobilekit began them, the newest
        first."""
        columns = campaigns_table.c
        query = sa.select(columns.id).order_by(columns.started_at.desc(), columns.id.desc())
        is_open = sa.exists().where(RUNS.campaign == columns.id, IS_OPEN)
        with self._database.reading() as connection:
            return list(connection.scalars(query.where(is_open)))

    def count_states(self, campaign_id: str) -> Counter[RunState]:
        query = (
            sa.select(RUNS.state, sa.func.count())
            .where(RUNS.campaign == campaign_id)
            .group_by(RUNS.state)
        )
        with self._database.reading() as connection:
            return Counter({row[0]: row[1] for row in connection.execute(query)})

    def has_open_runs(self, campaign_id: str, host: str) -> bool:
        return host in self.list_open_hosts(campaign_id)

    def list_open_hosts(self, campaign_id: str) -> list[str]:
        """Those with runs that are not over."""
        query = sa.select(RUNS.host).where(RUNS.campaign == campaign_id, IS_OPEN).distinct()
        with self._database.reading() as connection:
            return sorted(connection.scalars(query))

    def list_runs(
        self,
        campaign_id: str,
        *,
        states: Sequence[RunState] | None = None,
        ended_since_s: float | None = None,
    ) -> list[CampaignRun]:
        """In the order in which they are to begin."""
        query = select_runs().where(RUNS.campaign == campaign_id).order_by(RUNS.number)
        if states is not None:
            query = query.where(RUNS.state.in_(states))
        if ended_since_s is not None:
            query = query.where(RUNS.ended_s >= ended_since_s)
        with self._database.reading() as connection:
            return [CampaignRun(**row) for row in connection.execute(query).mappings()]

    def iterate_open(
        self, campaign_id: str, hosts: Collection[str] | None = None
    ) -> Iterator[tuple[CampaignRun, PlacedRun]]:
        """What each run is of that is not over, in the order of ``list_runs``; of all hosts, or of
        these."""
        query = select_runs(RUNS.document).where(RUNS.campaign == campaign_id, IS_OPEN)
        if hosts is not None:
            query = query.where(RUNS.host.in_(hosts))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(RUNS.number)).mappings().all()
        for row in rows:
            values = dict(row)
            document = values.pop("document")
            yield CampaignRun(**values), decode_placed(document)

    # --- a run's way ----------------------------------------------------------------------------

    def take(self, run: RunId, holder: str) -> Taken | Refused:
        """Take the run's phone for it, and have it be under way.

        One that was under way already is begun again, since its host died; after ``MOST_DEATHS`` of
        that it has failed.
        """
        with self._database.writing() as connection:
            row = connection.execute(self._steps.look, of(run)).one_or_none()
            if row is None or row.attempt != run.attempt or row.state not in ("queued", "running"):
                return "over"
            deaths = row.deaths + (row.state == "running")
            if deaths >= MOST_DEATHS:
                connection.execute(
                    campaign_runs_table.update()
                    .where(*is_run(run))
                    .values(
                        state="failed",
                        deaths=deaths,
                        detail=STARTED_OVER,
                        ended_s=clock_s(self._database),
                    )
                )
                return "over"
            asked = {**of(run), "on_phone": row.phone, "by_holder": holder}
            if connection.execute(self._steps.lease, asked).first() is None:
                return "busy"
            connection.execute(self._steps.begin, {**of(run), "after_deaths": deaths})
            return Taken(decode_placed(row.document))

    def finish(self, run: RunId, holder: str, outcome: Outcome) -> bool:
        """Store what a run came to, once, and give its phone back; ``False``: it is over already,
        or another attempt is under way, and nothing of this one is stored."""
        with self._database.writing() as connection:
            result_id = outcome.measurements[-1].id if outcome.measurements else None
            changed = connection.execute(
                self._steps.finish,
                {
                    **of(run),
                    "with_state": outcome.state,
                    "with_result": result_id,
                    "with_detail": outcome.detail[:LONGEST_DETAIL],
                },
            )
            if changed.rowcount == 1:
                for measurement in outcome.measurements:
                    save_measurement(connection, measurement)  # Unless somebody has collected it.
                if outcome.state != "stopped":
                    self._forget_begun(connection, run, outcome)
            self._release(connection, run, holder)
            return changed.rowcount == 1

    def _forget_begun(self, connection: sa.Connection, run: RunId, outcome: Outcome) -> None:
        """Once it is done, nothing else that was started for it is wanted. Of one that failed, what
        is not stored may be on its phone yet, for its next attempt or to be collected."""
        is_done = outcome.state == "done"
        over = {each.id for each in outcome.measurements if not was_lost(each.result)}
        if outcome.measurements:
            # It took place: there is no next attempt.
            begun = connection.scalars(self._steps.forget_begun, of(run)).all()
            over |= set(begun) if is_done else set()
        if over:
            connection.execute(pending_table.delete().where(pending_table.c.id.in_(over)))

    def add_begun(self, campaign: str, key: str, run: PendingRun) -> None:
        """Remember what is about to be started on a phone for a run of a campaign."""
        with self._database.writing() as connection:
            insert_pending(connection, run)
            connection.execute(
                begun_runs_table.insert().values(id=run.measurement.id, campaign=campaign, key=key)
            )

    def list_begun(self, campaign: str, key: str) -> BegunRuns:
        begun = begun_runs_table.c
        ids = sa.select(begun.id).where(begun.campaign == campaign, begun.key == key)
        with self._database.reading() as connection:
            if connection.scalar(ids.limit(1)) is None:
                return BegunRuns((), ())
            waiting = connection.scalars(
                sa.select(pending_table.c.document)
                .where(pending_table.c.id.in_(ids))
                .order_by(pending_table.c.started_at)
            ).all()
            stored = connection.scalars(
                sa.select(measurements_table.c.document)
                .where(measurements_table.c.id.in_(ids))
                .order_by(measurements_table.c.started_at)
            ).all()
        return BegunRuns(
            tuple(PendingRun(*decode_pending(document)) for document in waiting),
            tuple(decode_measurement(document) for document in stored),
        )

    def give_back(self, run: RunId, holder: str) -> RunId | None:
        """What its host ends in the middle waits again, as another attempt; ``None``: it is over,
        or was to be stopped."""
        with self._database.writing() as connection:
            self._release(connection, run, holder)
            mine = (*is_run(run), RUNS.attempt == run.attempt)
            connection.execute(
                campaign_runs_table.update()
                .where(*mine, RUNS.state == "stopping")
                .values(state="stopped", ended_s=clock_s(self._database), detail="")
            )
            return wait_anew(connection, run)

    def find_standing(self, campaign: str, key: str) -> CampaignRun | None:
        """How a run stands, whichever attempt is under way and whichever mobilekit planned it."""
        query = select_runs().where(RUNS.campaign == campaign, RUNS.key == key)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else CampaignRun(**row)

    def find_run(self, campaign: str, key: str) -> tuple[CampaignRun, PlacedRun] | None:
        """As ``find_standing``, and what it is of."""
        query = select_runs(RUNS.document).where(RUNS.campaign == campaign, RUNS.key == key)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        values = dict(row)
        placed = decode_placed(values.pop("document"))
        return CampaignRun(**values), placed

    def begin_anew(self, runs: Iterable[RunId]) -> list[RunId]:
        """Have attempts that nobody carries out any more wait as new ones; those that it did."""
        given = set(runs)
        ids = {run.campaign for run in given}
        if not given:
            return []
        query = sa.select(RUNS.campaign, RUNS.key, RUNS.attempt).where(
            RUNS.campaign.in_(ids), IS_OPEN
        )
        with self._database.writing() as connection:
            # Most of them are over, where a campaign was stopped: an update of each takes long.
            found = sorted(given.intersection(RunId(*row) for row in connection.execute(query)))
            anew = [wait_anew(connection, run) for run in found]
        return [run for run in anew if run is not None]

    def tell(self, details: Mapping[RunId, str]) -> None:
        """What runs that are not over do or wait for now."""
        if not details:
            return
        with self._database.writing() as connection:
            for run, detail in details.items():
                connection.execute(
                    campaign_runs_table.update()
                    .where(*is_run(run), RUNS.attempt == run.attempt, IS_OPEN)
                    .values(detail=detail[:LONGEST_DETAIL])
                )

    def renew(self, holder: str, phones: Iterable[str]) -> set[str]:
        """Keep these phones; those of them that the holder still has."""
        columns = leases_table.c
        mine = sa.and_(columns.holder == holder, columns.phone.in_(list(phones)))
        with self._database.writing() as connection:
            connection.execute(
                leases_table.update().where(mine).values(until_s=clock_s(self._database) + LEASE_S)
            )
            return set(connection.scalars(sa.select(leases_table.c.phone).where(mine)))

    def forget_leases(self, host: str) -> None:
        """Of a host of which no process is left that could use a phone."""
        with self._database.writing() as connection:
            connection.execute(
                leases_table.delete().where(
                    leases_table.c.holder.startswith(f"{host}/", autoescape=True)
                )
            )

    def read_stopping(self, host: str) -> set[RunId]:
        """What is to be stopped there."""
        query = sa.select(RUNS.campaign, RUNS.key, RUNS.attempt).where(
            RUNS.host == host, RUNS.state == "stopping"
        )
        with self._database.reading() as connection:
            return {RunId(*row) for row in connection.execute(query)}

    def _release(self, connection: sa.Connection, run: RunId, holder: str) -> None:
        connection.execute(self._steps.release, {**of(run), "by_holder": holder})

    # --- what a person decides ------------------------------------------------------------------

    def stop(self, campaign_id: str) -> list[RunId]:
        """Begin nothing more of it, and have what is under way be stopped; what waited."""
        with self._database.writing() as connection:
            now_s = clock_s(self._database)
            mine = RUNS.campaign == campaign_id
            query = sa.select(RUNS.key, RUNS.attempt).where(mine, RUNS.state == "queued")
            waited = [RunId(campaign_id, *row) for row in connection.execute(query)]
            connection.execute(
                campaign_runs_table.update()
                .where(mine, RUNS.state == "queued")
                .values(state="stopped", ended_s=now_s, detail="")
            )
            connection.execute(
                campaign_runs_table.update()
                .where(mine, RUNS.state == "running")
                .values(state="stopping")
            )
        return waited

    def requeue(self, campaign_id: str) -> None:
        """Have those wait again that have not taken place: stopped ones, and failed ones without a
        result."""
        with self._database.writing() as connection:
            connection.execute(
                campaign_runs_table.update()
                .where(
                    RUNS.campaign == campaign_id,
                    sa.or_(
                        RUNS.state == "stopped",
                        sa.and_(RUNS.state == "failed", RUNS.result_id.is_(None)),
                    ),
                )
                .values(**anew(RUNS.attempt + 1), ended_s=None)
            )

    def move(self, run: RunId, placed: PlacedRun) -> RunId | None:
        """Give a run that is not over to another host; ``None``: it is over meanwhile."""
        with self._database.writing() as connection:
            return wait_anew(
                connection, run, host=placed.host, phone=placed.phone, document=encode(placed)
            )

    # --- hosts ----------------------------------------------------------------------------------

    def join(self, info: AgentInfo, token: str) -> ListedAgent | None:
        """Become the agent of this name; the one that is in the way, if one is.

        One of the same place is not: there its name's lock tells that it is dead.
        """
        with self._database.rebuilding() as connection:
            for other in self._agents(connection, agents_table.c.name == info.name):
                if other.is_alive and other.info.place != info.place:
                    return other
            row = {
                "token": token,
                "place": info.place,
                "beat_s": clock_s(self._database),
                "document": encode(info),
            }
            connection.execute(
                insert_or_not(connection.dialect, agents_table)
                .values(name=info.name, **row)
                .on_conflict_do_update(index_elements=["name"], set_=row)
            )
        return None

    def beat(self, info: AgentInfo, token: str) -> bool:
        """A sign of life, with what it offers now; ``False``: another one has the name now."""
        columns = agents_table.c
        with self._database.writing() as connection:
            changed = connection.execute(
                agents_table.update()
                .where(columns.name == info.name, columns.token == token)
                .values(beat_s=clock_s(self._database), document=encode(info))
            )
            return changed.rowcount == 1

    def leave(self, name: str, token: str) -> None:
        columns = agents_table.c
        with self._database.writing() as connection:
            connection.execute(
                agents_table.delete().where(columns.name == name, columns.token == token)
            )

    def list_agents(self) -> list[ListedAgent]:
        """By name."""
        with self._database.reading() as connection:
            return self._agents(connection, sa.true())

    def _agents(
        self, connection: sa.Connection, condition: sa.ColumnElement[bool]
    ) -> list[ListedAgent]:
        columns, now_s = agents_table.c, clock_s(self._database)
        silent_s = now_s - columns.beat_s
        query = sa.select(columns.name, columns.place, silent_s, columns.document)
        return [
            ListedAgent(
                info=decode_agent(document, name, place),
                silent_s=max(0.0, silent_s),
                is_alive=abs(silent_s) < AGENT_SILENT_S,
            )
            for name, place, silent_s, document in connection.execute(
                query.where(condition).order_by(columns.name)
            )
        ]

    # --- files for other hosts ------------------------------------------------------------------

    def share_file(self, name: str, path: Path) -> None:
        """Put a file there under its content's name, unless it is there."""
        columns = shared_files_table.c
        with self._database.writing() as connection:
            if connection.scalar(sa.select(columns.name).where(columns.name == name)) is None:
                connection.execute(
                    insert_or_not(connection.dialect, shared_files_table)
                    .values(name=name, content=path.read_bytes())
                    .on_conflict_do_nothing()
                )

    def read_file(self, name: str) -> bytes | None:
        columns = shared_files_table.c
        with self._database.reading() as connection:
            return connection.scalar(sa.select(columns.content).where(columns.name == name))


@contextmanager
def opened(place: str | Path, *, most_connections: int | None = None) -> Iterator[Campaigns]:
    campaigns = Campaigns(place, most_connections=most_connections)
    try:
        yield campaigns
    finally:
        campaigns.close()
