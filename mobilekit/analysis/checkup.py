"""What is at fault with this computer and with a phone, of what was read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mobilekit.analysis.findings import HOT_BATTERY_DECICELSIUS
from mobilekit.formats import FORMATS
from mobilekit.records.checkup import (
    AdbFacts,
    Check,
    ComputerFacts,
    DirectoryFacts,
    PackageFacts,
    PhoneFacts,
    PythonFacts,
    StoreFacts,
    UsbPhone,
)
from mobilekit.records.device import DeviceInfo
from mobilekit.units import format_bytes

MB = 1_000_000
LEAST_FREE_BYTES = 200 * MB
"""Of a phone and of this computer: what the app or an export of a middle network takes."""
FREE_BYTES = 1000 * MB
"""What the largest networks take: VGG-16 is 553 MB, exported and on the phone."""
LOW_LEVEL_PERCENT = 15
"""Below it Android saves power by itself, and energy runs end soon."""
CLOCK_S = 60.0
"""Beyond it a phone's log cannot be set beside this computer's."""
OLDEST_ANDROID_SDK = 23
"""The companion app's own: 6.0."""


def _ok(subject: str, what: str) -> Check:
    return Check(subject=subject, verdict="ok", what=what)


def _note(subject: str, what: str, fix: str | None) -> Check:
    return Check(subject=subject, verdict="note", what=what, fix=fix)


def _fault(subject: str, what: str, fix: str | None) -> Check:
    return Check(subject=subject, verdict="fault", what=what, fix=fix)


# --- this computer ------------------------------------------------------------------------------


def judge_computer(facts: ComputerFacts) -> tuple[Check, ...]:
    return (
        _ok("mobilekit", f"{facts.mobilekit_version} on {facts.platform}"),
        *_judge_python(facts.python),
        *_judge_adb_program(facts.adb),
        *_judge_adb_server(facts.adb),
        *(check for phone in facts.usb for check in _judge_usb(phone)),
        *_judge_store(facts.store),
        *_judge_directories(facts.directories),
        *_judge_profiles(facts),
        *_judge_app(facts),
    )


def _judge_python(facts: PythonFacts) -> Iterator[Check]:
    where = f"{facts.version} ({facts.program})"
    if facts.bounds is None:
        yield _note(
            "Python",
            f"{where}; mobilekit runs from its source, so that nothing tells which packages it "
            "needs",
            "`pip install --editable .` in its checkout",
        )
        return
    if not facts.fits:
        yield _fault("Python", f"{where}; mobilekit needs {facts.bounds}", "Install a newer Python")
    else:
        yield _ok("Python", where)
    as_tested = [each for each in facts.packages if each.fits and each.is_tested]
    if as_tested:
        yield _ok("packages", f"{len(as_tested)} of the versions that the tests ran with")
    missing: dict[str, list[str]] = {}
    for each in facts.packages:
        if each.installed is None and each.extra is not None:
            missing.setdefault(each.extra, []).append(each.name)
        elif not (each.fits and each.is_tested):
            yield _judge_package(each)
    for extra, names in missing.items():
        formats = " and ".join(f".{name}" for name, each in FORMATS.items() if each.extra == extra)
        if formats:
            yield _note(
                "packages",
                f"{', '.join(names)}: not installed, so that {formats} cannot be exported",
                f"`pip install 'mobilekit[{extra}]'`",
            )


def _judge_package(package: PackageFacts) -> Check:
    name, tested = package.name, package.tested
    fix = f"`pip install '{name}{f'=={tested}' if tested else package.bounds}'`"
    if package.installed is None:
        return _fault("packages", f"{name} is not installed", fix)
    has = f"{name} {package.installed}"
    if not package.fits:
        return _fault("packages", f"{has}; mobilekit needs {name}{package.bounds}", fix)
    if tested is None:
        return _ok("packages", f"{has} is allowed; the tests tell of no version for this Python")
    return _note("packages", f"{has} is allowed; the tests ran with {tested}", fix)


