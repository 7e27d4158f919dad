"""A lab whose phones are names: real hosts, engine and store, and runs that only take time.

``python tests/simulated_lab.py host PLACE NAME DIRECTORY RUN_S`` is one of its hosts; each run
that begins and ends there is a line of ``DIRECTORY/NAME.log``. With ``plan PLACE ID PHONES RUNS
HOSTS`` it is who begins a campaign and follows it; started again after a death, it goes on with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from campaign_makers import make_campaign, make_plan, outcome_of  # noqa: E402

from mobilekit.campaign import control, engine  # noqa: E402
from mobilekit.campaign.host import Order  # noqa: E402
from mobilekit.campaign.planning import waiting_of  # noqa: E402
from mobilekit.errors import UsageError  # noqa: E402
from mobilekit.records.campaign import Campaign, CampaignRun, Outcome, PlacedRun  # noqa: E402
from mobilekit.results.campaign_rows import RunId  # noqa: E402
from mobilekit.results.campaigns import Campaigns, opened  # noqa: E402

CAMPAIGN = "lab-1"
PLANNER = "planner"


class Interval(NamedTuple):
    """A run's time on a phone."""

    phone: str
    run: str
    started_s: float
    ended_s: float
    whole: bool
    """Whether it was measured to its end."""


class Lab:
    """Hosts that can be killed, and who plans what they do."""

    def __init__(self, place: str, directory: Path, hosts: int, run_s: float) -> None:
        self.place, self.directory = place, directory
        self.names = [f"desk{number}" for number in range(hosts)]
        self._words = {
            name: ["host", place, name, str(directory), str(run_s)] for name in self.names
        }
        """Of each process."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.killed_s: dict[str, list[float]] = defaultdict(list)
        directory.mkdir(parents=True, exist_ok=True)

    def plan(self, phones: int, runs: int) -> Campaign:
        campaign, placed = _make_campaign(CAMPAIGN, phones, runs, len(self.names))
        with opened(self.place) as campaigns:
            campaigns.add(campaign, placed)
        self.enqueue(campaign.id)
        return campaign

    def enqueue(self, id: str) -> None:
        _enqueue(self.place, id)

    def plan_apart(self, phones: int, runs: int) -> None:
        """By a process that can be killed as hosts can."""
        numbers = (str(number) for number in (phones, runs, len(self.names)))
        self._words[PLANNER] = ["plan", self.place, CAMPAIGN, *numbers]

    def start(self, name: str) -> None:
        with (self.directory / f"{name}.said").open("ab") as said:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", Path(__file__).stem, *self._words[name]],
                cwd=Path(__file__).parent,
                env={**os.environ, "MOBILEKIT_HOME": str(self.directory / f"home-{name}")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.killed_s[name].append(time.time())

    def keep_alive(self) -> None:
        """As a supervisor does: start what is not there, and what has ended otherwise than it
        should."""
        for name in self._words:
            process = self.processes.get(name)
            if process is not None and process.poll() not in (None, 0):
                self.killed_s[name].append(time.time())
                process = None
            if process is None:
                self.start(name)

    def _told(self) -> dict[str, tuple[int | None, str]]:
        """Of each process how it ended, if it has, and what it said last."""
        return {
            name: (process.poll(), (self.directory / f"{name}.said").read_text()[-3000:])
            for name, process in self.processes.items()
        }

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def wait(
        self,
        campaign_id: str,
        timeout_s: float,
        *,
        between: Callable[[], None] = lambda: None,
        done: int | None = None,
    ) -> None:
        """Until it is there and nothing of it is open, or so many runs are done."""
        deadline_s = time.monotonic() + timeout_s
        with opened(self.place) as campaigns:
            while True:
                counts = counts_of(campaigns, campaign_id)
                left = sum(counts[state] for state in ("queued", "running", "stopping"))
                if (counts and left == 0) or (done is not None and counts["done"] >= done):
                    return
                assert time.monotonic() < deadline_s, f"{dict(counts)}, {self._told()}"
                between()
                time.sleep(0.1)

    def intervals(self) -> list[Interval]:
        """A run that its host's death ended took its phone until then."""
        return [each for name in self.names for each in self._intervals_of(name)]

    def _intervals_of(self, name: str) -> Iterator[Interval]:
        path = self.directory / f"{name}.log"
        if not path.exists():
            return
        open_runs: dict[str, tuple[str, float]] = {}
        # A kill may leave part of a line.
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) != 4:
                continue
            what, phone, run, at = words[0], words[1], words[2], float(words[3])
            if what == "begins":
                if run in open_runs:
                    yield self._ended_by_death(name, run, *open_runs.pop(run))
                open_runs[run] = (phone, at)
            elif run in open_runs:
                phone, started_s = open_runs.pop(run)
                yield Interval(phone, run, started_s, at, what == "measured")
        for run, (phone, started_s) in open_runs.items():
            yield self._ended_by_death(name, run, phone, started_s)

    def _ended_by_death(self, name: str, run: str, phone: str, started_s: float) -> Interval:
        ended_s = min((at for at in self.killed_s[name] if at >= started_s), default=time.time())
        return Interval(phone, run, started_s, ended_s, False)


