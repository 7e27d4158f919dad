"""The statements of every run's way, built once: building one anew takes SQLAlchemy longer than the
database takes to carry it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mobilekit.results.campaign_rows import IS_OPEN, RUNS, RunId
from mobilekit.results.schema import begun_runs_table, campaign_runs_table, leases_table

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

OF_RUN = (RUNS.campaign == sa.bindparam("of_campaign"), RUNS.key == sa.bindparam("of_key"))


def of(run: RunId) -> dict[str, object]:
    """For the statements' parameters that say which attempt they are of."""
    return {"of_campaign": run.campaign, "of_key": run.key, "of_attempt": run.attempt}


class RunSteps:
    """In the order in which a run comes to them; beside ``of``, each says what it is given."""

    def __init__(self, inserting_lease: Insert, now_s: sa.ColumnElement[float], lease_s: float):
        """``inserting_lease``: an insertion into the table of leases, in the database's own
        words."""
        lease = leases_table.c
        self.look = sa.select(
            RUNS.state, RUNS.attempt, RUNS.deaths, RUNS.phone, RUNS.document
        ).where(*OF_RUN)
        inserted = inserting_lease.values(
            phone=sa.bindparam("on_phone"),
            holder=sa.bindparam("by_holder"),
            campaign=sa.bindparam("of_campaign"),
            key=sa.bindparam("of_key"),
            attempt=sa.bindparam("of_attempt"),
            until_s=now_s + lease_s,
        )
        new = inserted.excluded
        # The same attempt again, after its host was killed in the middle of it.
        own = sa.and_(
            lease.holder == new.holder, lease.campaign == new.campaign, lease.key == new.key
        )
        self.lease = inserted.on_conflict_do_update(
            index_elements=["phone"],
            set_={name: new[name] for name in ("holder", "campaign", "key", "attempt", "until_s")},
            # One for longer than any is given is of another clock: the computer started anew.
            where=sa.or_(lease.until_s < now_s, lease.until_s > now_s + 2 * lease_s, own),
        ).returning(lease.phone)
        """``on_phone``, ``by_holder``; a row where the phone is the run's now."""
        self.begin = (
            campaign_runs_table.update()
            .where(*OF_RUN)
            .values(
                state="running",
                deaths=sa.bindparam("after_deaths"),
                started_s=now_s,
                ended_s=None,
                detail="",
            )
        )
        """``after_deaths``."""
        self.finish = (
            campaign_runs_table.update()
            .where(*OF_RUN, RUNS.attempt == sa.bindparam("of_attempt"), IS_OPEN)
            .values(
                state=sa.bindparam("with_state"),
                result_id=sa.bindparam("with_result"),
                detail=sa.bindparam("with_detail"),
                ended_s=now_s,
            )
        )
        """``with_state``, ``with_result``, ``with_detail``; no row where it is over already."""
        begun = begun_runs_table.c
        self.forget_begun = (
            begun_runs_table.delete()
            .where(
                begun.campaign == sa.bindparam("of_campaign"), begun.key == sa.bindparam("of_key")
            )
            .returning(begun.id)
        )
        self.release = leases_table.delete().where(
            lease.holder == sa.bindparam("by_holder"),
            lease.campaign == sa.bindparam("of_campaign"),
            lease.key == sa.bindparam("of_key"),
            lease.attempt == sa.bindparam("of_attempt"),
        )
        """``by_holder``."""