def _judge_adb_program(facts: AdbFacts) -> Iterator[Check]:
    program = facts.program
    install = (
        "Install the Android platform tools (`sudo apt install adb`), or `pip install "
        "--force-reinstall adbutils`, which brings one"
    )
    if program is None:
        yield _fault("adb", "there is no adb program", install)
        return
    by = f"by {facts.chosen_by}" if facts.chosen_by else "adbutils' own, as PATH has none"
    if program.protocol is None:
        unset = f"Correct or unset {facts.chosen_by}" if facts.chosen_by else install
        yield _fault("adb", f"{program.path} ({by}) cannot be used: {program.failure}", unset)
    else:
        release = f", {program.release}" if program.release else ""
        yield _ok("adb", f"1.0.{program.protocol}{release}: {program.path} ({by})")
    for other in facts.others:
        if other.protocol is not None and program.protocol not in (None, other.protocol):
            yield _note(
                "adb",
                f"{other.path} is 1.0.{other.protocol}: whoever calls it ends the server of the "
                "other version, and with it what mobilekit is doing",
                f"`export ADBUTILS_ADB_PATH={other.path}`, or remove one of them",
            )


def _judge_adb_server(facts: AdbFacts) -> Iterator[Check]:
    if facts.port is None:
        yield _fault(
            "adb server",
            facts.failure or "",
            "`unset ANDROID_ADB_SERVER_PORT`, or give a number from 1 to 65535",
        )
        return
    place = f"{facts.address}:{facts.port}"
    if facts.server == "not adb":
        yield _fault(
            "adb server",
            f"what listens at {place} is no adb server that works: {facts.failure}",
            f"`ss -ltnp 'sport = :{facts.port}'` names the program: end it, or give adb another "
            "port: `export ANDROID_ADB_SERVER_PORT=5038`",
        )
    elif facts.server == "none":
        yield _fault(
            "adb server",
            f"none runs at {place}: {facts.failure}",
            f"`adb -P {facts.port} start-server` shows adb's own words",
        )
    else:
        own = facts.program.protocol if facts.program is not None else None
        started = ", started just now" if facts.server == "started" else ""
        if own is not None and facts.server_protocol != own:
            yield _fault(
                "adb server",
                f"the one at {place} is 1.0.{facts.server_protocol}, the adb program 1.0.{own}: "
                "the next call of adb ends it",
                f"`adb -P {facts.port} kill-server`; mobilekit starts its own version",
            )
        else:
            yield _ok("adb server", f"1.0.{facts.server_protocol} at {place}{started}")
    for name in facts.ignored:
        yield _note(
            "adb server",
            f"{name} is set: adb goes by it, mobilekit speaks to {place} all the same",
            f"`unset {name}`; ANDROID_ADB_SERVER_PORT names a port for both",
        )


def _judge_usb(phone: UsbPhone) -> Iterator[Check]:
    name = f"{phone.name or 'a device'} ({phone.serial or 'no serial'})"
    if not phone.debugging:
        yield _note(
            "USB",
            f"{name} offers files and no debugging: a phone whose USB debugging is off, or a "
            "camera",
            "On a phone: Settings, About phone, tap Build number seven times; then Developer "
            "options, USB debugging",
        )
    elif not phone.writable:
        yield _fault(
            "USB",
            f"this user may not open {name}",
            "`sudo apt install android-sdk-platform-tools-common` (Debian, Ubuntu), or `echo "
            f'\'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{phone.vendor_id}", MODE="0660", '
            'TAG+="uaccess"\' | sudo tee /etc/udev/rules.d/51-android.rules && sudo udevadm '
            "control --reload`; then `adb kill-server`, and plug it in again",
        )


