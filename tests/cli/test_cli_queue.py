"""Several models on a phone with one pull of the cable, through the CLI and a real adb server."""

import json
import os
import signal

import pytest
from following import RUNS, progress_of, wait_for
from tiny_model import TINY_MODEL

from mobilekit.virtual.companion_settings import CompanionSettings
from mobilekit.virtual.faults import Faults

MODELS = ("tiny.py", "tiny_two.py", "tiny_three.py")
INPUTS = "files/data/local/tmp/mobilekit/runs"


@pytest.fixture(autouse=True)
def three_models(model_directory):
    for number, name in enumerate(MODELS[1:], start=5):
        source = TINY_MODEL.replace("8, 4", f"8, {number}")
        (model_directory / name).write_text(source, encoding="utf-8")


@pytest.fixture
def plugged_phone(bench_phone):
    """A phone on its cable: no pilots, and the first run waits for the cable to be pulled."""
    CompanionSettings(energy_speed=100.0).write(bench_phone.directory)
    bench_phone.battery.set_plugged(True)
    return bench_phone


@pytest.fixture
def start_queue(cli, plugged_phone):
    """Starts three runs, and returns when the first waits for the cable and all are taken."""

    def start(*options):
        arguments = ("-d", plugged_phone.serial, "--fast", "--yes", *options)
        process = cli.start("energy", *MODELS, *arguments)
        wait_for(lambda: progress_of(plugged_phone).count('"type":"taken"') == 3)
        wait_for(lambda: '"type":"wait"' in progress_of(plugged_phone))
        return process

    return start


def results_in(phone):
    return len(list((phone.directory / RUNS).glob("*/result.json")))


def pull_the_cable(phone):
    phone.battery.set_plugged(False)
    phone.call(phone.phone.set_faults(Faults(cable="unplugged")))


def plug_it_in(phone):
    phone.battery.set_plugged(True)
    phone.call(phone.phone.set_faults(Faults()))
    phone.server.adb("connect", phone.serial)
    phone.server.wait_for_state(phone.serial, "device")


def order_told(process):
    """The models in the order in which they will run."""
    line = ""
    while "in this order: " not in line:
        line = process.stderr.readline()
        assert line
    return line.partition("in this order: ")[2].partition(".")[0].split(", ")


def test_one_pull_of_the_cable_is_enough(start_queue, plugged_phone):
    """All runs are over before the phone is plugged in again, and each has its energy."""
    process = start_queue("--json")
    pull_the_cable(plugged_phone)
    wait_for(lambda: results_in(plugged_phone) == 3)
    plug_it_in(plugged_phone)
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 0, stderr
    assert stderr.count("Pull the cable now") == 1
    documents = json.loads(stdout)["measurements"]
    names = [each["measurement"]["artifact"]["model"]["name"] for each in documents]
    assert sorted(names) == ["tiny", "tiny_three", "tiny_two"]
    assert f"3 runs, in this order: {', '.join(names)}." in stderr
    told = [stderr.index(f"Run {number} of 3: {name}") for number, name in enumerate(names, 1)]
    assert told == sorted(told)
    waits = [
        [wait["reason"] for wait in each["measurement"]["result"]["samples"]["waits"]]
        for each in documents
    ]
    assert waits == [["unplug", "rest"], ["rest"], ["rest"]]
    assert all(each["answer"]["energy"]["blocks"] == 5 for each in documents)
    assert plugged_phone.adb("shell", "ls /data/local/tmp/mobilekit/runs").stdout == ""


