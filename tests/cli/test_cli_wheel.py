"""The wheel is all that a user needs but a phone: everything is in it, and it installs the app."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from apks import make_apk, make_manifest
from tiny_model import TINY_MODEL

from mobilekit import __version__, places
from mobilekit.contract.protocol import PACKAGE
from mobilekit.runner.abi import this_abi

ROOT = Path(__file__).parents[2]
APP = f"mobilekit/app/mobilekit-bench-{__version__}-{this_abi()}.apk"


def build_wheel(source, directory):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


def deploying(python, directory, environment, serial, **options):
    """A deploy in an empty folder, by a Python that finds no JDK."""
    (directory / "tiny.py").write_text(TINY_MODEL, encoding="utf-8")
    path = f"{Path(python).parent}:/nowhere"
    environment = {k: v for k, v in environment.items() if k not in ("PYTHONPATH", "JAVA_HOME")}
    return subprocess.run(
        [python, "-m", "mobilekit", "deploy", "tiny.py", "-d", serial, "--fast", "--no-energy"],
        cwd=directory,
        env={**environment, "PATH": path, **options},
        capture_output=True,
        text=True,
        timeout=250,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of this source in which "the app" is built, of this version and before."""
    source = tmp_path_factory.mktemp("source")
    for name in ("mobilekit", "docs", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copy(ROOT / ".gitignore", source)
    built = source / "android-app/app/target"
    built.mkdir(parents=True)
    for version in ("0.0.9", __version__):
        manifest = make_manifest(PACKAGE, 100, version, debuggable=False)
        apk = make_apk(manifest, [this_abi()])
        (built / f"mobilekit-bench-{version}-{this_abi()}.apk").write_bytes(apk)
    return build_wheel(source, tmp_path_factory.mktemp("dist"))


@pytest.fixture
def site(wheel, tmp_path):
    """The wheel, unpacked as ``pip`` would."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    return tmp_path / "site"


def test_all_that_the_program_reads_is_in_the_wheel(wheel):
    """The code, its data, the guide and the networks; of the app this version's only."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    places_in_wheel = {"mobilekit": "mobilekit", "docs": "mobilekit/guide"}
    places_in_wheel["models"] = "mobilekit/model/networks"

    expected = {
        f"{place}/{path.relative_to(ROOT / folder)}"
        for folder, place in places_in_wheel.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert packed == expected | {APP, "mobilekit/constraints.txt"}
    assert wheel.name == f"mobilekit-{__version__}-py3-none-any.whl"


def test_the_wheel_installs_the_app_and_deploys(site, cli, bench_phone, tmp_path):
    """In an empty folder, without a JDK."""
    assert cli("export", "tiny.py").exit_code == 0  # Which takes a fresh process half a minute.
    bench_phone.adb("uninstall", PACKAGE)
    empty = tmp_path / "empty"
    empty.mkdir()

    done = deploying(
        sys.executable, empty, cli.environment, bench_phone.serial, PYTHONPATH=str(site)
    )

    assert done.returncode == 0, done.stderr
    assert f"installing {site / APP} (it came with mobilekit)" in done.stderr
    assert f"Installed the companion app {__version__}" in done.stderr
    assert "matches PyTorch" in done.stdout


def test_a_wheel_without_the_app_says_so(site, cli, bench_phone, tmp_path):
    """Before anything is exported."""
    bench_phone.adb("uninstall", PACKAGE)
    (site / APP).unlink()
    empty = tmp_path / "empty"
    empty.mkdir()

    done = deploying(
        sys.executable, empty, cli.environment, bench_phone.serial, PYTHONPATH=str(site)
    )

    assert done.returncode == 1
    assert "This mobilekit was installed without the app" in done.stderr
    assert "Tracing the network" not in done.stderr


@pytest.mark.soak
@pytest.mark.skipif(
    not (places.built_apks() / Path(APP).name).is_file(), reason="`make app` has not been run"
)
def test_the_real_wheel_in_a_fresh_environment(cli, bench_phone, tmp_path):
    """With the real app, installed by pip; what it depends on comes from these tests' own."""
    bench_phone.adb("uninstall", PACKAGE)
    built = build_wheel(ROOT, tmp_path / "dist")
    fresh = tmp_path / "venv"
    venv.create(fresh, with_pip=True, symlinks=True)
    python = fresh / "bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", built]
    subprocess.run(pip, check=True, capture_output=True)
    (packages,) = fresh.glob("lib/python*/site-packages")
    dependencies = Path(pytest.__file__).parents[1]
    (packages / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()

    done = deploying(str(python), empty, cli.environment, bench_phone.serial)

    assert done.returncode == 0, done.stderr
    assert f"installing {packages / APP} (it came with mobilekit)" in done.stderr
    assert "matches PyTorch" in done.stdout
