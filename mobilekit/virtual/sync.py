"""adb's file transfer service: ``sync:``.

A request is four letters, a length and a path. Its answers end in ``OKAY``, ``DONE`` or ``FAIL``
with a reason. After a failed upload the rest of it is read and dropped, so that the stream stays
usable for the next request.
"""

from __future__ import annotations

import contextlib
import errno
import stat as modes
import struct
from collections.abc import Sequence
from typing import BinaryIO

from mobilekit.virtual.adbd import Stream
from mobilekit.virtual.files import FileStatus, FileWriter, PhoneFiles, describe, in_thread

MAX_DATA = 64 * 1024
MAX_PATH = 1024
DATA_HEADER = struct.Struct("<4sI")
STAT_V2 = struct.Struct("<4sIQQIIIIQqqq")
FRAMES = 15
"""``DATA`` frames in a message of downloads: the most that fit into adb's largest payload."""
DRY_RUN = 0x80000000
BATCH_PIECES = 512
"""Below the number of buffers that one system call takes."""


class SyncError(Exception):
    """The client broke the protocol; the stream is of no more use."""


class _Input:
    """Reads exact sizes from a stream of chunks, without copying where it can."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.buffered = memoryview(b"")

    async def some(self, limit: int) -> memoryview:
        """At least one byte, at most ``limit``."""
        if not self.buffered:
            self.buffered = await self._stream.read()
            if not self.buffered:
                raise SyncError("the client is gone")
        piece, self.buffered = self.buffered[:limit], self.buffered[limit:]
        return piece

    async def exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            data += await self.some(size - len(data))
        return bytes(data)

    async def header(self) -> tuple[bytes, int]:
        tag, value = DATA_HEADER.unpack(await self.exactly(DATA_HEADER.size))
        return tag, value


class SyncService:
    """Serves one client until it quits."""

    def __init__(self, files: PhoneFiles, stream: Stream) -> None:
        self._files = files
        self._stream = stream
        self._input = _Input(stream)

    async def serve(self) -> None:
        try:
            while await self._serve_request():
                pass
        except SyncError as error:
            await self._fail(str(error))

    async def _serve_request(self) -> bool:
        tag, length = await self._input.header()
        if tag == b"QUIT":
            return False
        if length > MAX_PATH:
            raise SyncError("path too long")
        path = (await self._input.exactly(length)).decode("utf-8", "surrogateescape")
        if tag == b"STAT":
            status = _status_or_none(self._files, path)
            await self._stream.write(b"STAT" + _pack_status(status))
        elif tag in (b"STA2", b"LST2"):
            await self._stream.write(self._pack_status_v2(tag, path, follow=tag == b"STA2"))
        elif tag == b"LIST":
            await self._list(path)
        elif tag == b"LIS2":
            await self._list_v2(path)
        elif tag == b"SEND":
            path, _, mode = path.rpartition(",")
            if not mode.isdecimal():
                raise SyncError("missing mode")
            await self._take_file(path, int(mode))
        elif tag == b"SND2":
            mode_word, flags = struct.unpack("<4xII", await self._input.exactly(12))
            if flags & ~DRY_RUN:
                raise SyncError("compression was not offered")
            await self._take_file(path, mode_word, dry=bool(flags & DRY_RUN))
        elif tag == b"RECV":
            await self._give_file(path)
        elif tag == b"RCV2":
            (flags,) = struct.unpack("<4xI", await self._input.exactly(8))
            if flags:
                raise SyncError("compression was not offered")
            await self._give_file(path)
        else:
            raise SyncError(f"unknown command {tag!r}")
        return True

    async def _fail(self, reason: str) -> None:
        message = reason.encode()
        await self._stream.write(DATA_HEADER.pack(b"FAIL", len(message)) + message)

    # --- looking

    def _pack_status_v2(self, tag: bytes, path: str, *, follow: bool) -> bytes:
        try:
            status = self._files.status(path, follow=follow)
        except OSError as error:
            return STAT_V2.pack(tag, error.errno or errno.EIO, *([0] * 10))
        seconds = status.modified_s
        return STAT_V2.pack(
            tag,
            0,
            1,
            status.inode,
            status.mode,
            status.links,
            status.uid,
            status.uid,
            status.size_bytes,
            seconds,
            seconds,
            seconds,
        )

    def _list_names(self, path: str) -> Sequence[str]:
        try:
            return [".", "..", *self._files.list_names(path)]
        except OSError:
            return []

    async def _list(self, path: str) -> None:
        reply = bytearray()
        for name in self._list_names(path):
            encoded = name.encode("utf-8", "surrogateescape")
            status = _status_or_none(self._files, f"{path}/{name}")
            reply += b"DENT" + _pack_status(status) + struct.pack("<I", len(encoded)) + encoded
        await self._stream.write(reply + b"DONE" + bytes(16))

    async def _list_v2(self, path: str) -> None:
        reply = bytearray()
        for name in self._list_names(path):
            encoded = name.encode("utf-8", "surrogateescape")
            reply += self._pack_status_v2(b"DNT2", f"{path}/{name}", follow=False)
            reply += struct.pack("<I", len(encoded)) + encoded
        await self._stream.write(reply + STAT_V2.pack(b"DONE", *([0] * 11)) + bytes(4))

    # --- phone to computer

    async def _give_file(self, path: str) -> None:
        try:
            file = self._files.open(path)
        except OSError as error:
            await self._fail(f"open failed: {describe(error)}")
            return
        message = bytearray(FRAMES * (DATA_HEADER.size + MAX_DATA) + DATA_HEADER.size)
        with file:
            at_end = False
            while not at_end:
                size, at_end = await in_thread(_fill_frames, file, message)
                await self._stream.write(memoryview(message)[:size])

    # --- computer to phone

    async def _take_file(self, path: str, mode: int, *, dry: bool = False) -> None:
        """``dry``: what comes is dropped."""
        upload = _Upload(self._files, "/dev/null" if dry else path, mode)
        try:
            modified_s = await self._take_data(upload)
        except BaseException:
            upload.abandon()
            raise
        upload.finish(modified_s)
        if upload.failure is None:
            await self._stream.write(DATA_HEADER.pack(b"OKAY", 0))
        else:
            await self._fail(upload.failure)

    async def _take_data(self, upload: _Upload) -> int:
        """Up to ``DONE``, whose value is the time of the file's last change."""
        pieces: list[memoryview] = []
        while True:
            tag, value = await self._input.header()
            if tag == b"DONE":
                await upload.write(pieces)
                return value
            if tag != b"DATA" or value > MAX_DATA:
                raise SyncError("invalid data message")
            while value:
                pieces.append(await self._input.some(value))
                value -= len(pieces[-1])
                if not self._input.buffered or len(pieces) == BATCH_PIECES:
                    await upload.write(pieces)
                    pieces = []