def test_all_pilots_come_before_the_first_run(cli, bench_phone):
    """Without a cable each model is piloted, then all are planned, each with what is left."""
    outcome = cli("energy", *MODELS[:2], "-d", bench_phone.serial, "--fast", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    names = [
        each["measurement"]["artifact"]["model"]["name"]
        for each in outcome.document["measurements"]
    ]
    steps = [f"A pilot run of {name}, to plan the energy run by." for name in names]
    steps += [f"{name}:\nEnergy by the charge counter" for name in names]
    steps += [f"2 runs, in this order: {', '.join(names)}.", f"Run 1 of 2: {names[0]}"]
    positions = [outcome.stderr.index(step) for step in steps]
    assert positions == sorted(positions)
    stored = cli("results", "list", "--json").document["results"]
    assert len(stored) == 4
    assert all(each["answer"]["energy"]["blocks"] == 5 for each in outcome.document["measurements"])


def test_a_killed_command_leaves_a_queue_that_is_collected(cli, start_queue, plugged_phone):
    """The runs that have not begun are waiting, not dead; nothing is started beside them."""
    process = start_queue()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    listed = cli("collect", "--json").document
    refused = cli("deploy", "tiny.py", "-d", plugged_phone.serial, "--no-energy")
    plugged_phone.battery.set_plugged(False)
    collected = cli("collect", "--wait", "--json")

    assert listed["collected"] == []
    assert sorted(run["why"] for run in listed["waiting"]) == ["running", "waiting", "waiting"]
    assert refused.exit_code == 3
    assert collected.exit_code == 0, collected.stderr
    assert collected.document["waiting"] == []
    windows = [
        len(each["measurement"]["result"]["samples"]["windows"])
        for each in collected.document["collected"]
    ]
    assert windows == [11, 11, 11]


def test_a_run_that_fails_keeps_none_from_running(start_queue, plugged_phone):
    """The one after it is measured all the same, and the exit code tells of the failure."""
    process = start_queue("--json")
    second = order_told(process)[1].replace("_", "-")
    (directory,) = (plugged_phone.directory / INPUTS).glob(f"{second}-nexus7-*")
    (directory / "request.json").unlink()
    plugged_phone.battery.set_plugged(False)
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 1
    assert "no request.json" in stderr
    results = [each["measurement"]["result"] for each in json.loads(stdout)["measurements"]]
    assert [result["type"] for result in results] == ["success", "failure", "success"]
    assert (results[1]["run_id"], results[1]["code"]) == (directory.name, "file_missing")


def test_a_crash_of_the_app_ends_one_run(start_queue, plugged_phone):
    """What it kept from beginning is started anew."""
    process = start_queue("--json")
    plugged_phone.call(stop_companion(plugged_phone))
    plugged_phone.battery.set_plugged(False)
    stdout, stderr = process.communicate(timeout=150)

    assert process.returncode == 1
    assert "process ended without a result" in stderr
    results = [each["measurement"]["result"] for each in json.loads(stdout)["measurements"]]
    assert [result["type"] for result in results] == ["failure", "success", "success"]


async def stop_companion(phone):
    phone.companion.stop()


def test_ctrl_c_stops_all_of_an_attached_phone(cli, start_queue, plugged_phone):
    """Each is said, and none is left behind."""
    process = start_queue("--json")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    measurements = [each["measurement"] for each in json.loads(stdout)["measurements"]]
    results = [each["result"] for each in measurements]
    assert [result["code"] for result in results] == ["stopped"] * 3
    assert len(results[0]["samples"]["iteration_ns"]) >= 30
    (line,) = [line for line in stderr.splitlines() if "Interrupted from the keyboard" in line]
    assert all(each["id"] in line for each in measurements)
    assert "results show" in line
    assert plugged_phone.companion.running_pids() == []
    assert cli("collect", "--json").document["waiting"] == []


def test_ctrl_c_leaves_all_of_an_absent_phone_alone(cli, start_queue, plugged_phone):
    """One line says so, the phone goes through all of them, and all are collected."""
    process = start_queue("--json")
    pull_the_cable(plugged_phone)
    text = ""
    while "goes on by itself. Plug" not in text:
        text += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    wait_for(lambda: results_in(plugged_phone) == 3)
    plug_it_in(plugged_phone)

    collected = cli("collect", "--json")

    assert process.returncode == 130
    (line,) = [line for line in stderr.splitlines() if "Interrupted from the keyboard" in line]
    assert "mobilekit collect" in line
    codes = [each["measurement"]["result"]["code"] for each in json.loads(stdout)["measurements"]]
    assert codes == ["disconnected"] * 3
    assert collected.exit_code == 0, collected.stderr
    types = [each["measurement"]["result"]["type"] for each in collected.document["collected"]]
    assert types == ["success"] * 3
    assert collected.document["waiting"] == []


def test_who_only_watches_ends_nothing(cli, start_queue, plugged_phone):
    """Ctrl-C in collect --wait leaves the runs to themselves, and they are collected later."""
    started = start_queue()
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    process = cli.start("collect", "--wait", "--json")
    while "Pull the cable now" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    plugged_phone.battery.set_plugged(False)

    collected = cli("collect", "--wait", "--json")

    assert process.returncode == 130
    assert "Interrupted from the keyboard: the run goes on" in stderr
    whys = [run["why"] for run in json.loads(stdout)["waiting"]]
    assert whys == ["left to itself", "waiting", "waiting"]
    types = [each["measurement"]["result"]["type"] for each in collected.document["collected"]]
    assert types == ["success"] * 3


def test_a_run_whose_process_died_while_the_app_lives_on(cli, start_queue, plugged_phone):
    """It is collected as interrupted, though there is a process of the app: it is another one."""
    started = start_queue()
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    plugged_phone.call(stop_companion(plugged_phone))
    plugged_phone.companion.running_pids = lambda: [4242]

    collected = cli("collect", "--json")

    assert collected.exit_code == 1
    assert collected.document["waiting"] == []
    results = [each["measurement"]["result"] for each in collected.document["collected"]]
    assert [result["code"] for result in results] == ["interrupted"] * 3
    assert len(results[0]["samples"]["iteration_ns"]) >= 30
    assert "ended before this run began" in results[2]["message"]
