"""Virtual phones as processes: started, found and stopped from anywhere on this computer.

A phone's process holds a lock on a file of its directory for as long as it lives, so that a phone
is known to run without trusting a process id that may have been given to somebody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mobilekit import places
from mobilekit.contract.codec import Record, decode, encode, encode_pretty
from mobilekit.errors import PhoneError, UsageError
from mobilekit.records.device import DeviceProfile
from mobilekit.virtual.battery import GAUGE_FILE, gauge_named, gauge_of_profile
from mobilekit.virtual.companion_settings import CompanionKind, CompanionSettings, check_companion
from mobilekit.virtual.faults import FaultName, Faults, Moment, write_faults

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
LOCK_TRIES = 25
DEFAULT_COMPANION = CompanionSettings()


class RunningPhone(Record, frozen=True):
    """What a phone's process tells of itself once it listens."""

    name: str
    pid: int
    address: str
    """Where it speaks adb, and its serial: ``127.0.0.1:PORT``."""
    companion: CompanionKind


def list_phones() -> list[RunningPhone]:
    """The phones that run now, by name."""
    directories = sorted(places.virtual_directory().glob("*/phone.json"))
    phones = [_running(path.parent) for path in directories]
    return [phone for phone in phones if phone is not None]


def start_phone(
    profile: DeviceProfile,
    companion: CompanionSettings = DEFAULT_COMPANION,
    gauge: str | None = None,
) -> RunningPhone:
    """Start a phone of this profile and wait until it listens.

    ``gauge`` is one of ``battery.gauge_kinds``; ``None``: a sound one as the profile says.

    The phone finds the files of its last life again. Raises ``UsageError`` when one of that name
    runs, the companion cannot or there is no such gauge, ``PhoneError`` when it does not come up.
    """
    check_companion(companion.kind)
    kind = gauge_of_profile(profile) if gauge is None else gauge_named(gauge)
    directory = places.virtual_directory() / profile.name
    directory.mkdir(parents=True, exist_ok=True)
    if _running(directory) is not None:
        raise UsageError(
            f"A virtual {profile.name} is running already",
            fix=f"Use it with --device {profile.name}, or `mobilekit virtual stop {profile.name}`.",
        )
    (directory / "profile.json").write_bytes(encode(profile))
    companion.write(directory)
    (directory / GAUGE_FILE).write_bytes(encode_pretty(kind))
    log = directory / "phone.log"
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mobilekit.virtual", directory],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        phone = _running(directory)
        if phone is not None and phone.pid == process.pid:
            return phone
        time.sleep(POLL_S)
    process.kill()
    process.wait()
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise PhoneError(
        f"The virtual {profile.name} did not start: {''.join(words) or 'it said nothing'}",
        directory=directory,
        fix="Remove its directory if it is damaged, and run the command again.",
    )


def stop_phone(name: str) -> None:
    """Stop a running phone; its files stay. Raises ``UsageError`` when none of that name runs."""
    directory = places.virtual_directory() / name
    phone = _running(directory)
    if phone is None:
        running = ", ".join(phone.name for phone in list_phones()) or "none"
        raise UsageError(
            f"No virtual {name} is running",
            running=running,
            fix="`mobilekit virtual list` shows those that run.",
        )
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(phone.pid, signal_number)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if _running(directory) is None:
                return
            time.sleep(POLL_S)


def break_phone(name: str | None, fault: FaultName, at: Moment) -> RunningPhone:
    """Have a running phone fail at that moment, or be well again; returns which.

    ``name`` may be left out where one runs. Raises ``UsageError``.
    """
    running = {phone.name: phone for phone in list_phones()}
    if name is None and len(running) == 1:
        (name,) = running
    if name not in running:
        raise UsageError(
            "No virtual phone is running"
            if not running
            else f"No virtual {name} is running"
            if name
            else "Several virtual phones are running",
            running=", ".join(running) or "none",
            fix="`mobilekit virtual start nexus7` starts one."
            if not running
            else "Name one of them with --phone.",
        )
    write_faults(
        places.virtual_directory() / name,
        Faults(fault=fault, at=at, adb_server_port=server_port()),
    )
    return running[name]


@contextmanager
def phone_running(profile: DeviceProfile) -> Iterator[RunningPhone]:
    """The running phone of this profile, else one that runs for as long as the context."""
    phone = _running(places.virtual_directory() / profile.name)
    if phone is not None:
        yield phone
        return
    phone = start_phone(profile)
    try:
        yield phone
    finally:
        # Somebody may have stopped it meanwhile.
        with contextlib.suppress(UsageError):
            stop_phone(profile.name)


def server_port(*, taken: int | None = None) -> int:
    """The port of the virtual phones' own adb server; chosen once and kept, unless it is the one
    that somebody else has ``taken`` since."""
    path = places.virtual_directory() / "adb-server-port"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        with contextlib.suppress(ValueError):
            kept = int(file.read())
            if kept != taken and 0 < kept < 2**16:
                return kept
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        file.truncate(0)
        file.write(str(port))
        return port


def server_environment() -> dict[str, str]:
    """What keeps that server from a user's own keys, logs, phones and emulators."""
    home = places.virtual_directory() / "adb-home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "ANDROID_ADB_SERVER_PORT": str(server_port()),
        "ANDROID_ADB_LOG_PATH": str(home / "adb.log"),
        "ADB_MDNS": "0",
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "0",
        "ADB_USB": "0",
    }


@contextmanager
def registered(directory: Path, name: str, port: int, companion: CompanionKind) -> Iterator[None]:
    """In the phone's own process: be known as running. Raises ``UsageError`` if one is."""
    with (directory / "lock").open("wb") as lock:
        _take(lock, name)
        phone = RunningPhone(
            name=name, pid=os.getpid(), address=f"127.0.0.1:{port}", companion=companion
        )
        aside = directory / "phone.json.new"
        aside.write_bytes(encode(phone))
        aside.replace(directory / "phone.json")
        try:
            yield
        finally:
            (directory / "phone.json").unlink(missing_ok=True)


def _take(lock: BinaryIO, name: str) -> None:
    for _ in range(LOCK_TRIES):
        # Whoever looks whether the phone runs holds the lock for a moment too.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(POLL_S)
    raise UsageError(f"A virtual {name} is running already", fix="Use that one.")


def _running(directory: Path) -> RunningPhone | None:
    try:
        with (directory / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        pass
    path = directory / "phone.json"
    try:
        phone: RunningPhone = decode(path.read_bytes(), RunningPhone, source=str(path))
    except FileNotFoundError:
        return None
    return phone
