"""The phone's sockets: where adb's forwards and the phone's own commands meet.

They are names, and no port of this computer: nothing that listens on the phone can be reached but
through adb, as behind a phone's cable.
"""

from __future__ import annotations

import asyncio
import itertools
import re

from mobilekit.virtual.adbd import Link, Service, Stream

FIRST_FREE_PORT = 32768
LISTENABLE = re.compile(r"tcp:\d{1,5}|local(?:abstract|reserved|filesystem)?:.+")


class SocketError(Exception):
    """Why an address cannot be listened at."""


class PhoneSockets:
    """Who listens where, by adb's names of addresses, such as ``tcp:8080``."""

    def __init__(self) -> None:
        self._listening: dict[str, Service] = {}

    def listen(self, address: str, accept: Service) -> str:
        """Have ``accept`` serve whoever connects; ``tcp:0`` is a free port. Returns the address.

        Raises ``SocketError``.
        """
        if not LISTENABLE.fullmatch(address):
            raise SocketError(f"unknown socket specification: {address}")
        kind, _, number = address.partition(":")
        if kind == "tcp" and int(number) > 65535:
            raise SocketError(f"bad port number '{number}'")
        if address == "tcp:0":
            ports = (f"tcp:{port}" for port in itertools.count(FIRST_FREE_PORT))
            address = next(each for each in ports if each not in self._listening)
        if address in self._listening:
            raise SocketError("Address already in use")
        self._listening[address] = accept
        return address

    def close(self, address: str) -> None:
        self._listening.pop(address, None)

    def service(self, address: str) -> Service | None:
        """What serves a connection to that address; ``None`` where nothing listens."""
        return self._listening.get(address)


class ReverseForwards:
    """Addresses of the phone that lead to addresses of the computers that asked for them."""

    def __init__(self, sockets: PhoneSockets) -> None:
        self._sockets = sockets
        self._forwards: dict[str, tuple[Link, str]] = {}

    async def serve(self, link: Link, stream: Stream, command: str) -> None:
        """One request of ``adb reverse``, without its ``reverse:``."""
        await stream.write(self._answer(link, command).encode("utf-8", "surrogateescape"))

    def forget(self, link: Link) -> None:
        """The computer is gone, and its forwards with it."""
        for address, (owner, _) in list(self._forwards.items()):
            if owner is link:
                self._remove(address)

    def _answer(self, link: Link, command: str) -> str:
        if command == "list-forward":
            lines = (f"(reverse) {here} {there}\n" for here, (_, there) in self._forwards.items())
            return _counted("".join(lines))
        if command == "killforward-all":
            for address in list(self._forwards):
                self._remove(address)
            return "OKAY"
        verb, _, rest = command.partition(":")
        if verb == "killforward":
            if not rest or ";" in rest:
                return _failure(f"bad killforward: {rest}")
            if rest not in self._forwards:
                return _failure(f"listener '{rest}' not found")
            self._remove(rest)
            return "OKAY"
        if verb == "forward":
            return self._add(link, rest.removeprefix("norebind:"), rest.startswith("norebind:"))
        return _failure("not a reverse forwarding command")

    def _add(self, link: Link, pair: str, no_rebind: bool) -> str:
        here, _, there = pair.partition(";")
        if not here or not there or ";" in there or there.startswith("*"):
            return _failure(f"bad forward: {pair}")
        if here in self._forwards:
            if no_rebind:
                return _failure("cannot rebind existing socket")
            self._remove(here)
        try:
            address = self._sockets.listen(here, _connector(link, there))
        except SocketError as error:
            return _failure(f"cannot bind listener: {error}")
        self._forwards[address] = (link, there)
        return "OKAY" + (_counted(address.removeprefix("tcp:")) if here == "tcp:0" else "")

    def _remove(self, address: str) -> None:
        del self._forwards[address]
        self._sockets.close(address)


def _counted(text: str) -> str:
    return f"{len(text.encode('utf-8', 'surrogateescape')):04x}{text}"


def _failure(reason: str) -> str:
    return "FAIL" + _counted(reason)


def _connector(link: Link, there: str) -> Service:
    async def connect(stream: Stream) -> None:
        other = link.open(there)
        try:
            if await other.opened():
                await join(stream, other)
        finally:
            other.hang_up()

    return connect


async def join(one: Stream, other: Stream) -> None:
    """Carry bytes both ways until either side has ended."""
    ways = [asyncio.ensure_future(_carry(*pair)) for pair in ((one, other), (other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _carry(source: Stream, target: Stream) -> None:
    while chunk := await source.read():
        await target.write(chunk)