def _judge_store(facts: StoreFacts) -> Iterator[Check]:
    if facts.failure is not None:
        yield _fault("store", f"{facts.url}: {facts.failure}", facts.fix)
        return
    yield _ok(
        "store",
        f"{facts.url} takes results"
        if facts.exists
        else f"{facts.url}, which the first result makes",
    )
    if facts.pending_runs:
        runs = "1 run waits" if facts.pending_runs == 1 else f"{facts.pending_runs} runs wait"
        yield _note("store", f"{runs} to be collected from a phone", "`mobilekit collect`")


def _judge_directories(directories: tuple[DirectoryFacts, ...]) -> Iterator[Check]:
    closed = [each for each in directories if each.failure is not None]
    if closed:
        names = ", ".join(f"{each.path} ({each.name}: {each.failure})" for each in closed)
        yield _fault(
            "directories",
            f"nothing can be written to {names}",
            f"`ls -ld {' '.join(each.path for each in closed)}`; `export "
            "MOBILEKIT_HOME=/some/where` keeps everything below another one",
        )
    well = []
    for each in directories:
        free = None if each.free_bytes is None else f"{format_bytes(each.free_bytes)} free"
        if each.free_bytes is not None and each.free_bytes < LEAST_FREE_BYTES:
            yield _fault("directories", f"{each.path} ({each.name}) has {free}", _free_up(each))
        elif each.free_bytes is not None and each.free_bytes < FREE_BYTES:
            yield _note(
                "directories",
                f"{each.path} ({each.name}) has {free}: too little for the largest networks",
                _free_up(each),
            )
        elif each.failure is None:
            well.append(f"{each.path} ({each.name}{f', {free}' if free else ''})")
    if well:
        yield _ok("directories", ", ".join(well))


def _free_up(directory: DirectoryFacts) -> str:
    if directory.name == "cache":
        return f"`rm -r {directory.path}/artifacts`: exports are made again when they are needed"
    return f"`df -h {directory.path}`, and remove what is not needed"


def _judge_profiles(facts: ComputerFacts) -> Iterator[Check]:
    if facts.profiles_failure is not None:
        yield _fault("profiles", facts.profiles_failure, facts.profiles_fix)


def _judge_app(facts: ComputerFacts) -> Iterator[Check]:
    app = facts.app
    if app.apks:
        yield _ok("companion app", ", ".join(app.apks))
    else:
        missing = f"; {' and '.join(app.missing_tools)} missing" if app.missing_tools else ""
        yield _note("companion app", f"there is none to install on a phone{missing}", app.fix)


# --- a phone -----------------------------------------------------------------------------------


def judge_phone(facts: PhoneFacts) -> tuple[Check, ...]:
    serial, state = facts.attached.serial, facts.attached.state
    if facts.info is None:
        what = state if state != "device" else facts.failure or "it does not answer"
        return (_fault("state", what, facts.advice),)
    link = {"usb": " over USB", "network": " over a network", "none": ""}[facts.info.link]
    checks: list[Check] = [_ok("state", f"ready{link}")]
    for judge in _PHONE_CHECKS:
        checks += judge(facts, facts.info, f"adb -s {serial} shell")
    return tuple(checks)


