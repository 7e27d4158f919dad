"""Deploys on phones that fail: a clear end within its time, and nothing lost that was measured.

``scripts/fault_table.py`` goes through every fault at every moment; here is a handful of them, and
for the soak 500 at random.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import socketserver
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from queue import SimpleQueue

import pytest
from faulty import IN_THE_RUN, SILENT, running_bench
from jumping_clock import JumpingClock
from warm import FreshPopen

from mobilekit.contract.codec import decode
from mobilekit.contract.protocol import Samples
from mobilekit.results.database import LOCK_TIMEOUT_S
from mobilekit.units import NS_PER_S
from mobilekit.virtual.faults import FAULTS, MOMENTS, read_faults

SOAK_DEPLOYS = int(os.environ.get("MOBILEKIT_SOAK_DEPLOYS", "500"))
SOAK_WORKERS = 4
SOAK_S = 1800
KNOWN_CODES = {0, 1, 3, 4}
STAYS_AWAY = {"refuse", "offline"}


@pytest.fixture
def samples(cli) -> Samples:
    """Of a run of the network, which is exported then."""
    done = cli("deploy", "tiny.py", "-d", "pc", "--fast", "--json")
    told = done.document["measurement"]["result"]["samples"]
    return decode(json.dumps(told).encode(), Samples, source="the run")


@pytest.fixture
def bench(tmp_path, exports, model_directory, samples, monkeypatch):
    monkeypatch.setenv("MOBILEKIT_RECONNECT_S", "2")
    with running_bench(tmp_path, exports, str(model_directory / "tiny.py"), samples) as bench:
        yield bench


@pytest.mark.parametrize(
    ("fault", "moment", "profile", "exit_code", "words", "kept"),
    [
        ("full", "push", "pixel8", 1, "No space left on device", "nothing was measured"),
        ("crash", "measuring", "nexus7", 1, "SIGSEGV", "loads"),
        ("garbage", "fetching", "pixel8", 4, "result.json", "by `collect`"),
        ("banner", "load", "nexus7", 4, "progress.jsonl", "by `collect`"),
        ("offline", "load", "pixel8", 4, "", "by `collect`"),
        ("server-killed", "warmup", "pixel8", 0, "", "all"),
    ],
)
def test_a_fault_at_a_moment(bench, fault, moment, profile, exit_code, words, kept):
    outcome = bench.deploy(fault, moment, profile=profile)

    assert outcome.came
    assert (outcome.exit_code, outcome.lost) == (exit_code, ())
    assert words in outcome.message
    assert kept in outcome.kept
    assert not outcome.has_traceback
    assert outcome.seconds < 60


@pytest.fixture
def clock(bench, tmp_path, monkeypatch):
    """Of the computers that deploy, whose processes are no forks: those have a clock already."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc makes the clock")
    clock = JumpingClock(tmp_path)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("faulty.subprocess.Popen", FreshPopen)
    return clock


HOUR_S = 3600
HEARD_S = 0.8
"""After which the command has asked a phone again, early in a run."""


def test_a_clock_that_jumps_in_mid_run_ends_nothing(bench, clock):
    """An hour forth and two hours back, while the run is silent: every limit, and every duration
    that is stored, is of a clock that does not jump."""

    def jump(phone, home):
        phone.device.companion.signal(signal.SIGSTOP)
        for ahead_s in (0, HOUR_S, -HOUR_S):
            clock.jump_to(ahead_s)
            time.sleep(HEARD_S)
        phone.device.companion.signal(signal.SIGCONT)

    outcome = bench.deploy("slow", "measuring", instead=jump)

    assert outcome.came
    assert (outcome.exit_code, outcome.kept, outcome.lost) == (0, "all", ()), outcome
    assert 3 * HEARD_S < outcome.seconds < 60
    begun = datetime.fromisoformat(outcome.stored.started_at)
    assert abs(datetime.now(timezone.utc) - begun) < timedelta(minutes=5)
    spent_s = [spent.duration_ns / NS_PER_S for spent in outcome.stored.time_spent]
    assert 3 * HEARD_S < sum(spent_s) < 300


def lock_store(phone, home):
    """For longer than it is waited for."""
    held = sqlite3.connect(
        home / "results.sqlite", isolation_level=None, timeout=20, check_same_thread=False
    )
    held.execute("BEGIN EXCLUSIVE")
    threading.Timer(LOCK_TIMEOUT_S + 4, held.close).start()


