"""Every fault by name, as an adb server and its clients see it."""

from __future__ import annotations

import signal
import time

import pytest
from following import wait_for

from mobilekit.contract.codec import decode, encode
from mobilekit.contract.protocol import INPUT_ROOT, OUTPUT_ROOT, PACKAGE
from mobilekit.virtual.faults import (
    BANNER,
    FAULTS,
    MOMENTS,
    Faults,
    comes_with,
    read_faults,
    write_faults,
)

TMP = "/data/local/tmp"
RUN = f"{OUTPUT_ROOT}/runs/run-1"


def fail(phone, fault, at="now"):
    faults = Faults(fault=fault, at=at, adb_server_port=phone.server.port)
    phone.call(phone.phone.set_faults(faults))


def answer(phone, command):
    return phone.adb("shell", command, may_fail=True, timeout=20)


def test_a_fault_is_kept_in_a_file(phone):
    assert read_faults(phone.directory) == Faults()
    write_faults(phone.directory, Faults(fault="crlf", at="start"))
    wait_for(lambda: phone.phone._faults.fault == "crlf")
    assert decode(encode(Faults(fault="slow")), Faults, source="x").fault == "slow"


@pytest.mark.parametrize(
    ("fault", "command", "told"),
    [
        ("truncated", "echo 123456; echo more", "123"),
        ("banner", "echo a", BANNER.decode() + "a\n"),
        ("read-only", f"echo x > {TMP}/x || echo failed", "failed\n"),
        ("denied", f"cat {TMP}/there || echo failed", "failed\n"),
        ("full", f"echo x > {TMP}/x || echo failed", "failed\n"),
        ("low-battery", "dumpsys battery | grep level", "  level: 3\n"),
        ("wrong-version", f"dumpsys package {PACKAGE} | grep Name", "    versionName=0.0.1\n"),
    ],
)
def test_what_a_fault_makes_of_an_answer(phone, fault, command, told):
    answer(phone, f"echo y > {TMP}/there")
    before = answer(phone, command).stdout
    fail(phone, fault)
    assert answer(phone, command).stdout == told != before
    fail(phone, "none")
    if fault not in ("low-battery", "wrong-version"):
        assert answer(phone, command).stdout == before


def test_noise_is_as_long_as_what_it_replaces(phone):
    fail(phone, "garbage")
    noise = phone.device().shell2("echo 0123456789", v2=True, encoding=None).stdout
    assert len(noise) == 11
    assert noise != b"0123456789\n"


def test_lines_end_as_on_another_system(phone):
    fail(phone, "crlf")
    assert phone.device().shell2("echo a; echo b", v2=True, encoding=None).stdout == b"a\r\nb\r\n"


def test_a_clock_that_is_behind(phone):
    year = int(answer(phone, "date +%Y").stdout)
    fail(phone, "wrong-clock")
    assert int(answer(phone, "date +%Y").stdout) in (year - 10, year - 9)


def test_a_slow_phone(phone, tmp_path):
    (tmp_path / "x").write_bytes(bytes(200_000))
    fail(phone, "slow")
    started_s = time.monotonic()
    phone.adb("push", str(tmp_path / "x"), f"{TMP}/x")
    assert time.monotonic() - started_s > 1.5


@pytest.mark.parametrize(
    ("fault", "state"), [("offline", "offline"), ("unauthorized", "unauthorized"), ("refuse", None)]
)
def test_a_link_that_is_none(adb_server, phone, fault, state):
    """A phone that was connected once is tried again by the server, and is offline to it."""
    adb_server.adb("disconnect", phone.serial)
    fail(phone, fault)
    adb_server.adb("connect", phone.serial, may_fail=True)
    adb_server.wait_for_state(phone.serial, state)
    if fault != "unauthorized":
        fail(phone, "none")
        adb_server.adb("disconnect", phone.serial, may_fail=True)
        adb_server.adb("connect", phone.serial)
    adb_server.wait_for_state(phone.serial, "device")


@pytest.mark.parametrize("fault", ["disconnect", "reboot"])
def test_a_link_that_comes_back(adb_server, phone, fault):
    fail(phone, fault)
    wait_for(lambda: answer(phone, "true").returncode != 0)
    wait_for(lambda: answer(phone, "true").returncode == 0)


