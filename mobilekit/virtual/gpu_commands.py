"""``cmd gpu``: the virtual phone's graphics processor, as its profile says.

What it prints is what a phone prints, as far as anybody asks.
"""

from __future__ import annotations

import json
from typing import Any

from mobilekit.virtual.shell import Call, CommandError

HALF_STORAGE_EXTENSION = "VK_KHR_16bit_storage"
TEXTURE_TEXELS = 2048
"""As many as the least of phones' drivers have, and fewer than software Vulkan."""


def pack_version(version: str) -> int:
    """``1.1`` as Vulkan packs it: the major number from bit 22 on, the minor one from bit 12."""
    major, minor = map(int, version.split("."))
    return major << 22 | minor << 12


async def run_gpu(call: Call) -> int:
    if call.args != ["vkjson"]:
        raise CommandError("GPU Service commands:\n  vkjson   dump Vulkan properties as JSON", 255)
    await call.print(json.dumps({"devices": _devices(call)}, indent="\t") + "\n")
    return 0


def _devices(call: Call) -> list[dict[str, Any]]:
    hardware = call.device.profile.hardware
    if hardware.vulkan_version is None:
        return []
    return [
        {
            "16bitStorageFeatures": {"storageBuffer16BitAccess": 1.0},
            "extensions": [{"extensionName": HALF_STORAGE_EXTENSION, "specVersion": 1.0}],
            "properties": {
                "apiVersion": float(pack_version(hardware.vulkan_version)),
                "deviceName": hardware.gpu or "unknown",
                "limits": {"maxImageDimension3D": float(TEXTURE_TEXELS)},
            },
        }
    ]
