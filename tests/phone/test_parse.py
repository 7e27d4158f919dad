import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.phone import parse
from mobilekit.phone.parse import (
    parse_abis,
    parse_adb_version,
    parse_available_bytes,
    parse_battery,
    parse_cpu_features,
    parse_crash,
    parse_free_bytes,
    parse_hardware_serial,
    parse_learned_capacity,
    parse_locked,
    parse_properties,
    parse_ram_bytes,
    parse_stated_capacity,
    parse_user_unlocked,
    parse_version_name,
)
from mobilekit.records.device import BatteryStatus

CAPTURED = Path(__file__).parents[1] / "captured"


def captured(name: str) -> str:
    return (CAPTURED / name).read_bytes().decode("utf-8")


def test_a_constant_zero_counter_is_no_counter():
    """A Pixel C charges, and its charge counter of 0 counts as not supported."""
    assert parse_battery(captured("battery-aosp-pixel-c.txt")) == BatteryStatus(
        level_percent=19,
        plugged=True,
        charging=True,
        charge_counter_uah=None,
        voltage_mv=3764,
        temperature_decicelsius=275,
        technology="Li-ion",
        told_counter=None,
        updates_stopped=False,
    )


def test_a_vendors_second_section_changes_nothing():
    """Samsung repeats names further down; the first, Android's own, counts."""
    battery = parse_battery(captured("battery-samsung.txt"))

    assert battery.charge_counter_uah == 2_967_000
    assert battery.level_percent == 100
    assert battery.charging


def test_carriage_returns_and_missing_lines():
    """An old adb's CRLF is no part of a value, and a missing counter is none."""
    battery = parse_battery(captured("battery-android6.crlf.txt"))

    assert battery.technology == "Li-poly"
    assert battery.charge_counter_uah is None
    assert (battery.plugged, battery.charging) == (False, False)


def test_microvolts_and_another_scale():
    """Voltage comes out in millivolts and level in percent, whatever the phone prints."""
    battery = parse_battery(captured("battery-microvolt.txt"))

    assert battery.voltage_mv == 3850
    assert battery.level_percent == 25
    assert battery.temperature_decicelsius == -35
    assert battery.plugged
    assert battery.technology is None
    assert battery.updates_stopped


def battery_text(level=50, counter=2_000_000, voltage="3850", scale=100) -> str:
    return (
        f"Current Battery Service state:\n  Charge counter: {counter}\n  level: {level}\n"
        f"  scale: {scale}\n  voltage: {voltage}\n"
    )


@pytest.mark.parametrize(
    ("level", "counter", "expected_uah", "unit"),
    [
        pytest.param(79, 4190, 4_190_000, "mAh", id="Redmi"),
        pytest.param(50, 2_016_000, 2_016_000, "uAh", id="as documented"),
        pytest.param(80, 3_200_000_000, 3_200_000, "nAh", id="nAh"),
        pytest.param(2, 80, 80_000, "mAh", id="mAh at a level that tells nothing"),
        pytest.param(1, 40_000, 40_000, "uAh", id="uAh at a level that tells nothing"),
        pytest.param(72, -133_200, None, None, id="below zero"),
        pytest.param(72, 72, None, None, id="percent"),
        pytest.param(72, 0, None, None, id="a constant 0"),
    ],
)
def test_a_charge_counters_unit_follows_from_its_level(level, counter, expected_uah, unit):
    """It is the one in which the full charge is a phone's; where none is, the counter is no
    charge, and what was told is kept."""
    battery = parse_battery(battery_text(level, counter))

    assert (battery.charge_counter_uah, battery.counter_unit) == (expected_uah, unit)
    assert battery.told_counter == (counter or None)


@pytest.mark.parametrize(
    ("level", "scale", "expected"),
    [(790, 1000, 79), (79, "", 79), (790, 100, None), (-1, 100, None)],
)
def test_levels_of_other_scales(level, scale, expected):
    """In percent of whatever scale is told; a level beyond it is none."""
    assert parse_battery(battery_text(level, scale=scale)).level_percent == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [("4207", 4207), ("4207000", 4207), ("4.207", 4207), ("4", 4000), ("0", None), ("42", None)],
)
def test_voltages_of_other_units(told, expected):
    """Volts, millivolts and microvolts; what no battery has is none."""
    assert parse_battery(battery_text(voltage=told)).voltage_mv == expected


