"""What an adb server can open on the phone: shells, file transfer, installation."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping

from mobilekit.virtual import android_commands, file_commands, shell_commands, text_commands
from mobilekit.virtual.adbd import FEATURES_SDK, Link, Service, Stream, StreamClosedError
from mobilekit.virtual.device import Device
from mobilekit.virtual.faults import Distorter
from mobilekit.virtual.shell import Lines, Pipe, Program, Shell, Sink, Source, Streams
from mobilekit.virtual.sync import SyncService
from mobilekit.virtual.syntax import ShellSyntaxError, UnfinishedError, parse
from mobilekit.virtual.terminal import Terminal

PROGRAMS = {
    **file_commands.PROGRAMS,
    **text_commands.PROGRAMS,
    **shell_commands.PROGRAMS,
    **android_commands.PROGRAMS,
}
OLD_PROGRAMS = {name: program for name, program in PROGRAMS.items() if name != "cmd"}
"""Of a phone before ``FEATURES_SDK``."""
PACKET = struct.Struct("<BI")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
INTERRUPTED = 130
REFUSALS = {
    "root": b"adbd cannot run as root in production builds\n",
    "unroot": b"adbd not running as root\n",
}


def open_service(device: Device, link: Link, name: str) -> Service | None:
    """The service of that name; ``None`` for what this phone does not have."""
    kind, _, rest = name.partition(":")
    if kind == "sync":
        return lambda stream: SyncService(device.files, stream).serve()
    if kind == "exec":
        return lambda stream: _serve_raw(device, stream, rest)
    if kind in ("abb", "abb_exec") and device.profile.android_sdk >= FEATURES_SDK:
        # Words separated by zeros: a command without a shell's syntax.
        command = " ".join(["cmd", *(quote(word) for word in rest.split("\0") if rest)])
        if kind == "abb":
            return lambda stream: _serve_packets(device, stream, command, terminal=False)
        return lambda stream: _serve_raw(device, stream, command)
    if kind == "reverse":
        return lambda stream: device.reverse_forwards.serve(link, stream, rest)
    if kind == "reboot":
        return lambda stream: _reboot(device)
    if kind in REFUSALS:
        return lambda stream: stream.write(REFUSALS[kind])
    if kind == "tcp" or kind.startswith("local"):
        return device.sockets.service(name)
    kind, *options = kind.split(",")
    if kind != "shell":
        return None
    terminal = "pty" in options or (not rest and "raw" not in options)
    if device.profile.android_sdk < FEATURES_SDK:
        terminal = True  # That adb daemon knows no other shell.
    if "v2" in options:
        return lambda stream: _serve_packets(device, stream, rest, terminal=terminal)
    return lambda stream: _serve_plain(device, stream, rest, terminal=terminal)


async def _reboot(device: Device) -> None:
    device.reboot()


def quote(word: str) -> str:
    """The word as the shell reads it back."""
    return "'" + word.replace("'", "'\\''") + "'"


class _StreamSource:
    def __init__(self, stream: Stream, on_end: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._on_end = on_end

    async def read(self) -> bytes:
        chunk = bytes(await self._stream.read())
        if not chunk:
            self._on_end()
        return chunk


class _PacketSink:
    """Standard output or error in a stream that carries both."""

    def __init__(self, stream: Stream, kind: int) -> None:
        self._stream = stream
        self._kind = kind

    async def write(self, data: bytes) -> None:
        if data:
            await self._stream.write(PACKET.pack(self._kind, len(data)) + data)


class _Output:
    """A shell's output, with what a faulty phone makes of it."""

    def __init__(self, device: Device, sink: Sink) -> None:
        self._distorter = Distorter(device.distortion)
        self._sink = sink

    async def start(self) -> None:
        await self._sink.write(self._distorter.start())

    async def write(self, data: bytes) -> None:
        await self._sink.write(self._distorter.distort(data))
        if data and self._distorter.ends_early:
            raise StreamClosedError


async def _serve_raw(device: Device, stream: Stream, command: str) -> None:
    """``exec:``: bytes in and out, no status."""
    output = _Output(device, stream)
    await run_shell(device, command, Streams(_StreamSource(stream), output, output))


