"""The Python packages that mobilekit needs: what is installed, allowed and tested."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mobilekit import places
from mobilekit.records.checkup import PackageFacts, PythonFacts

PACKAGE = "mobilekit"


def read_python_facts() -> PythonFacts:
    """By the packages' metadata: none of them is imported."""
    version = platform.python_version()
    try:
        own = metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError:
        return PythonFacts(
            version=version, program=sys.executable, bounds=None, fits=True, packages=()
        )
    bounds = str(own.json.get("requires_python", ""))
    packages = compare_packages(
        metadata.requires(PACKAGE) or (),
        tuple(own.get_all("Provides-Extra") or ()),
        _read_tested(),
        _installed_version,
    )
    return PythonFacts(
        version=version,
        program=sys.executable,
        bounds=bounds,
        fits=SpecifierSet(bounds).contains(version, prereleases=True),
        packages=packages,
    )


def compare_packages(
    requirements: Iterable[str],
    extras: tuple[str, ...],
    tested: Mapping[str, str],
    installed_version: Callable[[str], str | None],
) -> tuple[PackageFacts, ...]:
    """Each requirement that counts on this Python, once, those that are always needed first.

    ``requirements`` is as in a package's metadata, ``tested`` has versions by canonical names.
    """
    found: dict[str, PackageFacts] = {}
    parsed = [Requirement(text) for text in requirements]
    # One extra may hold another's packages: a package is the smallest's that brings it.
    by_size = sorted(extras, key=lambda extra: sum(_counts(each, extra) for each in parsed))
    for extra in (None, *by_size):
        for each in parsed:
            name = canonicalize_name(each.name)
            if name in found or name == PACKAGE or not _counts(each, extra):
                continue
            installed, known = installed_version(each.name), tested.get(name)
            found[name] = PackageFacts(
                name=each.name,
                extra=extra,
                bounds=str(each.specifier),
                installed=installed,
                fits=installed is not None and each.specifier.contains(installed, prereleases=True),
                tested=known,
                is_tested=None not in (installed, known)
                and Version(installed or "").public == known,
            )
    return tuple(found.values())


def _counts(requirement: Requirement, extra: str | None) -> bool:
    marker = requirement.marker
    if marker is None:
        return extra is None
    # One for an extra alone does not count without it.
    return marker.evaluate({"extra": extra or ""}) and (
        extra is None or not marker.evaluate({"extra": ""})
    )


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read_tested() -> dict[str, str]:
    """By canonical names; those of which the tests' version is for another Python are left out."""
    try:
        text = places.constraints_file().read_text(encoding="utf-8")
    except OSError:
        return {}
    tested: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate():
                (specifier,) = pin.specifier
                tested[canonicalize_name(pin.name)] = specifier.version
    return tested
