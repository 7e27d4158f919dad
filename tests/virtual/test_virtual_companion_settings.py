"""The programs that play the companion app: what they need and how they are started."""

import subprocess
import sys
from importlib import import_module

import pytest

from mobilekit import places
from mobilekit.contract.checks import decode_result
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import INPUT_ROOT, OUTPUT_ROOT
from mobilekit.errors import UsageError
from mobilekit.phone.profiles import load_profiles
from mobilekit.virtual.companion_settings import (
    check_companion,
    companion_command,
    companion_formats,
)
from mobilekit.virtual.files import PhoneFiles


@pytest.fixture
def jar(tmp_path, monkeypatch):
    path = tmp_path / "companion.jar"
    path.touch()
    monkeypatch.setattr(places, "built_jvm_companion", lambda: path)
    return path


def test_the_python_companion_is_always_there(jar, monkeypatch, tmp_path):
    """It is mobilekit itself: where there is neither the other one nor Java, it runs."""
    jar.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError):
        check_companion("jvm")

    check_companion("python")

    program, _, module, *_ = companion_command("python", tmp_path, "run-1", waits_for_input=False)
    assert program == sys.executable
    assert callable(import_module(module).main)


def test_a_jvm_companion_that_was_not_built(jar):
    """The command that builds it is named."""
    jar.unlink()

    with pytest.raises(UsageError, match="make app") as caught:
        check_companion("jvm")

    assert caught.value.facts["file"] == str(jar)


def test_a_native_companion_that_was_not_built(jar, tmp_path, monkeypatch):
    """One command builds all of it; the last file is what shows that it did."""
    monkeypatch.setattr(places, "built_native_libraries", lambda abi: tmp_path / abi)

    with pytest.raises(UsageError, match="make native") as caught:
        check_companion("native")

    assert caught.value.facts["file"].startswith(str(tmp_path))


def test_an_app_that_was_built_without_an_engine(tmp_path, monkeypatch):
    """What is not there is not offered."""
    monkeypatch.setattr(places, "built_native_libraries", lambda _: tmp_path)
    (tmp_path / "libtensorflowlite_jni.so").touch()

    assert companion_formats("native") == ("tflite",)


def test_a_computer_without_java(jar, monkeypatch, tmp_path):
    """A JDK is what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UsageError, match="JDK 17"):
        check_companion("jvm")


def test_all_work_on_the_phones_own_files(jar, tmp_path):
    """The app's core gets the roots of the contract where they lie on this computer."""
    PhoneFiles(tmp_path / "files", {}).make_directories(OUTPUT_ROOT)

    python = companion_command("python", tmp_path, "run-1", waits_for_input=False)
    jvm = companion_command("jvm", tmp_path, "run-1", waits_for_input=False)

    assert python == [sys.executable, "-m", "mobilekit.virtual.companion", str(tmp_path), "run-1"]
    assert jvm[:3] == ["java", "-jar", str(jar)]
    native = companion_command("native", tmp_path, "run-1", waits_for_input=False)
    assert native[native.index("--input-root") :][:6] == jvm[3:9]
    options = dict(zip(jvm[3::2], jvm[4::2], strict=True))
    assert options["--run-id"] == "run-1"
    assert options["--input-root"] == f"{tmp_path}/files/data/local/tmp/mobilekit"
    assert options["--output-root"].startswith(f"{tmp_path}/files/")


def test_a_damaged_phone_fails_the_run_with_a_result(tmp_path):
    """What is wrong with its files is told by the run that finds it, not by a process that ends."""
    files = PhoneFiles(tmp_path / "files", {})
    for root in (INPUT_ROOT, OUTPUT_ROOT):
        files.make_directories(root)
    (tmp_path / "profile.json").write_bytes(encode(load_profiles()["nexus7"]))
    (tmp_path / "battery.json").write_text("{")
    command = companion_command("python", tmp_path, "run-1", waits_for_input=False)

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    result = decode_result((files.host_path(OUTPUT_ROOT) / "runs/run-1/result.json").read_bytes())
    assert (ended.returncode, result.phase, result.code) == (0, "verify", "internal")
    assert "battery.json" in result.message
    assert "Traceback" in ended.stderr
