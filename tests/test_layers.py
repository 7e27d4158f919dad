"""The folder is the layer: who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mobilekit"
BASE = {"errors", "units", "contract", "records", "places", "presets", "hashing"}
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
    "flow": BASE | {"model", "executor", "phone", "runner", "results", "analysis"},
    "cli": BASE | {"flow", "executor", "meter", "model", "phone", "virtual", "results", "analysis"},
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
    "pyjls": {"meter"},
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


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "mobilekit":
            names |= {f"mobilekit.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


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


def test_only_one_module_knows_adbutils():
    """Its traps are met in one place."""
    users = [path.name for path in FILES if "adbutils" in {n.split(".")[0] for n in imported(path)}]

    assert users == ["adb.py"]
