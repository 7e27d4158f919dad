"""What ``mobilekit doctor`` reads of this computer and of each phone, and what it says of it."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Format
from mobilekit.records.device import AttachedDevice, BatteryStatus, DeviceInfo

Verdict = Literal["ok", "note", "fault"]
"""``note``: it works, and a person should know; ``fault``: something will not work."""


class Check(Record, frozen=True):
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    what: str
    fix: str | None = None
    """What to do about it: the command where there is one; ``None``: nothing."""


# --- this computer ------------------------------------------------------------------------------


class PackageFacts(Record, frozen=True):
    """A Python package that mobilekit depends on."""

    name: str
    extra: str | None
    """The smallest of mobilekit's optional dependencies that brings it; ``None``: it is always
    needed."""
    bounds: str
    """The versions that mobilekit allows: ``<2.4,>=2.3``."""
    installed: str | None
    fits: bool
    """Whether the installed version is within the bounds."""
    tested: str | None
    """The version that mobilekit's tests ran with; ``None``: none is told for this Python."""
    is_tested: bool
    """Whether it is that one."""


class PythonFacts(Record, frozen=True):
    version: str
    program: str
    bounds: str | None
    """``None``: mobilekit itself is not installed, so that nothing is known of what it needs."""
    fits: bool
    packages: tuple[PackageFacts, ...]


class AdbProgram(Record, frozen=True):
    path: str
    protocol: int | None
    """The 41 of ``1.0.41``, which program and server must share; ``None``: it did not say."""
    release: str | None
    """That of the platform tools: ``36.0.0-13206524``."""
    failure: str | None
    """Why it said nothing."""


ServerState = Literal["running", "started", "none", "not adb"]


class AdbFacts(Record, frozen=True):
    """The adb program that mobilekit takes, and the server that it speaks to."""

    program: AdbProgram | None
    """``None``: there is none."""
    chosen_by: str | None
    """``ADBUTILS_ADB_PATH`` or ``PATH``; ``None``: it came with adbutils."""
    others: tuple[AdbProgram, ...]
    """Those of ``PATH`` that are not the one above."""
    address: str
    port: int | None
    """``None``: what ``ANDROID_ADB_SERVER_PORT`` says is no port, or what
    ``ANDROID_ADB_SERVER_ADDRESS`` says no host."""
    server: ServerState
    server_protocol: int | None
    failure: str | None
    """Why there is no server."""
    ignored: tuple[str, ...]
    """Variables that are set and that lead adb, but not mobilekit, to another server."""


class UsbPhone(Record, frozen=True):
    """What looks like a phone on a USB port of this computer, whatever adb makes of it."""

    serial: str
    vendor_id: str
    """As ``lsusb`` shows it, four hexadecimal digits."""
    name: str
    debugging: bool
    """Whether it offers adb's interface: USB debugging is on."""
    writable: bool
    """Whether this user may open it."""


class StoreFacts(Record, frozen=True):
    url: str
    exists: bool
    """Whether anything has been stored there."""
    pending_runs: int
    failure: str | None
    """Why nothing can be stored; ``None``: it can, tried by a real write."""
    fix: str | None


class DirectoryFacts(Record, frozen=True):
    """A directory that mobilekit keeps things in."""

    name: str
    path: str
    failure: str | None
    """Why nothing can be written there, tried by a real write."""
    free_bytes: int | None


class AppFacts(Record, frozen=True):
    """The companion apps that could be installed, and what builds them."""

    apks: tuple[str, ...]
    missing_tools: tuple[str, ...]
    """Of what the build takes; empty where there are APKs, or no checkout to build in."""
    fix: str
    """What a person does who needs one that is not there."""


class ComputerFacts(Record, frozen=True):
    mobilekit_version: str
    platform: str
    python: PythonFacts
    adb: AdbFacts
    usb: tuple[UsbPhone, ...]
    """Of Linux; of others none is known."""
    store: StoreFacts
    directories: tuple[DirectoryFacts, ...]
    app: AppFacts
    profiles_failure: str | None
    """What is wrong with a device profile of the user's own."""
    profiles_fix: str | None


# --- a phone -----------------------------------------------------------------------------------


class FormatFitness(Record, frozen=True):
    """Whether artifacts of a format run there."""

    format: Format
    obstacle: str | None
    """``None``: they do."""


class PhoneFacts(Record, frozen=True):
    attached: AttachedDevice
    advice: str
    """What a person does about a phone in this state of which nothing else is known."""
    failure: str | None
    """Why nothing else is known of a phone that is ready, where it says so."""
    info: DeviceInfo | None
    """``None``, and nothing below is known: it is not ready, or does not answer."""
    battery: BatteryStatus | None
    formats: tuple[FormatFitness, ...]
    vulkan_obstacle: str | None
    """Why no program for the graphics processor runs there; ``None``: nothing that is known."""
    app_version: str | None
    """The companion app's; ``None``: it is not there."""
    app_wanted: str
    """mobilekit's own."""
    apk: str | None
    """What would be installed there; ``None``: there is no APK for this phone."""
    app_fix: str
    """What a person does where there is none."""
    free_bytes: int | None
    clock_ahead_s: float | None
    """Of this computer's; ``None``: it was not told."""
    clock_uncertainty_s: float | None
    """How much it may be off by the time that the answer took, and by whole seconds."""
    user_unlocked: bool | None
    """Whether the phone was unlocked since its start; ``None``: not told (before Android 7)."""
    locked: bool | None
    """Whether a PIN, pattern or password locks it now; ``None``: not told."""


# --- what is said ------------------------------------------------------------------------------


class ComputerCheckup(Record, frozen=True):
    checks: tuple[Check, ...]
    facts: ComputerFacts


class PhoneCheckup(Record, frozen=True):
    checks: tuple[Check, ...]
    facts: PhoneFacts


class Checkup(Record, frozen=True):
    computer: ComputerCheckup
    phones: tuple[PhoneCheckup, ...]

    @property
    def faulty_subjects(self) -> tuple[str, ...]:
        """Of each check that is at fault, a phone's with its serial."""
        computer = [each.subject for each in self.computer.checks if each.verdict == "fault"]
        return (
            *computer,
            *(
                f"{check.subject} of {phone.facts.attached.serial}"
                for phone in self.phones
                for check in phone.checks
                if check.verdict == "fault"
            ),
        )
