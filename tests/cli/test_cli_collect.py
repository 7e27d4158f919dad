"""Runs that outlive their command or their link, through the CLI and the real adb server."""

import json
import os
import shutil
import signal
import time

import pytest
from following import RUNS, is_over, progress_of, wait_for

from mobilekit.virtual.companion_settings import CompanionSettings
from mobilekit.virtual.faults import Faults, read_faults

IMPATIENT = {"MOBILEKIT_RECONNECT_S": "2"}


@pytest.fixture
def abandoned(cli, bench_phone):
    """A phone with a run whose command was killed while it timed inferences."""
    process = cli.start("deploy", "tiny.py", "--device", bench_phone.serial, "--no-energy")
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return bench_phone


@pytest.fixture
def left_for_10_s(cli, bench_phone):
    """A phone with a run of that length, whose command was killed."""
    CompanionSettings(energy_speed=40.0).write(bench_phone.directory)
    process = cli.start("energy", "calibrate", "-d", bench_phone.serial, "--model", "tiny.py")
    wait_for(lambda: windows_told(bench_phone) >= 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return bench_phone


def test_nothing_is_waiting(cli):
    """Without abandoned runs no phone is looked for, and that is said."""
    outcome = cli("collect", ANDROID_ADB_SERVER_PORT="1", ADBUTILS_ADB_PATH="/bin/false")

    assert outcome.exit_code == 0
    assert "No run is waiting" in outcome.stdout


def test_a_killed_command_loses_nothing(cli, abandoned):
    """The run goes on; when it is over, collecting stores all of it and cleans the phone up."""
    assert cli("results", "list", "--json").document["results"] == []
    wait_for(lambda: is_over(abandoned))

    outcome = cli("collect", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    (document,) = outcome.document["collected"]
    assert outcome.document["waiting"] == []
    assert document["measurement"]["result"]["type"] == "success"
    assert len(document["measurement"]["result"]["samples"]["iteration_ns"]) >= 100
    assert [item["id"] for item in cli("results", "list", "--json").document["results"]] == [
        document["id"]
    ]
    assert abandoned.adb("shell", "ls /data/local/tmp/mobilekit/runs").stdout == ""
    assert cli("collect", "--json").document["collected"] == []


def test_a_run_that_goes_on_is_left_alone_or_followed(cli, left_for_10_s):
    """Without --wait it is listed as running; with it, it is followed to its end."""
    listed = cli("collect", "--json")
    followed = cli("collect", "--wait")

    assert listed.exit_code == followed.exit_code == 0
    assert [run["why"] for run in listed.document["waiting"]] == ["running"]
    assert "latency   p50" in followed.stdout
    assert "No run is waiting" in followed.stdout


def test_no_other_run_is_started_meanwhile(cli, left_for_10_s):
    """It would wait behind the first one: it is refused, and the first is collected."""
    refused = cli("deploy", "tiny.py", "--device", left_for_10_s.serial, "--no-energy")
    collected = cli("collect", "--wait", "--json")

    assert refused.exit_code == 3
    assert "mobilekit collect" in refused.stderr
    (document,) = collected.document["collected"]
    assert len(document["measurement"]["result"]["samples"]["windows"]) == 7


def test_a_phone_with_two_addresses_is_one(cli, bench_phone):
    """Nobody else gets at it over the other one, ``auto`` takes it, and the list says so."""
    other = f"localhost:{bench_phone.phone.port}"
    bench_phone.server.adb("connect", other)
    bench_phone.server.wait_for_state(other, "device")
    try:
        CompanionSettings(energy_speed=40.0).write(bench_phone.directory)
        process = cli.start("energy", "calibrate", "-d", "auto", "--model", "tiny.py")
        wait_for(lambda: windows_told(bench_phone) >= 1)

        listed = cli("devices").stdout
        refused = cli("deploy", "tiny.py", "-d", other, "--no-energy")
        waiting = cli("collect", "--json").document["waiting"]
        _, stderr = process.communicate(timeout=120)
    finally:
        bench_phone.server.adb("disconnect", other)

    assert process.returncode == 0, stderr
    assert "are the same phone" in listed.splitlines()[-1]
    assert refused.exit_code == 3
    assert "Another mobilekit is using this phone" in refused.stderr
    assert [run["why"] for run in waiting] == ["followed by another mobilekit"]


def test_a_calibration_that_is_collected(cli, bench_phone):
    """It uses the person's own word that it was started with."""
    CompanionSettings(energy_speed=100.0).write(bench_phone.directory)
    device = ("-d", bench_phone.serial)
    words = ("--model", "tiny.py", "--source", "current_now")
    process = cli.start("energy", "calibrate", *device, *words)
    wait_for(lambda: windows_told(bench_phone) >= 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    collected = cli("collect", "--wait")

    found = cli("energy", "calibrate", *device, "--no-measure", "--json").document["found"]

    assert collected.exit_code == 0, collected.stderr
    assert found["overridden"] == ["source"]
    assert found["source"] == "current_now"


def test_what_was_heard_of_a_run_that_is_gone(cli, bench_phone):
    """A phone whose app was removed meanwhile has nothing left: what was heard before stays."""
    arguments = ("deploy", "tiny.py", "--device", bench_phone.serial, "--no-energy")
    process = cli.start(*arguments, **IMPATIENT)
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone))
    time.sleep(1)
    bench_phone.call(bench_phone.phone.set_faults(Faults(cable="unplugged")))
    process.communicate(timeout=60)
    wait_for(lambda: is_over(bench_phone))
    shutil.rmtree(bench_phone.directory / RUNS)
    bench_phone.call(bench_phone.phone.set_faults(Faults()))
    bench_phone.server.adb("connect", bench_phone.serial)
    bench_phone.server.wait_for_state(bench_phone.serial, "device")

    (document,) = cli("collect", "--json").document["collected"]

    assert process.returncode == 4
    assert document["measurement"]["result"]["code"] == "interrupted"
    assert len(document["measurement"]["result"]["samples"]["load_ns"]) == 5


def test_a_phone_that_is_not_there(cli, abandoned):
    """Its run stays listed until it is given up."""
    abandoned.call(abandoned.phone.set_faults(Faults(cable="unplugged")))
    abandoned.server.wait_for_state(abandoned.serial, "offline")

    listed = cli("collect")
    run_id = cli("collect", "--json").document["waiting"][0]["id"]
    forgotten = cli("collect", "--forget", run_id)
    again = cli("collect", "--forget", run_id)

    assert "not attached" in listed.stdout
    assert run_id in listed.stdout
    assert forgotten.exit_code == 0
    assert "No run is waiting" in cli("collect").stdout
    assert again.exit_code == 2


def test_a_companion_that_died_meanwhile(cli, abandoned):
    """What it had written is collected as a failed run."""
    abandoned.companion.stop()

    outcome = cli("collect", "--json")

    assert outcome.exit_code == 1
    (document,) = outcome.document["collected"]
    result = document["measurement"]["result"]
    assert (result["type"], result["code"]) == ("failure", "interrupted")
    assert len(result["samples"]["load_ns"]) == 5


def test_a_link_that_comes_back_in_time(cli, bench_phone):
    """A short break of the link is waited out, and nothing of the run is missing."""
    process = cli.start("deploy", "tiny.py", "--device", bench_phone.serial, "--no-energy")
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone))
    bench_phone.call(bench_phone.phone.set_faults(Faults(cable="unplugged")))
    time.sleep(2)
    bench_phone.call(bench_phone.phone.set_faults(Faults()))
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 0, stderr
    assert "away" in stderr
    assert "is back" in stderr
    assert "latency   p50" in stdout


