"""The device side of adb's transport: links to adb servers, and the streams that they carry.

A message is a header of six little-endian words (command, two arguments, payload length, checksum,
complement of the command) and a payload. After ``CNXN`` in both directions a server opens streams
with ``OPEN``; each is answered with ``OKAY`` or refused with ``CLSE``; the phone opens some too,
for reverse forwards. Every ``WRTE`` waits for an ``OKAY``, which is sent when the other side has
taken the data: that is the back pressure.

Both sides speak the older of their versions. The older one has sums of the bytes of every payload:
they are made for a peer that asks for it, and its own are checked.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

Cable = Literal["ready", "unauthorized", "offline", "stalled", "unplugged"]
"""What a computer sees at the other end of the cable.

``unauthorized`` refuses every key until it is allowed, ``offline`` accepts connections and never
answers, ``stalled`` keeps links open and stops in the middle of whatever it does, ``unplugged``
drops every link and refuses new ones.
"""

Payload = bytes | bytearray | memoryview
Service = Callable[["Stream"], Awaitable[None]]
Opener = Callable[["Link", str], Service | None]
"""The service of a name such as ``shell,v2:ls``; ``None`` refuses the stream."""

HEADER = struct.Struct("<6I")
VERSION = 0x01000001
"""The first version without checksums; with them Python is five times slower."""
OLDEST_VERSION = 0x01000000
MAX_PAYLOAD = 1024 * 1024
OLD_NAME_BYTES = 4096
"""Of a service before ``FEATURES_SDK``, whose packets hold no more (AOSP, ``adb.h``: MAX_PAYLOAD,
since Android 7 MAX_PAYLOAD_V1)."""
FEATURES = (
    "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir,sendrecv_v2,sendrecv_v2_dry_run_send,abb,abb_exec"
)
"""From ``FEATURES_SDK`` on; before it an adb daemon had none to tell."""
FEATURES_SDK = 24
EMULATOR_PORTS = range(5555, 5586)
"""Every adb server looks for emulators here by itself."""
DRAIN_S = 1.0
"""How long a service may go on after its peer closed the stream and all data was taken."""

AUTH_TOKEN, AUTH_PUBLIC_KEY = 1, 3


def _command(name: bytes) -> int:
    return int.from_bytes(name, "little")


CNXN, AUTH, OPEN = _command(b"CNXN"), _command(b"AUTH"), _command(b"OPEN")
OKAY, CLSE, WRTE = _command(b"OKAY"), _command(b"CLSE"), _command(b"WRTE")


def checksum_of(payload: Payload) -> int:
    return sum(payload) & 0xFFFFFFFF


class StreamClosedError(ConnectionError):
    """The other side closed the stream, or the link is gone."""


class Stream:
    """One service's connection to one client on the computer.

    ``remote_id`` is 0 for one that the phone opened and the computer has not answered.
    """

    def __init__(self, link: Link, local_id: int, remote_id: int) -> None:
        self.local_id = local_id
        self.remote_id = remote_id
        self.task: asyncio.Task[None] | None = None
        self._link = link
        self._inbox: deque[memoryview] = deque()
        self._arrived = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._acknowledged.set()
        self._writing = asyncio.Lock()
        self._closed = False

    async def read(self) -> memoryview:
        """The next chunk; empty once the other side has closed the stream."""
        while not self._inbox:
            if self._closed:
                return memoryview(b"")
            self._arrived.clear()
            await self._arrived.wait()
        chunk = self._inbox.popleft()
        await self._link.take_time(len(chunk))
        if not self._closed:
            self._link.send(OKAY, self.local_id, self.remote_id)
        return chunk

    async def write(self, data: Payload) -> None:
        """Send all of it; returns when the computer has taken it, so that it may be reused."""
        view = memoryview(data)
        async with self._writing:
            for start in range(0, len(view), self._link.max_payload):
                if self._closed:
                    raise StreamClosedError
                self._acknowledged.clear()
                piece = view[start : start + self._link.max_payload]
                self._link.send(WRTE, self.local_id, self.remote_id, piece)
                await self._acknowledged.wait()
                await self._link.take_time(len(piece))
        if self._closed:
            raise StreamClosedError

    async def opened(self) -> bool:
        """Of one that the phone opened: whether the computer took it."""
        await self._acknowledged.wait()
        return not self._closed

    def expect_answer(self) -> None:
        self._acknowledged.clear()

    def hang_up(self) -> None:
        """The phone is done with it."""
        self._link.hang_up(self)

    def receive(self, payload: memoryview) -> None:
        self._inbox.append(payload)
        self._arrived.set()

    def acknowledge(self) -> None:
        self._acknowledged.set()

    def close(self) -> None:
        """No more will come or go; what has come can still be read."""
        self._closed = True
        self._arrived.set()
        self._acknowledged.set()


class Link(asyncio.BufferedProtocol):
    """One connection of one adb server."""

    def __init__(self, adbd: Adbd) -> None:
        self.max_payload = MAX_PAYLOAD
        self._version = VERSION
        self._adbd = adbd
        self._transport: asyncio.Transport | None = None
        self._header = bytearray(HEADER.size)
        self._payload: bytearray | None = None
        self._missing = memoryview(self._header)
        self._streams: dict[int, Stream] = {}
        self._last_id = 0
        self._introduced = False
        self._admitted = False
        self._held: list[Payload] | None = None

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._adbd.links.add(self)
        if self._adbd.cable == "stalled":
            self.hold()

    def connection_lost(self, exc: Exception | None) -> None:
        self._adbd.links.discard(self)
        for stream in list(self._streams.values()):
            self._close_stream(stream)
        self._adbd.on_lost(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._missing

    def buffer_updated(self, nbytes: int) -> None:
        self._missing = self._missing[nbytes:]
        if self._missing:
            return
        command, arg0, arg1, length, checksum, magic = HEADER.unpack(self._header)
        if self._payload is None:
            if magic != command ^ 0xFFFFFFFF or length > MAX_PAYLOAD:
                self.abort()
                return
            if length:
                # A fresh one each time: the stream's reader keeps it without a copy.
                self._payload = bytearray(length)
                self._missing = memoryview(self._payload)
                return
        payload = memoryview(self._payload or b"")
        self._payload = None
        self._missing = memoryview(self._header)
        # Not that of an introduction: a server that reconnects sends zero.
        if self._has_checksums and command != CNXN and checksum != checksum_of(payload):
            self.abort()
            return
        self._handle(command, arg0, arg1, payload)

    # --- adbd's side

    def hold(self) -> None:
        """Stop reading, and keep back what would be sent."""
        if self._held is None and self._transport is not None:
            self._held = []
            self._transport.pause_reading()

    def release(self) -> None:
        """Go on after ``hold``."""
        if self._held is not None and self._transport is not None:
            held, self._held = self._held, None
            for data in held:
                self._transport.write(data)
            self._transport.resume_reading()

    def admit(self) -> None:
        """Answer the computer's introduction, if it came and was left unanswered."""
        if self._introduced and not self._admitted:
            self._admitted = True
            self.send(CNXN, self._version, MAX_PAYLOAD, self._adbd.banner)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send(self, command: int, arg0: int, arg1: int, payload: Payload = b"") -> None:
        # Before versions are agreed, in CNXN and AUTH, every peer may check.
        checksum = checksum_of(payload) if self._has_checksums or command != WRTE else 0
        header = HEADER.pack(command, arg0, arg1, len(payload), checksum, command ^ 0xFFFFFFFF)
        if len(payload) <= 4096:
            self._send_bytes(header + bytes(payload))
        else:
            self._send_bytes(header)
            self._send_bytes(payload)

    def _send_bytes(self, data: Payload) -> None:
        if self._held is not None:
            self._held.append(bytes(data))
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def _has_checksums(self) -> bool:
        return self._version < VERSION

    def open(self, name: str) -> Stream:
        """Open a stream to a service of the computer; ``Stream.opened`` waits for its answer."""
        stream = self._add_stream(0)
        stream.expect_answer()
        self.send(OPEN, stream.local_id, 0, name.encode("utf-8", "surrogateescape") + b"\0")
        return stream

    async def take_time(self, size_bytes: int) -> None:
        if self._adbd.bytes_per_s is not None:
            await asyncio.sleep(size_bytes / self._adbd.bytes_per_s)

    def hang_up(self, stream: Stream) -> None:
        """End a stream from the phone's side."""
        if self._streams.pop(stream.local_id, None):
            stream.close()
            self.send(CLSE, stream.local_id, stream.remote_id)

    def _handle(self, command: int, arg0: int, arg1: int, payload: memoryview) -> None:
        if command == CNXN:
            for stream in list(self._streams.values()):
                self._close_stream(stream)
            self.max_payload = max(4096, min(arg1, MAX_PAYLOAD))
            self._version = max(OLDEST_VERSION, min(arg0, VERSION))
            self._introduced, self._admitted = True, False
            if self._adbd.cable == "unauthorized":
                self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
            elif self._adbd.cable != "offline":
                self.admit()
        elif command == AUTH and not self._admitted and arg0 != AUTH_PUBLIC_KEY:
            # A signature, refused: the server tries its next key and sends its public key last.
            self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
        elif not self._admitted:
            return
        elif command == OPEN:
            self._open(arg0, payload)
        elif arg1 in self._streams and self._streams[arg1].remote_id in (arg0, 0):
            stream = self._streams[arg1]
            if command == CLSE:
                self._close_stream(stream)
            elif command == OKAY:
                stream.remote_id = arg0
                stream.acknowledge()
            elif command == WRTE and stream.remote_id:
                stream.receive(payload)

    def _open(self, remote_id: int, payload: memoryview) -> None:
        if len(payload) > self._adbd.longest_name_bytes:
            self.abort()
            return
        name = bytes(payload).rstrip(b"\0").decode("utf-8", "surrogateescape")
        service = self._adbd.open_service(self, name)
        if service is None:
            self.send(CLSE, 0, remote_id)
            return
        stream = self._add_stream(remote_id)
        self.send(OKAY, stream.local_id, remote_id)
        stream.task = asyncio.get_running_loop().create_task(self._serve(service, stream))

    def _add_stream(self, remote_id: int) -> Stream:
        self._last_id += 1
        stream = Stream(self, self._last_id, remote_id)
        self._streams[stream.local_id] = stream
        return stream

    async def _serve(self, service: Service, stream: Stream) -> None:
        try:
            await service(stream)
        except StreamClosedError:
            pass
        finally:
            self.hang_up(stream)

    def _close_stream(self, stream: Stream) -> None:
        """The computer is done with it; its service gets a moment for what has come."""
        del self._streams[stream.local_id]
        stream.close()
        self.send(CLSE, stream.local_id, stream.remote_id)
        if stream.task is not None:
            asyncio.get_running_loop().call_later(DRAIN_S, stream.task.cancel)


