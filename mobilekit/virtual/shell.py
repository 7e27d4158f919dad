"""The phone's shell: runs parsed lines with the commands that it is given, and no host program."""

from __future__ import annotations

import asyncio
import fnmatch
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Protocol

from mobilekit.errors import MobilekitError
from mobilekit.virtual.adbd import StreamClosedError
from mobilekit.virtual.device import Device
from mobilekit.virtual.files import FileWriter, describe, in_thread
from mobilekit.virtual.syntax import (
    Command,
    Piece,
    Redirection,
    ShellSyntaxError,
    Step,
    Word,
    parse,
)

READ_BYTES = 256 * 1024
PIPE_CHUNKS = 16
SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "KILL": 9, "TERM": 15}


class CommandError(Exception):
    """A command's usage error or refusal; its text is written to standard error."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class ShellExit(Exception):  # noqa: N818 (not an error)
    """``exit`` was called."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def to_bytes(text: str) -> bytes:
    """The inverse of how bytes of the computer become text here: nothing is lost."""
    return text.encode("utf-8", "surrogateescape")


class Source(Protocol):
    async def read(self) -> bytes:
        """The next chunk; empty at the end."""
        ...


class Sink(Protocol):
    async def write(self, data: bytes) -> None: ...


class Pipe:
    """What one command writes and another reads."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue(PIPE_CHUNKS)
        self._reader_gone = False
        self._ended = False

    async def read(self) -> bytes:
        if self._ended:
            return b""
        chunk = await self._chunks.get()
        self._ended = not chunk
        return chunk

    async def write(self, data: bytes) -> None:
        if self._reader_gone:
            raise StreamClosedError
        if data:
            await self._chunks.put(data)

    async def end(self) -> None:
        """The writer has no more."""
        if not self._reader_gone:
            await self._chunks.put(b"")

    def close(self) -> None:
        """The reader wants no more."""
        self._reader_gone = self._ended = True
        while not self._chunks.empty():
            self._chunks.get_nowait()


class Lines:
    """Text of a source line by line, the rest of it for whoever reads next."""

    def __init__(self, source: Source, *, is_terminal: bool = False) -> None:
        self.is_terminal = is_terminal
        self._source = source
        self._buffer = b""

    async def read(self) -> bytes:
        if self._buffer:
            chunk, self._buffer = self._buffer, b""
            return chunk
        return await self._source.read()

    async def read_line(self) -> bytes:
        """With its line end, if it has one; empty at the end."""
        while b"\n" not in self._buffer:
            chunk = await self._source.read()
            if not chunk:
                line, self._buffer = self._buffer, b""
                return line
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"


class FileSource:
    def __init__(self, file: BinaryIO, piece_bytes: int = READ_BYTES) -> None:
        self._file = file
        self._piece_bytes = piece_bytes

    async def read(self) -> bytes:
        return await in_thread(self._file.read, self._piece_bytes)

    def close(self) -> None:
        self._file.close()


class FileSink:
    def __init__(self, writer: FileWriter) -> None:
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.charge(len(data))
        await in_thread(self._writer.write, [data])

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class Streams:
    stdin: Source
    stdout: Sink
    stderr: Sink


@dataclass
class Session:
    """What a shell remembers between commands."""

    cwd: str = "/"
    variables: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    status: int = 0
    pid: int = 0
    name: str = "sh"
    """``$0``."""
    arguments: list[str] = field(default_factory=list)
    """``$1`` and those after it."""
    traps: dict[str, str] = field(default_factory=dict)
    """What is run at a signal, or at ``EXIT``; an empty text: nothing, and it is ignored."""

    def copy(self) -> Session:
        return replace(
            self,
            variables=dict(self.variables),
            exported=set(self.exported),
            arguments=list(self.arguments),
            traps={},
        )

    def absolute(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.cwd.rstrip('/')}/{path}"


@dataclass(frozen=True)
class Call:
    """One command being run."""

    name: str
    args: list[str]
    device: Device
    session: Session
    streams: Streams
    programs: Mapping[str, Program] = field(default_factory=dict)
    """All of the phone's."""

    async def print(self, text: str) -> None:
        """Text as it is, without a line end of its own."""
        if text:
            await self.streams.stdout.write(to_bytes(text))

    async def print_error(self, text: str) -> None:
        """The same, to standard error."""
        await self.streams.stderr.write(to_bytes(text))

    async def complain(self, message: str) -> None:
        await self.print_error(f"{self.name}: {message}\n")

    def path(self, path: str) -> str:
        return self.session.absolute(path)

    def options(self, flags: str, values: str = "") -> tuple[dict[str, str], list[str]]:
        """The single-letter options, those in ``values`` with a value, and the operands."""
        found: dict[str, str] = {}
        operands: list[str] = []
        args = list(self.args)
        while args:
            arg = args.pop(0)
            if arg == "--":
                return found, operands + args
            if not arg.startswith("-") or arg == "-":
                operands.append(arg)
                continue
            letters = arg[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter in values:
                    if not letters and not args:
                        raise CommandError(f"Missing argument to -{letter}")
                    found[letter] = letters or args.pop(0)
                    break
                if letter not in flags:
                    raise CommandError(f"Unknown option '{letter}'")
                found[letter] = ""
        return found, operands


Program = Callable[[Call], Awaitable[int]]


class Shell:
    """One shell process: it keeps a working directory and variables."""

    def __init__(
        self, device: Device, programs: Mapping[str, Program], session: Session | None = None
    ) -> None:
        self.device = device
        self._programs = programs
        self._caught: str | None = None
        """The signal that has come, until it is seen to."""
        self.session = session or self._new_session()

    def _new_session(self) -> Session:
        session = Session(
            variables={
                "PATH": "/product/bin:/system/bin:/vendor/bin",
                "HOME": "/",
                "USER": "shell",
                "SHELL": "/bin/sh",
                "TMPDIR": "/data/local/tmp",
                "EXTERNAL_STORAGE": "/sdcard",
            }
        )
        session.exported = set(session.variables)
        return session

    async def process(self, work: Awaitable[int], streams: Streams) -> int:
        """``work`` as a process of the phone, which a signal ends; returns its exit status."""
        task = asyncio.ensure_future(work)

        def signal(name: str) -> None:
            if self.session.traps.get(name) != "":
                self._caught = name
                task.cancel()

        self.session.pid = self.device.shells.add(signal)
        try:
            try:
                await asyncio.wait([task])
                status = task.result()
            except ShellExit as leaving:
                status = leaving.status
            except asyncio.CancelledError:
                if self._caught is None:
                    raise
                status = 128 + SIGNALS[self._caught]
            self.session.status = status
            return await self._run_trap("EXIT", streams)
        finally:
            self.device.shells.remove(self.session.pid)
            task.cancel()

    async def _run_trap(self, name: str, streams: Streams) -> int:
        """The status is what it was before, unless the trap exits with one of its own."""
        status = self.session.status
        try:
            await self.run(self.session.traps.pop(name, ""), streams)
        except ShellExit as leaving:
            if name != "EXIT":
                raise
            return leaving.status
        self.session.status = status
        return status

    async def run(self, text: str, streams: Streams) -> int:
        """Run all of it. Raises ``ShellExit``."""
        try:
            steps = parse(text)
        except ShellSyntaxError as error:
            await streams.stderr.write(to_bytes(f"/system/bin/sh: {error}\n"))
            self.session.status = 1
            return 1
        return await self.run_steps(steps, streams)

    async def run_steps(self, steps: tuple[Step, ...], streams: Streams) -> int:
        for step in steps:
            failed = self.session.status != 0
            if (step.operator == "&&" and failed) or (step.operator == "||" and not failed):
                continue
            try:
                self.session.status = await self._pipeline(step.pipeline, streams)
            except asyncio.CancelledError:
                caught = self._caught
                if caught is None or caught not in self.session.traps:
                    raise
                self._caught = None
                self.session.status = 128 + SIGNALS[caught]
                trap = self.session.traps[caught]
                await self._run_trap(caught, streams)
                self.session.traps[caught] = trap
        return self.session.status

    async def _pipeline(self, commands: tuple[Command, ...], streams: Streams) -> int:
        if len(commands) == 1:
            return await self._command(commands[0], self.session, streams)
        pipes = [Pipe() for _ in commands[1:]]
        sources: list[Source] = [streams.stdin, *pipes]
        sinks: list[Sink] = [*pipes, streams.stdout]
        stages = [
            asyncio.ensure_future(self._stage(command, replace(streams, stdin=source, stdout=sink)))
            for command, source, sink in zip(commands, sources, sinks, strict=True)
        ]
        try:
            statuses = await asyncio.gather(*stages)
        finally:
            for stage in stages:
                stage.cancel()
        return statuses[-1]

    async def _stage(self, command: Command, streams: Streams) -> int:
        """One command of several: as in a process of its own."""
        try:
            return await self._command(command, self.session.copy(), streams)
        except ShellExit as leaving:
            return leaving.status
        except StreamClosedError:
            if isinstance(streams.stdout, Pipe):
                return 141  # As after SIGPIPE.
            raise
        finally:
            if isinstance(streams.stdin, Pipe):
                streams.stdin.close()
            if isinstance(streams.stdout, Pipe):
                await streams.stdout.end()

    async def _command(self, command: Command, session: Session, streams: Streams) -> int:
        opened: list[FileSource | FileSink] = []
        try:
            for redirection in command.redirections:
                streams = self._redirect(redirection, session, streams, opened)
            words = [text for word in command.words for text in self._expand(word, session)]
            values = {
                name: "".join(_text(piece, session) for piece in word)
                for name, word in command.assignments
            }
            if not words:
                session.variables.update(values)
                return 0
            if values:
                session = session.copy()
                session.variables.update(values)
                session.exported.update(values)
            call = Call(words[0], words[1:], self.device, session, streams, self._programs)
            return await self._run(call)
        except CommandError as error:
            await streams.stderr.write(to_bytes(f"/system/bin/sh: {error}\n"))
            return error.status
        finally:
            for file in opened:
                file.close()

    async def _run(self, call: Call) -> int:
        program = self._programs.get(program_name(call.name))
        if program is None:
            await call.print_error(f"/system/bin/sh: {call.name}: inaccessible or not found\n")
            return 127
        if call.name == "exec":
            if not call.args:
                return 0
            raise ShellExit(await self._run(replace(call, name=call.args[0], args=call.args[1:])))
        try:
            return await program(call)
        except CommandError as error:
            await call.complain(str(error))
            return error.status
        except StreamClosedError:
            raise
        except OSError as error:
            await call.complain(describe(error))
            return 1
        except MobilekitError as error:
            # Something below the phone is broken, such as its battery's state.
            await call.complain(str(error))
            return 1

    def _redirect(
        self,
        redirection: Redirection,
        session: Session,
        streams: Streams,
        opened: list[FileSource | FileSink],
    ) -> Streams:
        target = "".join(_text(piece, session) for piece in redirection.target)
        if redirection.kind == ">&":
            if target not in ("1", "2") or redirection.descriptor not in (1, 2):
                raise CommandError(f"{target}: bad file descriptor")
            sink = streams.stdout if target == "1" else streams.stderr
            return _with_sink(streams, redirection.descriptor, sink)
        path = session.absolute(target)
        try:
            if redirection.kind == "<":
                source = FileSource(self.device.files.open(path))
                opened.append(source)
                return replace(streams, stdin=source)
            append = redirection.kind == ">>"
            file = FileSink(self.device.files.create(path, 0o666, append=append))
        except OSError as error:
            verb = "open" if redirection.kind == "<" else "create"
            raise CommandError(f"can't {verb} {target}: {describe(error)}") from None
        opened.append(file)
        return _with_sink(streams, redirection.descriptor, file)

    def _expand(self, word: Word, session: Session) -> list[str]:
        """Variables, splitting at blanks outside quotes, and ``*`` in the last component."""
        fields: list[list[tuple[str, bool]]] = [[]]
        for piece in word:
            if piece.quoted and piece.variable and piece.text == "@":
                for number, argument in enumerate(session.arguments):
                    if number:
                        fields.append([])
                    fields[-1].append((argument, True))
                continue
            text = _text(piece, session)
            if piece.quoted or not piece.variable:
                fields[-1].append((text, piece.quoted))
                continue
            for blank, part in re.findall(r"(\s+)|(\S+)", text):
                if blank and fields[-1]:
                    fields.append([])
                elif part:
                    fields[-1].append((part, False))
        return [text for parts in fields if parts for text in self._glob(parts, session)]

    def _glob(self, parts: list[tuple[str, bool]], session: Session) -> list[str]:
        text = "".join(part for part, _ in parts)
        if not any("*" in part or "?" in part for part, quoted in parts if not quoted):
            return [text]
        pattern = "".join(
            re.sub(r"([*?[])", r"[\1]", part) if quoted else part.replace("[", "[[]")
            for part, quoted in parts
        ).rpartition("/")[2]
        directory, slash, _ = text.rpartition("/")
        names: list[str] = []
        with suppress(OSError):
            names = self.device.files.list_names(session.absolute(directory + slash))
        found = [
            f"{directory}{slash}{name}"
            for name in names
            if fnmatch.fnmatchcase(name, pattern)
            and (pattern.startswith(".") or not name.startswith("."))
        ]
        return found or [text]


def program_name(word: str) -> str:
    """The name of the program that a command's first word means, if there is one."""
    for directory in ("/system/bin/", "/bin/"):
        if word.startswith(directory):
            return word.removeprefix(directory)
    return word


def _text(piece: Piece, session: Session) -> str:
    if not piece.variable:
        return piece.text
    if piece.text == "?":
        return str(session.status)
    if piece.text == "$":
        return str(session.pid)
    if piece.text == "#":
        return str(len(session.arguments))
    if piece.text in ("@", "*"):
        return " ".join(session.arguments)
    if piece.text == "0":
        return session.name
    if piece.text.isdecimal():
        return dict(enumerate(session.arguments, 1)).get(int(piece.text), "")
    return session.variables.get(piece.text, "")


def _with_sink(streams: Streams, descriptor: int, sink: Sink) -> Streams:
    if descriptor == 1:
        return replace(streams, stdout=sink)
    if descriptor == 2:
        return replace(streams, stderr=sink)
    raise CommandError(f"{descriptor}: bad file descriptor")