def _judge_system(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    memory = f", {format_bytes(info.ram_bytes)} of memory" if info.ram_bytes else ""
    what = (
        f"Android {info.android_release} (API {info.android_sdk}), {info.abi}, {info.soc}{memory}"
    )
    if info.android_sdk < OLDEST_ANDROID_SDK:
        yield _fault("system", f"{what}; the app needs Android 6.0", "Use another phone")
    else:
        yield _ok("system", what)


def _judge_formats(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    usable = [each.format for each in facts.formats if each.obstacle is None]
    if usable:
        yield _ok("formats", " ".join(f".{name}" for name in usable))
    for each in facts.formats:
        if each.obstacle is not None and usable:
            fix = f"`--format {usable[0]}`, which `--format auto` takes"
            yield _note("formats", f"no .{each.format}: {each.obstacle}", fix)
        elif each.obstacle is not None:
            yield _fault("formats", f"no .{each.format}: {each.obstacle}", "Use another phone")


def _judge_gpu(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    if facts.vulkan_obstacle is not None:
        fix = "XNNPACK, the default, computes on the processor"
        yield _note("gpu", f"no --backend vulkan: {facts.vulkan_obstacle}", fix)
    elif info.gpu is not None:
        name = f"{info.gpu.name}, " if info.gpu.name else ""
        yield _ok("gpu", f"{name}Vulkan {info.gpu.vulkan_version}")


def _judge_space(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    if facts.free_bytes is None:
        return
    free = f"{format_bytes(facts.free_bytes)} free in /data"
    fix = f"`{shell} rm -r /data/local/tmp/mobilekit`, or remove apps and photos"
    if facts.free_bytes < LEAST_FREE_BYTES:
        yield _fault("storage", free, fix)
    elif facts.free_bytes < FREE_BYTES:
        yield _note("storage", f"{free}: too little for the largest networks", fix)
    else:
        yield _ok("storage", free)


def _judge_battery(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    battery = facts.battery
    if battery is None:
        return
    level = "no level told" if battery.level_percent is None else f"{battery.level_percent} %"
    plugged = ", plugged in (energy is measured with the cable out)" if battery.plugged else ""
    what = f"{level}{plugged}"
    if battery.updates_stopped:
        yield _fault(
            "battery",
            f"{what}: these are values that somebody has set, and Android tells no others",
            f"`{shell} dumpsys battery reset`",
        )
    elif battery.level_percent is not None and battery.level_percent < LOW_LEVEL_PERCENT:
        yield _note(
            "battery",
            f"{what}: Android saves power at such a level, which changes what is measured",
            "Charge it to 30 % or more",
        )
    else:
        yield _ok("battery", what)
    if battery.temperature_decicelsius is None:
        return
    degrees = f"the battery is at {battery.temperature_decicelsius / 10:.1f} degC"
    if battery.temperature_decicelsius > HOT_BATTERY_DECICELSIUS:
        yield _note(
            "temperature",
            f"{degrees}: a hot phone is slowed down",
            "Let it cool, out of its case and not charging",
        )
    else:
        yield _ok("temperature", degrees)


def _judge_clock(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    if facts.clock_ahead_s is None or facts.clock_uncertainty_s is None:
        return
    off_s = abs(facts.clock_ahead_s)
    if off_s - facts.clock_uncertainty_s <= CLOCK_S:
        yield _ok("clock", f"as this computer's, within {off_s + facts.clock_uncertainty_s:.1f} s")
        return
    side = "ahead of" if facts.clock_ahead_s > 0 else "behind"
    yield _note(
        "clock",
        f"{off_s:,.0f} s {side} this computer's: times in the phone's log do not go with those of "
        "results",
        f"`{shell} settings put global auto_time 1`, with a network on",
    )


def _judge_lock(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    if facts.user_unlocked is False:
        yield _fault(
            "lock", "not unlocked since its start: no app can reach its files", "Unlock it once"
        )
    elif facts.locked is not None:
        yield _ok("lock", "locked; a run shows above the lock screen" if facts.locked else "open")


def _judge_phones_app(facts: PhoneFacts, info: DeviceInfo, shell: str) -> Iterator[Check]:
    installed, wanted = facts.app_version, facts.app_wanted
    if installed == wanted:
        yield _ok("companion app", wanted)
        return
    what = "not installed" if installed is None else f"{installed}, mobilekit has {wanted}"
    if facts.apk is not None:
        yield _note("companion app", what, f"The next deploy installs {facts.apk}")
    else:
        yield _fault("companion app", f"{what}, and nothing to install", facts.app_fix)


_PHONE_CHECKS: tuple[Callable[[PhoneFacts, DeviceInfo, str], Iterator[Check]], ...] = (
    _judge_system,
    _judge_formats,
    _judge_gpu,
    _judge_phones_app,
    _judge_space,
    _judge_battery,
    _judge_clock,
    _judge_lock,
)
"""Each gets how a person begins a command on that phone, too."""
