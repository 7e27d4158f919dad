"""The shell's commands for files and directories."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import re
import stat as modes
import time
from collections.abc import Callable
from typing import BinaryIO

from mobilekit.virtual.dd_command import run_dd
from mobilekit.virtual.files import FileStatus, describe, in_thread
from mobilekit.virtual.shell import (
    READ_BYTES,
    Call,
    CommandError,
    Program,
)
from mobilekit.virtual.shell_sizes import human_size

USERS = {0: "root", 2000: "shell"}


async def run_ls(call: Call) -> int:
    options, operands = call.options("1aAdlh")
    status = 0
    files: list[str] = []
    directories: list[str] = []
    for operand in operands or ["."]:
        try:
            found = call.device.files.status(call.path(operand), follow="l" not in options)
        except OSError as error:
            await call.complain(f"{operand}: {describe(error)}")
            status = 1
            continue
        is_directory = modes.S_ISDIR(found.mode) and "d" not in options
        (directories if is_directory else files).append(operand)
    text = "".join(_ls_line(call, operand, operand, options) for operand in files)
    for directory in directories:
        try:
            names = call.device.files.list_names(call.path(directory))
        except OSError as error:
            await call.complain(f"{directory}: {describe(error)}")
            status = 1
            continue
        if len(files) + len(directories) > 1:
            text += f"{chr(10) if text else ''}{directory}:\n"
        if "l" in options:
            text += f"total {8 * len(names)}\n"
        if "a" in options:
            names = [".", "..", *names]
        for name in names:
            if "a" in options or "A" in options or not name.startswith("."):
                text += _ls_line(call, f"{directory}/{name}", name, options)
    await call.print(text)
    return status


def _ls_line(call: Call, path: str, shown: str, options: dict[str, str]) -> str:
    if "l" not in options:
        return f"{shown}\n"
    status = call.device.files.status(call.path(path), follow=False)
    if modes.S_ISLNK(status.mode):
        shown += f" -> {call.device.files.read_link(call.path(path))}"
    user = USERS[status.uid]
    size = human_size(status.size_bytes) if "h" in options else str(status.size_bytes)
    moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(status.modified_s))
    return (
        f"{modes.filemode(status.mode)} {status.links:2} {user:6} {user:6} "
        f"{size:>8} {moment} {shown}\n"
    )


async def run_stat(call: Call) -> int:
    options, operands = call.options("L", "c")
    if not operands:
        raise CommandError("Needs 1 argument")
    result = 0
    for operand in operands:
        try:
            status = call.device.files.status(call.path(operand), follow="L" in options)
        except OSError as error:
            await call.complain(f"'{operand}': {describe(error)}")
            result = 1
            continue
        form = options.get("c", "  File: %N\n  Size: %s\tBlocks: %b\t %F\nAccess: (%a/%A)\tUid: %u")
        await call.print(_format_status(form, operand, status) + "\n")
    return result


def _format_status(form: str, name: str, status: FileStatus) -> str:
    kinds = {
        modes.S_IFDIR: "directory",
        modes.S_IFLNK: "symbolic link",
        modes.S_IFCHR: "character special file",
    }
    values = {
        "n": name,
        "N": f"`{name}'",
        "s": str(status.size_bytes),
        "Y": str(status.modified_s),
        "X": str(status.modified_s),
        "Z": str(status.modified_s),
        "y": time.strftime("%Y-%m-%d %H:%M:%S.000000000 +0000", time.gmtime(status.modified_s)),
        "a": f"{modes.S_IMODE(status.mode):o}",
        "A": modes.filemode(status.mode),
        "f": f"{status.mode:x}",
        "F": kinds.get(modes.S_IFMT(status.mode), "regular file"),
        "u": str(status.uid),
        "U": USERS[status.uid],
        "g": str(status.uid),
        "G": USERS[status.uid],
        "h": str(status.links),
        "i": str(status.inode),
        "b": str((status.size_bytes + 511) // 512),
        "B": "512",
        "%": "%",
    }
    return re.sub(r"%(.)", lambda match: values.get(match[1], match[0]), form)


async def run_mkdir(call: Call) -> int:
    options, operands = call.options("p", "m")
    status = 0
    for operand in operands:
        path = call.path(operand)
        try:
            if "p" in options:
                call.device.files.make_directories(path)
            else:
                call.device.files.make_directory(path)
            if "m" in options:
                call.device.files.set_mode(path, _mode(options["m"], modes.S_IFDIR | 0o777))
        except OSError as error:
            await call.complain(f"'{operand}': {describe(error)}")
            status = 1
    return status


async def run_rmdir(call: Call) -> int:
    return await _for_each(call, call.options("")[1], call.device.files.remove_directory)


async def run_rm(call: Call) -> int:
    options, operands = call.options("rRfv")
    files = call.device.files
    recursive = "r" in options or "R" in options
    status = 0
    for operand in operands:
        path = call.path(operand)
        try:
            if not recursive and modes.S_ISDIR(files.status(path, follow=False).mode):
                await call.complain(f"{operand}: Is a directory")
                status = 1
            elif operand.rstrip("/").rpartition("/")[2] in (".", "..", ""):
                await call.complain(f"bad path '{operand}'")
                status = 1
            else:
                files.remove_tree(path)
        except OSError as error:
            if error.errno != errno.ENOENT or "f" not in options:
                await call.complain(f"{operand}: {describe(error)}")
                status = 1
    return status


async def run_mv(call: Call) -> int:
    _, operands = call.options("fn")
    sources, destination = _sources(call, operands)
    status = 0
    for source in sources:
        target = _into(call, source, destination)
        try:
            call.device.files.rename(call.path(source), target)
        except OSError as error:
            await call.complain(f"bad '{source}': {describe(error)}")
            status = 1
    return status


async def run_cp(call: Call) -> int:
    options, operands = call.options("rRfpa")
    sources, destination = _sources(call, operands)
    recursive = bool(options.keys() & {"r", "R", "a"})
    status = 0
    for source in sources:
        try:
            await _copy(call, call.path(source), _into(call, source, destination), recursive)
        except OSError as error:
            await call.complain(f"bad '{source}': {describe(error)}")
            status = 1
    return status


async def _copy(call: Call, source: str, target: str, recursive: bool) -> None:
    files = call.device.files
    status = files.status(source)
    if modes.S_ISDIR(status.mode):
        if not recursive:
            raise CommandError(f"Skipped dir '{source}'")
        if (files.resolve(target) + "/").startswith(files.resolve(source) + "/"):
            raise CommandError(f"'{source}' into itself")
        if not files.is_directory(target):
            files.make_directory(target)
        for name in files.list_names(source):
            await _copy(call, f"{source}/{name}", f"{target}/{name}", recursive)
        return
    if files.is_file(target) and files.resolve(source) == files.resolve(target):
        raise CommandError(f"'{source}' and '{target}' are the same file")
    with files.open(source) as file:
        writer = files.create(target, modes.S_IMODE(status.mode) | 0o200)
        try:
            while chunk := await in_thread(file.read, READ_BYTES):
                writer.charge(len(chunk))
                await in_thread(writer.write, [chunk])
        finally:
            writer.close()


def _sources(call: Call, operands: list[str]) -> tuple[list[str], str]:
    if len(operands) < 2:
        raise CommandError("Needs 2 arguments")
    if len(operands) > 2 and not call.device.files.is_directory(call.path(operands[-1])):
        raise CommandError(f"'{operands[-1]}' not directory")
    return operands[:-1], operands[-1]


def _into(call: Call, source: str, destination: str) -> str:
    path = call.path(destination)
    if call.device.files.is_directory(path):
        return f"{path}/{source.rstrip('/').rpartition('/')[2]}"
    return path


async def run_ln(call: Call) -> int:
    options, operands = call.options("sf")
    if "s" not in options:
        raise CommandError("hard links are not supported")
    if len(operands) != 2:
        raise CommandError("Needs 2 arguments")
    path = _into(call, operands[0], operands[1])
    try:
        if "f" in options and call.device.files.is_file(path):
            call.device.files.remove_file(path)
        call.device.files.make_link(operands[0], path)
    except OSError as error:
        raise CommandError(f"cannot create symbolic link '{path}': {describe(error)}") from None
    return 0


async def run_touch(call: Call) -> int:
    _, operands = call.options("c")

    def touch(path: str) -> None:
        call.device.files.create(path, 0o666, append=True).close()
        call.device.files.set_modified(path, int(time.time()))

    return await _for_each(call, operands, touch)


async def run_chmod(call: Call) -> int:
    # Modes such as -x look like options.
    words = list(call.args)
    recursive = False
    while len(words) > 1 and re.fullmatch("-[Rfv]+", words[0]):
        recursive = "R" in words.pop(0) or recursive
    if len(words) < 2:
        raise CommandError("Needs 2 arguments")
    mode, files = words[0], call.device.files
    _mode(mode, 0)

    def change(path: str) -> None:
        before = files.status(path).mode
        files.set_mode(path, _mode(mode, before))
        if recursive and modes.S_ISDIR(before):
            for name in files.list_names(path):
                if not files.is_link(f"{path}/{name}"):
                    change(f"{path}/{name}")

    return await _for_each(call, words[1:], change)


def _mode(text: str, before: int) -> int:
    """The permissions that octal digits, or words such as ``u+rwX,go-w``, make of those before."""
    if re.fullmatch("[0-7]{1,4}", text):
        return int(text, 8)
    mode = modes.S_IMODE(before)
    for clause in text.split(","):
        if not re.fullmatch("[ugoa]*([-+=][rwxX]*)+", clause):
            raise CommandError(f"bad mode '{text}'")
        who = re.match("[ugoa]*", clause)
        assert who is not None
        # adbd has no umask: without a class it is all of them.
        groups = {"u": 0o700, "g": 0o070, "o": 0o007, "a": 0o777}
        mask = sum(bits for letter, bits in groups.items() if letter in who[0] and letter != "a")
        mask = 0o777 if "a" in who[0] or not who[0] else mask
        for operator, letters in re.findall("([-+=])([rwxX]*)", clause):
            runs = modes.S_ISDIR(before) or mode & 0o111
            letters = letters.replace("X", "x" if runs else "")
            bits = sum({"r": 0o444, "w": 0o222, "x": 0o111}[letter] for letter in set(letters))
            bits &= mask
            if operator == "=":
                mode &= ~mask
            mode = mode & ~bits if operator == "-" else mode | bits
    return mode


async def _for_each(call: Call, operands: list[str], change: Callable[[str], None]) -> int:
    status = 0
    for operand in operands:
        try:
            change(call.path(operand))
        except OSError as error:
            await call.complain(f"'{operand}': {describe(error)}")
            status = 1
    return status


async def run_df(call: Call) -> int:
    options, _ = call.options("hk")
    files = call.device.files
    used_bytes = files.used_bytes()
    figures = (files.quota_bytes, used_bytes, max(0, files.quota_bytes - used_bytes))
    if "h" in options:
        shown = [human_size(figure) for figure in figures]
        header = "Filesystem        Size  Used Avail Use% Mounted on\n"
    else:
        shown = [str(figure // 1024) for figure in figures]
        header = "Filesystem       1K-blocks     Used Available Use% Mounted on\n"
    percent = min(100, 100 * used_bytes // max(1, files.quota_bytes))
    await call.print(header)
    for name, place in (("/dev/block/dm-0", "/data"), ("/dev/fuse", "/storage/emulated")):
        await call.print(
            f"{name:16} {shown[0]:>9} {shown[1]:>8} {shown[2]:>9} {percent:3}% {place}\n"
        )
    return 0


async def run_du(call: Call) -> int:
    options, operands = call.options("hsk")
    status = 0

    def size_of(path: str) -> int:
        found = call.device.files.status(path, follow=False)
        if not modes.S_ISDIR(found.mode):
            return found.size_bytes
        names = call.device.files.list_names(path)
        return sum(size_of(f"{path}/{name}") for name in names)

    for operand in operands or ["."]:
        try:
            size_bytes = size_of(call.path(operand))
        except OSError as error:
            await call.complain(f"{operand}: {describe(error)}")
            status = 1
            continue
        kib = -(-size_bytes // 1024)
        await call.print(f"{human_size(size_bytes) if 'h' in options else kib}\t{operand}\n")
    return status


async def run_find(call: Call) -> int:
    args = list(call.args)
    starts: list[str] = []
    while args and not args[0].startswith("-"):
        starts.append(args.pop(0))
    name = kind = None
    while args:
        test = args.pop(0)
        if test not in ("-name", "-type") or not args:
            raise CommandError(f"bad arg '{test}'")
        if test == "-name":
            name = args.pop(0)
        else:
            kind = args.pop(0)
    status = 0
    pending = list(reversed(starts or ["."]))
    found: list[str] = []
    while pending:
        path = pending.pop()
        try:
            mode = call.device.files.status(call.path(path), follow=False).mode
            if modes.S_ISDIR(mode):
                names = call.device.files.list_names(call.path(path))
                pending += [f"{path.rstrip('/')}/{child}" for child in reversed(names)]
        except OSError as error:
            await call.complain(f"'{path}': {describe(error)}")
            status = 1
            continue
        is_named = name is None or fnmatch.fnmatchcase(path.rstrip("/").rpartition("/")[2], name)
        kinds = {"f": modes.S_ISREG, "d": modes.S_ISDIR, "l": modes.S_ISLNK}
        if is_named and (kind is None or (kind in kinds and kinds[kind](mode))):
            found.append(path)
    await call.print("".join(f"{path}\n" for path in found))
    return status


async def run_hash(call: Call) -> int:
    algorithm = call.name.rpartition("/")[2].removesuffix("sum")
    options, operands = call.options("b")
    brief = "b" in options
    status = 0
    if not operands:
        digest = hashlib.new(algorithm)
        while chunk := await call.streams.stdin.read():
            digest.update(chunk)
        await call.print(digest.hexdigest() + ("\n" if brief else "  -\n"))
    for operand in operands:
        try:
            with call.device.files.open(call.path(operand)) as file:
                digest_text = await in_thread(_hash_file, file, algorithm)
        except OSError as error:
            await call.complain(f"{operand}: {describe(error)}")
            status = 1
            continue
        await call.print(digest_text + ("\n" if brief else f"  {operand}\n"))
    return status


def _hash_file(file: BinaryIO, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


PROGRAMS: dict[str, Program] = {
    "ls": run_ls,
    "stat": run_stat,
    "mkdir": run_mkdir,
    "rmdir": run_rmdir,
    "rm": run_rm,
    "mv": run_mv,
    "cp": run_cp,
    "ln": run_ln,
    "touch": run_touch,
    "chmod": run_chmod,
    "dd": run_dd,
    "df": run_df,
    "du": run_du,
    "find": run_find,
    "sha256sum": run_hash,
    "sha1sum": run_hash,
    "md5sum": run_hash,
}
