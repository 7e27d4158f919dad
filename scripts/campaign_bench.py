"""What campaigns cost, and what they survive: real hosts, engine and databases, simulated runs.

    python scripts/campaign_bench.py [--only overhead steady killed] [--hosts 10] [--phones 1000]
        [--runs 100000] [--kills 200] [--queued 100000] [--output docs/performance.md]

Runs only take time, in hosts that are processes (``tests/simulated_lab.py``), on a PostgreSQL of
the script's own. Three parts: what the engine adds to a run, with a short and a long queue; what a
lab of so many phones asks of PostgreSQL while nothing goes wrong; and a lab in which hosts, who
planned the campaign and follows it, and PostgreSQL are killed at random moments, after which every
run must be stored once and no phone have been used twice at once. It ends with 1 where that is not
so. ``--output`` replaces the parts of that file between their markers, and draws the last of them
beside it (``campaigns.png``); they are printed in any case.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from bench import put_section  # noqa: E402
from databases import Postgres, running_postgres  # noqa: E402
from simulated_lab import CAMPAIGN, PLANNER, Interval, Lab, overlaps  # noqa: E402

from mobilekit.results.campaigns import opened  # noqa: E402
from mobilekit.results.store import Store  # noqa: E402

MEASURED_RUNS = 1000
STEADY_ROUNDS = 2
KILLED_RUN_S = 0.5
PARTS = ("overhead", "steady", "killed")
LONGEST_S = 6 * 3600.0
PICTURE = "campaigns.png"
KINDS = {"host": "#4477aa", "planner": "#ee7733", "PostgreSQL": "#cc3311"}
"""What is killed, and the colour that it is drawn in."""
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Overhead(NamedTuple):
    database: str
    queued: int
    plan_ms: float
    """A run, until it waits in its queue."""
    run_ms: float
    """... from the first that began to the end of the last of those that are counted."""
    cpu_ms: float
    """Of it, what the processors of host and database worked."""


class Steady(NamedTuple):
    phones: int
    hosts: int
    run_s: float
    seconds: float
    postgres_share: float
    """Of one core."""
    hosts_share: float
    connections: int
    gap_p50_s: float
    gap_p95_s: float


class Kill(NamedTuple):
    at_s: float
    """Since the lab's first process was started; so are all times here."""
    what: str


class Survival(NamedTuple):
    runs: int
    phones: int
    hosts: int
    kills: tuple[Kill, ...]
    seconds: float
    ended_s: tuple[float, ...]
    """When each run that is stored was, in order."""
    distinct: int
    """Results."""
    overlaps: int
    measured: int
    """To their end, those that were measured twice counted twice."""


def measure_overhead(server: Postgres, place: str, directory: Path, queued: int) -> Overhead:
    """Runs of no length on one host, with so many phones that none has to wait for the next look at
    the queue."""
    with closing(Lab(place, directory, hosts=1, run_s=0.0)) as lab:
        began_s = time.monotonic()
        campaign = lab.plan(phones=MEASURED_RUNS, runs=queued)
        planned_s = time.monotonic() - began_s
        counted = MEASURED_RUNS
        lab.keep_alive()
        lab.wait(campaign.id, LONGEST_S, done=1)
        assert server.process is not None
        pids = [server.process.pid, *(process.pid for process in lab.processes.values())]
        before_s = sum(map(_cpu_s, pids))
        with opened(place) as campaigns:
            first = campaigns.count_states(campaign.id)["done"]
        lab.wait(campaign.id, LONGEST_S, done=counted)
        cpu_s = sum(map(_cpu_s, pids)) - before_s
        with opened(place) as campaigns:
            runs = campaigns.list_runs(campaign.id, states=["done"])
        lab.close()
        started_s = min(run.started_s or 0.0 for run in runs)
        ended_s = sorted(run.ended_s or 0.0 for run in runs)[counted - 1]
        kind = "PostgreSQL" if place.startswith("postgresql") else "SQLite"
        return Overhead(
            kind,
            queued,
            1000 * planned_s / queued,
            1000 * (ended_s - started_s) / counted,
            1000 * cpu_s / (len(runs) - first),
        )


def measure_steady(
    server: Postgres, place: str, directory: Path, hosts: int, phones: int, run_s: float
) -> Steady:
    """Every phone busy, nothing going wrong."""
    with closing(Lab(place, directory, hosts, run_s)) as lab:
        campaign = lab.plan(phones=phones, runs=STEADY_ROUNDS * phones)
        lab.keep_alive()
        while len({each.phone for each in lab.intervals()}) < phones:
            time.sleep(0.5)
        assert server.process is not None
        pid, started_s = server.process.pid, time.monotonic()
        spent_s = _cpu_s(pid)
        hosts_s = sum(_cpu_s(process.pid) for process in lab.processes.values())
        most = [0]
        lab.wait(campaign.id, LONGEST_S, between=lambda: _count_connections(server, most))
        seconds = time.monotonic() - started_s
        hosts_s = sum(_cpu_s(process.pid) for process in lab.processes.values()) - hosts_s
        postgres_s = _cpu_s(pid) - spent_s
        intervals = lab.intervals()
        lab.close()
        gaps = _gaps(intervals)
        return Steady(
            phones,
            hosts,
            run_s,
            seconds,
            postgres_s / seconds,
            hosts_s / seconds / hosts,
            most[0],
            median(gaps),
            sorted(gaps)[int(0.95 * len(gaps))],
        )


