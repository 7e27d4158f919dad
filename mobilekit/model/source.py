"""A Python file as text: what it defines, without running it and without torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekit.errors import ModelFileError

_EXAMPLE = "INPUT_SHAPES = ((1, 3, 224, 224),)"
CONVENTION = f"A model file holds `{_EXAMPLE}` and `def build():` returning a torch.nn.Module."


@dataclass(frozen=True)
class Constant:
    """A literal of the file's top level."""

    value: Any
    line: int


def read_source(path: Path) -> bytes:
    """Raises ``ModelFileError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror}", fix="Check that it is a readable file."
        ) from None


def parse(source: bytes, path: Path) -> ast.Module:
    """Raises ``ModelFileError``."""
    try:
        return ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise bad_file(path, error.lineno or 1, f"a syntax error: {error.msg}") from None
    except ValueError as error:  # a null byte, in some versions of Python
        raise bad_file(path, 1, f"it is not Python: {error}") from None


def bad_file(path: Path, line: int, problem: str) -> ModelFileError:
    return ModelFileError(
        f"{path.name} is not a model file: {problem}", fix=CONVENTION, at=f"{path}:{line}"
    )


def read_constants(tree: ast.Module, path: Path, known: frozenset[str]) -> dict[str, Constant]:
    """Those of ``known`` that the file assigns; raises ``ModelFileError`` for one that is no
    literal."""
    constants = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in known:
                try:
                    literal = ast.literal_eval(value)
                except (ValueError, TypeError):
                    raise bad_file(
                        path,
                        statement.lineno,
                        f"{target.id} must be a literal, since it is read without running the file",
                    ) from None
                constants[target.id] = Constant(literal, statement.lineno)
    return constants


def bound_names(tree: ast.Module) -> set[str]:
    """Names that the file's top level defines, assigns or imports."""
    names = set()
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign):
            names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in statement.names}
    return names


def network_classes(tree: ast.Module) -> list[str]:
    """Classes that look like whole networks: modules that no other class of the file is made of.

    In the order of the file; where all are parts of others, all of them.
    """
    classes = {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}
    modules = [name for name, each in classes.items() if _is_module(each, classes)]
    used = {
        node.id
        for owner in classes.values()
        for node in ast.walk(owner)
        if isinstance(node, ast.Name) and node.id != owner.name
    }
    return [name for name in modules if name not in used] or modules


def required_arguments(tree: ast.Module, name: str) -> tuple[str, ...]:
    """What a class or function of the file cannot be called without, as far as the file tells."""
    function = _callable(tree, name)
    if function is None:
        return ()
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    if isinstance(_definition(tree, name), ast.ClassDef):
        positional = positional[1:]  # self
    required = positional[: max(len(positional) - len(arguments.defaults), 0)]
    required += [
        each
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    return tuple(each.arg for each in required)


def forward_arguments(tree: ast.Module, name: str) -> tuple[str, ...]:
    """The inputs of a class's ``forward`` without a default; empty where the file does not tell."""
    forward = _method(tree, name, "forward")
    if forward is None:
        return ()
    positional = forward.args.args[1:]
    return tuple(
        each.arg for each in positional[: max(len(positional) - len(forward.args.defaults), 0)]
    )


def docstring_of(tree: ast.Module, name: str) -> str | None:
    """The docstring's first line of a class or function of the file."""
    found = _definition(tree, name)
    said = None if found is None else ast.get_docstring(found)
    return said.splitlines()[0] if said else None


def open_argument(tree: ast.Module) -> tuple[str, int] | None:
    """An argument that ``build`` still gives as ``...``, and its line."""
    build = _definition(tree, "build")
    for node in ast.walk(build) if build is not None else ():
        if isinstance(node, ast.keyword) and _is_ellipsis(node.value):
            return node.arg or "**", node.value.lineno
    return None


def _is_ellipsis(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


def _definition(tree: ast.Module, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    for statement in tree.body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == name:
            return statement
    return None


def _callable(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    found = _definition(tree, name)
    return _method(tree, name, "__init__") if isinstance(found, ast.ClassDef) else found


def _method(tree: ast.Module, name: str, method: str) -> ast.FunctionDef | None:
    """Of a class, or of the first of its bases in the same file that has it."""
    seen: set[str] = set()
    for each in _with_bases(tree, name, seen):
        for statement in each.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == method:
                return statement
    return None


def _with_bases(tree: ast.Module, name: str, seen: set[str]) -> Iterator[ast.ClassDef]:
    found = _definition(tree, name)
    if name in seen or not isinstance(found, ast.ClassDef):
        return
    seen.add(name)
    yield found
    for base in found.bases:
        if isinstance(base, ast.Name):
            yield from _with_bases(tree, base.id, seen)


def _is_module(found: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    """Whether it, or what it inherits from in the file, is a ``Module`` by its name."""
    pending, seen = [found], {found.name}
    while pending:
        for base in pending.pop().bases:
            name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
            if name.endswith("Module") or name == "Sequential":
                return True
            if name in classes and name not in seen:
                seen.add(name)
                pending.append(classes[name])
    return False
