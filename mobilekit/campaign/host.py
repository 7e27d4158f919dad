"""A host of campaigns: it holds its name, keeps its phones taken while they measure, ends what is
to be stopped, and keeps what was measured until the store has it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from mobilekit import __version__, places
from mobilekit.contract.codec import decode, encode
from mobilekit.errors import InUseError, MobilekitError, StoreError
from mobilekit.model.files import write_whole
from mobilekit.records.campaign import OVER, AgentInfo, ListedAgent, Offer, Outcome, PlacedRun
from mobilekit.results.campaign_rows import (
    RunId,
    Taken,
)
from mobilekit.results.campaigns import (
    AGENT_SILENT_S,
    LEASE_S,
    Campaigns,
)

LOOK_S = 0.2
"""How often a host looks for what is to be stopped."""
TELL_S = 1.0
BEAT_S = AGENT_SILENT_S / 4
RENEW_S = LEASE_S / 6
SWEEP_S = 3600.0
"""How often it looks for what nobody needs any more."""
FIRST_BUSY_S, LONGEST_BUSY_S = 0.1, 2.0
AWAY_S = 1.0
"""Between two tries to reach a store that is away."""
LOOKING_ENDS_S = 5.0
"""In which its threads are to end, which may be asking phones, before it leaves without them."""


class Order(NamedTuple):
    """A run that has its phone now."""

    run: RunId
    placed: PlacedRun
    measured: Path
    """A file for what it has measured, which stays until the store has it: should this host die,
    the run's next attempt here finds it there."""


class Measure(Protocol):
    """Carries one run out."""

    def __call__(
        self, order: Order, ended: threading.Event, tell: Callable[[str], None]
    ) -> Outcome | None:
        """What came of it; ``None``: it was ended, by ``ended``, and does nothing any more."""


class _Flight:
    """A run that is under way."""

    def __init__(self, phone: str) -> None:
        self.phone = phone
        self.ended = threading.Event()
        self.is_lost = False
        """Its phone was given to somebody else."""


def place_of_state() -> str:
    """This computer and the directory of its state, in which a name's lock tells who lives."""
    return f"{platform.node()}:{places.campaigns_directory()}"


@contextmanager
def holding_name(name: str, store: str) -> Iterator[None]:
    """Be the only process here that has this name in the database of that URL.

    Raises ``InUseError``.
    """
    digest = hashlib.sha256(f"{name}\0{store}".encode()).hexdigest()
    path = places.locks_directory() / f"host-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _name_taken(name) from None
        yield


def _name_taken(name: str, **facts: object) -> InUseError:
    return InUseError(
        "Another mobilekit carries out campaigns under this name",
        host=name,
        **facts,
        fix="It takes up what waits for this host, so nothing more is needed; for a second one on "
        "this computer give another --name.",
    )