def counts_of(campaigns: Campaigns, campaign_id: str) -> Counter[str]:
    from mobilekit.errors import StoreError

    while True:
        try:
            return Counter(campaigns.count_states(campaign_id))
        except StoreError:
            time.sleep(0.2)  # It is away; so are the hosts' words.


def overlaps(intervals: list[Interval]) -> list[tuple[Interval, Interval]]:
    """Pairs of runs that had one phone at once."""
    by_phone: dict[str, list[Interval]] = defaultdict(list)
    for each in intervals:
        by_phone[each.phone].append(each)
    found = []
    for of_phone in by_phone.values():
        of_phone.sort(key=lambda each: each.started_s)
        for first, second in pairwise(of_phone):
            if second.started_s < first.ended_s:
                found.append((first, second))
    return found


def _make_campaign(id: str, phones: int, runs: int, hosts: int) -> tuple[Campaign, list[PlacedRun]]:
    """``runs`` in all, spread over ``phones``, and those over the hosts."""
    plan = make_plan(
        models=[f"m{number}" for number in range(runs // phones)],
        phones=[f"phone{number}" for number in range(phones)],
    )
    made: tuple[Campaign, list[PlacedRun]] = make_campaign(
        plan, id=id, host=lambda phone: f"desk{int(phone[5:]) % hosts}"
    )
    return made


def _enqueue(place: str, id: str) -> None:
    with opened(place) as campaigns, engine.open_queues(place) as queues:
        queues.add(
            waiting_of(run, placed)
            for run, placed in campaigns.iterate_open(id)
            if run.state == "queued"
        )


class _Teller:
    """What who follows a campaign hears, a line each."""

    def note(self, text: str) -> None:
        print(text, flush=True)

    def ended(self, run: CampaignRun) -> None:
        """There are many."""

    def stands(self, standing: control.Standing) -> None:
        """As above."""


def plan_and_follow(place: str, id: str, phones: int, runs: int, hosts: int) -> None:
    with opened(place) as campaigns:
        try:
            campaign = campaigns.find(id)
        except UsageError:
            campaign, placed = _make_campaign(id, phones, runs, hosts)
            campaigns.add(campaign, placed)
            _enqueue(place, id)
    control.follow(place, campaign, _Teller())


def serve(place: str, name: str, directory: str, run_s: float) -> None:
    log = os.open(f"{directory}/{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(what: str, phone: str, run: RunId) -> None:
        line = f"{what} {phone} {run.campaign}/{run.key}/{run.attempt} {time.time():.6f}\n"
        os.write(log, line.encode())

    def measure(order: Order, ended: threading.Event, _: Callable[[str], None]) -> Outcome | None:
        run, phone = order.run, order.placed.phone
        tell("begins", phone, run)
        share = 0.5 + zlib.crc32(run.key.encode()) % 1000 / 1000
        if ended.wait(run_s * share):
            tell("ended", phone, run)
            return None
        tell("measured", phone, run)
        return outcome_of(run)

    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with ExitStack() as stack:
        host = stack.enter_context(
            control.serving_host(place, name, lambda text: print(text, flush=True), measure=measure)
        )
        while not over.wait(0.2) and not host.replaced.is_set():
            pass


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "plan":
        plan_and_follow(words[0], words[1], *map(int, words[2:]))
    else:
        serve(words[0], words[1], words[2], float(words[3]))
