"""Prints the app's version as the properties of a build: it is mobilekit's own.

Host and app are one version by this alone: ``mobilekit/__init__.py`` is the only place that has it.
"""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "mobilekit/__init__.py"


def read_version(source: str) -> tuple[int, int, int]:
    """``__version__`` of a module's text. Raises ``ValueError`` where it is not A.B.C, each below
    100."""
    found = re.search(r'^__version__ = "(\d+)\.(\d\d?)\.(\d\d?)"$', source, re.MULTILINE)
    if found is None:
        raise ValueError(f'{SOURCE} has no line __version__ = "A.B.C" with B and C below 100')
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def main() -> None:
    major, minor, patch = read_version(SOURCE.read_text(encoding="utf-8"))
    print(f"mobilekit.version={major}.{minor}.{patch}")
    # So that Android knows which is newer.
    print(f"mobilekit.version.code={10000 * major + 100 * minor + patch}")


if __name__ == "__main__":
    main()
