"""The programs that can play the companion app on a virtual phone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from mobilekit import places
from mobilekit.contract.codec import Record, decode, encode
from mobilekit.contract.protocol import INPUT_ROOT, OUTPUT_ROOT
from mobilekit.errors import UsageError
from mobilekit.runner.host import installed_formats
from mobilekit.virtual.files import PhoneFiles

CompanionKind = Literal["python", "jvm"]
"""``python`` is this computer's runner with a simulated battery, ``jvm`` the Android app's own core
on this computer's JVM, which has no battery and therefore no energy."""


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
STANDARD_INPUT = "/dev/stdin"


def companion_formats(kind: CompanionKind) -> tuple[str, ...]:
    """What that companion runs here."""
    return installed_formats() if kind == "python" else ("onnx",)


def check_companion(kind: CompanionKind) -> None:
    """Raises ``UsageError`` where this computer lacks what that companion needs."""
    if kind == "python":
        return
    jar = places.built_jvm_companion()
    if not jar.is_file():
        raise UsageError(
            "The JVM companion has not been built",
            jar=jar,
            fix="Run `make app` in a checkout of mobilekit.",
        )
    if shutil.which("java") is None:
        raise UsageError(
            "The JVM companion needs Java, and there is no `java` here",
            fix="Install a JDK 17; `make app`, which builds the companion, needs it too.",
        )


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
        **({"--after": STANDARD_INPUT} if waits_for_input else {}),
    }
    words = [word for option in options.items() for word in option]
    return ["java", "-jar", str(places.built_jvm_companion()), *words]
