"""Puts the companion apps that this checkout has built into the wheel, an APK for each ABI.

A wheel of a checkout without them is made all the same, without the app; ``make wheel`` builds them
first. Only those of this very version are taken: the name of an APK has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AppHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # It finds them where they are built.
            return
        built = Path(self.root) / "android-app/app/target"
        for apk in built.glob(f"mobilekit-bench-{self.metadata.version}-*.apk"):
            build_data["force_include"][str(apk)] = f"mobilekit/app/{apk.name}"
