"""Where the adb server is: what the environment says of it, and what ``--adb`` does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mobilekit.errors import UsageError

PORT_VARIABLE = "ANDROID_ADB_SERVER_PORT"
ADDRESS_VARIABLE = "ANDROID_ADB_SERVER_ADDRESS"
SERVER_ADDRESS, DEFAULT_SERVER_PORT = "127.0.0.1", 5037
_HOST = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,252}")


@contextmanager
def without_port() -> Iterator[None]:
    """For what dies of a variable that holds no port, and does not need it."""
    text = os.environ.pop(PORT_VARIABLE, None)
    try:
        yield
    finally:
        if text is not None:
            os.environ[PORT_VARIABLE] = text


def read_port() -> int:
    """The user's own adb server's, by adb's own rule: an empty variable is none.

    Raises ``UsageError`` for a variable that holds no port.
    """
    text = os.environ.get(PORT_VARIABLE) or str(DEFAULT_SERVER_PORT)
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise UsageError(
            f"{PORT_VARIABLE} is {text!r}, which is no port",
            fix=f"`unset {PORT_VARIABLE}`, or give it a number from 1 to 65535.",
        )
    return int(text)


def read_address() -> str:
    """Where the user's own adb server is: on this computer unless a variable names another.

    Raises ``UsageError`` for a variable that holds no host.
    """
    text = os.environ.get(ADDRESS_VARIABLE) or SERVER_ADDRESS
    if not _HOST.fullmatch(text):
        raise UsageError(
            f"{ADDRESS_VARIABLE} is {text!r}, which is no host",
            fix=f"`unset {ADDRESS_VARIABLE}`, or give it a name or an address without a port.",
        )
    return text


def split_server(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, or of a ``HOST`` whose adb server has the usual port.

    Raises ``UsageError``.
    """
    # An IPv6 address has colons of its own, and stands in brackets before a port.
    is_bare = ":" not in text or (text.count(":") > 1 and not text.startswith("["))
    host, colon, port = (text, "", "") if is_bare else text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = port if colon else str(DEFAULT_SERVER_PORT)
    if not _HOST.fullmatch(host) or not number.isdecimal() or not 0 < int(number) < 65536:
        raise UsageError(
            f"--adb {text!r} is no adb server", fix="Write it as HOST:PORT, such as desk2:5037."
        )
    return host, int(number)
