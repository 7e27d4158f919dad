"""Which adb this computer has, and what answers where its server should."""

from __future__ import annotations

import os
import shutil
import subprocess

from mobilekit.errors import AdbServerError, UsageError
from mobilekit.phone.adb import (
    AdbServer,
    adb_program,
    ask_version,
)
from mobilekit.phone.parse import parse_adb_version
from mobilekit.phone.server_address import (
    read_address,
    read_port,
    without_port,
)
from mobilekit.records.checkup import AdbFacts, AdbProgram, ServerState

ANSWER_TIMEOUT_S = 3.0
PROGRAM_VARIABLE = "ADBUTILS_ADB_PATH"
IGNORED_VARIABLES = ("ADB_SERVER_SOCKET",)
"""They lead adb to another server than its address and port."""


def read_adb_facts() -> AdbFacts:
    """The adb program and its server, which is started where none runs."""
    path = adb_program()
    server: ServerState = "none"
    port = protocol = None
    address = ""
    try:
        address, port = read_address(), read_port()
    except UsageError as error:
        failure: str | None = error.what
    else:
        server, protocol, failure = _find_server(address, port)
    return AdbFacts(
        program=None if path is None else _ask_program(path),
        chosen_by=_chosen_by(path),
        others=tuple(_ask_program(other) for other in _others(path)),
        address=address,
        port=port,
        server=server,
        server_protocol=protocol,
        failure=failure,
        ignored=tuple(name for name in IGNORED_VARIABLES if os.environ.get(name)),
    )


def _chosen_by(path: str | None) -> str | None:
    if os.environ.get(PROGRAM_VARIABLE):
        return PROGRAM_VARIABLE
    return "PATH" if path is not None and path == shutil.which("adb") else None


def _others(path: str | None) -> list[str]:
    """Every other adb that is found by its name, each once."""
    found: dict[str, str] = {}
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        program = shutil.which("adb", path=directory) if directory else None
        if program is not None:
            found.setdefault(os.path.realpath(program), program)
    found.pop(os.path.realpath(path or ""), None)
    return list(found.values())


def _ask_program(path: str) -> AdbProgram:
    try:
        with without_port():
            done = subprocess.run(
                [path, "version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ANSWER_TIMEOUT_S,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it did not answer"
        return AdbProgram(path=path, protocol=None, release=None, failure=reason)
    protocol, release = parse_adb_version(done.stdout)
    words = (done.stderr or done.stdout).strip().splitlines()[-1:]
    failure = None if protocol is not None else "".join(words) or "it said nothing"
    return AdbProgram(path=path, protocol=protocol, release=release, failure=failure)


def _find_server(address: str, port: int) -> tuple[ServerState, int | None, str | None]:
    """What answers there, its protocol where it is an adb server, else why it is none."""
    try:
        protocol = ask_version(port, timeout_s=ANSWER_TIMEOUT_S, address=address)
    except ConnectionRefusedError:
        try:
            AdbServer().ensure_running()
            started = ask_version(port, timeout_s=ANSWER_TIMEOUT_S, address=address)
            return "started", started, None
        except (AdbServerError, OSError, ValueError) as error:
            reason = error.what if isinstance(error, AdbServerError) else str(error)
            return "none", None, reason
    except TimeoutError:
        return "not adb", None, f"it did not answer within {ANSWER_TIMEOUT_S:.0f} s"
    except (OSError, ValueError) as error:
        return "not adb", None, str(error)
    return "running", protocol, None
