"""Runs on phones whose every answer may be anything: each has an end, and one of ours."""

import random

import pytest
from examples import run_request, samples

from mobilekit.contract.checks import encode_event
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    LoadMeasured,
    PhaseStarted,
    RunFailure,
    RunSuccess,
    RunTaken,
)
from mobilekit.errors import AppError, DisconnectedError, PhoneError, TimedOutError
from mobilekit.executor.phone import SILENT, PhoneExecutor
from mobilekit.executor.watch import Patience
from mobilekit.phone.adb import ShellResult

NS_PER_S = 10**9
TAKEN = encode_event(RunTaken(pid=7))
LINES = (TAKEN, encode_event(PhaseStarted(phase="verify", at_ns=0)), b"")
SUCCESS = RunSuccess(protocol_version=PROTOCOL_VERSION, run_id="another", samples=samples())
NOISE = (
    *(b"over\n", b"over\nover\n", b"over", b"\0" * 10, b"\n", b"7", b"99999999999\n", b"{", b"-1"),
    *(b"9" * 5000 + b"\n", b'{"x":' * 1000 + b"\n", b"1 \xff", TAKEN[:5], encode(SUCCESS)),
    encode_event(LoadMeasured(load_ns=5)),
)
LONGEST_S = 4 * 3600.0
MOST_QUESTIONS = 20_000


class HostilePhone:
    """``mood``: how often it breaks off, of what it answers, and of how many parts."""

    serial = "hostile"

    def __init__(self, seed):
        self.now_s = 0.0
        self.questions = 0
        self._chance = random.Random(seed)
        self._breaks = self._chance.choice((0.0, 0.02, 0.3))
        self._lives = self._chance.choice((0.7, 1.0))
        self._words = self._chance.choice((LINES, NOISE, LINES + NOISE))
        self._most_parts = self._chance.choice((0, 1, 3, 40))

    def sleep(self, duration_s):
        self.now_s += duration_s

    def reconnect(self):
        if self._chance.random() < self._breaks:
            raise DisconnectedError("It is gone", fix="Wait.")
        return self

    def shell(self, command, check=True, limit_bytes=None):
        self.questions += 1
        assert self.questions < MOST_QUESTIONS
        assert self.now_s < LONGEST_S
        self.now_s += self._chance.choice((0, 0, 0.01, 1, 19))
        if self._chance.random() < self._breaks:
            kind = self._chance.choice((DisconnectedError, TimedOutError, PhoneError))
            raise kind("It breaks off", fix="Look at the cable.")
        if command.startswith("pidof") and self._chance.random() < self._lives:
            return ShellResult(b"7\n", b"", 0)
        parts = self._chance.choices(self._words, k=self._chance.randint(0, self._most_parts))
        return ShellResult(b"".join(parts), b"", self._chance.choice((0, 0, 0, 1, 127)))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_phone_answers_its_run_ends(seed):
    """Within its time, and with no other error than that it was not taken."""
    phone = HostilePhone(seed)
    executor = PhoneExecutor(
        phone,
        phone.reconnect,
        Patience(),
        sleep=phone.sleep,
        clock_ns=lambda: int(phone.now_s * NS_PER_S),
    )

    try:
        result = executor.follow(run_request(), SILENT)
    except AppError as error:
        assert "did not start" in error.what  # noqa: PT017
    else:
        assert isinstance(result, RunFailure)
