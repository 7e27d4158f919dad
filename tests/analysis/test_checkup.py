"""What is at fault, of facts that a test makes."""

import pytest
from examples import battery_status, device_info
from msgspec.structs import replace

from mobilekit.analysis.checkup import judge_computer, judge_phone
from mobilekit.records.checkup import (
    AdbFacts,
    AdbProgram,
    AppFacts,
    ComputerFacts,
    DirectoryFacts,
    FormatFitness,
    PackageFacts,
    PhoneFacts,
    PythonFacts,
    StoreFacts,
    UsbPhone,
)
from mobilekit.records.device import AttachedDevice

GB = 10**9
NUMPY = PackageFacts(
    name="numpy",
    extra=None,
    bounds="<3,>=1.26",
    installed="2.4.6",
    fits=True,
    tested="2.4.6",
    is_tested=True,
)
ADB = AdbProgram(path="/usr/bin/adb", protocol=41, release="36.0.0", failure=None)
USB = UsbPhone(serial="R58M", vendor_id="18d1", name="Pixel 8", debugging=True, writable=True)
HOME = DirectoryFacts(name="data", path="/home/me/data", failure=None, free_bytes=50 * GB)
COMPUTER = ComputerFacts(
    mobilekit_version="1.2.3",
    platform="Linux",
    python=PythonFacts(
        version="3.11.7", program="/usr/bin/python3", bounds=">=3.10", fits=True, packages=(NUMPY,)
    ),
    adb=AdbFacts(
        program=ADB,
        chosen_by="PATH",
        others=(),
        address="127.0.0.1",
        port=5037,
        server="running",
        server_protocol=41,
        failure=None,
        ignored=(),
    ),
    usb=(USB,),
    store=StoreFacts(url="sqlite:///x", exists=True, pending_runs=0, failure=None, fix=None),
    directories=(HOME,),
    app=AppFacts(apks=("mobilekit-bench-1.2.3-x86_64.apk",), missing_tools=(), fix="make app"),
    profiles_failure=None,
    profiles_fix=None,
)
PHONE = PhoneFacts(
    attached=AttachedDevice(serial="R58M", state="device"),
    advice="",
    failure=None,
    info=device_info(android_sdk=33, android_release="13", soc="Tensor"),
    battery=battery_status(),
    formats=(FormatFitness(format="pte", obstacle=None),),
    vulkan_obstacle=None,
    app_version="1.2.3",
    app_wanted="1.2.3",
    apk="/apks/1.apk",
    app_fix="make app",
    free_bytes=20 * GB,
    clock_ahead_s=-0.3,
    clock_uncertainty_s=0.6,
    user_unlocked=True,
    locked=False,
)


def told(checks):
    """All that are not ok."""
    return [each for each in checks if each.verdict != "ok"]


def python(**fields):
    return {"python": replace(COMPUTER.python, **fields)}


def package(**fields):
    return python(packages=(replace(NUMPY, **fields),))


def adb(**fields):
    return {"adb": replace(COMPUTER.adb, **fields)}


def test_a_sound_computer_and_a_sound_phone():
    """Each line says that all is well, and none what to do."""
    checks = (*judge_computer(COMPUTER), *judge_phone(PHONE))

    assert told(checks) == []
    assert [check.fix for check in checks if check.fix] == []
    assert len({check.subject for check in checks}) > 12


@pytest.mark.parametrize(
    ("fields", "verdict", "subject", "what", "fix"),
    [
        (python(fits=False), "fault", "Python", ">=3.10", "newer"),
        (python(bounds=None), "note", "Python", "source", "pip install --editable"),
        (
            package(installed=None, fits=False, is_tested=False),
            "fault",
            "packages",
            "numpy is not installed",
            "pip install 'numpy==2.4.6'",
        ),
        (
            package(installed="3.1", fits=False, is_tested=False),
            "fault",
            "packages",
            "numpy<3,>=1.26",
            "numpy==2.4.6",
        ),
        (
            package(installed="2.5.0", is_tested=False),
            "note",
            "packages",
            "ran with 2.4.6",
            "numpy==2.4.6",
        ),
        (
            package(name="onnx", extra="onnx", installed=None, fits=False, is_tested=False),
            "note",
            "packages",
            ".onnx cannot be exported",
            "mobilekit[onnx]",
        ),
        (adb(program=None), "fault", "adb", "no adb program", "apt install adb"),
        (
            adb(program=replace(ADB, protocol=None, failure="Exec format error")),
            "fault",
            "adb",
            "Exec format error",
            "unset PATH",
        ),
        (
            adb(others=(replace(ADB, path="/opt/adb", protocol=39),)),
            "note",
            "adb",
            "/opt/adb is 1.0.39",
            "ADBUTILS_ADB_PATH=/opt/adb",
        ),
        (adb(port=None, failure="it is 'x'"), "fault", "adb server", "it is 'x'", "unset ANDROID"),
        (
            adb(server="not adb", failure="it hangs up"),
            "fault",
            "adb server",
            "it hangs up",
            "ss -ltnp 'sport = :5037'",
        ),
        (adb(server="none", failure="no"), "fault", "adb server", "no", "adb -P 5037 start-server"),
        (adb(server_protocol=40), "fault", "adb server", "1.0.40", "adb -P 5037 kill-server"),
        (
            adb(ignored=("ADB_SERVER_SOCKET",)),
            "note",
            "adb server",
            "ADB_SERVER_SOCKET",
            "unset ADB_SERVER_SOCKET",
        ),
        (
            {"usb": (replace(USB, writable=False),)},
            "fault",
            "USB",
            "may not open Pixel 8 (R58M)",
            'ATTR{idVendor}=="18d1"',
        ),
        ({"usb": (replace(USB, debugging=False),)}, "note", "USB", "Pixel 8", "USB debugging"),
        (
            {"store": replace(COMPUTER.store, failure="locked", fix="wait")},
            "fault",
            "store",
            "locked",
            "wait",
        ),
        (
            {"store": replace(COMPUTER.store, pending_runs=2)},
            "note",
            "store",
            "2 runs wait",
            "mobilekit collect",
        ),
        (
            {"directories": (replace(HOME, failure="Read-only file system"),)},
            "fault",
            "directories",
            "Read-only file system",
            "MOBILEKIT_HOME",
        ),
        (
            {"directories": (replace(HOME, free_bytes=10**8),)},
            "fault",
            "directories",
            "95.4 MiB free",
            "df -h /home/me/data",
        ),
        (
            {"directories": (replace(HOME, name="cache", free_bytes=5 * 10**8),)},
            "note",
            "directories",
            "476.8 MiB free",
            "rm -r /home/me/data/artifacts",
        ),
        (
            {"app": replace(COMPUTER.app, apks=(), missing_tools=("Maven",))},
            "note",
            "companion app",
            "Maven missing",
            "make app",
        ),
        (
            {"profiles_failure": "x.toml is none", "profiles_fix": "mend it"},
            "fault",
            "profiles",
            "x.toml",
            "mend it",
        ),
    ],
)
def test_what_is_wrong_with_a_computer(fields, verdict, subject, what, fix):
    """One line says so, with the fix, and none else does."""
    (check,) = told(judge_computer(replace(COMPUTER, **fields)))

    assert (check.verdict, check.subject) == (verdict, subject)
    assert what in check.what
    assert fix in check.fix


