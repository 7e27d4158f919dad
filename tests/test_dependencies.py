"""A fresh clone gets what the tests have seen: every dependency is bounded, and CI's are pinned."""

import copy
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load_script():
    spec = importlib.util.spec_from_file_location(
        "raise_constraints", ROOT / "scripts/raise_constraints.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
PROJECT = script.tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_bounds_and_constraints_agree():
    """Each dependency, of an extra and of the build too, is bounded, pinned and within bounds."""
    assert len(script.direct_requirements(PROJECT)) > 25
    assert script.find_contradictions(PROJECT, CONSTRAINTS) == []


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (("build-system", "requires"), "somebackend"),
        (("project", "dependencies"), "something"),
        (("project", "optional-dependencies", "dev"), "sometool"),
    ],
)
@pytest.mark.parametrize("specifier", ["", ">=1.2", "!=1.3,>1"])
def test_a_dependency_without_an_upper_bound_is_found(table, name, specifier):
    project = copy.deepcopy(PROJECT)
    lists = project
    for key in table:
        lists = lists[key]
    lists.append(name + specifier)

    found = script.find_contradictions(project, f"{CONSTRAINTS}zzz==1\n{name}==1.2\n")

    assert f"{name}: no upper bound in pyproject.toml" in found


def test_a_pin_that_contradicts_its_bound_is_found():
    """As are a dependency that is not pinned, and lines out of order."""
    project = copy.deepcopy(PROJECT)
    project["project"]["dependencies"] = ["Some.Thing>=2,<3", "other~=1.4.0"]
    project["project"]["optional-dependencies"] = {"dev": ["mobilekit[x]"]}

    assert script.find_contradictions(project, "other==1.4.9\nsome-thing==2.9\n") == []
    assert script.find_contradictions(project, "some-thing==2.9\nother==1.5\n") == [
        "constraints.txt is not sorted",
        "other: 1.5 is pinned, ~=1.4.0 is allowed",
    ]
    assert script.find_contradictions(project, "some-thing==3.0\n") == [
        "some-thing: 3.0 is pinned, <3,>=2 is allowed",
        "other: not in constraints.txt",
    ]


@pytest.mark.parametrize("line", ["a>=1", "a", "a==1,<2", "a @ https://example.org/a.whl"])
def test_only_versions_are_pinned(line):
    with pytest.raises(ValueError, match="is not name==version"):
        script.read_pins(line)


def test_constraints_force_nothing_on_an_older_python():
    """A release that it cannot have is for the newer ones; nothing of mobilekit or of a build."""
    installed = [
        script.Installed("Typing_Extensions", "4.12.2", ">=3.8"),
        script.Installed("numpy", "2.4.6", ">=3.11"),
        script.Installed("torch", "2.13.0+cpu", ""),
        script.Installed("mobilekit", "0.1.0", ">=3.10"),
        script.Installed("pip", "23.2.1", ">=3.7"),
    ]

    text = script.render_constraints(installed, oldest_minor=10)

    assert text.splitlines()[1:] == [
        'numpy==2.4.6; python_version >= "3.11"',
        "torch==2.13.0",
        "typing-extensions==4.12.2",
    ]


def test_what_changed_is_told():
    before, after = "a==1\nb==1\nc==2\n", "a==1\nb==2\nd==1\n"

    assert script.describe_changes(before, after) == [
        "b: 1 -> 2",
        "c: 2 -> gone",
        "d: not there -> 1",
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("goal", ["demo", "lint"])
def test_make_installs_what_is_pinned(goal):
    """With nothing installed yet: what the two commands of the README do."""
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", goal],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    installing = [line for line in told.splitlines() if "pip install" in line]
    assert installing
    assert all(" --constraint constraints.txt " in line for line in installing)


def test_onnx_runtime_is_the_phones():
    """What a newer one takes or computes here says nothing of a phone's. Python 3.10 has none of
    the phone's version, and an older one takes no more than it."""
    pom = (ROOT / "android-app/pom.xml").read_text(encoding="utf-8")
    (packed,) = re.findall(r"<onnxruntime\.version>(.+?)</onnxruntime\.version>", pom)
    (pinned,) = re.findall(r"^onnxruntime==(\S+);", CONSTRAINTS, re.MULTILINE)
    (bound,) = [
        each.specifier for each in script.direct_requirements(PROJECT) if each.name == "onnxruntime"
    ]
    major, minor, _ = map(int, packed.split("."))

    assert pinned == packed
    assert bound.contains(packed)
    assert not bound.contains(f"{major}.{minor + 1}.0")
