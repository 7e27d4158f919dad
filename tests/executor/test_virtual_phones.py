"""Virtual phones and the adb server of their own, where something is in the way."""

import socket

import pytest

from mobilekit.errors import AdbServerError
from mobilekit.executor.virtual_phones import start_virtual, stop_virtual
from mobilekit.virtual import service


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