def test_what_a_lost_phone_had_told_is_completed_later(cli, bench_phone):
    """The partial result of a phone that stays away is stored, and collecting replaces it."""
    arguments = ("deploy", "tiny.py", "--device", bench_phone.serial, "--no-energy")
    process = cli.start(*arguments, **IMPATIENT)
    wait_for(lambda: '"phase":"iterate"' in progress_of(bench_phone))
    bench_phone.call(bench_phone.phone.set_faults(Faults(cable="unplugged")))
    _, stderr = process.communicate(timeout=150)
    partial = cli("results", "show", "last", "--json").document
    bench_phone.call(bench_phone.phone.set_faults(Faults()))
    bench_phone.server.adb("connect", bench_phone.serial)
    bench_phone.server.wait_for_state(bench_phone.serial, "device")

    collected = cli("collect")
    whole = cli("results", "show", "last", "--json").document

    assert process.returncode == 4
    assert "mobilekit collect" in stderr
    assert partial["measurement"]["result"]["code"] == "disconnected"
    assert collected.exit_code == 0, collected.stderr
    assert whole["id"] == partial["id"]
    assert whole["measurement"]["result"]["type"] == "success"


# --- energy with the cable out -----------------------------------------------------------------


def windows_told(phone):
    return progress_of(phone).count('"type":"window"')


