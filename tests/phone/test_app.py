"""Installing the companion app, on a virtual phone behind a real adb server."""

import threading
import time
from pathlib import Path

import msgspec
import pytest
from apks import make_apk, make_manifest, sign

from mobilekit import __version__
from mobilekit.contract.protocol import PACKAGE
from mobilekit.errors import AppError, DisconnectedError, UsageError
from mobilekit.phone.adb import (
    AdbServer,
)
from mobilekit.phone.app import ApkSource, ensure_app, find_apk, where_to_get_app
from mobilekit.phone.parse import parse_install_failure
from mobilekit.phone.profiles import load_profiles
from mobilekit.virtual.faults import Faults


@pytest.fixture
def write_apk(tmp_path):
    def write(version=__version__, *, code=100, package=PACKAGE, abis=(), padding_bytes=0):
        path = tmp_path / "bench.apk"
        manifest = make_manifest(package, code, version, debuggable=False)
        path.write_bytes(make_apk(manifest, abis, padding_bytes))
        return path

    return write


@pytest.fixture
def ensure(phone):
    """Ensures the app on the phone; gives the notes and the bytes told."""
    handle = AdbServer(phone.server.port).phone(phone.serial)

    def run(apk, *, may_install=True):
        notes, told = [], []
        ensure_app(
            handle,
            apk,
            may_install=may_install,
            on_note=notes.append,
            on_bytes=lambda done, total: told.append((done, total)),
        )
        return notes, told

    return run


def test_the_right_app_is_left_alone(ensure, write_apk):
    """Nothing is said or sent where the version is there."""
    assert ensure(write_apk()) == ([], [])


def test_a_missing_app_is_installed(ensure, phone, write_apk):
    """What is done and from which file is said, and the bytes told add up."""
    phone.adb("uninstall", PACKAGE)
    apk = write_apk(padding_bytes=3_000_000)

    notes, told = ensure(apk)

    size_bytes = apk.stat().st_size
    assert "not installed" in notes[0]
    assert f"{apk} (given with --apk)" in notes[0]
    assert notes[1] == f"Installed the companion app {__version__}"
    assert told[-1] == (size_bytes, size_bytes)
    assert f"versionName={__version__}" in phone.adb("shell", f"dumpsys package {PACKAGE}").stdout


def test_what_a_makers_phone_will_ask_is_said_before(make_phone, write_apk):
    """Its prompt goes away by itself after some seconds."""
    phone = make_phone(
        profile=msgspec.structs.replace(load_profiles()["pixel8"], title="vivo V2170A")
    )
    phone.adb("uninstall", PACKAGE)
    notes = []

    ensure_app(
        AdbServer(phone.server.port).phone(phone.serial),
        write_apk(),
        may_install=True,
        on_note=notes.append,
        on_bytes=lambda done, total: None,
    )

    assert "Continue installing" in notes[1]
    assert notes[2] == f"Installed the companion app {__version__}"


def test_an_app_of_another_version_is_updated(ensure, phone, write_apk):
    """Over the one that is there, and both versions are said."""
    phone.adb("uninstall", PACKAGE)
    phone.adb("install", str(write_apk("0.0.9", code=9)))

    notes, _ = ensure(write_apk())

    assert "has version 0.0.9" in notes[0]
    assert __version__ in notes[0]


def test_an_apk_of_another_version_is_reported(ensure, phone, write_apk):
    """It was installed, but it is not the one that belongs."""
    phone.adb("uninstall", PACKAGE)

    with pytest.raises(AppError, match=r"has version 7\.7") as caught:
        ensure(write_apk("7.7"))

    assert "--apk" in caught.value.fix


def test_an_apk_of_another_app_is_reported(ensure, phone, write_apk):
    """The companion is still missing afterwards."""
    phone.adb("uninstall", PACKAGE)

    with pytest.raises(AppError, match="the companion app is not there"):
        ensure(write_apk(package="com.example.other"))


