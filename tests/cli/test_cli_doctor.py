"""``doctor``: the whole way, on sound and on broken computers and phones."""

import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager

import pytest
from msgspec.structs import replace
from schemas import check_document
from servers import TEST_PROFILE

from mobilekit.contract.protocol import PACKAGE
from mobilekit.phone.side_by_side import LOOK_LIMIT_S
from mobilekit.virtual.phone import Faults


def faults(document):
    """By subject, what is at fault, of the computer and of each phone."""
    groups = [document["computer"], *document["phones"]]
    return {
        check["subject"]: check["what"]
        for group in groups
        for check in group["checks"]
        if check["verdict"] == "fault"
    }


def checks_of(phone):
    return {check["subject"]: check for check in phone["checks"]}


def test_a_sound_phone(cli, phone):
    """Every line is there, none at fault, and the figures are what the phone says."""
    outcome = cli("doctor", "--device", phone.serial)
    document = cli("doctor", "--json").document

    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    assert "No faults" in outcome.stdout
    assert f"{phone.serial} · " in outcome.stdout
    assert (document["faults"], faults(document)) == (0, {})
    (found,) = document["phones"]
    assert checks_of(found).keys() == {
        *("state", "system", "formats", "gpu", "companion app"),
        *("storage", "battery", "temperature", "clock"),
    }
    facts = found["facts"]
    assert facts["free_bytes"] > 10**9
    assert abs(facts["clock_ahead_s"]) <= facts["clock_uncertainty_s"]
    assert document["computer"]["facts"]["adb"]["server_protocol"] == 41
    assert document["computer"]["facts"]["store"]["failure"] is None


def test_a_phone_that_lacks_much(cli, make_phone):
    """An old processor, no app, a full disk, an empty battery: each has its line and its fix."""
    hardware = replace(TEST_PROFILE.hardware, cpu_features=("asimd", "fp"))
    phone = make_phone(profile=replace(TEST_PROFILE, hardware=hardware), abi="arm64-v8a")
    phone.adb("uninstall", PACKAGE)
    phone.battery.set_level(7)
    phone.call(phone.phone.set_faults(Faults(storage_bytes=10**8)))

    outcome = cli("doctor", "--device", phone.serial, "--json")

    (found,) = outcome.document["phones"]
    checks = checks_of(found)
    assert outcome.exit_code == 7
    assert set(faults(outcome.document)) - {"companion app"} == {"storage"}
    assert f"storage of {phone.serial}" in outcome.stderr
    assert "atomics" in checks["formats"]["what"]
    assert "not installed" in checks["companion app"]["what"]
    assert "7 %" in checks["battery"]["what"]
    assert f"adb -s {phone.serial} shell rm -r" in checks["storage"]["fix"]


def test_phones_that_are_not_ready_cost_the_others_nothing(cli, make_phone):
    """One hangs, one is unauthorized: `doctor` and `devices` tell of the third all the same, within
    the time that each phone has."""
    sound, hanging, unauthorized = make_phone(), make_phone(), make_phone()
    unauthorized.call(unauthorized.phone.set_faults(Faults(cable="unauthorized")))
    unauthorized.server.wait_for_state(unauthorized.serial, "unauthorized")
    hanging.call(hanging.phone.set_faults(Faults(cable="stalled")))
    assert cli("virtual", "list").exit_code == 0  # What starts first waits for PyTorch.
    started_s = time.monotonic()
    both = [cli.start(name, "--json") for name in ("doctor", "devices")]
    doctor, devices = (check_document(process.communicate(timeout=100)[0]) for process in both)
    took_s = time.monotonic() - started_s

    states = {phone["facts"]["attached"]["serial"]: checks_of(phone) for phone in doctor["phones"]}
    known = {each["attached"]["serial"]: each["info"] for each in devices["devices"]}
    assert states[sound.serial]["battery"]["what"].startswith("80 %")
    assert states[hanging.serial]["state"]["what"] == "it does not answer"
    assert "getprop" in states[hanging.serial]["state"]["fix"]
    assert states[unauthorized.serial]["state"]["what"] == "unauthorized"
    assert [process.returncode for process in both] == [7, 0]
    assert known[sound.serial] is not None
    assert (known[hanging.serial], known[unauthorized.serial]) == (None, None)
    # Of the programs' own start-up there is as much again on a busy computer.
    assert took_s < 2 * LOOK_LIMIT_S


def test_a_phone_that_is_not_there(cli, phone):
    """Named, it is a fault that says what is attached; the computer's lines are told all the
    same."""
    outcome = cli("doctor", "--device", "pixel8", "--json")

    assert outcome.exit_code == 7
    assert phone.serial in faults(outcome.document)["phones"]
    assert outcome.document["phones"] == []


@contextmanager
def answering(words):
    """A program that is no adb server, at a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(100)
                    connection.sendall(words)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "words",
    [b"OKAY0004zzzz", b"OKAY0003029", b"OKAY00030029", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""],
)
def test_junk_at_the_servers_port(cli, words):
    """It is told what answers there, and the rest is told all the same."""
    with answering(words) as port:
        outcome = cli("doctor", "--json", ANDROID_ADB_SERVER_PORT=str(port))

    (what,) = faults(outcome.document).values()
    assert outcome.exit_code == 7
    assert f"127.0.0.1:{port} is no adb server" in what


def test_a_broken_computer(cli, tmp_path):
    """No adb, no port, no home, a locked store: every line is at fault with its fix."""
    store = tmp_path / "locked.sqlite"
    with closing(sqlite3.connect(store, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        outcome = cli(
            "doctor",
            "--json",
            ANDROID_ADB_SERVER_PORT="abc",
            ADBUTILS_ADB_PATH="/nowhere/adb",
            MOBILEKIT_HOME="/proc/nowhere",
            MOBILEKIT_STORE=f"sqlite:///{store}",
        )

    found = faults(outcome.document)
    assert outcome.exit_code == 7
    assert found.keys() == {"adb", "adb server", "store", "directories"}
    assert "/nowhere/adb" in found["adb"]
    assert "'abc'" in found["adb server"]
    assert "locked" in found["store"]
    assert "/proc/nowhere/cache" in found["directories"]


def test_an_adb_of_another_version(cli, tmp_path):
    """It would end the server that mobilekit speaks to."""
    other = tmp_path / "adb"
    other.write_text("#!/bin/sh\necho Android Debug Bridge version 1.0.39\n", encoding="utf-8")
    other.chmod(0o755)

    outcome = cli("doctor", "--json", ADBUTILS_ADB_PATH=str(other))

    (what,) = faults(outcome.document).values()
    assert "1.0.41" in what
    assert "1.0.39" in what