@pytest.mark.parametrize("digits", [19, 400, 5000])
def test_numbers_that_nothing_holds_are_none(digits):
    """No phone has them, and arithmetic with them fails."""
    number = "9" * digits
    names = ("level", "scale", "status", "charge counter", "voltage", "temperature")
    told = "".join(f"  {name}: {number}\n" for name in names)

    assert parse_battery(told) == parse_battery("")
    assert parse_ram_bytes(f"MemTotal: {number} kB\n") is None
    assert parse_available_bytes(f"MemAvailable: {number} kB\n") is None
    assert parse_free_bytes(f"Filesystem Available\n/data {number}\n") is None
    assert parse_learned_capacity(f"Last learned battery capacity: {number} mAh\n") is None
    crash = f"11-28 07:04:05.000 {number} 9 F libc : Fatal signal 11 (SIGSEGV), code 1\n"
    assert parse_crash(crash, 7) is None


@given(st.text())
def test_no_text_breaks_a_parser(text):
    """Whatever a phone prints, parsers give a record or nothing, and never fail."""
    parse_battery(text)
    parse_properties(text)
    parse_learned_capacity(text)
    parse_stated_capacity(text)
    parse_ram_bytes(text)
    parse_version_name(text)


PROPERTY_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="[]\u2028\u2029\x85")
)


@given(st.dictionaries(PROPERTY_TEXT.filter(bool), PROPERTY_TEXT), st.sampled_from(["\n", "\r\n"]))
def test_properties_come_back(properties, line_end):
    """What getprop's format says is what is parsed, with either line end."""
    text = "".join(f"[{name}]: [{value}]{line_end}" for name, value in properties.items())

    assert parse_properties(text) == properties


def test_properties_with_odd_values():
    """Empty values, values over two lines and brackets in values are kept whole."""
    properties = parse_properties(captured("getprop-nexus7.txt"))

    assert properties["ro.product.device"] == "flo"
    assert properties["ro.serialno"] == ""
    assert properties["persist.sys.boot.reason.history"].splitlines()[1] == "shutdown,1699990000"
    assert properties["some.odd.value"] == "a]b: [c"


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"ro.serialno": "R58M123", "ro.boot.serialno": "other"}, "R58M123"),
        ({"ro.serialno": "unknown", "ro.boot.serialno": "R58M123"}, "R58M123"),
        ({"ro.serialno": "0123456789ABCDEF"}, ""),
        ({"ro.serialno": "1234567890"}, ""),
        ({"ro.serialno": "EMULATOR34X1X9X0", "ro.boot.serialno": "00000000"}, ""),
        ({"ro.serialno": "0123456789ABCDE7"}, "0123456789ABCDE7"),
        ({}, ""),
    ],
)
def test_a_serial_number_that_many_phones_tell_is_none(properties, expected):
    """What makers and emulators leave in every device does not tell one from another."""
    assert parse_hardware_serial(properties) == expected


def test_the_learned_and_the_stated_capacity():
    """Each by its own name."""
    text = captured("batterystats-pixel.txt")

    assert parse_learned_capacity(text) == 4174
    assert parse_stated_capacity(text) == 4410
    assert parse_learned_capacity(text.replace("Last learned", "Somebody's")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Capacity: 3000, Computed drain: 24.2, actual drain: 0", 3000),
        ("  Estimated battery capacity: 4,410 mAh", 4410),
        ("  Estimated battery capacity: 0 mAh", None),
        ("", None),
    ],
)
def test_capacities_of_older_and_odd_phones(text, expected):
    """Older releases name it otherwise, some use a comma; zero is none."""
    assert parse_stated_capacity(text) == expected


def test_memory_and_version():
    """RAM in bytes from meminfo, and the version name that Android prints among other lines."""
    assert parse_ram_bytes("MemTotal:        1857452 kB\nMemFree: 1 kB\n") == 1857452 * 1024
    assert parse_ram_bytes("") is None
    package = (
        "Packages:\n  Package [x] (1):\n    versionCode=1 minSdk=23\n    versionName=0.1.0\r\n"
    )
    assert parse_version_name(package) == "0.1.0"
    assert parse_version_name("Unable to find package: x") is None