@pytest.mark.parametrize(
    ("options", "reason", "fix"),
    [
        ({"abis": ["armeabi-v7a"]}, "INSTALL_FAILED_NO_MATCHING_ABIS", "MVN_FLAGS=-Dabis"),
        ({"code": 1}, "INSTALL_FAILED_VERSION_DOWNGRADE", "uninstall"),
    ],
)
def test_the_phones_reason_and_the_way_out_are_told(ensure, phone, write_apk, options, reason, fix):
    """An app for other processors, and one that is older than what is there."""
    phone.adb("uninstall", PACKAGE)
    phone.adb("install", str(write_apk("9.9", code=50)))

    with pytest.raises(AppError, match=reason) as caught:
        ensure(write_apk(**options))

    assert fix in caught.value.fix
    assert caught.value.facts["apk"].endswith("bench.apk")


def test_an_app_with_another_key_is_not_replaced(ensure, phone, write_apk):
    """Its results are to be collected before it is removed; then the new one goes in."""
    phone.adb("uninstall", PACKAGE)
    apk = write_apk("0.0.9", code=9)
    apk.write_bytes(sign(apk.read_bytes(), b"another computer's"))
    phone.adb("install", str(apk))
    apk = write_apk()
    apk.write_bytes(sign(apk.read_bytes(), b"this one's"))

    with pytest.raises(AppError, match="INSTALL_FAILED_UPDATE_INCOMPATIBLE") as caught:
        ensure(apk)

    assert "another key" in caught.value.fix
    assert "`mobilekit collect` fetches the results" in caught.value.fix
    assert f"adb -s {phone.serial} uninstall {PACKAGE}" in caught.value.fix
    phone.adb("uninstall", PACKAGE)
    notes, _ = ensure(apk)
    assert notes[-1] == f"Installed the companion app {__version__}"


def test_what_is_no_apk_is_refused(ensure, phone, tmp_path):
    """A damaged file is the phone's to notice."""
    phone.adb("uninstall", PACKAGE)
    path = tmp_path / "bad.apk"
    path.write_bytes(b"nonsense" * 1000)

    with pytest.raises(AppError, match="INSTALL_PARSE_FAILED_NOT_APK") as caught:
        ensure(path)

    assert "damaged" in caught.value.fix


def test_a_full_phone_refuses_early(ensure, phone, write_apk):
    """The reason arrives although the phone stopped reading in the middle."""
    phone.adb("uninstall", PACKAGE)
    phone.call(phone.phone.set_faults(Faults(storage_bytes=1_000_000)))

    with pytest.raises(AppError, match="INSTALL_FAILED_INSUFFICIENT_STORAGE") as caught:
        ensure(write_apk(padding_bytes=30_000_000))

    assert "Free space" in caught.value.fix


def test_android_6_installs_from_a_pushed_file(make_phone, write_apk):
    """It has no `cmd package` to stream into; the file is removed, refused or not."""
    phone = make_phone(profile=load_profiles()["nexus7"], abi="armeabi-v7a")
    phone.adb("uninstall", PACKAGE)
    handle = AdbServer(phone.server.port).phone(phone.serial)
    told = []

    def install(apk):
        ensure_app(
            handle,
            apk,
            may_install=True,
            on_note=lambda _: None,
            on_bytes=lambda done, total: told.append((done, total)),
        )

    with pytest.raises(AppError, match="INSTALL_FAILED_NO_MATCHING_ABIS"):
        install(write_apk(abis=["arm64-v8a"]))
    apk = write_apk(abis=["armeabi-v7a"], padding_bytes=3_000_000)
    install(apk)

    assert told[-1] == (apk.stat().st_size, apk.stat().st_size)
    assert "inaccessible" in handle.shell("cmd package list packages", check=False).text
    assert f"versionName={__version__}" in handle.shell(f"dumpsys package {PACKAGE}").text
    assert handle.shell("ls -A /data/local/tmp").text == ""


