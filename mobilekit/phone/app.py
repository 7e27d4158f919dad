"""The companion app on a phone: which version is there, and installing the one that belongs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mobilekit import __version__, places
from mobilekit.contract.protocol import PACKAGE
from mobilekit.errors import AppError, UsageError
from mobilekit.phone.adb import Phone
from mobilekit.phone.parse import parse_install_failure, parse_version_name
from mobilekit.phone.refusals import asks_on_its_screen, fix_of_refusal


class ApkSource(NamedTuple):
    path: Path
    origin: str


def ensure_app(
    phone: Phone,
    apk: Path | None,
    *,
    may_install: bool,
    on_note: Callable[[str], None],
    on_bytes: Callable[[int, int], None],
) -> None:
    """See to it that the companion app of mobilekit's own version is there.

    Where it is not, it is installed from ``apk``, else from where ``find_apk`` finds one. Raises
    ``AppError`` when it may not be installed, cannot be found, is refused by the phone, or is of
    another version than it should be.
    """
    found = _installed_version(phone)
    if found == __version__:
        return
    what = (
        "The companion app is not installed"
        if found is None
        else f"The companion app has version {found}, mobilekit has {__version__}"
    )
    if not may_install:
        raise AppError(
            what,
            serial=phone.serial,
            package=PACKAGE,
            fix=f"Leave out --no-install, or install version {__version__} by hand: "
            f"`adb -s {phone.serial} install -r mobilekit-bench.apk`.",
        )
    source = find_apk(apk, packaged=places.packaged_apk(), built=places.built_apk())
    if source is None:
        raise AppError(
            what,
            serial=phone.serial,
            package=PACKAGE,
            fix="Make the app with `make app` in a checkout of mobilekit, or name one's file with "
            "--apk; android-app/README.md says more.",
        )
    on_note(f"{what}: installing {source.path} ({source.origin})")
    manufacturer = phone.shell("getprop ro.product.manufacturer", check=False).text.strip()
    asked = asks_on_its_screen(manufacturer)
    if asked is not None:
        on_note(f"A phone of this maker asks before it installs. {asked}.")
    _install(phone, source, manufacturer, on_bytes)
    now = _installed_version(phone)
    if now != __version__:
        raise AppError(
            f"After the installation the companion app has version {now}, mobilekit has "
            f"{__version__}"
            if now is not None
            else "After the installation the companion app is not there",
            serial=phone.serial,
            apk=source.path,
            fix="Use the app of this version: make it anew with `make app`, or name another file "
            "with --apk.",
        )
    on_note(f"Installed the companion app {now}")


def find_apk(given: Path | None, *, packaged: Path, built: Path) -> ApkSource | None:
    """The first that is there: the user's own, the package's, the local build's.

    Raises ``UsageError`` for a file of the user's that is not there.
    """
    if given is not None:
        if not given.is_file():
            raise UsageError("There is no such APK", apk=given, fix="Correct --apk.")
        return ApkSource(given, "given with --apk")
    if packaged.is_file():
        return ApkSource(packaged, "it came with mobilekit")
    if built.is_file():
        return ApkSource(built, "the local build")
    return None


def _installed_version(phone: Phone) -> str | None:
    return parse_version_name(phone.shell(f"dumpsys package {PACKAGE}", check=False).text)


def _install(
    phone: Phone, source: ApkSource, manufacturer: str, on_bytes: Callable[[int, int], None]
) -> None:
    total_bytes = source.path.stat().st_size
    done_bytes = 0

    def count(size_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += size_bytes
        on_bytes(done_bytes, total_bytes)

    reason = parse_install_failure(phone.install(source.path, on_bytes=count))
    if reason is not None:
        raise AppError(
            f"The phone refused the companion app: {reason}",
            serial=phone.serial,
            apk=source.path,
            fix=fix_of_refusal(reason, phone.serial, manufacturer),
        )