class OtherVersion(socketserver.BaseRequestHandler):
    """An adb server of long ago, which knows nothing that is asked of it."""

    def handle(self):
        length = self.request.recv(4)
        is_version = length and self.request.recv(int(length, 16)) == b"host:version"
        self.request.sendall(b"OKAY00040020" if is_version else b"FAIL0014unknown host service")


def take_servers_port(phone, home):
    port = read_faults(home.parent / "phone").adb_server_port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"0009host:kill")
        connection.recv(1)
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    other = socketserver.ThreadingTCPServer(("127.0.0.1", port), OtherVersion)
    threading.Thread(target=other.serve_forever, daemon=True).start()

    def leave():
        other.shutdown()
        other.server_close()

    threading.Timer(12, leave).start()


def result_of(home):
    return next((home.parent / "phone/files").rglob("result.json"))


def put_directory(phone, home):
    result = result_of(home)
    result.unlink()
    result.mkdir()


def grow_result(phone, home):
    def grow():
        with suppress(OSError):
            for _ in range(800):
                with result.open("ab") as file:
                    file.write(b" ")
                time.sleep(0.01)

    result = result_of(home)
    threading.Thread(target=grow).start()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("happens", "moment", "exit_code", "words"),
    [
        (lock_store, "measuring", 1, "wait until that is done"),
        (lock_store, "fetching", 1, "wait until that is done"),
        (take_servers_port, "measuring", 4, "unknown host service"),
        (put_directory, "fetching", 4, "Is a directory"),
        (grow_result, "fetching", 4, "is not what is on the phone"),
    ],
)
def test_what_no_fault_is_named_after(bench, happens, moment, exit_code, words):
    outcome = bench.deploy("slow", moment, instead=happens)

    assert outcome.came
    assert (outcome.exit_code, outcome.lost) == (exit_code, ())
    assert words in outcome.message
    assert outcome.kept in ("all, by `collect`", "all, on the phone")
    assert not outcome.has_traceback
    assert outcome.seconds < 60


@pytest.mark.soak
@pytest.mark.timeout(2 * SOAK_S)
def test_500_deploys_with_random_faults(tmp_path, exports, model_directory, samples, monkeypatch):
    """Each is accounted for, and nothing of them is left: no process, thread, descriptor or file.

    Without a phone that is there and tells nothing of its run, which takes three minutes each.
    """
    waited_s = 5
    monkeypatch.setenv("MOBILEKIT_RECONNECT_S", str(waited_s))
    chance = random.Random(1)
    pairs = [
        (fault, moment)
        for fault in FAULTS
        for moment in MOMENTS
        if moment != "now" and not (fault in SILENT and moment in IN_THE_RUN)
    ]
    plan = [
        (*chance.choice(pairs), chance.choice(("nexus7", "pixel8"))) for _ in range(SOAK_DEPLOYS)
    ]
    threads, descriptors, children = threading.active_count(), _descriptors(), _children()
    started_s = time.monotonic()
    with ExitStack() as stack, ThreadPoolExecutor(SOAK_WORKERS) as pool:
        free: SimpleQueue = SimpleQueue()
        for number in range(SOAK_WORKERS):
            directory = tmp_path / str(number)
            directory.mkdir()
            network = str(model_directory / "tiny.py")
            free.put(stack.enter_context(running_bench(directory, exports, network, samples)))

        def deploy(planned):
            fault, moment, profile = planned
            bench = free.get()
            try:
                return bench.deploy(fault, moment, profile=profile)
            finally:
                free.put(bench)

        outcomes = list(pool.map(deploy, plan))
        left = list(tmp_path.glob("*/pair-*"))
    print(f"{SOAK_DEPLOYS} deploys in {time.monotonic() - started_s:.0f} s")
    assert len(outcomes) == SOAK_DEPLOYS
    assert time.monotonic() - started_s < SOAK_S
    for outcome in outcomes:
        assert outcome.exit_code in KNOWN_CODES, outcome
        assert outcome.exit_code == 0 or outcome.message.startswith("Error: "), outcome
        assert not outcome.has_traceback, outcome
        assert outcome.lost == (), outcome
        if outcome.came and outcome.fault in STAYS_AWAY and outcome.moment in IN_THE_RUN:
            assert outcome.seconds >= waited_s, outcome
    assert left == []
    assert _children() - children == set()
    assert threading.active_count() <= threads
    assert _descriptors() <= descriptors


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> set[str]:
    """The process ids of all that this process has started and that live."""
    return {
        pid
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    }
