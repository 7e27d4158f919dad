"""Makes every fault happen at every moment of a deploy, and tells what a person sees of it.

    python scripts/fault_table.py [--output docs/reliability.md] [--workers 4] [--profile nexus7]
        [FAULT...]

Each pair is a deploy of a small network on a virtual phone of its own behind a real adb server,
whose companion plays a run again that took place at the beginning. ``--profile`` names another
phone than one with Android 14, such as nexus7, whose Android 6 has other shells. ``--output``
replaces that phone's part of the file, between two markers. Ends with 1 where a pair has a
traceback, takes longer than it may, or loses a sample.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench import put_section
from faulty import SILENT, Bench, Outcome, running_bench
from warm import WarmPopen, running_nursery

from mobilekit.contract.codec import decode
from mobilekit.contract.protocol import Samples
from mobilekit.phone.profiles import load_profiles
from mobilekit.virtual.faults import FAULTS, MOMENTS, FaultName, Moment

NETWORK = "digits"
ALLOWED_S = 60.0
"""A call may take 20 s, a phone that is away 15 s to return, and what cleans up another call."""
ALLOWED_SILENCE_S = 220.0
"""``--fast`` has parts of 60 s, and a run may be silent for 120 s longer than its longest part; the
call that began before, and the one that is under way, may take 20 s each."""
GRACE_S = 5.0
RUN_TIME = r"-\d{8}-\d{6}-[0-9a-f]{4}"
"""Of a run's id: no two tables would be alike."""
PAIRS: list[tuple[FaultName, Moment]] = [
    (fault, moment) for fault in FAULTS for moment in MOMENTS if fault != "none" and moment != "now"
]


def allowed_s(outcome: Outcome) -> float:
    return ALLOWED_SILENCE_S if outcome.fault in SILENT else ALLOWED_S


def faults_of(outcome: Outcome) -> list[str]:
    """What is wrong with how a pair ended."""
    wrong = []
    if outcome.has_traceback:
        wrong.append("a traceback")
    if outcome.seconds > allowed_s(outcome) + GRACE_S:
        wrong.append(f"{outcome.seconds:.0f} s")
    if outcome.lost:
        wrong.append(f"lost: {', '.join(outcome.lost)}")
    return wrong


def record_run(directory: Path) -> Samples:
    """A run on this computer, and the exported network in the cache of ``directory``."""
    environment = {
        **os.environ,
        "MOBILEKIT_HOME": str(directory),
        "MOBILEKIT_STORE": f"sqlite:///{directory / 'recorded.sqlite'}",
    }
    command = [sys.executable, "-m", "mobilekit", "deploy", NETWORK, "--fast", "--no-energy"]
    done = subprocess.run(
        [*command, "-d", "virtual:pixel8", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        cwd=directory,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    samples = json.loads(done.stdout)["measurement"]["result"]["samples"]
    found: Samples = decode(json.dumps(samples).encode(), Samples, source="the recorded run")
    return found


def render(outcomes: list[Outcome]) -> str:
    lines = [
        f"{len(outcomes)} pairs; {sum(outcome.exit_code == 0 for outcome in outcomes)} deploys "
        f"succeeded all the same; the longest took {max(each.seconds for each in outcomes):.0f} s "
        "from the fault.",
        "",
        "| fault | moment | exit | s | what is said | kept |",
        "|---|---|--:|--:|---|---|",
    ]
    for outcome in outcomes:
        message = "" if outcome.exit_code == 0 else _first_sentence(outcome.message)
        if not outcome.came:
            message = f"(the fault did not come) {message}"
        lines.append(
            f"| {outcome.fault} | {outcome.moment} | {outcome.exit_code} | "
            f"{outcome.seconds:.1f} | {message} | {outcome.kept} |"
        )
    return "\n".join(lines) + "\n"


def _first_sentence(message: str) -> str:
    text = " ".join(message.removeprefix("Error: ").split())
    text = re.sub(RUN_TIME, "-...", text.partition(" (")[0].partition(". ")[0])
    return "".join(c if c.isprintable() else "?" for c in text)[:140].replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--profile", default="pixel8", choices=sorted(load_profiles()))
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], metavar="FAULT")
    given = parser.parse_args()
    pairs = [pair for pair in PAIRS if not given.faults or pair[0] in given.faults]
    # What takes longest begins first.
    pairs.sort(key=lambda pair: pair[0] not in SILENT)
    with tempfile.TemporaryDirectory(prefix="mobilekit-faults-") as name, ExitStack() as stack:
        scratch = Path(name)
        stack.enter_context(running_nursery(scratch))
        subprocess.Popen = WarmPopen
        samples = record_run(scratch)
        free: SimpleQueue[Bench] = SimpleQueue()
        for number in range(given.workers):
            directory = scratch / str(number)
            directory.mkdir()
            free.put(
                stack.enter_context(
                    running_bench(directory, scratch / "cache/artifacts", NETWORK, samples)
                )
            )

        def try_pair(pair: tuple[FaultName, Moment]) -> Outcome:
            bench = free.get()
            try:
                outcome = bench.deploy(*pair, profile=given.profile)
            finally:
                free.put(bench)
            wrong = "".join(f" !! {words}" for words in faults_of(outcome))
            print(
                f"{outcome.fault:16} {outcome.moment:10} {outcome.exit_code:4} "
                f"{outcome.seconds:6.1f} s {outcome.kept:24} {_first_sentence(outcome.message)}"
                f"{wrong}",
                flush=True,
            )
            return outcome

        with ThreadPoolExecutor(given.workers) as pool:
            outcomes = sorted(
                pool.map(try_pair, pairs), key=lambda each: PAIRS.index((each.fault, each.moment))
            )
    table = render(outcomes)
    if given.output is not None:
        put_section(given.output, f"faults-{given.profile}", table)
    bad = [outcome for outcome in outcomes if faults_of(outcome)]
    for outcome in bad:
        print(f"{outcome.fault} at {outcome.moment}: {', '.join(faults_of(outcome))}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