class _Upload:
    """A file, or a link, being made; the first failure is kept and the rest is dropped."""

    def __init__(self, files: PhoneFiles, path: str, mode: int) -> None:
        self.failure: str | None = None
        self._files = files
        self._path = path
        self._writer: FileWriter | None = None
        self._target: bytes | None = b"" if modes.S_ISLNK(mode) else None
        # As adbd does: group and others get what the owner has.
        permissions = mode & 0o777
        permissions |= (permissions >> 3) & 0o070
        permissions |= (permissions >> 3) & 0o007
        try:
            stage = "secure_mkdirs failed"
            parent = path.rpartition("/")[0]
            if not files.is_directory(parent):
                files.make_directories(parent)
            stage = "couldn't create file"
            if self._target is None:
                if files.is_file(path) or files.is_link(path):
                    files.remove_file(path)
                self._writer = files.create(path, permissions)
        except OSError as error:
            self._fail(stage, error)

    async def write(self, pieces: Sequence[memoryview]) -> None:
        if self.failure is not None or not pieces:
            return
        if self._target is not None:
            self._target = b"".join([self._target, *pieces])[:MAX_PATH]
        if self._writer is not None:
            try:
                self._writer.charge(sum(map(len, pieces)))
                await in_thread(self._writer.write, pieces)
            except OSError as error:
                self.abandon()
                self._fail("write failed", error)

    def finish(self, modified_s: int) -> None:
        if self._writer is not None:
            self._writer.close()
            try:
                if self._files.is_file(self._path):
                    self._files.set_modified(self._path, modified_s)
            except OSError as error:
                self._fail("utime failed", error)
        elif self._target is not None and self.failure is None:
            try:
                if _exists(self._files, self._path):
                    self._files.remove_file(self._path)
                target = self._target.rstrip(b"\0").decode("utf-8", "surrogateescape")
                self._files.make_link(target, self._path)
            except OSError as error:
                self._fail("symlink failed", error)

    def abandon(self) -> None:
        """Leave no half of a file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            with contextlib.suppress(OSError):
                if self._files.is_file(self._path):
                    self._files.remove_file(self._path)

    def _fail(self, stage: str, error: OSError) -> None:
        self.failure = f"{stage}: {describe(error)}"


def _exists(files: PhoneFiles, path: str) -> bool:
    return _status_or_none(files, path) is not None


def _status_or_none(files: PhoneFiles, path: str) -> FileStatus | None:
    try:
        return files.status(path, follow=False)
    except OSError:
        return None


def _pack_status(status: FileStatus | None) -> bytes:
    """Of the first version of the protocol, which has zeros for what is not there."""
    if status is None:
        return bytes(12)
    # Sizes over 4 GiB do not fit: that is why there is a second version.
    return struct.pack("<III", status.mode, status.size_bytes % 2**32, status.modified_s % 2**32)


def _fill_frames(file: BinaryIO, message: bytearray) -> tuple[int, bool]:
    """Fill ``message`` with ``DATA`` frames; returns how much of it is used, and if it is the last.

    ``DONE`` goes with the last frame: as a message of its own it would wait on its way to the
    client for the acknowledgement of the one before, 40 ms for each file.
    """
    view = memoryview(message)
    position = 0
    for _ in range(FRAMES):
        start = position + DATA_HEADER.size
        size = file.readinto(view[start : start + MAX_DATA])  # type: ignore[attr-defined]
        if not size:
            DATA_HEADER.pack_into(message, position, b"DONE", 0)
            return start, True
        DATA_HEADER.pack_into(message, position, b"DATA", size)
        position = start + size
    return position, False
