"""The only module that knows adbutils: every call has a deadline, every error becomes ours.

What adbutils does not do well enough is done here: it pushes in 4 KiB frames and throws the
phone's reason for a refusal away, so ``push`` speaks the sync protocol itself; its shells read on
for as long as anything comes, and the plain one returns what had arrived when a phone was unplugged
as if that were all, so shells are read here, with bounds: v2, or on Android 6, which has none,
checked for the end that every command is made to print.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mobilekit.contract.protocol import INPUT_ROOT, PACKAGE
from mobilekit.errors import (
    AdbServerError,
    DeviceError,
    DisconnectedError,
    MobilekitError,
    PhoneError,
    TimedOutError,
)
from mobilekit.phone.attaching import advice, attach_again, not_ready
from mobilekit.phone.server_address import (
    ADDRESS_VARIABLE,
    SERVER_ADDRESS,
    read_address,
    read_port,
    without_port,
)
from mobilekit.records.device import AttachedDevice

with without_port():
    import adbutils
    from adbutils.errors import AdbError, AdbTimeout

DEFAULT_TIMEOUT_S = 20.0
INSTALL_TIMEOUT_S = 180.0
"""A phone may compile an app, or ask its user, before it answers."""
_THIS_COMPUTER = (SERVER_ADDRESS, "localhost", "::1")
_SYNC_DATA_BYTES = 64 * 1024
"""The most that the sync protocol takes in one DATA frame."""
_FRAMES_PER_SEND = 16
_INSTALL_CHUNK_BYTES = 1024 * 1024
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
"""Of what a command prints, unless more is expected."""
_SLOWEST_BYTES_PER_S = 16 * 1024
"""A phone that gives less is as one that gives nothing; Bluetooth gives more."""
_END_MARK = b"mobilekit-end:"
"""What an Android 6 prints, with the exit code, after a command's output."""
_SHELL_ERROR_CODES = {126: "it cannot be executed", 127: "the phone has no such command"}


