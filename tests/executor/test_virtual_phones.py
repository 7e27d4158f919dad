"""Virtual phones and the adb server of their own, where something is in the way."""

import socket
import time

import pytest

from mobilekit import places
from mobilekit.errors import AdbServerError
from mobilekit.executor.open import attached_phones
from mobilekit.executor.virtual_phones import start_virtual, stop_virtual
from mobilekit.virtual import service
from mobilekit.virtual.faults import FAULTS_PERIOD_S, Faults, write_faults


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path))


def test_a_phone_that_cannot_be_attached_does_not_stay(home, monkeypatch):
    monkeypatch.setenv("ADBUTILS_ADB_PATH", "/bin/false")

    with pytest.raises(AdbServerError):
        start_virtual("nexus5")

    assert service.list_phones() == []


def test_the_adb_server_goes_where_nobody_is(home):
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", service.server_port()))
        somebody.listen()

        _, port = start_virtual("nexus5")

        try:
            assert port != somebody.getsockname()[1]
            assert port == service.server_port()
        finally:
            stop_virtual("nexus5")


def test_a_port_is_kept_until_it_is_taken(home):
    kept = service.server_port()

    assert service.server_port() == kept
    other = service.server_port(taken=kept)
    assert other != kept
    assert service.server_port(taken=kept) == other


def test_a_phone_that_hangs_keeps_no_other_from_being_collected_from(home, adb_server, monkeypatch):
    """Nexus 5 takes connections and answers none; Nexus 7 is there all the same."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server.port))
    start_virtual("nexus5")
    try:
        start_virtual("nexus7")
        try:
            directory = places.virtual_directory() / "nexus5"
            write_faults(directory, Faults(cable="offline"))
            time.sleep(2 * FAULTS_PERIOD_S)

            found = [key for key, _ in attached_phones()]

            assert "virtual:nexus7" in found
            assert "virtual:nexus5" not in found
        finally:
            stop_virtual("nexus7")
    finally:
        stop_virtual("nexus5")
