"""The shell's commands for text, and small ones."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from mobilekit.virtual.files import READ, SEARCH, WRITE, PhoneFiles, describe
from mobilekit.virtual.shell import (
    Call,
    CommandError,
    FileSource,
    Lines,
    Program,
    ShellExit,
    Source,
)
from mobilekit.virtual.syntax import NAME
from mobilekit.virtual.terminal import Terminal

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "a": "\a", "b": "\b", "0": "\0"}


class _Inputs:
    """The contents of the operands one after another, or standard input if there is none."""

    def __init__(self, call: Call, operands: list[str]) -> None:
        self._call = call
        self._operands = operands or ["-"]
        self.failed = False

    async def each(self) -> AsyncIterator[tuple[str, Source]]:
        for operand in self._operands:
            if operand == "-":
                yield operand, self._call.streams.stdin
                continue
            try:
                file = self._call.device.files.open(self._call.path(operand))
            except OSError as error:
                await self._call.complain(f"{operand}: {describe(error)}")
                self.failed = True
                continue
            with file:
                yield operand, FileSource(file)


async def run_cat(call: Call) -> int:
    _, operands = call.options("u")
    inputs = _Inputs(call, operands)
    async for _, source in inputs.each():
        while chunk := await source.read():
            await call.streams.stdout.write(chunk)
    return int(inputs.failed)


async def run_head(call: Call) -> int:
    call = _with_bare_count(call)
    options, operands = call.options("q", "nc")
    inputs = _Inputs(call, operands)
    async for _, source in inputs.each():
        if "c" in options:
            left = _count(options["c"])
            while left and (chunk := await source.read()):
                await call.streams.stdout.write(chunk[:left])
                left -= len(chunk[:left])
            continue
        lines = Lines(source)
        for _ in range(_count(options.get("n", "10"))):
            line = await lines.read_line()
            if not line:
                break
            await call.streams.stdout.write(line)
    return int(inputs.failed)


async def run_tail(call: Call) -> int:
    call = _with_bare_count(call)
    options, operands = call.options("q", "nc")
    unit = "c" if "c" in options else "n"
    text = options.get(unit, "10")
    from_start, count = text.startswith("+"), _count(text.lstrip("+-"))
    inputs = _Inputs(call, operands)
    async for _, source in inputs.each():
        data = b""
        while chunk := await source.read():
            data += chunk
        if unit == "c":
            start = count - 1 if from_start else max(0, len(data) - count)
            await call.streams.stdout.write(data[max(0, start) :])
        else:
            lines = data.splitlines(keepends=True)
            start = count - 1 if from_start else max(0, len(lines) - count)
            await call.streams.stdout.write(b"".join(lines[max(0, start) :]))
    return int(inputs.failed)


def _with_bare_count(call: Call) -> Call:
    """``head -5`` is ``head -n 5``."""
    args = [
        part
        for arg in call.args
        for part in (["-n", arg[1:]] if re.fullmatch(r"-\d+", arg) else [arg])
    ]
    return replace(call, args=args)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise CommandError(f"not integer: {text}")
    return int(text)


async def run_wc(call: Call) -> int:
    options, operands = call.options("lwcm")
    shown = [letter for letter in "lwc" if letter in options] or list("lwc")
    inputs = _Inputs(call, operands)
    async for operand, source in inputs.each():
        data = b""
        while chunk := await source.read():
            data += chunk
        counts = {"l": data.count(b"\n"), "w": len(data.split()), "c": len(data)}
        name = "" if operand == "-" else f" {operand}"
        await call.print(" ".join(str(counts[letter]) for letter in shown) + name + "\n")
    return int(inputs.failed)


async def run_grep(call: Call) -> int:
    options, operands = call.options("civEFqnowHhs", "e")
    pattern = options.get("e")
    if pattern is None:
        if not operands:
            raise CommandError("no pattern", 2)
        pattern, operands = operands[0], operands[1:]
    expression = _expression(pattern, options)
    inputs = _Inputs(call, operands)
    named = len(operands) > 1 and "h" not in options
    matched = False
    async for operand, source in inputs.each():
        prefix = f"{operand}:" if named else ""
        lines = Lines(source)
        count = number = 0
        while line := await lines.read_line():
            number += 1
            text = line.decode("utf-8", "surrogateescape").rstrip("\n")
            found = expression.search(text)
            if (found is None) != ("v" in options):
                continue
            count += 1
            matched = True
            if "q" in options:
                return 0
            if "c" not in options:
                shown = found[0] if found is not None and "o" in options else text
                await call.print(f"{prefix}{f'{number}:' if 'n' in options else ''}{shown}\n")
        if "c" in options:
            await call.print(f"{prefix}{count}\n")
    return 2 if inputs.failed else int(not matched)


def _expression(pattern: str, options: dict[str, str]) -> re.Pattern[str]:
    if "F" in options:
        pattern = re.escape(pattern)
    elif "E" not in options:
        # In basic expressions it is the backslash that gives these characters a meaning.
        pattern = re.sub(
            r"\\([+?|(){}])|([+?|(){}])", lambda m: m[1] if m[1] else "\\" + m[2], pattern
        )
    if "w" in options:
        pattern = rf"\b(?:{pattern})\b"
    try:
        return re.compile(pattern, re.IGNORECASE if "i" in options else 0)
    except re.error as error:
        raise CommandError(f"bad regex '{pattern}': {error}", 2) from None


async def run_echo(call: Call) -> int:
    args = list(call.args)
    end, escapes = "\n", False
    while args and args[0] in ("-n", "-e", "-ne", "-en"):
        option = args.pop(0)
        end = "" if "n" in option else end
        escapes = escapes or "e" in option
    text = " ".join(args)
    await call.print((_unescape(text) if escapes else text) + end)
    return 0


async def run_printf(call: Call) -> int:
    if not call.args:
        raise CommandError("Needs 1 argument", 1)
    values = list(call.args[1:])

    def fill(match: re.Match[str]) -> str:
        kind = match[0][-1]
        if kind == "%":
            return "%"
        value = values.pop(0) if values else ""
        if kind == "s":
            return match[0] % value
        if not re.fullmatch(r"-?\d+|", value):
            raise CommandError(f"bad number '{value}'")
        return match[0] % int(value or 0)

    form = _unescape(call.args[0])
    while True:
        before = len(values)
        await call.print(re.sub(r"%[-0]?\d*(?:\.\d+)?[sdix%]", fill, form))
        if not values or len(values) == before:
            return 0


def _unescape(text: str) -> str:
    return re.sub(r"\\([ntr\\ab0])", lambda match: ESCAPES[match[1]], text)


async def run_test(call: Call) -> int:
    args = list(call.args)
    if call.name == "[" and (not args or args.pop() != "]"):
        raise CommandError("missing ]", 2)
    negate = bool(args) and args[0] == "!"
    return int(_holds(call, args[1:] if negate else args) == negate)


def _holds(call: Call, args: list[str]) -> bool:
    if len(args) <= 1:
        return bool(args and args[0])
    if len(args) == 2 and args[0] in UNARY_TESTS:
        return UNARY_TESTS[args[0]](call, args[1])
    if len(args) == 3:
        left, operator, right = args
        if operator in ("=", "==", "!="):
            return (left == right) == (operator != "!=")
        numbers = ("-eq", "-ne", "-lt", "-le", "-gt", "-ge")
        if operator in numbers and all(re.fullmatch(r"-?\d+", text) for text in (left, right)):
            a, b = int(left), int(right)
            return (a == b, a != b, a < b, a <= b, a > b, a >= b)[numbers.index(operator)]
    raise CommandError(f"{' '.join(args)}: unexpected operator/operand", 2)


def _is_terminal(call: Call, descriptor: str) -> bool:
    streams = call.streams
    if descriptor == "0":
        return isinstance(streams.stdin, Lines) and streams.stdin.is_terminal
    sink = {"1": streams.stdout, "2": streams.stderr}.get(descriptor)
    return isinstance(sink, Terminal)


def _of_path(test: Callable[[PhoneFiles, str], bool]) -> Callable[[Call, str], bool]:
    return lambda call, path: test(call.device.files, call.path(path))


UNARY_TESTS: dict[str, Callable[[Call, str], bool]] = {
    "-z": lambda _, text: not text,
    "-n": lambda _, text: bool(text),
    "-t": _is_terminal,
    "-e": _of_path(PhoneFiles.exists),
    "-f": _of_path(PhoneFiles.is_file),
    "-d": _of_path(PhoneFiles.is_directory),
    "-c": _of_path(PhoneFiles.is_device),
    "-h": _of_path(PhoneFiles.is_link),
    "-L": _of_path(PhoneFiles.is_link),
    "-s": _of_path(lambda files, path: files.is_file(path) and files.status(path).size_bytes > 0),
    "-r": _of_path(lambda files, path: files.exists(path) and files.may(path, READ)),
    "-w": _of_path(lambda files, path: files.exists(path) and files.may(path, WRITE)),
    "-x": _of_path(lambda files, path: files.exists(path) and files.may(path, SEARCH)),
}


async def run_true(call: Call) -> int:
    return 0


async def run_false(call: Call) -> int:
    return 1


async def run_sleep(call: Call) -> int:
    if len(call.args) != 1 or not re.fullmatch(r"\d*\.?\d+", call.args[0]):
        raise CommandError("Needs 1 argument")
    await asyncio.sleep(float(call.args[0]))
    return 0


async def run_cd(call: Call) -> int:
    target = call.args[0] if call.args else "/"
    try:
        path = call.device.files.resolve(call.path(target))
    except OSError as error:
        raise CommandError(f"{target}: {describe(error)}", 2) from None
    if not call.device.files.is_directory(path):
        known = call.device.files.is_file(path)
        reason = "Not a directory" if known else "No such file or directory"
        raise CommandError(f"{target}: {reason}", 2)
    call.session.cwd = path
    return 0


async def run_pwd(call: Call) -> int:
    await call.print(f"{call.session.cwd}\n")
    return 0


async def run_export(call: Call) -> int:
    for arg in call.args:
        name, equals, value = arg.partition("=")
        if not NAME.fullmatch(name):
            raise CommandError(f"{name}: is not an identifier")
        if equals:
            call.session.variables[name] = value
        call.session.exported.add(name)
    return 0


async def run_unset(call: Call) -> int:
    for name in call.args:
        call.session.variables.pop(name, None)
        call.session.exported.discard(name)
    return 0


async def run_env(call: Call) -> int:
    exported = sorted(call.session.exported & call.session.variables.keys())
    await call.print("".join(f"{name}={call.session.variables[name]}\n" for name in exported))
    return 0


async def run_exit(call: Call) -> int:
    status = call.args[0] if call.args else str(call.session.status)
    if not status.isdecimal():
        raise CommandError(f"{status}: bad number")
    raise ShellExit(int(status) % 256)


PROGRAMS: dict[str, Program] = {
    "cat": run_cat,
    "head": run_head,
    "tail": run_tail,
    "wc": run_wc,
    "grep": run_grep,
    "echo": run_echo,
    "printf": run_printf,
    "test": run_test,
    "[": run_test,
    "true": run_true,
    ":": run_true,
    "false": run_false,
    "sleep": run_sleep,
    "cd": run_cd,
    "pwd": run_pwd,
    "export": run_export,
    "unset": run_unset,
    "env": run_env,
    "printenv": run_env,
    "exit": run_exit,
    # The shell itself handles it, before it looks here.
    "exec": run_true,
}