def measure_survival(
    server: Postgres, place: str, directory: Path, hosts: int, phones: int, runs: int, kills: int
) -> Survival:
    """Kill one after the other, evenly over the campaign, from its planning on."""
    with closing(Lab(place, directory, hosts, KILLED_RUN_S)) as lab:
        chance = random.Random(1)
        lab.plan_apart(phones, runs)
        began_s = time.time()

        def look() -> None:
            lab.keep_alive()
            time.sleep(0.5)

        look()
        killed: list[Kill] = []
        while len(killed) < kills:
            next_done = (len(killed) + 1) * runs // (kills + 1)
            lab.wait(CAMPAIGN, LONGEST_S, done=next_done, between=look)
            time.sleep(chance.random())
            what = _kill_at_random(server, lab, len(killed), chance)
            killed.append(Kill(time.time() - began_s, what))
            print(f"{len(killed)} kills, {next_done} of {runs} runs", file=sys.stderr, flush=True)
        lab.wait(CAMPAIGN, LONGEST_S, between=look)
        seconds = time.time() - began_s
        lab.close()
        intervals = lab.intervals()
        with opened(place) as campaigns:
            done = campaigns.list_runs(CAMPAIGN, states=["done"])
        stored = [run.result_id for run in done]
        assert sorted(filter(None, stored)) == sorted(Store(place).result_ids())
        return Survival(
            runs,
            phones,
            hosts,
            tuple(killed),
            seconds,
            tuple(sorted((run.ended_s or 0.0) - began_s for run in done)),
            len(set(stored)),
            len(overlaps(intervals)),
            sum(each.whole for each in intervals),
        )


def _kill_at_random(server: Postgres, lab: Lab, number: int, chance: random.Random) -> str:
    """A host; one of ten times each PostgreSQL and who planned the campaign, at first while that is
    still being done; what it was."""
    if number % 10 == 9:
        server.stop(abruptly=True)
        time.sleep(chance.random() * 3)
        server.start()
        return "PostgreSQL"
    lab.keep_alive()
    if number % 10 == 0 and lab.processes[PLANNER].poll() is None:
        lab.kill(PLANNER)
        return "planner"
    lab.kill(chance.choice(lab.names))
    return "host"


def _gaps(intervals: list[Interval]) -> list[float]:
    """How long phones did nothing between two runs."""
    gaps = []
    by_phone: dict[str, list[Interval]] = {}
    for each in sorted(intervals, key=lambda each: each.started_s):
        by_phone.setdefault(each.phone, []).append(each)
    for found in by_phone.values():
        gaps += [second.started_s - first.ended_s for first, second in pairwise(found)]
    return gaps


def _cpu_s(pid: int) -> float:
    """Of a process, those below it, and those of them that have ended."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if path.parent.name == str(pid):
                total += sum(map(int, fields[11:15])) / CLOCK_TICKS
            elif fields[1] == str(pid):
                total += sum(map(int, fields[11:13])) / CLOCK_TICKS
    return total


def _count_connections(server: Postgres, most: list[int]) -> None:
    """Client backends, without this look's own; not more often than once a second."""
    import sqlalchemy as sa

    engine = sa.create_engine(server.url())
    with engine.connect() as connection:
        found = connection.scalar(
            sa.text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        )
    engine.dispose()
    most[0] = max(most[0], int(found or 0) - 1)
    time.sleep(0.9)


def render_overhead(found: list[Overhead], machine: str) -> list[str]:
    return [
        "## Campaigns",
        "",
        "Written by `scripts/campaign_bench.py`: hosts, engine and databases are real, the runs "
        f"only take time, and all of it is on {machine}.",
        "",
        "What engine and store add to a run, with 1,000 runs of no length on as many phones "
        "of one host:",
        "",
        "| database | runs queued | planning a run | carrying one out | processor time of that |",
        "|---|---|---|---|---|",
        *(
            f"| {each.database} | {each.queued:,} | {each.plan_ms:.1f} ms | {each.run_ms:.1f} ms "
            f"| {each.cpu_ms:.1f} ms |"
            for each in sorted(found)
        ),
    ]