@pytest.mark.parametrize(
    ("fault", "number"),
    [("crash", signal.SIGSEGV), ("killed", signal.SIGKILL), ("silent-progress", signal.SIGSTOP)],
)
def test_what_becomes_of_the_app(phone, fault, number):
    phone.companion.start("run-1")
    fail(phone, fault)
    assert phone.companion.signals[-1] == number
    fail(phone, "none")
    assert phone.companion.signals[-1] == signal.SIGCONT


def test_a_result_that_is_none(phone):
    files = phone.phone.device.files
    files.make_directories(RUN)
    files.write_bytes(f"{RUN}/result.json", b"{}")
    fail(phone, "corrupt-result")
    told = phone.adb("exec-out", f"xxd {RUN}/result.json", may_fail=True).stdout
    with files.open(f"{RUN}/result.json") as file:
        assert file.read() == b"{}\xff\0", told


def test_another_computer_at_the_phone(phone):
    fail(phone, "second-computer")
    wait_for(lambda: len(phone.phone._adbd.links) == 2)
    assert answer(phone, "echo both").stdout == "both\n"
    fail(phone, "none")
    wait_for(lambda: len(phone.phone._adbd.links) == 1)


def test_a_phone_that_stalls(phone):
    fail(phone, "stall")
    with pytest.raises(Exception, match="timed out"):
        phone.adb("shell", "true", timeout=2)
    fail(phone, "none")
    assert answer(phone, "echo on").stdout == "on\n"


@pytest.mark.parametrize(
    ("moment", "service"),
    [
        ("finding", "shell,v2,raw:getprop"),
        ("install", f"shell,v2:dumpsys package {PACKAGE}"),
        ("install", "exec:cmd package install -r -S 12"),
        ("start", f"shell:am start -n {PACKAGE}/.RunActivity --es run_id a"),
        ("fetching", f"shell,v2:cat {RUN}/result.json"),
        ("cleaning", f"shell,v2:rm -rf {INPUT_ROOT}/runs/run-1 {RUN}"),
    ],
)
def test_a_moment_comes_with_its_service_only(moment, service):
    assert [each for each in MOMENTS if comes_with(service, each)] == [moment]
    before = f"mkdir -p {INPUT_ROOT}/runs/run-1 && rm -rf {RUN}"
    assert not any(comes_with(f"shell,v2:{before}", each) for each in MOMENTS)


def test_a_fault_waits_for_its_moment(phone, tmp_path):
    fail(phone, "banner", at="start")
    assert answer(phone, "echo a").stdout == "a\n"
    assert answer(phone, "am start -n a/b").stdout.startswith(BANNER.decode())
    (tmp_path / "x").write_bytes(b"x")
    fail(phone, "banner", at="push")
    phone.adb("push", str(tmp_path / "x"), f"{TMP}/x")
    assert answer(phone, "echo a").stdout == "a\n"
    phone.adb("push", str(tmp_path / "x"), f"{INPUT_ROOT}/artifacts/x")
    wait_for(lambda: answer(phone, "echo a").stdout == BANNER.decode() + "a\n", 20)


def test_a_fault_waits_for_a_phase_of_a_new_run(phone):
    files = phone.phone.device.files
    line = b'{"type":"phase","phase":"load","at_ns":0}\n'
    files.make_directories(f"{OUTPUT_ROOT}/runs/old")
    files.write_bytes(f"{OUTPUT_ROOT}/runs/old/progress.jsonl", line)
    fail(phone, "banner", at="load")
    time.sleep(0.1)
    assert answer(phone, "echo a").stdout == "a\n"
    files.make_directories(f"{OUTPUT_ROOT}/runs/new")
    files.write_bytes(f"{OUTPUT_ROOT}/runs/new/progress.jsonl", line)
    wait_for(lambda: answer(phone, "echo a").stdout == BANNER.decode() + "a\n", 20)


def test_every_fault_can_come_at_once(phone):
    """Each strikes, and the phone is well again after it."""
    for fault in FAULTS:
        if fault != "server-killed":
            fail(phone, fault)
            fail(phone, "none")
    wait_for(lambda: answer(phone, "echo well").stdout == "well\n")