class Adbd:
    """Listens on this computer only, and keeps the links."""

    def __init__(
        self,
        banner: bytes,
        open_service: Opener,
        on_lost: Callable[[Link], None],
        longest_name_bytes: int,
    ) -> None:
        self.banner = banner
        self.longest_name_bytes = longest_name_bytes
        self.open_service = open_service
        self.on_lost = on_lost
        self.links: set[Link] = set()
        self.cable: Cable = "ready"
        self.bytes_per_s: int | None = None
        """How fast it is; ``None``: as fast as it can."""
        self.port = 0
        self._server: asyncio.Server | None = None

    async def listen(self, port: int) -> None:
        """Listen on ``port``, or on a free one if it is 0."""
        if port in EMULATOR_PORTS:
            raise ValueError(f"port {port} is one where adb looks for emulators")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Link(self), "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        if self.port in EMULATOR_PORTS:
            unsuitable = self._server
            await self.listen(0)
            unsuitable.close()

    async def set_cable(self, cable: Cable) -> None:
        """Change what the computer sees, now."""
        self.cable = cable
        if cable == "unplugged":
            self.close()
        elif self._server is None:
            await self.listen(self.port)
        for link in list(self.links):
            if cable == "stalled":
                link.hold()
                continue
            link.release()
            if cable == "ready":
                link.admit()
            else:
                link.abort()

    def close(self) -> None:
        """Stop listening and drop every link."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self.links):
            link.abort()
