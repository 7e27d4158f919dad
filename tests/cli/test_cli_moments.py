"""Whatever fails in the middle of an energy phase, no completed block is lost.

A few random moments each; ``MOBILEKIT_MOMENTS=50`` tries more.
"""

import os
import random
import signal
import time

import pytest
from following import is_over, progress_of, wait_for

from mobilekit.contract.checks import decode_events
from mobilekit.contract.protocol import WindowMeasured
from mobilekit.virtual.companion_settings import CompanionSettings
from mobilekit.virtual.faults import Faults

MOMENTS = int(os.environ.get("MOBILEKIT_MOMENTS", "4"))
KINDS = ("command", "server", "link", "battery")


def windows_of(phone):
    return [
        event.window
        for event in decode_events(progress_of(phone).encode())
        if isinstance(event, WindowMeasured)
    ]


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_no_completed_block_is_lost(cli, bench_phone, moment):
    """What the phone had written when it happened is stored in the end, and so is the rest."""
    chance = random.Random(moment)
    kind = KINDS[moment % len(KINDS)]
    CompanionSettings(energy_speed=50.0).write(bench_phone.directory)
    process = cli.start("energy", "tiny.py", "-d", bench_phone.serial, "--fast", "--yes")
    wait_for(lambda: '"phase":"energy"' in progress_of(bench_phone))
    time.sleep(chance.uniform(0, 4))

    if kind == "command":
        os.kill(process.pid, signal.SIGKILL)
    elif kind == "server":
        bench_phone.server.adb("kill-server")  # The command starts another one.
    else:
        faults = Faults(cable="unplugged") if kind == "link" else Faults(powered_off=True)
        bench_phone.call(bench_phone.phone.set_faults(faults))
        time.sleep(chance.uniform(0, 2))
    before = windows_of(bench_phone)
    over = is_over(bench_phone)
    bench_phone.call(bench_phone.phone.set_faults(Faults()))
    process.communicate(timeout=120)
    bench_phone.server.adb("connect", bench_phone.serial)
    bench_phone.server.wait_for_state(bench_phone.serial, "device")
    cli("collect", "--wait")

    shown = cli("results", "show", "last", "--json").document
    windows = shown["measurement"]["result"]["samples"]["windows"]
    assert len(windows) >= len(before)
    assert [window["started_ns"] for window in windows[: len(before)]] == [
        window.started_ns for window in before
    ]
    if kind != "battery" or over:
        assert shown["measurement"]["result"]["type"] == "success"
        assert len(windows) == 11
    assert "No run is waiting" in cli("collect").stdout
