"""How the companion app is built: its version, and the key that signs it."""

import importlib.util
import re
from pathlib import Path

import pytest

from mobilekit import __version__

ROOT = Path(__file__).parents[1]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"android-app/tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_host_and_app_have_one_version(capsys):
    """The app's build asks ``mobilekit/__init__.py``; no file of it has a version of its own."""
    load_tool("app_version").main()

    told = dict(line.split("=") for line in capsys.readouterr().out.splitlines())
    assert told["mobilekit.version"] == __version__
    major, minor, patch = (int(part) for part in __version__.split("."))
    assert int(told["mobilekit.version.code"]) == 10_000 * major + 100 * minor + patch
    own = (
        r"<groupId>dev\.mobilekit\.bench</groupId>\s*<artifactId>[\w-]+</artifactId>\s*"
        r"(?:<!--.*?-->\s*)?<version>(.*?)</version>"
    )
    for pom in [ROOT / "android-app/pom.xml", *ROOT.glob("android-app/*/pom.xml")]:
        text = pom.read_text(encoding="utf-8")
        versions = set(re.findall(own, text, re.DOTALL))
        assert versions, pom
        assert versions <= {"local", "${project.version}"}, pom


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.2.3", (1, 2, 3)), ("0.10.99", (0, 10, 99)), ("0.1.100", None), ("0.1.0.dev1", None)],
)
def test_a_version_is_one_that_android_can_order(version, expected):
    read_version = load_tool("app_version").read_version
    source = f'"""x"""\n\n__version__ = "{version}"\n'

    if expected is None:
        with pytest.raises(ValueError, match=r"A\.B\.C"):
            read_version(source)
    else:
        assert read_version(source) == expected


def test_a_release_is_signed_with_a_key_from_outside(tmp_path):
    """Named by the environment, with its password; a build from source has a public one."""
    tool = load_tool("package_apk")
    key = tmp_path / "release.p12"
    key.touch()
    names = {"MOBILEKIT_SIGNING_KEY": str(key), "MOBILEKIT_SIGNING_PASSWORD": "secret"}

    assert tool.choose_key(names) == (key, "secret")
    assert tool.choose_key({}) == (ROOT / "android-app/source-build.p12", "mobilekit")
    for lacking in names:
        with pytest.raises(SystemExit, match="Set both"):
            tool.choose_key({name: value for name, value in names.items() if name != lacking})
    with pytest.raises(SystemExit, match=r"release\.p12 is no absolute path"):
        tool.choose_key({**names, "MOBILEKIT_SIGNING_KEY": "release.p12"})
    key.unlink()
    with pytest.raises(SystemExit, match="there is no file"):
        tool.choose_key(names)
