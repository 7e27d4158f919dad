"""Another computer at the same phone: it connects as an adb server does, looks around, goes on."""

from __future__ import annotations

import asyncio

from mobilekit.contract.protocol import INPUT_ROOT, OUTPUT_ROOT
from mobilekit.virtual.adbd import CLSE, CNXN, HEADER, MAX_PAYLOAD, OKAY, OPEN, VERSION, WRTE

PAUSE_S = 0.2
LOOKING_AROUND = (
    f"dumpsys battery; ls -l {INPUT_ROOT}/artifacts {INPUT_ROOT}/runs {OUTPUT_ROOT}/runs; logcat -d"
)


async def use_phone(port: int) -> None:
    """Until it is cancelled or the phone drops its link."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    local_id = 0

    def send(command: int, arg0: int, arg1: int, payload: bytes = b"") -> None:
        header = HEADER.pack(command, arg0, arg1, len(payload), sum(payload), command ^ 0xFFFFFFFF)
        writer.write(header + payload)

    try:
        send(CNXN, VERSION, MAX_PAYLOAD, b"host::features=shell_v2")
        while True:
            command, arg0, arg1, length, _, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
            await reader.readexactly(length)
            if command == WRTE:
                send(OKAY, arg1, arg0)
            elif command in (CNXN, CLSE):
                await asyncio.sleep(PAUSE_S)
                local_id += 1
                send(OPEN, local_id, 0, f"shell:{LOOKING_AROUND}\0".encode())
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()
