"""The companion app on a phone: which version is there, and installing the one that belongs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from mobilekit import __version__, places
from mobilekit.contract.protocol import PACKAGE
from mobilekit.errors import AppError, UsageError
from mobilekit.phone.adb import (
    Phone,
)
from mobilekit.phone.parse import parse_abis, parse_install_failure, parse_version_name
from mobilekit.phone.refusals import asks_on_its_screen, fix_of_refusal

BUILD_TOOLS = {"java": "a JDK 17", "mvn": "Maven", "python3": "python3", "npm": "npm"}
"""What ``make app`` takes, by the program that it looks for."""


class ApkSource(NamedTuple):
    """An APK, or a folder of mobilekit's own APKs."""

    path: Path
    origin: str


def app_folders() -> tuple[ApkSource, ...]:
    """Where mobilekit's own APKs are looked for, in this order."""
    return (
        ApkSource(places.packaged_apks(), "it came with mobilekit"),
        ApkSource(places.built_apks(), "the local build"),
    )


def apk_name(abi: str) -> str:
    """An APK of mobilekit's own: the app's version and what it is for are in its name, so that
    what an older checkout has built is never taken for this one's."""
    return f"mobilekit-bench-{__version__}-{abi}.apk"


def ensure_app(
    phone: Phone,
    apk: Path | None,
    *,
    may_install: bool,
    on_note: Callable[[str], None],
    on_bytes: Callable[[int, int], None],
) -> None:
    """See to it that the companion app of mobilekit's own version is there.

    Where it is not, it is installed from ``apk``, else from where ``find_apk`` finds one for the
    phone's processor. Raises ``AppError`` when it may not be installed, cannot be
    found, is refused by the phone, or is of another version than it should be.
    """
    found = installed_version(phone)
    if found == __version__:
        return
    what = (
        "The companion app is not installed"
        if found is None
        else f"The companion app has version {found}, mobilekit has {__version__}"
    )
    abis = parse_abis(phone.shell("getprop ro.product.cpu.abilist", check=False).text)
    if not may_install:
        raise AppError(
            what,
            serial=phone.serial,
            package=PACKAGE,
            fix=f"Leave out --no-install, or install version {__version__} by hand: "
            f"`adb -s {phone.serial} install -r {apk_name(abis[0] if abis else 'ABI')}`.",
        )
    source = find_apk(apk, abis, app_folders())
    if source is None:
        raise AppError(
            what,
            serial=phone.serial,
            package=PACKAGE,
            fix=where_to_get_app(abis, found_apks(), places.checkout(), missing_tools()),
        )
    on_note(f"{what}: installing {source.path} ({source.origin})")
    manufacturer = phone.shell("getprop ro.product.manufacturer", check=False).text.strip()
    asked = asks_on_its_screen(manufacturer)
    if asked is not None:
        on_note(f"A phone of this maker asks before it installs. {asked}.")
    _install(phone, source, manufacturer, on_bytes)
    now = installed_version(phone)
    if now != __version__:
        raise AppError(
            f"After the installation the companion app has version {now}, mobilekit has "
            f"{__version__}"
            if now is not None
            else "After the installation the companion app is not there",
            serial=phone.serial,
            apk=source.path,
            fix="Leave out --apk, or name the file of an app of this version with it.",
        )
    on_note(f"Installed the companion app {now}")


def find_apk(
    given: Path | None, abis: Sequence[str], folders: Sequence[ApkSource]
) -> ApkSource | None:
    """The user's own, else in the first of ``folders`` that has one the APK for the first of
    ``abis`` that there is one for.

    Raises ``UsageError`` for a file of the user's that is not there.
    """
    if given is not None:
        if not given.is_file():
            raise UsageError("There is no such APK", apk=given, fix="Correct --apk.")
        return ApkSource(given, "given with --apk")
    candidates = [
        ApkSource(folder.path / apk_name(abi), folder.origin) for folder in folders for abi in abis
    ]
    return next((source for source in candidates if source.path.is_file()), None)


def found_apks() -> tuple[str, ...]:
    """The names of mobilekit's own APKs, whatever processors they are for."""
    found = {path.name for at in app_folders() for path in at.path.glob(apk_name("*"))}
    return tuple(sorted(found))


def missing_tools() -> tuple[str, ...]:
    """What ``make app`` takes and this computer has not got."""
    return tuple(what for program, what in BUILD_TOOLS.items() if shutil.which(program) is None)


def where_to_get_app(
    abis: Sequence[str], others: Collection[str], checkout: Path | None, lacking: Sequence[str]
) -> str:
    """What a person does whose mobilekit has no app for a phone with these ABIs.

    ``others`` are the APKs for other processors, by name, ``checkout`` is where the app can be
    built, and ``lacking`` says which of ``BUILD_TOOLS`` are not on this computer.
    """
    if others and abis:
        return (
            f"What there is, {', '.join(sorted(others))}, is for other processors: in a checkout "
            f"of mobilekit `make app MVN_FLAGS=-Dabis={abis[0]}` builds it for this phone's. Or "
            "name an APK with --apk."
        )
    if checkout is None:
        return (
            "This mobilekit was installed without the app: install it from a wheel that has the "
            "app inside, which `make wheel` makes in a checkout, or name an APK with --apk."
        )
    missing = f" ({' and '.join(lacking)} cannot be found here)" if lacking else ""
    *most, last = BUILD_TOOLS.values()
    return (
        f"`make app` in {checkout} builds it, once and in some minutes. It takes "
        f"{', '.join(most)} and {last}{missing}. Without them, install mobilekit from a wheel, "
        "which has the app inside, or name an APK with --apk."
    )


def installed_version(phone: Phone) -> str | None:
    """The companion app's; ``None``: it is not there."""
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
