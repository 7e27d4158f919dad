"""``pm``: what is installed on the virtual phone. What it prints is what a phone prints."""

from __future__ import annotations

import time
from dataclasses import replace

from mobilekit.contract.protocol import PACKAGE
from mobilekit.records.device import DeviceProfile
from mobilekit.virtual.apk import ApkError
from mobilekit.virtual.files import describe, in_thread
from mobilekit.virtual.gpu_commands import pack_version
from mobilekit.virtual.shell import Call, CommandError, FileSource, Program, Source

STREAMING_SDK = 24
REPLACING_SDK = 28
"""From here on an app is installed over an older one without being asked to."""


async def run_package(call: Call) -> int:
    """``pm`` and ``cmd package``."""
    verb = call.args[0] if call.args else ""
    run = PACKAGE_VERBS.get(verb)
    if run is None:
        message = f"Unknown command: {verb}\n" if verb else "usage: pm COMMAND ...\n"
        await call.print_error(message)
        return 255
    return await run(replace(call, args=call.args[1:]))


async def _list_packages(call: Call) -> int:
    what, *args = call.args or [""]
    if what == "features":
        await call.print("".join(f"feature:{each}\n" for each in _features(call.device.profile)))
        return 0
    if what not in ("packages", "package"):
        raise CommandError(f"Error: unknown list type '{what}'", 255)
    options = [arg for arg in args if arg.startswith("-")]
    texts = [arg for arg in args if not arg.startswith("-")]
    for package in call.device.packages.all:
        system = package.path.startswith("/system/")
        if ("-3" in options and system) or ("-s" in options and not system):
            continue
        if texts and texts[0] not in package.name:
            continue
        place = f"{package.path}=" if "-f" in options else ""
        code = f" versionCode:{package.version_code}" if "--show-versioncode" in options else ""
        await call.print(f"package:{place}{package.name}{code}\n")
    return 0


def _features(profile: DeviceProfile) -> list[str]:
    """As ``pm`` prints them: a name, and its version where it has one."""
    features = ["reqGlEsVersion=0x30002", "android.hardware.touchscreen", "android.hardware.wifi"]
    version = profile.hardware.vulkan_version
    if version is not None:
        features += [
            "android.hardware.vulkan.compute",
            "android.hardware.vulkan.level=1",
            f"android.hardware.vulkan.version={pack_version(version)}",
        ]
    return sorted(features)


async def _print_path(call: Call) -> int:
    package = call.device.packages.get(call.args[-1]) if call.args else None
    if package is None:
        return 1
    await call.print(f"package:{package.path}\n")
    return 0


async def _uninstall(call: Call) -> int:
    names = [arg for arg in call.args if not arg.startswith("-")]
    if not names:
        raise CommandError("Error: package name not specified")
    if names[0] == PACKAGE:
        call.device.companion.stop()
    if not call.device.packages.uninstall(names[0]):
        await call.print("Failure [DELETE_FAILED_INTERNAL_ERROR]\n")
        return 1
    call.device.log.add("PackageManager", f"Uninstalled {names[0]}")
    await call.print("Success\n")
    return 0


async def _clear(call: Call) -> int:
    cleared = bool(call.args) and call.device.packages.clear(call.args[-1])
    await call.print("Success\n" if cleared else "Failed\n")
    return 0 if cleared else 1


async def _install(call: Call) -> int:
    """From a file of the phone, or with ``-S`` that many bytes of standard input.

    The ``pm`` of before ``STREAMING_SDK`` takes a file only, and repeats its name.
    """
    streaming = call.device.profile.android_sdk >= STREAMING_SDK
    size_bytes: int | None = None
    operands: list[str] = []
    args = list(call.args)
    while args:
        arg = args.pop(0)
        if arg == "-S" and streaming and args and args[0].isdecimal():
            size_bytes = int(args.pop(0))
        elif arg in ("-i", "--user", "--install-location", "--abi", "--pkg") and args:
            args.pop(0)
        elif not arg.startswith("-"):
            operands.append(arg)
        elif arg == "-S":
            raise CommandError("Error: Unknown option: -S")
    if operands and not streaming:
        await call.print(f"\tpkg: {operands[0]}\n")
    staged = f"/data/local/tmp/.vmdl{time.time_ns()}.tmp"
    try:
        if size_bytes is not None:
            await _stage(call, call.streams.stdin, staged, size_bytes)
        elif operands:
            with call.device.files.open(call.path(operands[0])) as file:
                size_bytes = call.device.files.status(call.path(operands[0])).size_bytes
                await _stage(call, FileSource(file), staged, size_bytes)
        else:
            raise CommandError("Error: must either specify a package size or an APK file")
        package = call.device.packages.install(
            call.device.files.host_path(staged),
            downgrade="-d" in call.args,
            replace_old="-r" in call.args or call.device.profile.android_sdk >= REPLACING_SDK,
        )
    except ApkError as error:
        await call.print(f"Failure [{error}]\n")
        return 1
    except OSError as error:
        await call.print(f"Failure [INSTALL_FAILED_INSUFFICIENT_STORAGE: {describe(error)}]\n")
        return 1
    finally:
        if call.device.files.is_file(staged):
            call.device.files.remove_file(staged)
    call.device.log.add("PackageManager", f"Installed {package.name} {package.version_name}")
    await call.print("Success\n")
    return 0


async def _stage(call: Call, source: Source, path: str, size_bytes: int) -> None:
    """Write exactly so many bytes into a file of the phone."""
    writer = call.device.files.create(path, 0o600)
    try:
        left = size_bytes
        while left:
            chunk = await source.read()
            if not chunk:
                raise ApkError("INSTALL_FAILED_INVALID_APK", "the package ended early")
            chunk = chunk[:left]
            left -= len(chunk)
            writer.charge(len(chunk))
            await in_thread(writer.write, [chunk])
    finally:
        writer.close()


PACKAGE_VERBS: dict[str, Program] = {
    "list": _list_packages,
    "path": _print_path,
    "install": _install,
    "uninstall": _uninstall,
    "clear": _clear,
}
