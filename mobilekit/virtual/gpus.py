"""This computer's Vulkan: ``python -m mobilekit.virtual.gpus`` prints its devices' names.

The app's ExecuTorch, which a virtual phone can run here, takes the first of them, and fails where
there is none.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from ctypes import POINTER, byref, c_char_p, c_uint32, c_void_p

LIBRARIES = ("libvulkan.so", "libvulkan.so.1")
"""In the order in which ExecuTorch's own library looks for them."""
VERSION_1_1 = 1 << 22 | 1 << 12
_STRUCTURE_APPLICATION, _STRUCTURE_INSTANCE = 0, 1
_NAME_AT, _NAME_BYTES, _PROPERTIES_BYTES = 20, 256, 1024
"""Of ``VkPhysicalDeviceProperties``: four numbers, the type, the name; it has 824 bytes."""
TIMEOUT_S = 30.0


class _Application(ctypes.Structure):
    _fields_ = (
        ("type", c_uint32),
        ("next", c_void_p),
        ("name", c_char_p),
        ("version", c_uint32),
        ("engine", c_char_p),
        ("engine_version", c_uint32),
        ("api_version", c_uint32),
    )


class _Instance(ctypes.Structure):
    _fields_ = (
        ("type", c_uint32),
        ("next", c_void_p),
        ("flags", c_uint32),
        ("application", POINTER(_Application)),
        ("layers", c_uint32),
        ("layer_names", c_void_p),
        ("extensions", c_uint32),
        ("extension_names", c_void_p),
    )


def find_gpus() -> list[str]:
    """The names of this computer's Vulkan devices, software among them; none without a driver.

    They are asked in a process of their own: a driver keeps what it loads, and may crash.
    """
    try:
        found = subprocess.run(
            [sys.executable, "-m", "mobilekit.virtual.gpus"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return []
    return found.stdout.splitlines() if found.returncode == 0 else []


def _ask() -> list[str]:
    library = _load()
    if library is None:
        return []
    application = _Application(type=_STRUCTURE_APPLICATION, api_version=VERSION_1_1)
    wanted = _Instance(type=_STRUCTURE_INSTANCE, application=ctypes.pointer(application))
    instance, count = c_void_p(), c_uint32()
    if library.vkCreateInstance(byref(wanted), None, byref(instance)):
        return []
    if library.vkEnumeratePhysicalDevices(instance, byref(count), None):
        return []
    devices = (c_void_p * count.value)()
    if library.vkEnumeratePhysicalDevices(instance, byref(count), devices):
        return []
    names = []
    for device in devices[: count.value]:
        properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        library.vkGetPhysicalDeviceProperties(c_void_p(device), properties)
        name = properties.raw[_NAME_AT : _NAME_AT + _NAME_BYTES].split(b"\0")[0]
        names.append(name.decode(errors="replace"))
    return names


def _load() -> ctypes.CDLL | None:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


if __name__ == "__main__":
    for name in _ask():
        print(name)
