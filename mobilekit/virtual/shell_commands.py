"""What a shell does about shells: other shells, names of commands, traps, reading, sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mobilekit.virtual.adbd import Stream
from mobilekit.virtual.files import describe
from mobilekit.virtual.shell import (
    SIGNALS,
    Call,
    CommandError,
    Lines,
    Program,
    Shell,
    Source,
    program_name,
)
from mobilekit.virtual.sockets import SocketError
from mobilekit.virtual.syntax import NAME

BUILTINS = frozenset(
    (
        ":",
        "[",
        "cd",
        "command",
        "echo",
        "eval",
        "exec",
        "exit",
        "export",
        "false",
        "printf",
        "pwd",
        "read",
        "shift",
        "test",
        "trap",
        "true",
        "type",
        "unset",
    )
)
"""Part of the shell; all others are files of ``/system/bin``."""
TRAPS = {"EXIT", *SIGNALS} - {"KILL"}


async def run_sh(call: Call) -> int:
    """``sh -c SCRIPT [NAME [ARGUMENT...]]``, ``sh FILE [ARGUMENT...]``, or ``sh`` for a script on
    standard input."""
    args = list(call.args)
    while args and args[0] in ("-e", "-l", "-i", "-"):
        args.pop(0)
    session = call.session.copy()
    if args[:1] == ["-c"]:
        if len(args) < 2:
            raise CommandError("-c requires an argument")
        script, rest = args[1], args[2:]
        session.name, session.arguments = (rest[0] if rest else call.name), rest[1:]
    elif args:
        try:
            data = call.device.files.read_bytes(call.path(args[0]))
        except OSError as error:
            raise CommandError(f"{args[0]}: {describe(error)}", 127) from None
        script = data.decode("utf-8", "surrogateescape")
        session.name, session.arguments = args[0], args[1:]
    else:
        data = b""
        while chunk := await call.streams.stdin.read():
            data += chunk
        script = data.decode("utf-8", "surrogateescape")
    shell = Shell(call.device, call.programs, session)
    return await shell.process(shell.run(script, call.streams), call.streams)


async def run_eval(call: Call) -> int:
    shell = Shell(call.device, call.programs, call.session)
    return await shell.run(" ".join(call.args), call.streams)


async def run_command(call: Call) -> int:
    """``command -v NAME`` and ``-V``; without them it runs the command."""
    if call.args[:1] in (["-v"], ["-V"]):
        for name in call.args[1:]:
            where = _where(call, name)
            if where is None:
                return 1
            verbose = f"{name} is a shell builtin" if where == name else f"{name} is {where}"
            await call.print((verbose if call.args[0] == "-V" else where) + "\n")
        return 0
    if not call.args:
        return 0
    program = call.programs.get(program_name(call.args[0]))
    if program is None:
        await call.print_error(f"/system/bin/sh: {call.args[0]}: inaccessible or not found\n")
        return 127
    return await program(replace(call, name=call.args[0], args=call.args[1:]))


async def run_which(call: Call) -> int:
    _, operands = call.options("a")
    found = [f"/system/bin/{name}" for name in operands if _where(call, name) is not None]
    await call.print("".join(f"{path}\n" for path in found))
    return int(len(found) < len(operands))


async def run_type(call: Call) -> int:
    for name in call.args:
        where = _where(call, name)
        if where is None:
            await call.print(f"{name} not found\n")
            return 1
        await call.print(f"{name} is {'a shell builtin' if where == name else where}\n")
    return 0


def _where(call: Call, word: str) -> str | None:
    """What the shell runs for that name: itself for what is a part of it."""
    name = program_name(word)
    if name not in call.programs:
        return None
    return name if name in BUILTINS and word == name else f"/system/bin/{name}"


async def run_trap(call: Call) -> int:
    """``trap ACTION SIGNAL...``; ``-`` in place of the action takes it back."""
    if call.args in ([], ["--"]):
        lines = (f"trap -- '{text}' {name}\n" for name, text in call.session.traps.items())
        await call.print("".join(lines))
        return 0
    action, *words = call.args[1:] if call.args[0] == "--" else call.args
    numbers = {str(number): name for name, number in SIGNALS.items()} | {"0": "EXIT"}
    for word in words:
        name = numbers.get(word, word.upper().removeprefix("SIG"))
        if name not in TRAPS:
            raise CommandError(f"bad signal '{word}'")
        if action == "-":
            call.session.traps.pop(name, None)
        else:
            call.session.traps[name] = action
    return 0


async def run_read(call: Call) -> int:
    """A line of standard input into variables, its rest into the last one."""
    options, names = call.options("r")
    names = names or ["REPLY"]
    if not all(NAME.fullmatch(name) for name in names):
        raise CommandError(f"{' '.join(names)}: is not an identifier", 2)
    stdin = call.streams.stdin
    line = await (stdin if isinstance(stdin, Lines) else Lines(stdin)).read_line()
    text = line.decode("utf-8", "surrogateescape").rstrip("\n")
    if "r" not in options:
        text = text.replace("\\", "")
    words = text.split(None, len(names) - 1) if len(names) > 1 else [text.strip()]
    call.session.variables.update(zip(names, [*words, *[""] * len(names)], strict=False))
    return int(not line.endswith(b"\n"))


async def run_shift(call: Call) -> int:
    count = int(call.args[0]) if call.args and call.args[0].isdecimal() else 1
    if count > len(call.session.arguments):
        raise CommandError("nothing to shift")
    del call.session.arguments[:count]
    return 0


async def run_netcat(call: Call) -> int:
    """``nc -l -p PORT``: one connection, which comes over ``adb forward``. There is no other
    network."""
    options, operands = call.options("lL46", "pwqW")
    port = options.get("p", operands[0] if operands and "l" in options else "")
    if "l" not in options:
        raise CommandError("connect: Network is unreachable")
    if not port.isdecimal():
        raise CommandError("needs a port: -l -p PORT")
    arrived: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def accept(stream: Stream) -> None:
        if not arrived.done():
            arrived.set_result(stream)
            await over.wait()

    try:
        address = call.device.sockets.listen(f"tcp:{port}", accept)
    except SocketError as error:
        raise CommandError(f"bind: {error}") from None
    try:
        stream = await arrived
        sending = asyncio.ensure_future(_copy(call.streams.stdin, stream))
        try:
            while chunk := await stream.read():
                await call.streams.stdout.write(bytes(chunk))
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        call.device.sockets.close(address)
        over.set()
    return 0


async def _copy(source: Source, stream: Stream) -> None:
    while chunk := await source.read():
        await stream.write(chunk)


async def run_reboot(call: Call) -> int:
    call.device.reboot()
    return 0


PROGRAMS: dict[str, Program] = {
    "sh": run_sh,
    "eval": run_eval,
    "command": run_command,
    "which": run_which,
    "type": run_type,
    "trap": run_trap,
    "read": run_read,
    "shift": run_shift,
    "nc": run_netcat,
    "netcat": run_netcat,
    "reboot": run_reboot,
}
