"""What stands in the environment of adb, and what listens in its place."""

import socket
import threading
from contextlib import suppress

import pytest

from mobilekit.executor.lock import exclusive


@pytest.mark.parametrize("port", ["abc", "0", "99999", "-1", "5037 ", "9" * 5000])
def test_a_port_that_is_none(cli, port):
    """It is told with its name, as a word of the command line would be."""
    outcome = cli("devices", ANDROID_ADB_SERVER_PORT=port)

    assert outcome.exit_code == 2
    assert "ANDROID_ADB_SERVER_PORT" in outcome.stderr


def answering(listener, answer):
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(1024)
                connection.sendall(answer)


@pytest.mark.parametrize(
    "answer",
    [b"OKAYjunk and more of it", b"OKAY", b"OKAY0004zzzz", b"HTTP/1.1 400 Bad Request\r\n"],
)
def test_a_port_that_answers_anything(cli, answer):
    """It is no adb server, whatever it begins its answers with."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answering, args=(listener, answer), daemon=True)
        thread.start()

        outcome = cli(
            "devices",
            ANDROID_ADB_SERVER_PORT=str(listener.getsockname()[1]),
            ADBUTILS_ADB_PATH="/bin/false",
        )
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()

    assert outcome.exit_code == 3
    assert "adb server" in outcome.stderr


@pytest.mark.parametrize("name", ["..", ".", "/", "a" * 400, "../../x", "\x00"])
def test_a_phone_may_be_called_anything(tmp_path, monkeypatch, name):
    """A serial number is no path, and as long as a phone likes."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / "home"))

    with exclusive(name):
        pass

    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [
        tmp_path / "home/state/locks"
    ]