def test_unplugged_in_mid_installation(ensure, phone, write_apk):
    """A link that breaks is a disconnection, not a refusal."""
    phone.adb("uninstall", PACKAGE)
    apk = write_apk(padding_bytes=50_000_000)
    handle = AdbServer(phone.server.port).phone(phone.serial)
    unplugging = threading.Thread(
        target=lambda: phone.call(phone.phone.set_faults(Faults(cable="unplugged")))
    )

    def unplug_once(_size_bytes):
        if unplugging.ident is None:
            unplugging.start()
        time.sleep(0.01)

    with pytest.raises(DisconnectedError):
        handle.install(apk, on_bytes=unplug_once)

    unplugging.join()


def test_installing_may_be_forbidden(ensure, phone, write_apk):
    """Then the phone is left as it is, and the command to do it by hand is told."""
    phone.adb("uninstall", PACKAGE)

    with pytest.raises(AppError, match="not installed") as caught:
        ensure(write_apk(), may_install=False)

    assert f"adb -s {phone.serial} install" in caught.value.fix
    assert PACKAGE not in phone.adb("shell", "pm list packages").stdout


def test_the_apk_is_looked_for_in_order(tmp_path):
    """The user's, the package's, the local build's, none; for the phone's best processor first."""
    given, packaged, built = (tmp_path / name for name in ("given", "packaged", "built"))
    folders = [ApkSource(packaged, "it came"), ApkSource(built, "built")]

    def find(user=None):
        return find_apk(user, ["arm64-v8a", "armeabi-v7a"], folders)

    def put(folder, abi, version=__version__):
        folder.mkdir(exist_ok=True)
        path = folder / f"mobilekit-bench-{version}-{abi}.apk"
        path.touch()
        return path

    put(built, "arm64-v8a", version="0.0.9")
    put(built, "x86_64")
    assert find() is None
    for folder, origin, abi in (
        (built, "built", "armeabi-v7a"),
        (built, "built", "arm64-v8a"),
        (packaged, "it came", "armeabi-v7a"),
    ):
        path = put(folder, abi)
        assert find() == (path, origin)
    with pytest.raises(UsageError, match="no such APK"):
        find(given)
    given.touch()
    assert find(given) == (given, "given with --apk")


def test_who_has_no_app_is_told_where_to_get_it():
    """By what there is: other processors' apps, a checkout, or neither."""
    checkout = Path("/home/me/mobilekit")

    built = where_to_get_app(["arm64-v8a"], [], checkout, ["a JDK 17", "Maven"])
    assert "`make app` in /home/me/mobilekit builds it" in built
    assert "a JDK 17, Maven, python3 and npm (a JDK 17 and Maven cannot be found here)" in built
    assert "cannot be found" not in where_to_get_app(["arm64-v8a"], [], checkout, [])
    assert "`make wheel`" in where_to_get_app(["arm64-v8a"], [], None, ["Maven"])
    other = where_to_get_app(["x86"], ["b-arm64-v8a.apk", "a-x86_64.apk"], None, [])
    assert "a-x86_64.apk, b-arm64-v8a.apk, is for other processors" in other
    assert "`make app MVN_FLAGS=-Dabis=x86`" in other


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Success\n", None),
        ("Performing Streamed Install\r\nSuccess\r\n", None),
        (
            "Failure [INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]\r\n",
            "INSTALL_FAILED_USER_RESTRICTED: Install canceled by user",
        ),
        (
            "Failure [INSTALL_FAILED_OLDER_SDK: Failed parse during installPackageLI:\n"
            "base.apk: Requires newer sdk version #23 (current version is #19)]\n",
            "INSTALL_FAILED_OLDER_SDK: Failed parse during installPackageLI: base.apk: Requires "
            "newer sdk version #23 (current version is #19)",
        ),
        ("cmd: Can't find service: package\n", "cmd: Can't find service: package"),
        ("\n", "it gave no reason"),
    ],
)
def test_an_installers_answer_is_parsed(text, reason):
    """Whatever its line ends and however many lines."""
    assert parse_install_failure(text) == reason