@pytest.mark.parametrize(
    ("text", "expected_kib"),
    [
        pytest.param(
            "MemTotal: 7 kB\nMemFree: 2 kB\nMemAvailable:    5 kB\nCached: 9 kB\n", 5, id="told"
        ),
        pytest.param(
            "MemTotal: 7 kB\r\nMemFree: 2 kB\r\nBuffers: 1 kB\r\nCached: 3 kB\r\n",
            5,
            id="before Linux 3.14",
        ),
        pytest.param("MemTotal: 7 kB\nMemFree: 2 kB\n", None, id="too little"),
        pytest.param("cat: /proc/meminfo: Permission denied\n", None, id="refused"),
    ],
)
def test_available_memory(text, expected_kib):
    """As the kernel tells it, else as Android's ActivityManager reckons it on an old one."""
    expected = None if expected_kib is None else expected_kib * 1024

    assert parse_available_bytes(text) == expected


@given(st.text())
def test_any_meminfo_is_read(text):
    """No text makes it fail."""
    parse_available_bytes(text)


CPUINFO = """processor\t: 0
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp
CPU implementer\t: 0x41
CPU part\t: 0xd05

processor\t: 4
Features\t: fp asimd evtstrm aes crc32 cpuid
CPU part\t: 0xd09

Hardware\t: Example
"""
"""A maker's processor whose slow cores can more than its fast ones."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CPUINFO, ("aes", "asimd", "crc32", "evtstrm", "fp")),
        (CPUINFO.replace("\n", "\r\n"), ("aes", "asimd", "crc32", "evtstrm", "fp")),
        (
            "Features\t: half thumb fastmult vfp neon\n",
            ["fastmult", "half", "neon", "thumb", "vfp"],
        ),
        ("Features\t:\n", None),
        ("flags\t\t: fpu vme de pse tsc\n", None),
        ("cat: /proc/cpuinfo: Permission denied\n", None),
    ],
)
def test_what_all_cores_have(text, expected):
    """A thread may run on any of them; an Intel processor's words are not asked for."""
    assert parse_cpu_features(text) == (None if expected is None else tuple(expected))


@given(st.text())
def test_features_are_words(text):
    """Whatever a phone prints goes to no terminal as it is."""
    for word in parse_cpu_features(f"Features\t: {text}") or ():
        assert word.isascii()
        assert word.isidentifier()


CRASHES = """--------- beginning of crash
11-27 09:00:00.000  4000  4001 F libc    : Fatal signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0 in tid 4001 (x), pid 4000 (other)
11-28 10:00:00.123  4321  4350 F libc    : Fatal signal 6 (SIGABRT), code -1 (SI_QUEUE) in tid 4350 (run), pid 4321 (bilekit.bench)
11-28 10:00:00.523  4400  4400 F DEBUG   : *** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***
11-28 10:00:00.523  4400  4400 F DEBUG   : pid: 4321, tid: 4350, name: run  >>> dev.mobilekit.bench <<<
11-28 10:00:00.524  4400  4400 F DEBUG   : backtrace:
11-28 10:00:00.524  4400  4400 F DEBUG   :       #00 pc 000000000008e5a0  /apex/com.android.runtime/lib64/bionic/libc.so (abort+160)
11-28 10:00:00.524  4400  4400 F DEBUG   :       #01 pc 0000000000301234  /data/app/~~a==/dev.mobilekit.bench-b==/base.apk!libonnxruntime.so (offset 0x1000)
11-28 10:01:00.123  4500  4550 F libc    : Fatal signal 4 (SIGILL), code 1 (ILL_ILLOPC), fault addr 0x7a in tid 4550 (run), pid 4500 (bilekit.bench)
11-28 10:01:00.523  4600  4600 F DEBUG   :       #00 pc 000000000012abcd  /data/app/dev.mobilekit.bench-1/lib/arm64/libexecutorch.so (forward+8)
"""  # noqa: E501
"""In the layout of Android's debuggerd; the middle one as an app with packed libraries has it."""


@pytest.mark.parametrize(
    ("pid", "expected"),
    [
        (4321, "SIGABRT in libonnxruntime.so"),
        (4500, "SIGILL in libexecutorch.so"),
        (4000, "SIGSEGV"),
        (4350, None),
    ],
)
def test_the_signal_and_the_library_of_a_crash(pid, expected):
    """Of that process, and past the system's library that ends it."""
    assert parse_crash(CRASHES, pid) == expected


@pytest.mark.parametrize(
    ("text", "abis"),
    [
        ("arm64-v8a,armeabi-v7a,armeabi\r\n", ("arm64-v8a", "armeabi-v7a", "armeabi")),
        ("x86_64\n", ("x86_64",)),
        ("\n", ()),
        ("../../x,arm64-v8a,a/b,`reboot`,-o", ("arm64-v8a",)),
    ],
)
def test_a_phones_abis_are_parsed(text, abis):
    """What could not be one is left out: each becomes a part of a file's name."""
    assert parse_abis(text) == abis


