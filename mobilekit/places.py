"""Where mobilekit keeps things. ``MOBILEKIT_HOME`` puts everything below one directory."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_PROBE_BYTES = 64 * 1024


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


def default_store() -> str | Path:
    """The results database: the URL in ``MOBILEKIT_STORE``, or an SQLite file in the data
    directory."""
    return os.environ.get("MOBILEKIT_STORE") or _place("data") / "results.sqlite"


def unsaved_directory() -> Path:
    """Measurements that the results database did not take, a JSON document each."""
    return _place("data") / "unsaved"


def locks_directory() -> Path:
    """A lock file for each phone that is in use."""
    return _place("state") / "locks"


def campaigns_directory() -> Path:
    """What this computer measured for campaigns and the store does not have yet, and logs."""
    return _place("state") / "campaigns"


def virtual_directory() -> Path:
    """Files and state of virtual phones, a directory each, and their private adb server's."""
    return _place("state") / "virtual"


def documents_directory() -> Path:
    """The guide: ``guide`` beside this file in an installed wheel, ``docs`` in a source tree."""
    installed = Path(__file__).parent / "guide"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "docs"


def directories() -> dict[str, Path]:
    """All that mobilekit writes to by itself, by what it is for."""
    return {kind: _place(kind) for kind in ("data", "cache", "state")}


def why_not_writable(directory: Path) -> str | None:
    """The reason for which nothing can be written there, found by writing a file; ``None``: it can.

    Of a directory that is not there, the nearest above it that is is tried.
    """
    import tempfile

    there = next(each for each in (directory, *directory.parents) if os.path.lexists(each))
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".mobilekit-") as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def constraints_file() -> Path:
    """The versions that the tests ran with: beside this file in an installed wheel."""
    installed = Path(__file__).parent / "constraints.txt"
    return installed if installed.is_file() else Path(__file__).parents[1] / "constraints.txt"


def packaged_apks() -> Path:
    """The companion apps that came with mobilekit, in a wheel; a checkout has none there."""
    return Path(__file__).parent / "app"


def built_apks() -> Path:
    """Where a checkout's own build leaves the companion apps."""
    return _app_build() / "app" / "target"


def checkout() -> Path | None:
    """The checkout that this is, where the companion app can be built."""
    return Path(__file__).parents[1] if (_app_build() / "pom.xml").is_file() else None


def built_jvm_companion() -> Path:
    """The companion's core as a program for this computer, as a checkout's own build leaves it."""
    return _app_build() / "jvm" / "target" / "companion.jar"


def built_native_libraries(abi: str) -> Path:
    """The app's native libraries made ready for this computer, as a checkout's own build leaves
    them."""
    return _app_build() / "native" / "target" / abi


def _app_build() -> Path:
    return Path(__file__).parents[1] / "android-app"