class ShellResult(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", errors="replace")


def ask_version(port: int, *, timeout_s: float, address: str = SERVER_ADDRESS) -> int:
    """The protocol of the adb server that listens there (``host:version``).

    Raises ``OSError`` where nothing answers, and ``ValueError`` with what anything else answers.
    """
    with socket.create_connection((address, port), timeout=timeout_s) as connection:
        connection.sendall(b"000chost:version")
        answer = b""
        while len(answer) < 12 and (part := connection.recv(12 - len(answer))):
            answer += part
    # Such as OKAY00040029.
    version = re.fullmatch(rb"OKAY0004([0-9A-Fa-f]{4})", answer)
    if version is None:
        raise ValueError(f"it answers {answer!r}" if answer else "it hangs up")
    return int(version[1], 16)


def adb_program() -> str | None:
    """The adb that is taken: ``ADBUTILS_ADB_PATH``'s, else that of ``PATH``, else adbutils' own;
    ``None`` where there is none."""
    try:
        with without_port():
            return str(adbutils.adb_path())
    except AdbError:
        return None


class AdbServer:
    """An adb server; ``environment`` isolates a private one from the user's."""

    def __init__(self, port: int | None = None, environment: dict[str, str] | None = None) -> None:
        """``port``: ``None``, the user's own, wherever it is; else one on this computer. Raises as
        ``read_port`` and ``read_address``."""
        self.port = read_port() if port is None else port
        self.address = read_address() if port is None else SERVER_ADDRESS
        self._environment = {**os.environ, **(environment or {})}
        self._client = adbutils.AdbClient(
            host=self.address, port=self.port, socket_timeout=DEFAULT_TIMEOUT_S
        )

    def ensure_running(self) -> None:
        """Start the server if nothing listens, where it is on this computer; raises
        ``AdbServerError``."""
        if self.is_running():
            return
        if self.address not in _THIS_COMPUTER:
            raise AdbServerError(
                "No adb server answers there",
                host=self.address,
                port=self.port,
                fix="Start it there, and reach it through a tunnel: `ssh -L 5038:localhost:5037 "
                "HOST`, then --adb localhost:5038.",
            )
        try:
            command = [adbutils.adb_path(), "-P", str(self.port), "start-server"]
            # Where that variable says 127.0.0.1, adb takes it for elsewhere, and starts none.
            environment = {k: v for k, v in self._environment.items() if k != ADDRESS_VARIABLE}
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEFAULT_TIMEOUT_S,
            )
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        except (OSError, AdbError, subprocess.TimeoutExpired) as error:
            reason = [str(error)]
        if not self.is_running():
            raise AdbServerError(
                f"No adb server can be started: {reason[0]}",
                port=self.port,
                fix="Check ANDROID_ADB_SERVER_PORT and ADBUTILS_ADB_PATH, and that the port is "
                "free; `adb -P PORT start-server` shows adb's own words.",
            )

    def is_running(self) -> bool:
        try:
            ask_version(self.port, timeout_s=1, address=self.address)
        except (OSError, ValueError):
            return False
        return True

    def list_devices(self) -> list[AttachedDevice]:
        with self._translated(None):
            return [
                # adbutils keeps the first word of "no permissions (...)".
                AttachedDevice(
                    serial=info.serial,
                    state="no permissions" if info.state == "no" else info.state,
                )
                for info in self._client.list()
            ]

    def connect(self, address: str) -> None:
        """``adb connect``; raises ``DeviceError`` when nothing answers there."""
        with self._translated(address):
            answer = self._client.connect(address, timeout=DEFAULT_TIMEOUT_S)
        if "failed to authenticate" in answer:
            raise not_ready(AttachedDevice(serial=address, state="unauthorized"))
        if "connected to" not in answer or answer.startswith(("failed", "unable", "cannot")):
            raise DeviceError(
                f"adb cannot connect: {answer.strip()}",
                address=address,
                fix="Check that the phone listens there (`adb tcpip 5555` on a phone).",
            )

    def stop(self) -> None:
        """``adb kill-server``."""
        with self._translated(None):
            self._client.server_kill()

    def phone(self, serial: str) -> Phone:
        """The phone that has this serial now; raises ``DisconnectedError`` when none has, or it is
        offline, and ``DeviceError`` when it is there but not ready.

        It is addressed by its transport's id: one that leaves and comes back is another one, and
        adbutils need not ask the server's version before each call, which costs it 10 ms.
        """
        with self._translated(serial):
            for info in self._client.list(extended=True):
                if info.serial == serial:
                    if info.state not in ("device", "offline"):
                        raise not_ready(AttachedDevice(serial=serial, state=info.state))
                    if info.state == "offline":
                        raise AdbError("device offline")
                    device = self._client.device(transport_id=info.transport_id)
                    return Phone(device, serial, self._translated)
            raise AdbError(f"device {serial!r} not found")

    @contextmanager
    def _translated(self, serial: str | None) -> Iterator[None]:
        """Turn whatever adbutils and the sockets below it raise into this project's errors."""
        try:
            yield
        except (AdbTimeout, TimeoutError) as error:
            raise TimedOutError(
                "The phone did not answer in time",
                serial=serial or "-",
                fix="Check the cable and that the phone is awake, then run the command again; "
                "what was measured is kept.",
            ) from error
        except (AdbError, EOFError, OSError, AssertionError, ValueError, struct.error) as error:
            raise self._translate(error, serial) from error

    def _translate(self, error: Exception, serial: str | None) -> MobilekitError:
        text = str(error)
        if "unauthorized" in text:
            return not_ready(AttachedDevice(serial=serial or "-", state="unauthorized"))
        if "offline" in text:
            # What adb says of a phone for a moment after its cable was pulled.
            device = AttachedDevice(serial=serial or "-", state="offline")
            return DisconnectedError(
                "The phone is offline", serial=device.serial, fix=advice(device)
            )
        if serial and ("not found" in text or "no device with transport id" in text):
            return DisconnectedError(
                "The phone is gone",
                serial=serial,
                fix=f"{attach_again(serial)}, check `mobilekit devices`, then run the command "
                "again.",
            )
        if not self.is_running():
            return DisconnectedError(
                "The adb server stopped",
                port=self.port,
                fix="Run the command again: it starts the server.",
            )
        return DisconnectedError(
            f"The connection to the phone broke{f': {text}' if text else ''}",
            serial=serial or "-",
            fix="Check the cable, then run the command again; what was measured is kept.",
        )


