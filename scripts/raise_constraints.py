"""Raise constraints.txt to the newest releases that the bounds in pyproject.toml allow.

    python scripts/raise_constraints.py [--check]

Installs mobilekit with all its extras into a fresh virtual environment, without constraints,
writes what came with it, and says what changed. What is written has been tested only when
`make test` has passed with it. To let a release in that a bound keeps out, raise the bound first.

``--check`` installs nothing: it says where constraints.txt and pyproject.toml contradict each
other, and ends with 1 if they do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"
OURS = "mobilekit"
UPPER = {"<", "<=", "==", "===", "~="}
NEWEST_MINOR = 30
"""Of Python 3, that is looked for: far beyond what there is."""
LISTING = """
import importlib.metadata, json
print(json.dumps([
    [item.metadata["Name"], item.version, item.metadata["Requires-Python"] or ""]
    for item in importlib.metadata.distributions()
]))
"""


class Installed(NamedTuple):
    name: str
    version: str
    requires_python: str


# --- pyproject.toml ----------------------------------------------------------------------------


def direct_requirements(project: dict[str, Any]) -> list[Requirement]:
    """Of the package and of all its extras, but for those that only name other extras."""
    table = project["project"]
    lists = [table["dependencies"], *table["optional-dependencies"].values()]
    found = [Requirement(line) for lines in lists for line in lines]
    return [item for item in found if canonicalize_name(item.name) != OURS]


def has_upper_bound(requirement: Requirement) -> bool:
    return any(part.operator in UPPER for part in requirement.specifier)


def find_contradictions(project: dict[str, Any], constraints: str) -> list[str]:
    """What keeps the two files from saying the same, a line each."""
    direct = direct_requirements(project)
    building = [Requirement(line) for line in project["build-system"]["requires"]]
    found = [
        f"{item.name}: no upper bound in pyproject.toml"
        for item in (*building, *direct)
        if not has_upper_bound(item)
    ]
    lines = constraint_lines(constraints)
    if lines != sorted(lines, key=lambda line: Requirement(line).name):
        found.append("constraints.txt is not sorted")
    pins = read_pins(constraints)
    for item in direct:
        name = canonicalize_name(item.name)
        if name not in pins:
            found.append(f"{name}: not in constraints.txt")
        elif not item.specifier.contains(pins[name], prereleases=True):
            found.append(f"{name}: {pins[name]} is pinned, {item.specifier} is allowed")
    return found


# --- constraints.txt ---------------------------------------------------------------------------


def constraint_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def read_pins(text: str) -> dict[str, str]:
    """Versions by name; raises ``ValueError`` for a line that pins no single version."""
    pins = {}
    for line in constraint_lines(text):
        requirement = Requirement(line)
        parts = list(requirement.specifier)
        if len(parts) != 1 or parts[0].operator != "==" or requirement.url:
            raise ValueError(f"constraints.txt: {line!r} is not name==version")
        pins[canonicalize_name(requirement.name)] = parts[0].version
    return pins


def render_constraints(installed: list[Installed], oldest_minor: int) -> str:
    """A line for each package; one that an older Python cannot have is not forced on it."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lines = {}
    for item in installed:
        name = canonicalize_name(item.name)
        if name in (OURS, "pip"):
            continue
        allowed = SpecifierSet(item.requires_python)
        first = next(
            minor for minor in range(oldest_minor, NEWEST_MINOR) if f"3.{minor}.99" in allowed
        )
        marker = "" if first == oldest_minor else f'; python_version >= "3.{first}"'
        # Without what follows the "+": a build for another processor is the same release.
        lines[name] = f"{name}=={Version(item.version).public}{marker}"
    head = f"# What the tests ran with, on Python {python}: scripts/raise_constraints.py."
    return "\n".join([head, *(lines[name] for name in sorted(lines))]) + "\n"


def describe_changes(before: str, after: str) -> list[str]:
    old, new = read_pins(before), read_pins(after)
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            changes.append(f"{name}: {old.get(name, 'not there')} -> {new.get(name, 'gone')}")
    return changes


# --- installing --------------------------------------------------------------------------------


def install_newest(directory: Path, extras: list[str]) -> list[Installed]:
    """What comes into a virtual environment of its own with mobilekit and these extras."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    python = directory / "bin" / "python"
    wanted = f"{ROOT}[{','.join(extras)}]"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
    listing = subprocess.run([python, "-c", LISTING], check=True, capture_output=True, text=True)
    return [Installed(*fields) for fields in json.loads(listing.stdout)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="install and write nothing")
    arguments = parser.parse_args()
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    before = CONSTRAINTS.read_text(encoding="utf-8") if CONSTRAINTS.exists() else ""
    after = before
    if not arguments.check:
        oldest = min(
            minor
            for minor in range(NEWEST_MINOR)
            if f"3.{minor}.99" in SpecifierSet(project["project"]["requires-python"])
        )
        with tempfile.TemporaryDirectory() as scratch:
            extras = list(project["project"]["optional-dependencies"])
            after = render_constraints(install_newest(Path(scratch) / "venv", extras), oldest)
        CONSTRAINTS.write_text(after, encoding="utf-8")
        print("\n".join(describe_changes(before, after)) or "Nothing changed.")
    contradictions = find_contradictions(project, after)
    for line in contradictions:
        print(line, file=sys.stderr)
    return 1 if contradictions else 0


if __name__ == "__main__":
    sys.exit(main())
