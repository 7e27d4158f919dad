"""A virtual phone as a process: ``python -m mobilekit.virtual PHONE_DIRECTORY`` until stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from mobilekit.errors import MobilekitError
from mobilekit.runner.abi import this_abi
from mobilekit.virtual.companion import CompanionProcess, PhoneBattery, read_profile
from mobilekit.virtual.companion_settings import CompanionSettings
from mobilekit.virtual.phone import VirtualPhone
from mobilekit.virtual.service import registered


async def serve(directory: Path) -> None:
    profile = read_profile(directory)
    companion = CompanionSettings.read(directory).kind
    battery = PhoneBattery(profile, directory / "battery.json")
    battery.reset()  # A newcomer's phone is never found empty, nor plugged in by pretence.
    phone = VirtualPhone(
        profile, directory, this_abi(), battery, CompanionProcess(directory, companion)
    )
    stopping = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stopping.set)
    await phone.start()
    try:
        with registered(directory, profile.name, phone.port, companion):
            await stopping.wait()
    finally:
        await phone.stop()


if __name__ == "__main__":
    try:
        asyncio.run(serve(Path(sys.argv[1])))
    except MobilekitError as error:
        sys.exit(str(error))
