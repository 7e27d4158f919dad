"""A companion that dies is in the phone's log as a phone's own app would be."""

import os
import signal
import sys

import pytest

from mobilekit.phone.parse import parse_crash
from mobilekit.virtual.companion import CompanionProcess
from mobilekit.virtual.crashes import Crash, find_crash

REPORT = """#
# A fatal error has been detected by the Java Runtime Environment:
#
#  SIGILL (0x4) at pc=0x00007f8a3c1d2e30, pid=4321, tid=4350
#
# JRE version: OpenJDK Runtime Environment (17.0.9+9)
# Problematic frame:
# C  [libexecutorch.so+0x1d2e30]
#
Native frames: (J=compiled Java code, j=interpreted, Vv=VM code, C=native code)
C  [libexecutorch.so+0x1d2e30]
C  [libexecutorch.so+0x1c0000]  torch::executor::Method::execute()+0x40
j  org.pytorch.executorch.Module.forward()+1
"""


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "crash.log"
    path.write_text(REPORT, encoding="utf-8")
    return path


def test_what_a_jvm_tells_of_a_signal(report):
    """It aborts after it has told; the signal before that counts, and where it was."""
    frames = (("1d2e30", "libexecutorch.so"), ("1c0000", "libexecutorch.so"))

    assert find_crash(4321, -signal.SIGABRT, report) == Crash(4321, signal.SIGILL, frames)


@pytest.mark.parametrize(
    ("pid", "exit_code", "expected"),
    [
        (5000, -signal.SIGSEGV, Crash(5000, signal.SIGSEGV)),
        (5000, -signal.SIGKILL, None),
        (5000, -signal.SIGTERM, None),
        (5000, 1, None),
        (5000, 0, None),
    ],
)
def test_another_process_than_the_report_s(report, pid, exit_code, expected):
    """Its own end counts; who is killed by the system or ends by itself has not crashed."""
    assert find_crash(pid, exit_code, report) == expected


def test_a_report_that_is_none(report):
    report.write_bytes(b"#  SIGWHAT (0x4) at pc=0x0, pid=4321, tid=1\n\xff")

    assert find_crash(4321, -signal.SIGABRT, report) == Crash(4321, signal.SIGABRT)
    assert find_crash(4321, 0, report.parent / "none") is None


def test_the_host_reads_it_from_the_log(phone):
    """The signal and the library, in the buffer of crashes alone; each crash is there once."""
    crash = Crash(4321, signal.SIGILL, (("1d2e30", "libexecutorch.so"),))
    told = [[crash]]
    phone.companion.take_crashes = lambda: told.pop() if told else []

    log = phone.adb("shell", "logcat -d -b crash -t 1000").stdout
    again = phone.adb("logcat", "-d").stdout
    main = phone.adb("logcat", "-d", "-b", "main").stdout

    assert parse_crash(log, 4321) == "SIGILL in libexecutorch.so"
    assert "virtual phone" not in log
    assert again.count("Fatal signal") == 1
    assert "virtual phone" in main
    assert "Fatal signal" not in main
    assert phone.adb("logcat", "-d", "-b", "none", may_fail=True).returncode != 0


@pytest.fixture
def companion(tmp_path, monkeypatch):
    """One whose program waits to be ended."""
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr("mobilekit.virtual.companion.companion_command", lambda *_, **__: program)
    companion = CompanionProcess(tmp_path)
    yield companion
    companion.stop()


@pytest.mark.parametrize(
    ("number", "crashes"), [(signal.SIGSEGV, True), (signal.SIGKILL, False)], ids=str
)
def test_a_process_that_dies(companion, number, crashes):
    """Told once, though the app was stopped since; who is killed has not crashed."""
    pid = companion.start("one")
    os.kill(pid, number)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    companion.stop()

    assert companion.take_crashes() == ([Crash(pid, signal.SIGSEGV)] if crashes else [])
    assert companion.take_crashes() == []