def test_an_app_is_not_looked_for_without_end():
    """One file of each that a phone tells would be looked for."""
    assert len(parse_abis("a," * 2**20)) <= 10
    assert len(parse_version_name("versionName=" + "1" * 2**20)) < 100


# --- what doctor asks for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Filesystem       1K-blocks     Used Available Use% Mounted on\n"
            "/dev/block/dm-47 112436184 33554432  78750680  30% /data/user/0\n",
            78750680 * 1024,
        ),
        (
            "Filesystem            1K-blocks  Used    Avail Use% Mounted on\r\n"
            "/dev/block/mmcblk0p23   5000000  1000  4999000   1% /data\r\n",
            4999000 * 1024,
        ),
        ("Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/x 9 12 -3 100% /data", None),
        ("Filesystem 1K-blocks Used Available Use% Mounted on\n", None),
        ("df: /data/local/tmp: Permission denied\n", None),
        ("", None),
    ],
)
def test_free_bytes(text, expected):
    """In toybox' columns and in older ones; nothing of what tells none."""
    assert parse_free_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUNNING_UNLOCKED\n", True),
        ("RUNNING_LOCKED\r\n", False),
        ("RUNNING_UNLOCKING\n", False),
        ("User is not started: 0\n", None),
        ("Unknown command: get-started-user-state\n", None),
        ("/system/bin/sh: cmd: not found\n", None),
    ],
)
def test_whether_a_phone_was_unlocked_since_its_start(text, expected):
    assert parse_user_unlocked(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Trust manager state:\n"
            ' User "Owner" (id=0, flags=0x13) (current): trusted=0, trustManaged=0, '
            "deviceLocked=1, strongAuthRequired=0x1\n"
            ' User "Work" (id=10, flags=0x30): trusted=0, trustManaged=0, deviceLocked=0\n',
            True,
        ),
        (
            ' User "Work" (id=10, flags=0x30): trusted=0, deviceLocked=1\n'
            ' User "Owner" (id=0, flags=0x13) (current): trusted=1, deviceLocked=0\n',
            False,
        ),
        ("Can't find service: trust\n", None),
    ],
)
def test_whether_a_phone_is_locked(text, expected):
    """For the user in front, whatever others there are."""
    assert parse_locked(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Android Debug Bridge version 1.0.41\nVersion 36.0.0-13206524\n"
            "Installed as /usr/bin/adb\n",
            (41, "36.0.0-13206524"),
        ),
        ("Android Debug Bridge version 1.0.32\n", (32, None)),
        ("Segmentation fault\n", (None, None)),
    ],
)
def test_adb_version(text, expected):
    """Of today's adb and of those before it told a release."""
    assert parse_adb_version(text) == expected


@given(st.text())
def test_nothing_that_a_phone_prints_breaks_them(text):
    for read in (parse_free_bytes, parse_user_unlocked, parse_locked, parse_adb_version):
        read(text)
    found = parse_free_bytes(f"Filesystem Available\n{text}")
    assert found is None or found >= 0


CRASHED = "01-01 00:00:00.0 7 7 F libc : Fatal signal 11 (SIGSEGV)\n"
BEGINNINGS = (
    *("\n", " ", "\t", "\r", "a", "1", "]", "("),
    *("[a]: [\n", "(current):", "Failure [\n", "Features : a ", "Capacity: 1,", "MemTotal: "),
    CRASHED + "x F DEBUG : #00 pc 0 a",
)
"""What a pattern can begin with, or be in the middle of."""
PARSERS = [name for name in vars(parse) if name.startswith("parse_")]


@pytest.mark.parametrize("name", PARSERS)
def test_no_answer_takes_longer_than_its_length_allows(name):
    """A phone that repeats the beginning of an answer for as long as it may would keep the command,
    and all other phones, waiting for hours: with the square of the length it takes minutes here."""
    read = getattr(parse, name)
    more = (7,) if name == "parse_crash" else ()
    for each in BEGINNINGS:
        for text in (
            each * (100_000 // len(each)),
            CRASHED + "x F DEBUG : #00 pc 0 " + each * 20_000,
        ):
            begun_s = time.process_time()
            read({"ro.serialno": text} if name == "parse_hardware_serial" else text, *more)
            assert time.process_time() - begun_s < 1, each
