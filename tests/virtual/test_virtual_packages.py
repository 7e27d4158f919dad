"""Packages: the binary manifest reader, and installation through adb."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress

import pytest
from apks import make_apk, make_manifest, sign
from hypothesis import example, given
from hypothesis import strategies as st

from mobilekit.contract.protocol import PACKAGE
from mobilekit.virtual.apk import ApkError, parse_manifest, read_apk


@pytest.mark.parametrize("utf8", [True, False])
def test_a_manifest_is_read(utf8):
    info = read_apk(io.BytesIO(make_apk(make_manifest(utf8=utf8), ["x86_64", "arm64-v8a"])))
    assert (info.package, info.version_code, info.version_name) == ("com.example.app", 7, "1.2")
    assert info.debuggable
    assert info.abis == ("arm64-v8a", "x86_64")
    assert not parse_manifest(make_manifest(debuggable=False)).debuggable


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"not a zip", "INSTALL_PARSE_FAILED_NOT_APK"),
        (make_apk(b"<manifest/>"), "INSTALL_PARSE_FAILED_MANIFEST_MALFORMED"),
        (make_apk(make_manifest()[:200]), "INSTALL_PARSE_FAILED_MANIFEST_MALFORMED"),
        (make_apk(b""), "INSTALL_PARSE_FAILED_MANIFEST_MALFORMED"),
        (make_apk(make_manifest("no_dots")), "INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME"),
        (make_apk(make_manifest("../../evil.x")), "INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME"),
    ],
)
def test_what_is_not_a_package_is_refused(data, code):
    with pytest.raises(ApkError) as caught:
        read_apk(io.BytesIO(data))
    assert code == caught.value.code


@given(st.integers(0, len(make_manifest()) - 1), st.integers(0, 255))
def test_a_damaged_manifest_is_read_or_refused(position, value):
    """Any one byte changed: never anything but ``ApkError``."""
    damaged = bytearray(make_manifest())
    damaged[position] = value
    with suppress(ApkError):
        parse_manifest(bytes(damaged))


def test_the_signers_certificate_is_read():
    """By the newer scheme's block, which a package need not have."""
    apk = make_apk(make_manifest())

    signed = read_apk(io.BytesIO(sign(apk, b"a certificate")))

    assert signed.certificate_sha256 == hashlib.sha256(b"a certificate").hexdigest()
    assert read_apk(io.BytesIO(apk)).certificate_sha256 is None


SIGNED = sign(make_apk(make_manifest()), b"a certificate")


@example(SIGNED.index(b"PK\x01\x02") + 8, 1)  # Encrypted, it says.
@given(st.integers(SIGNED.index(b"PK\x01\x02") - 120, len(SIGNED) - 1), st.integers(0, 255))
def test_a_damaged_signature_is_read_or_refused(position, value):
    damaged = bytearray(SIGNED)
    damaged[position] = value
    with suppress(ApkError):
        read_apk(io.BytesIO(bytes(damaged)))


def test_install_list_update_and_uninstall_through_adb(phone, tmp_path):
    apk = tmp_path / "app.apk"
    apk.write_bytes(make_apk(make_manifest()))
    done = phone.adb("install", str(apk))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Success"), done.stderr
    listed = phone.adb("shell", "pm list packages -3").stdout
    assert listed == "package:com.example.app\n"
    dump = phone.adb("shell", "dumpsys package com.example.app").stdout
    assert "versionName=1.2\n" in dump
    assert "versionCode=7 " in dump
    assert "flags=[ DEBUGGABLE " in dump
    path = phone.adb("shell", "pm path com.example.app").stdout.strip().removeprefix("package:")
    phone.adb("pull", path, str(tmp_path / "back.apk"))
    assert apk.read_bytes() == (tmp_path / "back.apk").read_bytes()
    apk.write_bytes(make_apk(make_manifest(code=6)))
    refused = phone.adb("install", str(apk), may_fail=True)
    assert refused.returncode == 1
    assert "INSTALL_FAILED_VERSION_DOWNGRADE" in refused.stderr
    assert phone.adb("install", "-d", str(apk)).returncode == 0
    done = phone.adb("uninstall", "com.example.app")
    assert (done.returncode, done.stdout) == (0, "Success\n")
    assert phone.adb("shell", "pm list packages").stdout == f"package:{PACKAGE}\n"
    assert phone.adb("uninstall", "com.example.app", may_fail=True).returncode == 1
    assert phone.adb("shell", "ls -A /data/local/tmp").stdout == ""


def test_installing_a_pushed_package(phone, tmp_path):
    apk = tmp_path / "app.apk"
    apk.write_bytes(make_apk(make_manifest()))
    done = phone.adb("install", "--no-streaming", str(apk))
    assert done.returncode == 0, done.stderr


def test_adbutils_installs_and_describes(phone, tmp_path):
    apk = tmp_path / "app.apk"
    apk.write_bytes(make_apk(make_manifest()))
    device = phone.device()
    device.install(str(apk), silent=True, nolaunch=True)
    assert "com.example.app" in device.list_packages()
    info = device.app_info("com.example.app")
    assert info is not None
    assert info.version_name == "1.2"
    device.uninstall("com.example.app")
    assert device.app_info("com.example.app") is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not a zip", "INSTALL_PARSE_FAILED_NOT_APK"),
        (make_apk(make_manifest(), ["armeabi-v7a"]), "INSTALL_FAILED_NO_MATCHING_ABIS"),
    ],
)
def test_adb_shows_why_a_package_is_refused(phone, tmp_path, data, reason):
    apk = tmp_path / "app.apk"
    apk.write_bytes(data)
    done = phone.adb("install", str(apk), may_fail=True)
    assert done.returncode == 1
    assert reason in done.stdout + done.stderr


def test_the_state_of_packages_outlasts_a_restart(make_phone, tmp_path):
    apk = tmp_path / "app.apk"
    apk.write_bytes(make_apk(make_manifest()))
    first = make_phone()
    first.adb("install", str(apk))
    first.adb("push", str(apk), "/data/local/tmp/kept")
    first.call(first.phone.stop())
    second = make_phone(directory=first.directory)
    assert "com.example.app" in second.adb("shell", "pm list packages").stdout
    digest = hashlib.sha256(apk.read_bytes()).hexdigest()
    assert digest in second.adb("shell", "sha256sum /data/local/tmp/kept").stdout