class Host:
    """Carries out what the engine gives it (``engine.Carrier``)."""

    def __init__(
        self,
        name: str,
        campaigns: Campaigns,
        measure: Measure,
        requeue: Callable[[RunId], None],
        note: Callable[[str], None],
        offers: Callable[[], tuple[Offer, ...]] = tuple,
    ) -> None:
        """``requeue`` has a run wait again that is ended in the middle; ``offers`` tells what is
        attached now, for other hosts to see."""
        self._name = name
        self._campaigns = campaigns
        self._measure = measure
        self._requeue = requeue
        self._note = note
        self._offers = offers
        self._token = secrets.token_hex(8)
        self._holder = f"{name}/{self._token}"
        self._ending = threading.Event()
        self._flights: dict[RunId, _Flight] = {}
        self._details: dict[RunId, str] = {}
        self._told: dict[RunId, str] = {}
        self._rested_at_s: dict[str, float] = {}
        self._is_away = False
        self.replaced = threading.Event()
        """Another host has the name now, and this one is to end."""
        self._info = AgentInfo(
            name=name,
            place=place_of_state(),
            pid=os.getpid(),
            mobilekit_version=__version__,
            started_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            offers=(),
        )

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Known to the store as living, with a thread that looks after its runs.

        Who calls holds the name's lock. Raises ``InUseError`` where a host of this name lives
        elsewhere, and ``StoreError``.
        """
        self._info = replace(self._info, offers=self._offers())
        other: ListedAgent | None = self._campaigns.join(self._info, self._token)
        if other is not None:
            raise _name_taken(self._name, place=other.info.place, process=other.info.pid)
        # Of the processes that had this name none lives, here or elsewhere.
        self._campaigns.forget_leases(self._name)
        self._sweep()
        over = threading.Event()
        threads = [
            threading.Thread(target=self._look_after, args=(over,), daemon=True),
            threading.Thread(target=self._look_around, args=(over,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            deadline_s = time.monotonic() + LOOKING_ENDS_S
            for thread in threads:
                thread.join(max(0.0, deadline_s - time.monotonic()))
            with suppress(StoreError):
                self._campaigns.leave(self._name, self._token)

    def end(self, timeout_s: float = 30.0) -> None:
        """End what is under way; it waits for its host's next start, or to be moved."""
        self._end_flights()
        deadline_s = time.monotonic() + timeout_s
        while self._flights and time.monotonic() < deadline_s:
            time.sleep(0.02)

    def _end_flights(self) -> None:
        self._ending.set()
        for flight in list(self._flights.values()):
            flight.ended.set()

    # --- what the engine asks -------------------------------------------------------------------

    def carry_out(self, run: RunId) -> None:
        """As ``engine.Carrier`` says. A phone that somebody else has is waited for, and so is a
        store that is away, for days if need be: what was measured lies in a file meanwhile."""
        if not self._kept(run).exists() and not self._measure_and_keep(run):
            return
        while True:
            try:
                self._store(run)
                return
            except StoreError:
                if self._ending.wait(AWAY_S):
                    raise _EndingError from None

    def _measure_and_keep(self, run: RunId) -> bool:
        """Whether there is something to store yet."""
        placed = self._take(run)
        if placed is None:
            return False
        flight = _Flight(placed.phone)
        self._flights[run] = flight
        if self._ending.is_set():
            flight.ended.set()
        try:
            outcome = self._carry_out(Order(run, placed, self._measured(run)), flight)
            if outcome is None and (flight.is_lost or self._ending.is_set()):
                self._give_back(run)
                return False
            # Stopped by a person, there is nothing to keep but that.
            return self._keep(run, outcome or Outcome(state="stopped", measurements=(), detail=""))
        finally:
            self._rested_at_s[placed.phone] = time.monotonic()
            self._flights.pop(run, None)
            self._details.pop(run, None)

    def _store(self, run: RunId) -> None:
        kept = self._kept(run)
        try:
            data = kept.read_bytes()
        except FileNotFoundError:
            return  # It was stored, and the engine's word of it was lost.
        outcome: Outcome = decode(data, Outcome, source=str(kept))
        self._finish(run, outcome)
        kept.unlink(missing_ok=True)

    def _keep(self, run: RunId, outcome: Outcome) -> bool:
        """In a file or, where there is no room for one, in the store at once; whether it is to be
        stored yet."""
        while True:
            try:
                write_whole(self._kept(run), encode(outcome))
                return True
            except OSError as error:
                self._details[run] = f"waits: it cannot be kept here: {error.strerror or error}"
            try:
                self._finish(run, outcome)
                return False
            except StoreError:
                if self._ending.wait(AWAY_S):
                    raise _EndingError from None

    def _finish(self, run: RunId, outcome: Outcome) -> None:
        if not self._campaigns.finish(run, self._holder, outcome):
            found = self._campaigns.find_standing(run.campaign, run.key)
            if found is not None and found.state not in OVER:
                return  # What another attempt measures is kept in the same file.
        self._measured(run).unlink(missing_ok=True)

    def _take(self, run: RunId) -> PlacedRun | None:
        wait_s = FIRST_BUSY_S
        while not self._ending.is_set():
            try:
                found = self._campaigns.take(run, self._holder)
            except StoreError:
                self._ending.wait(AWAY_S)
                continue
            if isinstance(found, Taken):
                return found.placed
            if found == "over":
                return None
            self._details[run] = "waits: another run has the phone"
            self._ending.wait(wait_s)
            wait_s = min(LONGEST_BUSY_S, 2 * wait_s)
        self._details.pop(run, None)
        raise _EndingError

    def _carry_out(self, order: Order, flight: _Flight) -> Outcome | None:
        def tell(detail: str) -> None:
            self._details[order.run] = detail

        rest_s = order.placed.run.gates.rest_s
        before_s = self._rested_at_s.get(order.placed.phone)
        left_s = 0.0 if before_s is None else before_s + rest_s - time.monotonic()
        if left_s > 0:
            tell(f"waits: the phone rests for {left_s:.0f} s")
            flight.ended.wait(left_s)
        return None if flight.ended.is_set() else self._measure(order, flight.ended, tell)

    def _give_back(self, run: RunId) -> None:
        again = self._campaigns.give_back(run, self._holder)
        if again is not None:
            self._requeue(again)

    def _kept(self, run: RunId) -> Path:
        name = f"{run.campaign}.{run.key}.{run.attempt}.json"
        return places.campaigns_directory() / "kept" / name

    def _measured(self, run: RunId) -> Path:
        """Of whatever attempt."""
        return places.campaigns_directory() / "kept" / f"{run.campaign}.{run.key}.measured"

    def _sweep(self) -> None:
        """Remove what was kept here for runs that are over, as of one that was moved from here."""
        for path in (places.campaigns_directory() / "kept").glob("*.*.*"):
            campaign, key, kind = path.name.split(".", 2)
            run = self._campaigns.find_standing(campaign, key)
            if run is None:
                continue  # Of another store.
            is_newest = kind in ("measured", f"{run.attempt}.json")
            # One that was over when it was looked for may have been resumed since.
            is_used = any((each.campaign, each.key) == (campaign, key) for each in [*self._flights])
            if not is_newest or (run.state in OVER and not is_used):
                path.unlink(missing_ok=True)

    # --- beside it ------------------------------------------------------------------------------

    def _look_after(self, over: threading.Event) -> None:
        renewed_s = told_s = time.monotonic()
        while not over.wait(LOOK_S):
            try:
                if self._flights:
                    for run in self._campaigns.read_stopping(self._name):
                        # Its own thread may have ended it meanwhile.
                        flight = self._flights.get(run)
                        if flight is not None:
                            flight.ended.set()
                now_s = time.monotonic()
                if now_s - told_s > TELL_S:
                    told_s = now_s
                    self._tell_details()
                if now_s - renewed_s > RENEW_S:
                    self._renew()
                    renewed_s = now_s
                self._found(None)
            except StoreError as error:
                self._found(error)

    def _look_around(self, over: threading.Event) -> None:
        swept_s = time.monotonic()
        while not over.wait(BEAT_S):
            # Another one that has joined under this name meanwhile took this one for dead.
            with suppress(StoreError):
                # A lent device that is gone, or an adb server, must not end the beats.
                with suppress(MobilekitError):
                    self._info = replace(self._info, offers=self._offers())
                if not self._campaigns.beat(self._info, self._token):
                    self._note(f"Another host has joined as {self._name}: this one ends.")
                    self.replaced.set()
                    self._end_flights()
                    return
                if time.monotonic() - swept_s > SWEEP_S:
                    swept_s = time.monotonic()
                    self._sweep()

    def _tell_details(self) -> None:
        details = dict(self._details)
        changed = {run: text for run, text in details.items() if self._told.get(run) != text}
        self._campaigns.tell(changed)
        self._told = details

    def _renew(self) -> None:
        flights = dict(self._flights)
        still_ours = self._campaigns.renew(
            self._holder, {flight.phone for flight in flights.values()}
        )
        for flight in flights.values():
            if flight.phone not in still_ours:
                flight.is_lost = True
                flight.ended.set()

    def _found(self, error: StoreError | None) -> None:
        """An outage is told once, and its end."""
        if error is not None and not self._is_away:
            self._note(f"{error.what}. What is measured is kept here and stored once it is back.")
        elif error is None and self._is_away:
            self._note("The results database is back.")
        self._is_away = error is not None


class _EndingError(Exception):
    """The host ends, and its engine with it: what waited for a phone waits for the next start."""