async def _serve_plain(device: Device, stream: Stream, command: str, *, terminal: bool) -> None:
    """The shell of before Android 7: no status and one output."""
    shell = Shell(device, _programs(device))
    output = _Output(device, stream)
    await output.start()
    if terminal:
        hang_up = _StreamSource(stream, lambda: device.shells.signal(shell.session.pid, "HUP"))
        await _run_terminal(shell, command, hang_up, output)
    else:
        await _run(shell, command, Streams(_StreamSource(stream), output, output))


async def _serve_packets(device: Device, stream: Stream, command: str, *, terminal: bool) -> None:
    stdin = Pipe()
    shell = Shell(device, _programs(device))

    async def read_packets() -> None:
        await _pump_packets(stream, stdin)
        device.shells.signal(shell.session.pid, "HUP")

    pump = asyncio.ensure_future(read_packets())
    stdout = _Output(device, _PacketSink(stream, STDOUT))
    stderr = _PacketSink(stream, STDERR)
    try:
        await stdout.start()
        if terminal:
            status = await _run_terminal(shell, command, stdin, stdout)
        else:
            status = await _run(shell, command, Streams(stdin, stdout, stderr))
        await stream.write(PACKET.pack(EXIT, 1) + bytes([status]))
    finally:
        pump.cancel()


async def _pump_packets(stream: Stream, stdin: Pipe) -> None:
    """Unpack what the computer types, until it closes its end."""
    buffer = bytearray()
    while chunk := await stream.read():
        buffer += chunk
        while len(buffer) >= PACKET.size:
            kind, length = PACKET.unpack_from(buffer)
            if len(buffer) < PACKET.size + length:
                break
            data = bytes(buffer[PACKET.size : PACKET.size + length])
            del buffer[: PACKET.size + length]
            if kind == STDIN:
                await stdin.write(data)
            elif kind == CLOSE_STDIN:
                await stdin.end()
    await stdin.end()


def _programs(device: Device) -> Mapping[str, Program]:
    return PROGRAMS if device.profile.android_sdk >= FEATURES_SDK else OLD_PROGRAMS


async def run_shell(device: Device, command: str, streams: Streams) -> int:
    """Run the command, or without one what standard input says, line by line."""
    return await _run(Shell(device, _programs(device)), command, streams)


async def _run(shell: Shell, command: str, streams: Streams) -> int:
    lines = Lines(streams.stdin)
    inner = Streams(lines, streams.stdout, streams.stderr)

    async def read_and_run() -> int:
        while text := await _read_statement(lines):
            await shell.run(text, inner)
        return shell.session.status

    return await shell.process(shell.run(command, inner) if command else read_and_run(), inner)


async def _read_statement(lines: Lines, ask: Callable[[str], Awaitable[None]] | None = None) -> str:
    """A line, and those after it that it needs to be complete; empty at the end."""
    text = ""
    while line := await lines.read_line():
        text += line.decode("utf-8", "surrogateescape")
        try:
            parse(text.rstrip("\n") if not text.endswith("\\\n") else text)
        except UnfinishedError:
            if ask is not None:
                await ask("> ")
            continue
        except ShellSyntaxError:
            return text
        return text
    return text


async def _run_terminal(shell: Shell, command: str, source: Source, sink: Sink) -> int:
    """A shell for a person: an echo, a prompt, Ctrl-C and Ctrl-D."""
    terminal = Terminal(source, sink)
    keyboard = asyncio.ensure_future(terminal.pump())
    streams = Streams(terminal.lines, terminal, terminal)

    async def serve_person() -> int:
        if command:
            status = await terminal.foreground(shell.run(command, streams))
            return INTERRUPTED if status is None else status
        name = shell.device.properties.get("ro.product.device")

        async def ask(prompt: str) -> None:
            await terminal.write(prompt.encode())

        while True:
            await ask(f"{name}:{shell.session.cwd} $ ")
            text = await _read_statement(terminal.lines, ask)
            if not text:
                return shell.session.status
            if await terminal.foreground(shell.run(text, streams)) is None:
                shell.session.status = INTERRUPTED

    try:
        return await shell.process(serve_person(), streams)
    finally:
        keyboard.cancel()
