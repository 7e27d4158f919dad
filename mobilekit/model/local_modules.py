"""The user's own modules behind a model file: where its imports find them, and their content.

Nothing is run, and torch is not imported.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mobilekit.hashing import file_sha256
from mobilekit.model import checkpoint
from mobilekit.model.source import parse, read_source


class Place(NamedTuple):
    """How a file is imported: as itself, or as a module of the package that it lies in."""

    package: str
    """Dotted; empty for a file that stands by itself."""
    roots: tuple[Path, ...]
    """Where its imports are looked for, in this order; the package, if any, lies in the first."""


def place_of(path: Path) -> Place:
    """A file is in a package if its folder says so with an ``__init__.py``, or the file does: by
    importing relatively, or by importing the folder that it lies in by name.

    Raises ``ModelFileError`` for a file that does not parse.
    """
    folders = path.parents
    depth = 0
    while (folders[depth] / "__init__.py").is_file() and depth + 1 < len(folders):
        depth += 1
    for node in ast.walk(parse(read_source(path), path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            depth = max(depth, node.level)
        elif isinstance(node, ast.ImportFrom) and node.module:
            first, _, rest = node.module.partition(".")
            if rest and first == path.parent.name and not (path.parent / first).exists():
                depth = max(depth, 1)
    depth = min(depth, len(folders) - 1)
    package = path.parent.relative_to(folders[depth]).parts
    if not depth or not all(part.isidentifier() for part in package):
        return Place("", (path.parent,))
    return Place(".".join(package), (folders[depth], path.parent))


def content_sha256(path: Path, weights: Path | None) -> str:
    """Over the file, the local modules that it imports, and the weights.

    Names take part only relative to the file, so that a copied folder has the same hash. A data
    file that the code opens by itself is not seen.
    """
    place = place_of(path)
    root = place.roots[0]
    start = (path, *_package_files(path, root))
    modules = {each: each.relative_to(root).as_posix().encode() for each in start}
    modules[path] = b"model"
    pending = list(start)
    while pending:
        importer = pending.pop()
        for module in _local_imports(importer, place.roots):
            if module not in modules:
                modules[module] = module.relative_to(root).as_posix().encode()
                pending += [module]
    digest = hashlib.sha256()
    if not _is_own(path):
        digest.update(_installed_version(place.package).encode())
    for module, name in sorted(modules.items(), key=lambda item: item[1]):
        digest.update(name + b"\0" + file_sha256(module).encode() + b"\0")
    if weights is not None:
        digest.update(b"weights")
        for file in checkpoint.find_files(weights):
            digest.update(b"\0" + file_sha256(file).encode())
    return digest.hexdigest()


def _package_files(path: Path, root: Path) -> Iterator[Path]:
    """What importing the file as a module of its package runs before it."""
    for folder in path.parents[: len(path.parent.relative_to(root).parts)]:
        file = folder / "__init__.py"
        if file.is_file() and _is_own(file):
            yield file


def _is_own(file: Path) -> bool:
    """Whether it is the user's; what is installed is known by its version."""
    return "site-packages" not in file.parts


def _installed_version(package: str) -> str:
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get(package.partition(".")[0], ())
    return ", ".join(f"{name} {version(name)}" for name in sorted(set(names)))


def _local_imports(importer: Path, roots: tuple[Path, ...]) -> Iterator[Path]:
    """Files below ``roots`` that importing what ``importer`` imports, anywhere in it, would run."""
    for node in ast.walk(parse(read_source(importer), importer)):
        bases = roots
        if isinstance(node, ast.Import):
            imported = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            # `from a import b` runs a/b.py if b is a module.
            imported = [(*base, alias.name) for alias in node.names]
            if node.level:
                folder = importer.parents[min(node.level, len(importer.parents)) - 1]
                bases = (folder,) if folder.is_relative_to(roots[0]) else ()
        else:
            continue
        for base_directory in bases:
            for parts in imported:
                for length in range(1, len(parts) + 1):
                    place = base_directory.joinpath(*parts[:length])
                    for candidate in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                        if candidate.is_file() and _is_own(candidate):
                            yield candidate
