"""This computer's processor by Android's name for it, as an emulator image would have."""

from __future__ import annotations

import platform


def this_abi() -> str:
    machine = platform.machine()
    return {"AMD64": "x86_64", "aarch64": "arm64-v8a", "arm64": "arm64-v8a"}.get(machine, machine)
