"""Where mobilekit keeps things. ``MOBILEKIT_HOME`` puts everything below one directory."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def _place(kind: str) -> Path:
    home = os.environ.get("MOBILEKIT_HOME")
    if home:
        return Path(home).absolute() / kind
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


def unsaved_directory() -> Path:
    """Measurements that the results database did not take, a JSON document each."""
    return _place("data") / "unsaved"


def locks_directory() -> Path:
    """A lock file for each phone that is in use."""
    return _place("state") / "locks"


def virtual_directory() -> Path:
    """Files and state of virtual phones, a directory each, and their private adb server's."""
    return _place("state") / "virtual"
