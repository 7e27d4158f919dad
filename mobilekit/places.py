"""Where mobilekit keeps things. ``MOBILEKIT_HOME`` puts everything below one directory."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def _place(kind: str) -> Path:
    home = os.environ.get("MOBILEKIT_HOME")
    if home:
        return Path(home) / kind
    return Path(getattr(platformdirs, f"user_{kind}_dir")("mobilekit", appauthor=False))


def artifacts_directory() -> Path:
    """Exported artifacts, which can be made again."""
    return _place("cache") / "artifacts"


def profiles_directory() -> Path:
    """The user's own device profiles, one TOML file each."""
    return _place("config") / "profiles"


def store_url() -> str:
    """The results database: ``MOBILEKIT_STORE``, or SQLite in the data directory."""
    return os.environ.get("MOBILEKIT_STORE") or f"sqlite:///{_place('data') / 'results.sqlite'}"


def runs_directory() -> Path:
    """The input and output roots of this computer's runner."""
    return _place("data") / "runs"


def virtual_directory() -> Path:
    """Files and state of virtual phones, a directory each, and their private adb server's."""
    return _place("state") / "virtual"
