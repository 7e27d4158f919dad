"""USB devices as sysfs tells them, in a directory of the test's own."""

import os

import pytest

from mobilekit.phone.usb import find_usb_phones
from mobilekit.records.checkup import UsbPhone


@pytest.fixture
def plug(tmp_path):
    """Plugs a device in; what a device does not tell has no file."""

    def plug(port, interfaces, **told):
        device = tmp_path / "devices" / port
        told = {"busnum": "1", "devnum": "7", "idVendor": "18d1"} | told
        for name, text in told.items():
            write(device / name, text)
        for number, words in enumerate(interfaces):
            names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
            for name, text in zip(names, words, strict=True):
                write(device / f"{port}:1.{number}" / name, text)

    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")

    return plug


def found(tmp_path):
    return find_usb_phones(tmp_path / "devices", tmp_path / "nodes")


def test_what_looks_like_a_phone_is_found(plug, tmp_path):
    """By adb's interface or the one for files; whether it may be opened is its node's to say."""
    plug("1-1", [("06", "01", "01"), ("ff", "42", "01")], serial="R58M", product="Pixel 8")
    plug("1-2", [("06", "01", "01")], serial="X1", idVendor="2717", devnum="12")
    plug("1-3", [("03", "01", "01")], serial="keyboard")
    plug("usb1", [("09", "00", "00")])
    (tmp_path / "nodes/001").mkdir(parents=True)
    (tmp_path / "nodes/001/007").touch()

    phone = UsbPhone(serial="R58M", vendor_id="18d1", name="Pixel 8", debugging=True, writable=True)
    other = UsbPhone(serial="X1", vendor_id="2717", name="", debugging=False, writable=False)
    assert found(tmp_path) == (phone, other)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open anything")
def test_one_that_may_not_be_opened(plug, tmp_path):
    plug("1-1", [("ff", "42", "01")])
    (tmp_path / "nodes/001").mkdir(parents=True)
    (tmp_path / "nodes/001/007").touch(0o444)

    (phone,) = found(tmp_path)

    assert not phone.writable


def test_without_sysfs_there_is_none(tmp_path):
    assert find_usb_phones(tmp_path / "nowhere", tmp_path) == ()