def battery(**fields):
    return {"battery": battery_status(**fields)}


@pytest.mark.parametrize(
    ("fields", "verdict", "subject", "what", "fix"),
    [
        (
            {"formats": (FormatFitness(format="pte", obstacle="no atomics"),)},
            "fault",
            "formats",
            "no .pte: no atomics",
            "another phone",
        ),
        (
            {
                "formats": (
                    FormatFitness(format="pte", obstacle="no atomics"),
                    FormatFitness(format="onnx", obstacle=None),
                )
            },
            "note",
            "formats",
            "no .pte: no atomics",
            "--format onnx",
        ),
        (
            {"vulkan_obstacle": "it has Vulkan 1.0"},
            "note",
            "gpu",
            "no --backend vulkan: it has Vulkan 1.0",
            "XNNPACK",
        ),
        (
            {"info": device_info(android_sdk=22, android_release="5.1")},
            "fault",
            "system",
            "needs Android 6.0",
            "another phone",
        ),
        ({"app_version": "1.2.2"}, "note", "companion app", "1.2.2, mobilekit has 1.2.3", "1.apk"),
        ({"app_version": None}, "note", "companion app", "not installed", "/apks/1.apk"),
        (
            {"app_version": None, "apk": None},
            "fault",
            "companion app",
            "nothing to install",
            "make app",
        ),
        ({"free_bytes": 10**8}, "fault", "storage", "95.4 MiB", "adb -s R58M shell rm -r /data"),
        ({"free_bytes": 5 * 10**8}, "note", "storage", "476.8 MiB", "adb -s R58M shell rm -r"),
        (battery(updates_stopped=True), "fault", "battery", "has set", "dumpsys battery reset"),
        (battery(level_percent=9), "note", "battery", "9 %", "Charge"),
        (battery(temperature_decicelsius=412), "note", "temperature", "41.2 degC", "cool"),
        ({"clock_ahead_s": 4000.2}, "note", "clock", "4,000 s ahead of", "auto_time 1"),
        ({"clock_ahead_s": -90.0}, "note", "clock", "90 s behind", "auto_time 1"),
        ({"user_unlocked": False}, "fault", "lock", "not unlocked since its start", "Unlock"),
    ],
)
def test_what_is_wrong_with_a_phone(fields, verdict, subject, what, fix):
    """One line says so, with the fix, and none else does."""
    (check,) = told(judge_phone(replace(PHONE, **fields)))

    assert (check.verdict, check.subject) == (verdict, subject)
    assert what in check.what
    assert fix in check.fix


@pytest.mark.parametrize(
    "fields",
    [
        {"free_bytes": None},
        {"clock_ahead_s": None},
        {"user_unlocked": None, "locked": None},
        {"battery": None},
        battery(level_percent=None, temperature_decicelsius=None),
        # An answer that took long says nothing against a clock.
        {"clock_ahead_s": 61.0, "clock_uncertainty_s": 1.5},
    ],
)
def test_what_a_phone_does_not_tell_is_not_at_fault(fields):
    assert told(judge_phone(replace(PHONE, **fields))) == []


@pytest.mark.parametrize(
    ("state", "failure", "what"),
    [
        ("unauthorized", None, "unauthorized"),
        ("device", None, "it does not answer"),
        ("device", "The phone is gone", "The phone is gone"),
    ],
)
def test_a_phone_that_is_not_ready(state, failure, what):
    """Its state and what to do are all that is said."""
    attached = AttachedDevice(serial="R58M", state=state)
    facts = replace(PHONE, attached=attached, advice="do this", failure=failure, info=None)

    (check,) = judge_phone(facts)

    assert (check.verdict, check.subject, check.what, check.fix) == (
        "fault",
        "state",
        what,
        "do this",
    )
