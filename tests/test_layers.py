"""The folder is the layer: who may import whom."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mobilekit"
BASE = {
    "errors",
    "units",
    "plain",
    "contract",
    "records",
    "places",
    "presets",
    "hashing",
    "formats",
}
MAY_IMPORT = {
    "base": BASE,
    "model": BASE,
    "phone": BASE,
    "analysis": BASE,
    "runner": BASE,
    "virtual": BASE | {"runner"},
    "executor": BASE | {"phone", "runner", "virtual"},
    "results": BASE | {"analysis"},
    "meter": BASE | {"analysis", "results"},
    "flow": BASE | {"model", "executor", "phone", "runner", "meter", "results", "analysis"},
    "campaign": BASE | {"flow", "executor", "model", "phone", "results"},
    "cli": BASE
    | {"campaign", "flow", "executor", "meter", "model", "phone", "virtual", "results", "analysis"},
}
ONLY_IN = {
    "torch": {"model", "runner"},
    "executorch": {"model", "runner"},
    "onnxruntime": {"model", "runner"},
    "litert_torch": {"model"},
    "ai_edge_litert": {"model", "runner"},
    "ai_edge_quantizer": {"model"},
    "adbutils": {"phone"},
    "pandas": {"meter"},
    "pint": {"meter"},
    "pyjls": {"meter"},
    "dbos": {"campaign"},
    "sqlalchemy": {"results"},
    "matplotlib": {"results", "meter"},
    "rich": {"cli"},
    "typer": {"cli"},
}
TOP_LEVEL = {"__main__": "cli", "contract": "base", "records": "base"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE / "__pycache__")


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    layer = parts[0] if len(parts) > 1 else "base"
    return TOP_LEVEL.get(parts[0], layer)


@cache
def imported(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "mobilekit":
            names |= {f"mobilekit.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return frozenset(names)


def import_graph(package: Path) -> dict[str, set[str]]:
    """Which modules of the package each of them imports while it runs."""
    modules = {
        ".".join(("mobilekit", *path.relative_to(package).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in sorted(package.rglob("*.py"))
    }
    graph = {}
    for name, path in modules.items():
        tree = WithoutTypes().visit(ast.parse(path.read_text(encoding="utf-8")))
        graph[name] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & set(modules)
            elif isinstance(node, ast.ImportFrom):
                # What is no module itself is a name in one; `mobilekit` only has its version.
                members = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules)
                named = {node.module} & set(modules) - {"mobilekit"}
                graph[name] |= members or named
    return graph


class WithoutTypes(ast.NodeTransformer):
    """Takes out what is imported for the type checker alone."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(each) for each in node.orelse]
        return self.generic_visit(node)


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """The first circle that a walk comes upon, its first module at both ends; else empty."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := walk(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (walk(name, []) for name in graph)), [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    """A module imports its own layer and those below it, and nothing across."""
    layer = layer_of(path)
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("mobilekit.")}

    assert ours - {"__version__"} <= MAY_IMPORT[layer] | {layer}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_have_one_home(path):
    """Only the layers that own a library import it."""
    layer = layer_of(path)
    for library, homes in ONLY_IN.items():
        if any(name.split(".")[0] == library for name in imported(path)):
            assert layer in homes, f"{library} in {layer}"


def test_nothing_imports_itself_by_a_circle():
    """Imports inside functions count: a module that needs one to start is in a circle as well."""
    circle = find_circle(import_graph(PACKAGE))

    assert circle == [], "a circle of imports: " + " -> ".join(circle)


def test_a_circle_is_found_wherever_the_import_stands(tmp_path):
    """Two modules that import each other, one of them inside a function; not for types alone."""
    (tmp_path / "first.py").write_text("def go():\n    from mobilekit import second\n")
    second = tmp_path / "second.py"
    second.write_text("from mobilekit.first import go\n")

    assert find_circle(import_graph(tmp_path)) == [
        "mobilekit.first",
        "mobilekit.second",
        "mobilekit.first",
    ]

    second.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mobilekit.first import go\n"
    )

    assert find_circle(import_graph(tmp_path)) == []


def test_only_one_module_knows_adbutils():
    """Its traps are met in one place."""
    users = [path.name for path in FILES if "adbutils" in {n.split(".")[0] for n in imported(path)}]

    assert users == ["adb.py"]


def test_one_place_prints():
    """What others wrote is made harmless there."""
    printing = {
        path.relative_to(PACKAGE).as_posix()
        for path in (PACKAGE / "cli").rglob("*.py")
        if re.search(r"typer\.(echo|secho)\(|\bprint\(", path.read_text(encoding="utf-8"))
    }

    assert printing == {
        "cli/terminal.py",
        "cli/failure.py",
        "cli/progress.py",
        "cli/following.py",
    }
