"""The shell's ``dd``."""

from __future__ import annotations

import re
import time

from mobilekit.virtual.files import describe
from mobilekit.virtual.shell import Call, CommandError, FileSink, FileSource, Sink, Source
from mobilekit.virtual.shell_sizes import human_size

UNITS = {"c": 1, "w": 2, "b": 512, "k": 1 << 10, "K": 1 << 10, "m": 1 << 20, "M": 1 << 20}
UNITS |= {"g": 1 << 30, "G": 1 << 30}
MAX_BLOCK_BYTES = 64 << 20


async def run_dd(call: Call) -> int:
    given = dict.fromkeys(("if", "of", "status", "conv"), "") | {
        "bs": "512",
        "count": "",
        "skip": "0",
        "seek": "0",
    }
    for arg in call.args:
        name, equals, value = arg.partition("=")
        if name not in given or not equals:
            raise CommandError(f"bad arg '{arg}'")
        given[name] = value
    block_bytes, skip, seek = (_amount(given[name]) for name in ("bs", "skip", "seek"))
    if not 1 <= block_bytes <= MAX_BLOCK_BYTES:
        raise CommandError(f"bs={given['bs']}: from 1 to {MAX_BLOCK_BYTES}")
    count = _amount(given["count"]) if given["count"] else None
    kept = set(given["conv"].split(",")) - {""}
    if not kept <= {"notrunc", "fsync", "sync", "noerror"}:
        raise CommandError(f"bad conv '{given['conv']}'")
    opened: list[FileSource | FileSink] = []
    started_s = time.monotonic()
    try:
        source: Source = call.streams.stdin
        if given["if"]:
            source = FileSource(call.device.files.open(call.path(given["if"])), block_bytes)
            opened.append(source)
        sink: Sink = call.streams.stdout
        if given["of"]:
            path = call.path(given["of"])
            keep = "notrunc" in kept or seek > 0
            writer = call.device.files.create(path, 0o666, keep=keep)
            opened.append(FileSink(writer))
            sink = opened[-1]  # type: ignore[assignment]
            if seek:
                writer.seek(seek * block_bytes)
        blocks = _Blocks(source, block_bytes)
        for _ in range(skip):
            await blocks.read()
        full = part = written_bytes = 0
        while count is None or full + part < count:
            block = await blocks.read()
            if not block:
                break
            full, part = full + (len(block) == block_bytes), part + (len(block) < block_bytes)
            if "sync" in kept:
                block = block.ljust(block_bytes, b"\0")
            await sink.write(block)
            written_bytes += len(block)
    except OSError as error:
        raise CommandError(f"{given['if'] or given['of']}: {describe(error)}") from None
    finally:
        for file in opened:
            file.close()
    if given["status"] != "none":
        seconds = max(1e-6, time.monotonic() - started_s)
        await call.print_error(
            f"{full}+{part} records in\n{full}+{part} records out\n{written_bytes} bytes "
            f"({human_size(written_bytes)}) copied, {seconds:f} s, "
            f"{human_size(written_bytes / seconds)}/s\n"
        )
    return 0


class _Blocks:
    """A source in pieces of one size, of which the last may be shorter."""

    def __init__(self, source: Source, block_bytes: int) -> None:
        self._source = source
        self._block_bytes = block_bytes
        self._buffer = bytearray()

    async def read(self) -> bytes:
        while len(self._buffer) < self._block_bytes:
            chunk = await self._source.read()
            if not chunk:
                break
            self._buffer += chunk
        block = bytes(self._buffer[: self._block_bytes])
        del self._buffer[: self._block_bytes]
        return block


def _amount(text: str) -> int:
    match = re.fullmatch(r"(\d+)([cwbkKmMgG]?)", text)
    if match is None:
        raise CommandError(f"not integer: {text}")
    return int(match[1]) * UNITS.get(match[2], 1)
