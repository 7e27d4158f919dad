"""The programs that can play the companion app on a virtual phone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from mobilekit import places
from mobilekit.errors import UsageError
from mobilekit.protocol import INPUT_ROOT, OUTPUT_ROOT
from mobilekit.runner.host import FORMATS
from mobilekit.virtual.files import PhoneFiles

CompanionKind = Literal["python", "jvm"]
"""``python`` is this computer's runner with a simulated battery, ``jvm`` the Android app's own core
on this computer's JVM, which has no battery and therefore no energy."""
COMPANION_FORMATS: dict[CompanionKind, tuple[str, ...]] = {"python": FORMATS, "jvm": ("onnx",)}


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


def companion_command(kind: CompanionKind, phone_directory: Path, run_id: str) -> list[str]:
    """What carries one run out, on the files of the phone in that directory."""
    if kind == "python":
        module = "mobilekit.virtual.companion"
        return [sys.executable, "-m", module, str(phone_directory), run_id]
    files = PhoneFiles(phone_directory / "files", {})
    options = {
        "--input-root": str(files.host_path(INPUT_ROOT)),
        "--output-root": str(files.host_path(OUTPUT_ROOT)),
        "--run-id": run_id,
    }
    words = [word for option in options.items() for word in option]
    return ["java", "-jar", str(places.built_jvm_companion()), *words]