class Phone:
    """One phone behind an adb server."""

    def __init__(
        self,
        device: adbutils.AdbDevice,
        serial: str,
        translated: Callable[[str | None], AbstractContextManager[None]],
    ) -> None:
        self.serial = serial
        self._device = device
        self._translated = translated
        self._features: frozenset[str] | None = None  # Until they are asked for.

    def shell(
        self,
        command: str,
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> ShellResult:
        """Run a command on the phone. On Android 6, ``stdout`` has both streams in it.

        Raises ``PhoneError`` with the phone's words when ``check`` and it exits with another code
        than 0, and where it prints more than ``limit_bytes``; ``DisconnectedError`` when the link
        breaks, ``timeout_s`` passes in silence, or next to nothing comes for longer.
        """
        with self._translated(self.serial):
            has_shell_v2 = self._has("shell_v2")
            end = "" if has_shell_v2 else f"; echo {_END_MARK.decode()}$?"
            with self._device.open_transport(timeout=timeout_s) as connection:
                connection.send_command(f"shell{',v2' if has_shell_v2 else ''}:{command}{end}")
                connection.check_okay()
                answer = _Answer(connection.conn, self.serial, command, timeout_s, limit_bytes)
                result = answer.packets() if has_shell_v2 else answer.terminal()
        if check and result.exit_code != 0:
            words = (result.stderr or result.stdout).decode("utf-8", errors="replace").strip()
            reason = words or _SHELL_ERROR_CODES.get(result.exit_code, "it gave no reason")
            raise PhoneError(
                f"The phone refused: {reason}",
                serial=self.serial,
                command=command,
                exit_code=result.exit_code,
                fix=self._fix_of_refusal(reason),
            )
        return result

    def push(self, source: Path, target: str, *, on_bytes: Callable[[int], None]) -> None:
        """Copy a file to the phone, readable by all; the phone removes one that did not arrive.

        ``on_bytes`` gets the size of each part. Raises ``PhoneError`` with the phone's reason
        (a full disk), ``DisconnectedError`` when the link breaks.
        """
        with source.open("rb", buffering=0) as file, self._translated(self.serial):
            modified_s = int(source.stat().st_mtime)
            refusal = self._send_file(file, target, modified_s, on_bytes)
        if refusal is not None:
            raise PhoneError(
                f"The phone did not take the file: {refusal}",
                serial=self.serial,
                path=target,
                fix=self._fix_of_refusal(refusal),
            )

    def pull(self, source: str, target: Path, *, limit_bytes: int) -> None:
        """Copy a file from the phone, byte for byte, which a shell on Android 6 does not.

        Raises ``PhoneError`` with the phone's reason (no such file) and where it is longer than
        ``limit_bytes``, ``DisconnectedError`` when the link breaks or next to nothing comes;
        ``target`` may hold a part of it then.
        """
        with target.open("wb") as file, self._translated(self.serial):
            refusal = self._receive_file(source, file, limit_bytes)
        if refusal is not None:
            raise PhoneError(
                f"The phone did not give the file: {refusal}",
                serial=self.serial,
                path=source,
                fix=self._fix_of_refusal(refusal),
            )

    def install(self, apk: Path, *, on_bytes: Callable[[int], None]) -> str:
        """Stream an APK into the phone's installer, over an app that may be there; its answer.

        Android 6 has no ``cmd``, whose ``package install`` takes a stream: there the APK is pushed
        and installed from its file, which is removed again.

        Raises ``PhoneError`` where the phone does not take the file, ``DisconnectedError`` when
        the link breaks before there is an answer.
        """
        with self._translated(self.serial):
            takes_stream = self._has("cmd")
        if not takes_stream:
            return self._install_from_file(apk, on_bytes=on_bytes)
        size_bytes = apk.stat().st_size
        with apk.open("rb", buffering=0) as file, self._translated(self.serial):
            answer = self._stream_apk(file, size_bytes, on_bytes)
            if not answer:
                raise EOFError("it closed before the installer answered")
        return answer.decode("utf-8", errors="replace")

    def _install_from_file(self, apk: Path, *, on_bytes: Callable[[int], None]) -> str:
        staged = f"/data/local/tmp/{PACKAGE}.apk"
        self.push(apk, staged, on_bytes=on_bytes)
        try:
            command = f"pm install -r {staged}"
            return self.shell(command, check=False, timeout_s=INSTALL_TIMEOUT_S).text
        finally:
            with contextlib.suppress(DisconnectedError, PhoneError):
                self.shell(f"rm -f {staged}", check=False)

    def _has(self, feature: str) -> bool:
        """Whether the phone's adb daemon has it; Android 6's has none."""
        if self._features is None:
            self._features = frozenset(self._device.get_features().split(","))
        return feature in self._features

    def _stream_apk(
        self, file: RawIOBase, size_bytes: int, on_bytes: Callable[[int], None]
    ) -> bytes:
        with self._device.open_transport(timeout=INSTALL_TIMEOUT_S) as connection:
            connection.send_command(f"exec:cmd package install -r -S {size_bytes}")
            connection.check_okay()
            stream: socket.socket = connection.conn
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # A phone that refuses early hangs up; its reason may still be waiting.
                while chunk := file.read(_INSTALL_CHUNK_BYTES):
                    stream.sendall(chunk)
                    on_bytes(len(chunk))
            answer = _Answer(
                stream, self.serial, "cmd package install", INSTALL_TIMEOUT_S, ANSWER_LIMIT_BYTES
            )
            return answer.rest()

    def _fix_of_refusal(self, reason: str) -> str:
        lowered = reason.lower()
        shell = f"adb -s {self.serial} shell"
        if "no space" in lowered or "quota" in lowered:
            return f"Free space on the phone (`{shell} rm -r {INPUT_ROOT}`), then run it again."
        if "permission denied" in lowered or "read-only" in lowered:
            return f"Check that nobody else owns that path: `{shell} ls -l` on it."
        if "file exists" in lowered or "not a directory" in lowered:
            return (
                f"Something else lies in the way: look at it with `{shell} ls -l` and remove it, "
                "then run the command again."
            )
        return f"Run it by hand with `{shell}` to see what the phone says."

    def _send_file(
        self, file: RawIOBase, target: str, modified_s: int, on_bytes: Callable[[int], None]
    ) -> str | None:
        """The sync protocol's SEND; the phone's words where it refuses."""
        with self._device.open_transport(timeout=DEFAULT_TIMEOUT_S) as connection:
            connection.send_command("sync:")
            connection.check_okay()
            stream: socket.socket = connection.conn
            where = f"{target},{0o100644}".encode()
            stream.sendall(struct.pack("<4sI", b"SEND", len(where)) + where)
            try:
                for frames, size_bytes in _data_frames(file):
                    stream.sendall(frames)
                    on_bytes(size_bytes)
                stream.sendall(struct.pack("<4sI", b"DONE", modified_s))
            except (BrokenPipeError, ConnectionResetError):
                pass  # The phone hung up early: its reason may still be waiting.
            answer = _Answer(
                stream, self.serial, f"push {target}", DEFAULT_TIMEOUT_S, 8 + _SYNC_DATA_BYTES
            )
            status, size = struct.unpack("<4sI", answer.exactly(8))
            if status == b"OKAY":
                return None
            if status != b"FAIL" or size > _SYNC_DATA_BYTES:
                raise EOFError(f"{status!r} of {size} bytes is no answer")
            return answer.exactly(size).decode("utf-8", errors="replace")

    def _receive_file(self, source: str, file: BinaryIO, limit_bytes: int) -> str | None:
        """The sync protocol's RECV; the phone's words where it refuses."""
        with self._device.open_transport(timeout=DEFAULT_TIMEOUT_S) as connection:
            connection.send_command("sync:")
            connection.check_okay()
            where = source.encode()
            connection.conn.sendall(struct.pack("<4sI", b"RECV", len(where)) + where)
            answer = _Answer(
                connection.conn,
                self.serial,
                f"pull {source}",
                DEFAULT_TIMEOUT_S,
                # Even of frames with nothing in them there is an end.
                2 * limit_bytes + _SYNC_DATA_BYTES,
            )
            left_bytes = limit_bytes
            while True:
                status, size = struct.unpack("<4sI", answer.exactly(8))
                if status == b"DONE":
                    return None
                if size > _SYNC_DATA_BYTES or status not in (b"DATA", b"FAIL"):
                    raise EOFError(f"{status!r} of {size} bytes is no frame")
                data = answer.exactly(size)
                if status == b"FAIL":
                    return data.decode("utf-8", errors="replace")
                left_bytes -= size
                if left_bytes < 0:
                    return f"it is longer than the {limit_bytes} bytes that it may have"
                file.write(data)


class _Answer:
    """What a command prints, read no further than ``limit_bytes`` and no longer than makes sense.

    adbutils would read on for as long as the phone sends anything, and keep it all.
    """

    def __init__(
        self,
        stream: socket.socket,
        serial: str,
        command: str,
        timeout_s: float,
        limit_bytes: int,
    ) -> None:
        self._stream, self._serial, self._command = stream, serial, command
        self._deadline_s = time.monotonic() + timeout_s
        self._left_bytes = limit_bytes

    def packets(self) -> ShellResult:
        """shell v2: a stream's number, a length and so many bytes, until the exit code."""
        streams = {1: bytearray(), 2: bytearray()}
        while True:
            kind, size = struct.unpack("<BI", self.exactly(5))
            data = self.exactly(size)
            if kind in streams:
                streams[kind] += data
            elif kind == 3:
                if not data:
                    raise EOFError("the exit code is missing")
                return ShellResult(bytes(streams[1]), bytes(streams[2]), data[0])

    def terminal(self) -> ShellResult:
        """Of an Android 6: both streams through a terminal, which turns line ends into CRLF."""
        text, mark, code = self.rest().replace(b"\r\n", b"\n").rpartition(_END_MARK)
        if not mark or not code.strip().isdigit():
            raise EOFError("the output has no end")
        return ShellResult(text, b"", int(code.strip()[:3]))

    def rest(self) -> bytes:
        """Until the phone closes."""
        data = bytearray()
        while part := self._some(_SYNC_DATA_BYTES):
            data += part
        return bytes(data)

    def exactly(self, size: int) -> bytes:
        self._refuse_more_than(size)
        data = bytearray()
        while len(data) < size:
            part = self._some(size - len(data))
            if not part:
                raise EOFError(f"{size - len(data)} bytes are missing")
            data += part
        return bytes(data)

    def _some(self, size: int) -> bytes:
        data = self._stream.recv(min(size, _INSTALL_CHUNK_BYTES))
        self._refuse_more_than(len(data))
        self._left_bytes -= len(data)
        self._deadline_s += len(data) / _SLOWEST_BYTES_PER_S
        if data and time.monotonic() > self._deadline_s:
            raise AdbTimeout("the answer takes too long")
        return data

    def _refuse_more_than(self, size: int) -> None:
        if size > self._left_bytes:
            raise PhoneError(
                "The phone prints more than can be an answer",
                serial=self._serial,
                command=self._command,
                fix="Run the command by hand with `adb shell` to see what it prints.",
            )


def _data_frames(file: RawIOBase) -> Iterator[tuple[memoryview, int]]:
    """A file as DATA frames, several in one buffer that is used again, and the bytes in them."""
    frame_bytes = 8 + _SYNC_DATA_BYTES
    buffer = memoryview(bytearray(frame_bytes * _FRAMES_PER_SEND))
    while True:
        filled = frames = 0
        while frames < _FRAMES_PER_SEND:
            size = file.readinto(buffer[filled + 8 : filled + frame_bytes])
            if not size:
                break
            struct.pack_into("<4sI", buffer, filled, b"DATA", size)
            filled += 8 + size
            frames += 1
        if not frames:
            return
        yield buffer[:filled], filled - 8 * frames
