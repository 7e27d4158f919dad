"""The programs that can play the companion app on a virtual phone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from mobilekit import places
from mobilekit.contract.codec import Record, decode, encode
from mobilekit.contract.protocol import INPUT_ROOT, OUTPUT_ROOT, Format
from mobilekit.errors import UsageError
from mobilekit.records.device import CompanionVulkan
from mobilekit.runner.abi import this_abi
from mobilekit.runner.host import installed_formats
from mobilekit.virtual.files import PhoneFiles
from mobilekit.virtual.gpus import find_gpus

CompanionKind = Literal["python", "jvm", "native"]
"""``python`` is this computer's runner with a simulated battery, ``jvm`` the Android app's own core
on this computer's JVM with the ONNX Runtime of computers, ``native`` the core with the app's
engines and the native libraries of the APK. The latter two have no battery and therefore no
energy."""


class CompanionSettings(Record, frozen=True):
    """How a virtual phone's companion was asked to be, kept in the phone's directory."""

    kind: CompanionKind = "python"
    energy_speed: float | None = None
    """How many times as fast as real time the energy phase goes; ``None``: no time passes."""

    @classmethod
    def read(cls, phone_directory: Path) -> CompanionSettings:
        path = phone_directory / SETTINGS_FILE
        if not path.exists():
            return cls()
        settings: CompanionSettings = decode(path.read_bytes(), cls, source=str(path))
        return settings

    def write(self, phone_directory: Path) -> None:
        (phone_directory / SETTINGS_FILE).write_bytes(encode(self))


SETTINGS_FILE = "companion.json"
CRASH_REPORT = "crash.log"
"""What a JVM tells of a signal that ended it."""
STANDARD_INPUT = "/dev/stdin"
MAIN_CLASS = "dev.mobilekit.bench.jvm.MainKt"
LINKER = "liblinker.so"
ONNX_CLASSES = "onnxruntime.jar"
"""The phone's, which come before the computer's."""
NATIVE_LIBRARIES: dict[Format, str] = {
    "pte": "libexecutorch.so",
    "onnx": "libonnxruntime4j_jni.so",
    "tflite": "libtensorflowlite_jni.so",
}
"""What the app's engine of each format links; an app can be built without one of them."""


def companion_formats(kind: CompanionKind) -> tuple[str, ...]:
    """What that companion runs here."""
    if kind == "python":
        return installed_formats()
    if kind == "jvm":
        return ("onnx",)
    directory = places.built_native_libraries(this_abi())
    return tuple(
        name for name, library in NATIVE_LIBRARIES.items() if (directory / library).exists()
    )


def companion_vulkan(kind: CompanionKind) -> CompanionVulkan:
    """Whether that companion runs programs for Vulkan here."""
    if kind != "native":
        return kind
    return "ready" if find_gpus() else "no_driver"


def check_companion(kind: CompanionKind) -> None:
    """Raises ``UsageError`` where this computer lacks what that companion needs."""
    if kind == "python":
        return
    if shutil.which("java") is None:
        raise UsageError(
            f"The {kind} companion needs Java, and there is no `java` here",
            fix="Install a JDK 17 (Debian: openjdk-17-jdk-headless); the build of the companion "
            "needs it too.",
        )
    built, command = _build_of(kind)
    for path in built:
        if not path.exists():
            raise UsageError(
                f"The {kind} companion has not been built",
                file=path,
                fix=f"Run `{command}` in a checkout of mobilekit.",
            )


def _build_of(kind: CompanionKind) -> tuple[tuple[Path, ...], str]:
    """The last files of what that companion consists of, and the command that makes them."""
    jar = places.built_jvm_companion()
    if kind == "jvm":
        return (jar,), "make app"
    directory = places.built_native_libraries(this_abi())
    return (jar, directory / LINKER, directory / "libc.so"), "make native"


def companion_command(
    kind: CompanionKind, phone_directory: Path, run_id: str, *, waits_for_input: bool
) -> list[str]:
    """What carries one run out, on the files of the phone in that directory; with
    ``waits_for_input`` once its standard input has ended."""
    if kind == "python":
        module = "mobilekit.virtual.companion"
        waiting = [STANDARD_INPUT] if waits_for_input else []
        return [sys.executable, "-m", module, str(phone_directory), run_id, *waiting]
    files = PhoneFiles(phone_directory / "files", {})
    options = {
        "--input-root": str(files.host_path(INPUT_ROOT)),
        "--output-root": str(files.host_path(OUTPUT_ROOT)),
        "--run-id": run_id,
        "--name": f"mobilekit {kind}",
        **({"--after": STANDARD_INPUT} if waits_for_input else {}),
    }
    words = [word for option in options.items() for word in option]
    if kind == "jvm":
        return ["java", "-jar", str(places.built_jvm_companion()), *words]
    libraries = places.built_native_libraries(this_abi())
    return [*native_java(libraries, phone_directory / CRASH_REPORT), *words]


def native_java(libraries: Path, crash_log: Path) -> list[str]:
    """The start of a command that runs the app's core with the native libraries in that
    directory; what the JVM tells of a signal that ends it goes to ``crash_log``."""
    return [
        *("env", f"LD_PRELOAD={libraries / LINKER}", f"LD_LIBRARY_PATH={libraries}"),
        *("java", f"-Djava.library.path={libraries}", f"-Donnxruntime.native.path={libraries}"),
        f"-XX:ErrorFile={crash_log}",
        *("-cp", f"{libraries / ONNX_CLASSES}:{places.built_jvm_companion()}", MAIN_CLASS),
    ]
