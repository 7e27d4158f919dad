"""Writes the few lines of a model file around a network that somebody's own file defines."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple

from mobilekit.errors import ModelFileError, UsageError
from mobilekit.model.given import InputKind
from mobilekit.model.local_modules import place_of
from mobilekit.model.source import (
    bound_names,
    docstring_of,
    forward_arguments,
    network_classes,
    parse,
    read_source,
    required_arguments,
)

ANY_INPUT = InputKind("float32", (1, 3, 224, 224))
"""Where nobody says what an input is."""


class Written(NamedTuple):
    """A model file, and what is left to be put in by hand."""

    path: Path
    open_arguments: tuple[str, ...]
    guessed_inputs: bool


def write_model_file(file: Path, network: str | None, kinds: tuple[InputKind, ...]) -> Written:
    """Write ``FILE_model.py`` where it can import the network: beside the file, or beside the
    package that the file is in.

    ``network`` is a class or function; ``None``: the only class that looks like one. Without
    ``kinds`` each argument of ``forward`` becomes an input of some shape.

    Raises ``UsageError`` for a file that is there already, and ``ModelFileError``.
    """
    path = file.resolve()
    tree = parse(read_source(path), path)
    name = network or _only_network(network_classes(tree), path)
    if name not in bound_names(tree):
        near = difflib.get_close_matches(name, sorted(bound_names(tree)), n=3, cutoff=0.5)
        raise ModelFileError(
            f"{path.name} defines no {name}",
            fix=f"Did you mean {' or '.join(near)}?" if near else "Name a class or function of it.",
            at=path,
        )
    place = place_of(path)
    module = ".".join(filter(None, (place.package, path.stem)))
    if not all(part.isidentifier() for part in module.split(".")):
        raise ModelFileError(
            f"{path.name} cannot be imported under its name",
            fix="Rename it to a name without hyphens, dots and spaces.",
            at=path,
        )
    arguments = required_arguments(tree, name)
    inputs = forward_arguments(tree, name)
    title = docstring_of(tree, name) or f"{name} of {path.name}."
    text = _render(
        module, name, title, arguments, inputs, kinds or (ANY_INPUT,) * max(len(inputs), 1)
    )
    target = place.roots[0] / f"{path.stem}_model.py"
    try:
        with target.open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError:
        raise UsageError(
            f"{target} is there already", fix="Edit it, or move it away to have it written anew."
        ) from None
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}",
            fix="Copy the network's file to a directory of your own.",
        ) from None
    return Written(target, arguments, not kinds)


def _only_network(classes: list[str], path: Path) -> str:
    if len(classes) == 1:
        return classes[0]
    raise ModelFileError(
        f"{path.name} defines {'several networks' if classes else 'no class that is a module'}",
        fix=f"Name the one: mobilekit init {path.name}:{classes[-1] if classes else 'NAME'}.",
        **({"networks": ", ".join(classes)} if classes else {}),
        at=path,
    )


def _render(
    module: str,
    name: str,
    title: str,
    arguments: tuple[str, ...],
    inputs: tuple[str, ...],
    kinds: tuple[InputKind, ...],
) -> str:
    shapes = tuple(kind.shape for kind in kinds)
    of_which = f"  # forward({', '.join(inputs)})" if inputs else ""
    lines = [
        repr(title) if '"' in title or "\\" in title else f'"""{title}"""',
        "",
        f"from {module} import {name}",
        "",
        f"INPUT_SHAPES = {shapes}{of_which}",
    ]
    if any(kind.dtype != "float32" for kind in kinds):
        dtypes = ", ".join(f'"{kind.dtype}"' for kind in kinds)
        lines.append(f"INPUT_DTYPES = ({dtypes},)")
    call = ", ".join(f"{argument}=..." for argument in arguments)
    lines += ["", "", "def build():", f"    return {name}({call})", ""]
    return "\n".join(lines)