def planned_windows_told(phone):
    """Of the run after its pilot, which does not rest."""
    return windows_told(phone) if '"reason":"rest"' in progress_of(phone) else 0


def test_the_cable_is_pulled_and_plugged_in_again(cli, bench_phone):
    """The command says when to pull it, goes on without the phone, and collects by itself."""
    CompanionSettings(energy_speed=100.0).write(bench_phone.directory)
    bench_phone.battery.set_plugged(True)
    process = cli.start("energy", "tiny.py", "-d", bench_phone.serial, "--fast", "--yes", "--json")
    wait_for(lambda: '"type":"wait"' in progress_of(bench_phone))
    time.sleep(1)
    assert windows_told(bench_phone) == 0
    bench_phone.battery.set_plugged(False)
    bench_phone.call(bench_phone.phone.set_faults(Faults(cable="unplugged")))
    wait_for(lambda: is_over(bench_phone))
    bench_phone.battery.set_plugged(True)
    bench_phone.call(bench_phone.phone.set_faults(Faults()))
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 0, stderr
    assert "Pull the cable now" in stderr
    assert "goes on by itself" in stderr
    assert "is back" in stderr
    (document,) = json.loads(stdout)["measurements"]
    samples = document["measurement"]["result"]["samples"]
    assert len(samples["windows"]) == 11
    assert [wait["reason"] for wait in samples["waits"]] == ["unplug", "rest"]
    assert document["answer"]["energy"]["blocks"] == 5


def test_a_block_with_the_cable_in_is_made_up_for(cli, bench_phone):
    """Plugging in for a moment spoils a block, which is measured again."""
    CompanionSettings(energy_speed=100.0).write(bench_phone.directory)
    process = cli.start("energy", "tiny.py", "-d", bench_phone.serial, "--fast", "--yes", "--json")
    wait_for(lambda: planned_windows_told(bench_phone) >= 3)
    bench_phone.battery.set_plugged(True)
    wait_for(lambda: progress_of(bench_phone).count('"reason":"unplug"') == 1)
    bench_phone.battery.set_plugged(False)
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 0, stderr
    (document,) = json.loads(stdout)["measurements"]
    windows = document["measurement"]["result"]["samples"]["windows"]
    assert len(windows) > 11
    assert document["answer"]["energy"]["blocks"] == 5


def test_ctrl_c_leaves_an_absent_phone_alone(cli, bench_phone):
    """The command ends with 130 and what it had heard; the run goes on and is collected."""
    CompanionSettings(energy_speed=60.0).write(bench_phone.directory)
    process = cli.start("energy", "tiny.py", "-d", bench_phone.serial, "--fast", "--yes")
    wait_for(lambda: planned_windows_told(bench_phone) >= 1)
    bench_phone.call(bench_phone.phone.set_faults(Faults(cable="unplugged")))
    assert "goes on by itself" in read_until(process.stderr, "goes on by itself")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=150)
    bench_phone.call(bench_phone.phone.set_faults(Faults()))
    bench_phone.server.adb("connect", bench_phone.serial)
    bench_phone.server.wait_for_state(bench_phone.serial, "device")

    collected = cli("collect", "--wait", "--json")

    assert process.returncode == 130
    assert "mobilekit collect" in stderr
    (document,) = collected.document["collected"]
    assert len(document["measurement"]["result"]["samples"]["windows"]) == 11


def read_until(stream, words):
    text = ""
    while words not in text:
        line = stream.readline()
        assert line, text
        text += line
    return text


def test_a_battery_that_empties(cli, bench_phone):
    """The phone goes off in the middle; once it is charged, every whole window is there."""
    bench_phone.battery.set_level(1)
    process = cli.start("energy", "tiny.py", "-d", bench_phone.serial, "--target-error", "0.5%")
    wait_for(lambda: read_faults(bench_phone.directory).powered_off)
    written = windows_told(bench_phone)
    bench_phone.battery.set_level(60)
    bench_phone.call(bench_phone.phone.set_faults(Faults()))
    _, stderr = process.communicate(timeout=60)
    result = cli("results", "show", "last", "--json").document["measurement"]["result"]

    assert process.returncode == 1
    assert "process ended without a result" in stderr
    assert written > 0
    assert len(result["samples"]["windows"]) == written
    assert cli("collect", "--json").document["waiting"] == []
