"""The phone's file system: a directory of this computer that no path can leave.

Paths are resolved here, one component at a time, and symbolic links are followed by their text
within the phone. The operating system is only ever given the result, in which no link is left.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat as modes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from mobilekit.contract.codec import Record

SHELL_UID = 2000
STORAGE_BYTES = 8 * 1024**3
"""Free storage of a new phone; the profile does not tell."""
WRITABLE = ("/data/local/tmp", "/storage/emulated/0")
READ_ONLY = ("/system", "/vendor", "/proc", "/dev")
UNLISTED = ("/data", "/data/local", "/data/app", "/storage/emulated")
"""A phone lets its shell pass through these, and not look."""
LINKS = {"/sdcard": "storage/emulated/0"}
MAX_LINKS = 40
DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")
"""This computer's, which are the same everywhere."""
READ, WRITE, SEARCH = 0o4, 0o2, 0o1

T = TypeVar("T")
Generators = Mapping[str, Callable[[], str]]


class FileStatus(Record, frozen=True):
    mode: int
    size_bytes: int
    modified_s: int
    links: int
    uid: int
    inode: int


class FileWriter:
    """A file being written; what does not fit into the phone's storage is refused."""

    def __init__(self, files: PhoneFiles | None, descriptor: int) -> None:
        self._files = files
        self._descriptor = descriptor

    def charge(self, size_bytes: int) -> None:
        """Take storage for what ``write`` is about to write. Raises ``OSError``."""
        if self._files is not None:
            self._files.charge(size_bytes)

    def seek(self, offset_bytes: int) -> None:
        os.lseek(self._descriptor, offset_bytes, os.SEEK_SET)

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write already charged data; may run in a thread of its own."""
        pending = [memoryview(piece) for piece in pieces]
        while pending:
            written = os.writev(self._descriptor, pending)
            while pending and written >= len(pending[0]):
                written -= len(pending.pop(0))
            if pending:
                pending[0] = pending[0][written:]

    def close(self) -> None:
        os.close(self._descriptor)


class PhoneFiles:
    """Every path is the phone's and absolute. Failures are ``OSError`` with the errno that Linux
    gives; their text may name places of this computer, so show ``os.strerror`` instead."""

    def __init__(self, root: Path, generated: Generators, quota_bytes: int = STORAGE_BYTES) -> None:
        self._root = root
        self._generated = generated
        self.quota_bytes = quota_bytes
        self.on_made: Callable[[str], None] = lambda _path: None
        """Hears of each file that is made or written anew."""
        self.corrupt_name: str | None = None
        """Files of this name cannot be read as what they are."""
        self._refusal: int | None = None
        for path in (*WRITABLE, *READ_ONLY, *UNLISTED):
            self._host(path).mkdir(parents=True, exist_ok=True)
        for path, target in LINKS.items():
            if not self._host(path).is_symlink():
                self._host(path).symlink_to(target)
        self._used_bytes = self.used_bytes()

    # --- paths

    def resolve(self, path: str, *, follow: bool = True) -> str:
        """The path without links and dots; ``follow`` also a link that is its last component.

        With a slash at its end, as in ``/sdcard/``, that is always followed, and a directory where
        it is there at all.
        """
        follow = follow or path.endswith("/")
        pending = [part for part in reversed(path.split("/")) if part]
        resolved: list[str] = []
        links = 0
        while pending:
            name = pending.pop()
            if name == ".":
                continue
            if name == "..":
                resolved = resolved[:-1]
                continue
            here = "/" + "/".join([*resolved, name])
            status = self._lstat(here)
            is_link = status is not None and modes.S_ISLNK(status.st_mode)
            if is_link and (pending or follow):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = str(self._host(here).readlink())
                if target.startswith("/"):
                    resolved = []
                pending += [part for part in reversed(target.split("/")) if part]
                continue
            if pending:
                if status is None:
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
                if not modes.S_ISDIR(status.st_mode):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                self._check(here, SEARCH)
            resolved.append(name)
        found = "/" + "/".join(resolved)
        if path.endswith("/") and self._is_no_directory(found):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return found

    def host_path(self, path: str) -> Path:
        """Where a phone's file lies on this computer, for the companion."""
        return self._host(self.resolve(path))

    def is_directory(self, path: str) -> bool:
        return self._is(path, modes.S_ISDIR)

    def is_file(self, path: str) -> bool:
        return self._is(path, modes.S_ISREG)

    def is_device(self, path: str) -> bool:
        return self._is(path, modes.S_ISCHR)

    def is_link(self, path: str) -> bool:
        try:
            return modes.S_ISLNK(self.status(path, follow=False).mode)
        except OSError:
            return False

    def exists(self, path: str) -> bool:
        return self._is(path, lambda _mode: True)

    def may(self, path: str, right: int) -> bool:
        """Whether the phone's shell has that right to it: ``READ``, ``WRITE`` or ``SEARCH``."""
        try:
            path = self.resolve(path)
            status = self.status(path)
            self._check(path, right)
            if right == WRITE and not modes.S_ISCHR(status.mode):
                self._writable(path, follow=True)
        except OSError:
            return False
        return True

    def refuse(self, code: int | None) -> None:
        """From now on nothing can be written, for the reason with that errno; with ``EACCES``
        nothing can be read either."""
        self._refusal = code

    # --- reading

    def status(self, path: str, *, follow: bool = True) -> FileStatus:
        path = self.resolve(path, follow=follow)
        if path in self._generated:
            size_bytes = len(self._generated[path]())
            return FileStatus(
                mode=modes.S_IFREG | 0o444,
                size_bytes=size_bytes,
                modified_s=0,
                links=1,
                uid=0,
                inode=0,
            )
        if path in DEVICES:
            status = Path(path).lstat()
            return FileStatus(
                mode=modes.S_IFCHR | 0o666,
                size_bytes=0,
                modified_s=int(status.st_mtime),
                links=1,
                uid=0,
                inode=status.st_ino,
            )
        status = self._host(path).lstat()
        return FileStatus(
            mode=status.st_mode,
            size_bytes=status.st_size,
            modified_s=int(status.st_mtime),
            links=status.st_nlink,
            uid=SHELL_UID if _is_below_any(path, WRITABLE) else 0,
            inode=status.st_ino,
        )

    def list_names(self, path: str) -> list[str]:
        path = self.resolve(path)
        if path in UNLISTED:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if path in self._generated or path in DEVICES:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._check(path, READ)
        names = {entry.name for entry in self._host(path).iterdir()}
        parent = path.rstrip("/") + "/"
        names |= {
            other.removeprefix(parent)
            for other in (*self._generated, *DEVICES)
            if other.startswith(parent) and "/" not in other.removeprefix(parent)
        }
        return sorted(names)

    def open(self, path: str) -> BinaryIO:
        """Open for reading, unbuffered."""
        path = self.resolve(path)
        if path in self._generated:
            return io.BytesIO(self._generated[path]().encode())
        if path in DEVICES:
            return Path(path).open("rb", buffering=0)
        if self._refusal == errno.EACCES and _is_below_any(path, WRITABLE):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        self._check(path, READ)
        # A pipe without a writer is empty, and not waited for.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._host(path), flags)
        if modes.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        file = os.fdopen(descriptor, "rb", buffering=0)
        if path.rpartition("/")[2] == self.corrupt_name:
            with file:
                return io.BytesIO(file.read()[:100] + b"\xff\0")
        return file

    def read_bytes(self, path: str) -> bytes:
        with self.open(path) as file:
            return file.read()

    def read_link(self, path: str) -> str:
        return str(self._host(self.resolve(path, follow=False)).readlink())

    # --- writing

    def create(
        self, path: str, mode: int, *, append: bool = False, keep: bool = False
    ) -> FileWriter:
        """Open for writing; whatever a file held is gone unless ``append``, or ``keep``, which
        writes over it from its start."""
        if self.resolve(path) in DEVICES:
            return FileWriter(None, os.open(self.resolve(path), os.O_WRONLY | os.O_CLOEXEC))
        path = self._writable(path, follow=True)
        exists = self._lstat(path) is not None
        self._check(path if exists else path.rpartition("/")[0], WRITE)
        end = os.O_APPEND if append else 0 if keep else os.O_TRUNC
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | end
        descriptor = os.open(self._host(path), flags, mode & 0o777)
        if not exists:
            # os.open leaves out what this process's umask does.
            os.fchmod(descriptor, mode & 0o777)
        self.on_made(path)
        return FileWriter(self, descriptor)

    def write_bytes(self, path: str, data: bytes, mode: int = 0o644) -> None:
        writer = self.create(path, mode)
        try:
            writer.charge(len(data))
            writer.write([data])
        finally:
            writer.close()

    def make_directory(self, path: str, mode: int = 0o775) -> None:
        host = self._entry(path)
        host.mkdir()
        host.chmod(mode & 0o777)

    def make_directories(self, path: str) -> None:
        """Make it and every missing parent."""
        parts = [part for part in path.split("/") if part]
        for count in range(1, len(parts) + 1):
            here = "/" + "/".join(parts[:count])
            if not self.is_directory(here):
                self.make_directory(here)

    def make_link(self, target: str, path: str) -> None:
        self._entry(path).symlink_to(target)

    def remove_file(self, path: str) -> None:
        self._entry(path).unlink()

    def remove_directory(self, path: str) -> None:
        self._entry(path).rmdir()

    def remove_tree(self, path: str) -> None:
        """Remove a file, a link or a directory with everything in it."""
        if modes.S_ISDIR(self.status(path, follow=False).mode):
            for name in self.list_names(path):
                self.remove_tree(f"{path}/{name}")
            self.remove_directory(path)
        else:
            self.remove_file(path)

    def rename(self, path: str, new_path: str) -> None:
        self._entry(path).replace(self._entry(new_path))

    def set_mode(self, path: str, mode: int) -> None:
        self._host(self._writable(path, follow=True)).chmod(mode & 0o777)

    def set_modified(self, path: str, modified_s: int) -> None:
        os.utime(self._host(self._writable(path, follow=True)), (modified_s, modified_s))

    # --- storage

    def used_bytes(self) -> int:
        used = 0
        for directory, _, names in os.walk(self._root):
            for name in names:
                try:
                    used += Path(directory, name).lstat().st_size
                except FileNotFoundError:
                    continue
        return used

    def charge(self, size_bytes: int) -> None:
        """Take storage, or raise ``OSError``. Deleted files are only missed when it gets tight."""
        if self._used_bytes + size_bytes > self.quota_bytes:
            self._used_bytes = self.used_bytes()
        if self._used_bytes + size_bytes > self.quota_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._used_bytes += size_bytes

    # --- within

    def _host(self, resolved: str) -> Path:
        return self._root / resolved.lstrip("/")

    def _is_no_directory(self, resolved: str) -> bool:
        status = self._lstat(resolved)
        return (status is not None and not modes.S_ISDIR(status.st_mode)) or (
            resolved in self._generated or resolved in DEVICES
        )

    def _lstat(self, resolved: str) -> os.stat_result | None:
        try:
            return self._host(resolved).lstat()
        except FileNotFoundError:
            return None
        except ValueError:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from None

    def _entry(self, path: str) -> Path:
        """Where a file, a link or a directory lies that is to be made, renamed or removed."""
        resolved = self._writable(path, follow=False)
        self._check(resolved.rpartition("/")[0], WRITE)
        return self._host(resolved)

    def _check(self, resolved: str, right: int) -> None:
        """Raise ``OSError`` where the mode of what is there keeps the shell, its owner, from it:
        this computer's own user may be one whom no mode keeps from anything."""
        status = self._lstat(resolved) if _is_below_any(resolved, WRITABLE) else None
        if status is not None and not status.st_mode >> 6 & right:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def _is(self, path: str, test: Callable[[int], bool]) -> bool:
        try:
            return test(self.status(path).mode)
        except OSError:
            return False

    def _writable(self, path: str, *, follow: bool) -> str:
        resolved = self.resolve(path, follow=follow)
        if _is_below_any(resolved, WRITABLE):
            if self._refusal is not None:
                raise OSError(self._refusal, os.strerror(self._refusal))
            return resolved
        read_only = resolved in READ_ONLY or _is_below_any(resolved, READ_ONLY)
        read_only = read_only or resolved.count("/") == 1
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code))


def _is_below_any(path: str, parents: Sequence[str]) -> bool:
    return any(path.startswith(parent + "/") for parent in parents)


def describe(error: OSError) -> str:
    """Linux's words for it, without any path of this computer."""
    return os.strerror(error.errno or errno.EIO)


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run it in a thread, and wait for its end even when cancelled: it holds open files."""
    future = asyncio.get_running_loop().run_in_executor(None, function, *args)
    try:
        return await asyncio.shield(future)
    finally:
        if not future.done():
            await asyncio.wait([future])