def render_steady(found: Steady, machine: str) -> list[str]:
    per_s = STEADY_ROUNDS * found.phones / found.seconds
    return [
        f"{found.phones:,} phones on {found.hosts} hosts, each busy with runs of "
        f"{found.run_s:.0f} s on the average, for {found.seconds:.0f} s on {machine}, "
        f"{per_s:.0f} runs a second: PostgreSQL took "
        f"{found.postgres_share:.0%} of a core and {found.connections} connections, a host "
        f"{found.hosts_share:.0%} of a core; a phone did nothing between two runs for "
        f"{found.gap_p50_s:.2f} s (p50) and {found.gap_p95_s:.2f} s (p95).",
    ]


def render_survival(found: Survival, machine: str) -> list[str]:
    killed = Counter(each.what for each in found.kills)
    stored = len(found.ended_s)
    rows = {
        "runs": f"{found.runs:,} of {KILLED_RUN_S} s on the average",
        "phones, hosts": f"{found.phones:,}, {found.hosts}",
        **{f"kills of {_named(what)}": str(killed[what]) for what in KINDS},
        "time": f"{found.seconds:,.0f} s",
        "runs that have a result, distinct results": f"{stored:,}, {found.distinct:,}",
        "times that two runs had one phone at once": str(found.overlaps),
        "runs measured to their end a second time, whose host died before it had kept them": str(
            found.measured - stored
        ),
    }
    return [
        "While hosts, who planned the campaign and follows it, and PostgreSQL are killed at random "
        f"moments, and started again, all on {machine}:",
        "",
        "| | |",
        "|---|--:|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]


def _named(what: str) -> str:
    return {"host": "hosts", "planner": "the planner"}.get(what, what)


def draw(found: Survival, path: Path) -> None:
    """Results over time, and below it each kill."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot(found.ended_s, range(1, len(found.ended_s) + 1), color="black", linewidth=1.2)
    above.set(ylabel="results stored", ylim=(0, None), xlim=(0, found.seconds))
    above.yaxis.set_major_formatter("{x:,.0f}")
    above.set_title(
        f"{found.runs:,} runs on {found.phones:,} phones of {found.hosts} hosts", fontsize=10
    )
    for row, (what, colour) in enumerate(KINDS.items()):
        at_s = [each.at_s for each in found.kills if each.what == what]
        below.eventplot(at_s, lineoffsets=-row, linelengths=0.8, colors=colour)
    counts = Counter(each.what for each in found.kills)
    below.set_yticks(
        [-row for row in range(len(KINDS))],
        [f"{_named(what)}: {counts[what]} kills" for what in KINDS],
    )
    below.set_xlabel("time, s")
    for axis in (above, below):
        axis.grid(axis="x", linewidth=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--phones", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=100_000, help="of the part with kills")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--queued", type=int, default=100_000, help="of the longest queue")
    parser.add_argument("--run-s", type=float, default=20.0, help="of the part without kills")
    parser.add_argument(
        "--machine", default=f"one computer with {os.cpu_count()} processors", help="in words"
    )
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    numbers = iter(range(1000))
    is_sound = True
    with (
        tempfile.TemporaryDirectory(prefix="campaign-bench-") as directory,
        running_postgres(Path(directory) / "postgres") as server,
    ):
        scratch = Path(directory)

        def fresh() -> str:
            name = f"bench{next(numbers)}"
            server.execute(f"CREATE DATABASE {name}")
            return server.url(name)

        def tell(part: str, lines: list[str]) -> None:
            print("\n".join(lines), flush=True)
            if given.output is not None:
                put_section(given.output, f"campaigns {part}", "\n".join(lines))

        if "overhead" in given.only:
            overheads = []
            for queued in (MEASURED_RUNS, given.queued):
                for place in (fresh(), f"sqlite:///{scratch / f'{queued}.sqlite'}"):
                    lab = scratch / f"lab{next(numbers)}"
                    overheads.append(measure_overhead(server, place, lab, queued))
                    print(overheads[-1], file=sys.stderr)
            tell("overhead", render_overhead(overheads, given.machine))
        if "steady" in given.only:
            found = measure_steady(
                server, fresh(), scratch / "steady", given.hosts, given.phones, given.run_s
            )
            tell("steady", render_steady(found, given.machine))
        if "killed" in given.only:
            survival = measure_survival(
                server,
                fresh(),
                scratch / "killed",
                given.hosts,
                given.phones,
                given.runs,
                given.kills,
            )
            lines = render_survival(survival, given.machine)
            if given.output is not None:
                lines += ["", f"![Results stored over time, and each kill]({PICTURE})"]
                draw(survival, given.output.with_name(PICTURE))
            tell("killed", lines)
            stored = (len(survival.ended_s), survival.distinct, survival.overlaps)
            is_sound = stored == (survival.runs, survival.runs, 0)
    sys.exit(0 if is_sound else 1)


if __name__ == "__main__":
    main()
