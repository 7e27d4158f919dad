"""What a phone's graphics processor can run: pure functions of what the phone tells."""

from __future__ import annotations

from mobilekit.formats import FORMATS, VULKAN_TEXTURE_TEXELS
from mobilekit.phone.formats import find_obstacle
from mobilekit.records.device import CompanionVulkan, DeviceInfo, Gpu
from mobilekit.records.network import Precision

NEEDED_VULKAN = (1, 1)
"""What ExecuTorch's delegate makes its instance of (``VK_API_VERSION_1_1`` in its backend's
``vk_api/Runtime.cpp``). It needs a queue that computes, which every Vulkan has that draws, and no
extension."""

_COMPANIONS: dict[CompanionVulkan, str] = {
    "no_driver": "its companion runs in this computer's Vulkan, which has no driver (Debian and "
    "Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers, then start it anew)",
    "python": "its companion is this computer's Python runner, whose ExecuTorch has no Vulkan; "
    "`mobilekit virtual start {name} --companion native` has",
    "jvm": "its companion runs no .pte; `mobilekit virtual start {name} --companion native` does",
}


def vulkan_obstacle(
    info: DeviceInfo, gpu: Gpu | None, companion: CompanionVulkan | None, precision: Precision
) -> str | None:
    """What keeps a program for Vulkan from running there; ``None``: nothing that is known.

    ``gpu`` is what the phone tells of it; ``None`` for this computer. ``companion`` is a virtual
    phone's.
    """
    if gpu is None:
        return (
            "ExecuTorch for computers has no Vulkan; a virtual phone with the app's libraries has "
            "(`mobilekit virtual start pixel6a --companion native`)"
        )
    if gpu.vulkan_version is None:
        return "its graphics processor has no Vulkan, or no driver that tells of one"
    if _numbers(gpu.vulkan_version) < NEEDED_VULKAN:
        needed = ".".join(map(str, NEEDED_VULKAN))
        return f"it has Vulkan {gpu.vulkan_version}, and {FORMATS['pte'].engine} needs {needed}"
    if gpu.texture_texels is not None and gpu.texture_texels < VULKAN_TEXTURE_TEXELS:
        return (
            f"its textures have at most {gpu.texture_texels:,} texels a side, and programs for "
            f"Vulkan are made for {VULKAN_TEXTURE_TEXELS:,}"
        )
    if precision == "fp16" and gpu.half_storage is False:
        return "its Vulkan has no storage of 16 bits, which fp16 needs; fp32 runs there"
    if companion is not None:
        told = _COMPANIONS.get(companion)
        return None if told is None else told.format(name=info.name)
    return find_obstacle("pte", info, None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
