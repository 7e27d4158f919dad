"""Look at this computer and its phones before anything is measured on them."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from mobilekit import __version__, places
from mobilekit.analysis.checkup import judge_computer, judge_phone
from mobilekit.errors import AdbServerError, DisconnectedError, ProfileError
from mobilekit.executor.open import Attachment, attach, list_attachments
from mobilekit.flow.requirements import read_python_facts
from mobilekit.phone.adb_facts import read_adb_facts
from mobilekit.phone.app import found_apks, missing_tools, where_to_get_app
from mobilekit.phone.phone_facts import read_phone_facts, unread
from mobilekit.phone.profiles import load_profiles
from mobilekit.phone.side_by_side import read_side_by_side
from mobilekit.phone.usb import find_usb_phones
from mobilekit.records.checkup import (
    AppFacts,
    Check,
    Checkup,
    ComputerCheckup,
    ComputerFacts,
    DirectoryFacts,
    PhoneCheckup,
    PhoneFacts,
    StoreFacts,
)
from mobilekit.records.device import (
    VIRTUAL_PREFIX,
    DeviceProfile,
)
from mobilekit.results.store_facts import read_store_facts

JDK_VERSION = 17
"""What the companion app's build takes, at least: android-app/pom.xml."""


def check_up(device: str) -> Checkup:
    """This computer, and the phones that ``device`` means: ``auto``, all of them; a serial, a
    profile's name, or ``virtual:NAME``, that one.

    Phones are read side by side, each for no longer than ``LOOK_LIMIT_S``.
    """
    profiles, profiles_error = _load_profiles()
    facts = _read_computer(profiles_error)
    checks = judge_computer(facts)
    phones: tuple[PhoneFacts, ...] = ()
    if facts.adb.server in ("running", "started"):
        try:
            attachments = list_attachments()
        except (AdbServerError, DisconnectedError) as error:
            checks += (Check(subject="phones", verdict="fault", what=error.what, fix=error.fix),)
        else:
            found = _read_phones(attachments, profiles, device)
            phones = tuple(each for each in found if device == "auto" or _is_meant(each, device))
            checks += _judge_choice(device, found, phones)
    return Checkup(
        computer=ComputerCheckup(checks=checks, facts=facts),
        phones=tuple(PhoneCheckup(checks=judge_phone(each), facts=each) for each in phones),
    )


# --- phones ------------------------------------------------------------------------------------


def _read_phones(
    attachments: list[Attachment], profiles: dict[str, DeviceProfile], device: str
) -> list[PhoneFacts]:
    """All of them, or the one link of that serial alone."""
    attachments = [each for each in attachments if each.attached.serial == device] or attachments
    looked = read_side_by_side([partial(_read_phone, each, profiles) for each in attachments])
    return [
        found or unread(each.attached, None)
        for each, found in zip(attachments, looked, strict=True)
    ]


def _read_phone(attachment: Attachment, profiles: dict[str, DeviceProfile]) -> PhoneFacts:
    found = attach(attachment)
    return (
        unread(attachment.attached, None) if found is None else read_phone_facts(*found, profiles)
    )


def _is_meant(phone: PhoneFacts, device: str) -> bool:
    if phone.attached.serial == device:
        return True
    info = phone.info
    return info is not None and (
        device == info.name or (info.virtual and device == VIRTUAL_PREFIX + info.name)
    )


def _judge_choice(
    device: str, found: list[PhoneFacts], meant: tuple[PhoneFacts, ...]
) -> tuple[Check, ...]:
    if meant:
        return ()
    fix = (
        "Plug one in with USB debugging allowed (`mobilekit docs devices`), or start a virtual "
        "one: `mobilekit virtual start nexus7`"
    )
    if device == "auto":
        return (Check(subject="phones", verdict="note", what="none is attached", fix=fix),)
    attached = ", ".join(each.attached.serial for each in found) or "nothing"
    what = f"no attached phone is {device!r} (attached: {attached})"
    return (Check(subject="phones", verdict="fault", what=what, fix=fix),)


# --- this computer -----------------------------------------------------------------------------


def _load_profiles() -> tuple[dict[str, DeviceProfile], ProfileError | None]:
    try:
        return load_profiles(), None
    except ProfileError as error:
        return {}, error


def _read_computer(profiles_error: ProfileError | None) -> ComputerFacts:
    return ComputerFacts(
        mobilekit_version=__version__,
        platform=platform.platform(),
        python=read_python_facts(),
        adb=read_adb_facts(),
        usb=find_usb_phones(),
        store=_read_store(),
        directories=tuple(
            _try_directory(name, path) for name, path in places.directories().items()
        ),
        app=_read_app(),
        profiles_failure=None if profiles_error is None else str(profiles_error),
        profiles_fix=None if profiles_error is None else profiles_error.fix,
    )


def _read_store() -> StoreFacts:
    """A database server that does not answer is not waited for."""
    place = places.default_store()
    (facts,) = read_side_by_side([partial(read_store_facts, place)])
    return facts or StoreFacts(
        url=str(place), exists=True, pending_runs=0, failure="it does not answer", fix=None
    )


def _try_directory(name: str, path: Path) -> DirectoryFacts:
    failure = places.why_not_writable(path)
    free_bytes = None
    if failure is None:
        there = next(each for each in (path, *path.parents) if each.exists())
        free_bytes = shutil.disk_usage(there).free
    return DirectoryFacts(name=name, path=str(path), failure=failure, free_bytes=free_bytes)


def _read_app() -> AppFacts:
    apks, checkout = found_apks(), places.checkout()
    missing: tuple[str, ...] = ()
    if not apks and checkout is not None:
        missing = missing_tools()
        jdk = _jdk_version()
        if jdk is not None and jdk < JDK_VERSION:
            missing += (f"a JDK {JDK_VERSION} (this one is {jdk})",)
    return AppFacts(
        apks=apks, missing_tools=missing, fix=where_to_get_app((), apks, checkout, missing)
    )


def _jdk_version() -> int | None:
    """Of the Java that a build would take; ``None`` where there is none, or it does not say."""
    try:
        done = subprocess.run(
            ["java", "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    told = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(told[1]) if told else None
