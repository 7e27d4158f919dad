import pytest
from examples import device_info, measurement
from msgspec import to_builtins

from mobilekit.errors import DeviceError, UsageError
from mobilekit.phone.adb import ShellResult
from mobilekit.phone.attaching import (
    link_of,
)
from mobilekit.phone.device import (
    GAUGE_PROPERTY,
    VIRTUAL_PROPERTY,
    VirtualChoice,
    choose_device,
    read_device_info,
)
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.device import AttachedDevice, ListedDevice
from mobilekit.results.schema import gauges_table, measurement_row, measurements_table

PROFILES = load_profiles()


def found(serial, name=None, state="device", virtual=False, hardware_serial=None):
    info = None
    if name is not None:
        info = device_info(
            serial=serial,
            hardware_serial=serial if hardware_serial is None else hardware_serial,
            name=name,
            virtual=virtual,
            link=link_of(serial),
        )
    attached = AttachedDevice(serial=serial, state=state)
    return ListedDevice(attached=attached, info=info, battery=None, formats=())


NEXUS = found("N7", "nexus7")
SECOND_NEXUS = found("N7b", "nexus7")
PIXEL = found("P8", "pixel8")
UNAUTHORIZED = found("X1", state="unauthorized")
NEXUS_BY_WIFI = found("192.168.1.7:5555", "nexus7", hardware_serial="N7")
NEXUS_BY_NAME = found("adb-N7-x1y2z3._adb-tls-connect._tcp", "nexus7", hardware_serial="N7")
NAMELESS = found("A1", "nexus7", hardware_serial="")
NAMELESS_BY_WIFI = found("192.168.1.8:5555", "nexus7", hardware_serial="")
TWIN = found("A2", "nexus7", hardware_serial="N7")
OFFLINE = found("X2", state="offline")


def choose(wanted, *devices, require_phone=False):
    return choose_device(wanted, devices, PROFILES, require_phone=require_phone)


def test_a_serial_a_profile_and_auto():
    """A phone is meant by its serial, by its profile where one fits, or by being the only one."""
    assert choose("P8", NEXUS, PIXEL) == PIXEL
    assert choose("nexus7", NEXUS, PIXEL) == NEXUS
    assert choose("auto", NEXUS) == NEXUS
    assert choose("auto", NEXUS, UNAUTHORIZED) == NEXUS


@pytest.mark.parametrize("wanted", ["auto", "nexus7"])
def test_a_phone_that_is_attached_twice_is_one(wanted):
    """Its USB link is taken, whichever comes first; without one, the first; else the one named."""
    assert choose(wanted, NEXUS_BY_WIFI, NEXUS) == NEXUS
    assert choose(wanted, NEXUS, NEXUS_BY_NAME, NEXUS_BY_WIFI) == NEXUS
    assert choose(wanted, NEXUS_BY_NAME, NEXUS_BY_WIFI) == NEXUS_BY_NAME
    assert choose("192.168.1.7:5555", NEXUS, NEXUS_BY_WIFI) == NEXUS_BY_WIFI


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"hardware_serial": "N7", "serial": "192.168.1.7:5555"}, "N7"),
        ({"hardware_serial": "", "serial": "A1"}, "A1"),
        ({"virtual": True}, "virtual:nexus7"),
        ({"virtual": True, "gauge": "percent"}, "virtual:nexus7-percent"),
    ],
)
def test_whose_gauge_it_is(fields, expected):
    """A phone's own; of a virtual phone the one that it was started with."""
    assert device_info(name="nexus7", **fields).gauge_key == expected


def test_a_virtual_phone_stands_in_only_where_nothing_is_attached():
    """Named and no Android device at all: virtual; with any device, even offline: an error."""
    assert choose("nexus7") == VirtualChoice(PROFILES["nexus7"], asked_for=False)
    for attached in (PIXEL, UNAUTHORIZED, OFFLINE):
        with pytest.raises(DeviceError):
            choose("nexus7", attached)


def test_a_virtual_phone_by_name():
    """``virtual:NAME`` is virtual whatever is attached; an unknown name lists the known."""
    assert choose("virtual:pixel8", PIXEL) == VirtualChoice(PROFILES["pixel8"], asked_for=True)
    with pytest.raises(UsageError, match="nexus7"):
        choose("virtual:nokia3310")


def test_a_required_phone_is_never_virtual():
    """--require-phone refuses to stand in, to be asked by name, and an attached virtual phone."""
    virtual = found("127.0.0.1:6001", "nexus7", virtual=True)

    with pytest.raises(DeviceError):
        choose("nexus7", require_phone=True)
    with pytest.raises(UsageError):
        choose("virtual:nexus7", require_phone=True)
    with pytest.raises(DeviceError):
        choose("127.0.0.1:6001", virtual, require_phone=True)
    assert choose("nexus7", virtual) == virtual


@pytest.mark.parametrize(
    ("wanted", "devices", "told"),
    [
        pytest.param("nexus7", [NEXUS, SECOND_NEXUS], ["N7 ", "N7b", "--device"], id="two fit"),
        pytest.param("auto", [NEXUS, PIXEL], ["N7", "P8", "--device"], id="auto with two"),
        pytest.param("auto", [NAMELESS, NAMELESS_BY_WIFI], ["A1", "192"], id="no serial numbers"),
        pytest.param("auto", [NEXUS, TWIN], ["N7 ", "A2"], id="one serial number on two cables"),
        pytest.param("auto", [], ["No phone is attached", "nexus7"], id="auto with none"),
        pytest.param("nexus7", [PIXEL], ["P8", "pixel8"], id="another is attached"),
        pytest.param("nexus7", [UNAUTHORIZED], ["X1", "allow USB debugging"], id="unauthorized"),
        pytest.param("X1", [UNAUTHORIZED, PIXEL], ["X1", "unauthorized"], id="serial not ready"),
        pytest.param("auto", [OFFLINE], ["X2", "offline", "plug it in"], id="offline"),
        pytest.param("R58M", [PIXEL], ["R58M", "P8"], id="unknown serial"),
    ],
)
def test_no_choice_says_what_is_attached_and_what_to_do(wanted, devices, told):
    """Every refusal names what is there and a way on, and exits with 3."""
    with pytest.raises(DeviceError) as caught:
        choose(wanted, *devices)

    assert caught.value.exit_code == 3
    for words in told:
        assert words in str(caught.value)


class BoastingPhone:
    """Its properties have megabytes each."""

    serial = "boasting"

    def shell(self, command, check=True):
        names = ("ro.product.model", "ro.product.manufacturer", "ro.product.device", "ro.serialno")
        more = ("ro.product.cpu.abi", "ro.soc.model", "ro.build.version.release", GAUGE_PROPERTY)
        told = "".join(f"[{name}]: [{'x' * 2**20}]\n" for name in (*names, *more))
        return ShellResult(f"[{VIRTUAL_PROPERTY}]: [1]\n{told}".encode(), b"", 0)


def test_what_a_phone_calls_itself_has_room_in_the_store():
    """PostgreSQL refuses what is longer than its column, and with it what was measured."""
    info = read_device_info(BoastingPhone(), {})

    told = [value for value in to_builtins(info).values() if isinstance(value, str)]
    assert max(map(len, told)) < 100
    row = measurement_row(measurement(device=info))
    for name in ("device", "device_key"):
        assert len(row[name]) <= measurements_table.c[name].type.length
    assert len(info.gauge_key) <= gauges_table.c.device.type.length
