"""Finds model files and reads what they declare, without running them and without torch.

A model file is a Python file with a function ``build() -> torch.nn.Module`` and these constants,
which must be literals, because they are read with ``ast.literal_eval``:

``INPUT_SHAPES``
    The shape of each input, such as ``((1, 3, 224, 224),)``. Required.
``INPUT_DTYPES``
    The dtype of each input, such as ``("float32",)``, which is the default.
``WEIGHTS``
    A ``.safetensors``, ``.pt`` or ``.pth`` file, or a directory with safetensors as Hugging Face
    lays them out (``checkpoint``), relative to the model file. Without it the network keeps the
    weights that ``build`` gives it.
``TITLE``, ``SOURCE``, ``LICENSE``
    For people. ``TITLE`` defaults to the docstring's first line.
``TASK``, ``INPUT``, ``ACCURACY``, ``MEASURED``, ``NOTE``
    The network's card, for people too: what its output says, what its input is, the accuracy
    that others have published (``None`` where nobody has), the accuracy that the file's own
    weights were measured to have, and whatever else one should know.
``DATA``
    A directory of labelled examples, relative to the model file, to try the network on.
``PREPROCESSING``
    What turns a photo into the input: ``"imagenet"`` or ``"caffe"``, as in
    ``mobilekit.model.preprocess``.
``EXAMPLES``
    In its place, suffixes such as ``(".wav",)`` of files that the file's own function
    ``read_example(path)`` turns into the input, a numpy array.
``CLASSES``
    The names of the classes, in the order of the outputs.

``build`` and ``read_example`` may import modules that lie beside the file.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from mobilekit.contract.protocol import DType
from mobilekit.errors import ModelFileError, UnknownModelError, WeightsError
from mobilekit.hashing import file_sha256
from mobilekit.model import checkpoint, foreign
from mobilekit.records.network import ModelCard, ModelSpec, Variant

_EXAMPLE = "INPUT_SHAPES = ((1, 3, 224, 224),)"
_CONVENTION = f"A model file holds `{_EXAMPLE}` and `def build():` returning a torch.nn.Module."


def find_model(name_or_path: str, *, weights: Path | None = None) -> ModelSpec:
    """The model of that name, or of that file if it ends in ``.py``.

    A file of another tool (``.onnx``, ``.pt2``) is read as ``foreign`` does. A name is looked
    up in ``./models`` and then among mobilekit's own. ``weights`` takes the place of those that
    the file names.

    Raises ``UnknownModelError`` if there is none, ``ModelFileError`` for a file that does not
    follow the convention, ``WeightsError`` for weights that are not there.
    """
    if name_or_path.endswith(".py"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UnknownModelError(
                f"There is no model file {name_or_path}",
                fix="Check the path, which is relative to the working directory.",
                looked_in=Path.cwd(),
            )
        return read_spec(path, weights=weights)
    known = _named_files()
    if name_or_path in known:
        return read_spec(known[name_or_path], weights=weights)
    if name_or_path.endswith(foreign.SUFFIXES) or Path(name_or_path).is_dir():
        return foreign.read_spec(Path(name_or_path), weights=weights)
    near = difflib.get_close_matches(name_or_path.lower(), known, n=3, cutoff=0.5)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownModelError(
        f"There is no model named {name_or_path!r}",
        fix=f"{guess}`mobilekit models` lists them all; "
        "to use a file of your own, give its path, such as ./mynet.py or ./mynet.onnx.",
        known=", ".join(sorted(known)),
    )


def list_models() -> list[ModelSpec]:
    """Every model that can be asked for by name, in the order of names.

    A file in ``./models`` that does not follow the convention is left out, since it may be
    something else entirely; asking for it by name says what is wrong with it.
    """
    specs = []
    for _, path in sorted(_named_files().items()):
        try:
            specs.append(read_spec(path))
        except (ModelFileError, WeightsError):
            continue
    return specs


def read_spec(path: Path, *, weights: Path | None = None) -> ModelSpec:
    """What a model file declares. The file is parsed, not run.

    Raises ``ModelFileError`` or ``WeightsError``.
    """
    path = path.resolve()
    source = _read_source(path)
    tree = _parse(source, path)
    constants = _read_constants(tree, path)
    if "build" not in _bound_names(tree):
        raise _bad_file(path, 1, "it defines no build()")
    if "INPUT_SHAPES" not in constants:
        raise _bad_file(path, 1, "it declares no INPUT_SHAPES")
    shapes = _input_shapes(constants["INPUT_SHAPES"], path)
    dtypes = _input_dtypes(constants.get("INPUT_DTYPES"), len(shapes), path)
    docstring = ast.get_docstring(tree) or path.stem
    _card(constants, path)  # a bad one is refused whatever is asked for
    weights_path = _weights_path(weights, constants.get("WEIGHTS"), path)
    return ModelSpec(
        name=path.stem,
        path=str(path),
        title=_text(constants, "TITLE", path) or docstring.splitlines()[0],
        source=_text(constants, "SOURCE", path) or "",
        license=_text(constants, "LICENSE", path) or "",
        input_shapes=shapes,
        input_dtypes=dtypes,
        weights_path=str(weights_path) if weights_path else None,
        variant=Variant(),
        content_sha256=_content_sha256(path, weights_path),
    )


def read_card(spec: ModelSpec) -> ModelCard:
    """What a model's file says of it to people; nothing, if it is another tool's.

    Raises ``ModelFileError``.
    """
    path = Path(spec.path)
    if path.suffix != ".py":
        return ModelCard(
            task=None, input=None, published_accuracy=None, measured_accuracy=None, note=None
        )
    return _card(_read_constants(_parse(_read_source(path), path), path), path)


class FrontEnd(NamedTuple):
    """What turns files into a network's inputs, and its outputs into names."""

    data: Path | None
    """Labelled examples that come with the network."""
    preprocessing: str | None
    """One of ``PREPROCESSINGS``; ``None``: the model file's ``read_example``, or none at all."""
    suffixes: tuple[str, ...]
    """Of the files that can be read, in lower case; empty where none can."""
    classes: tuple[str, ...] | None


def read_front_end(spec: ModelSpec) -> FrontEnd:
    """What a model's file declares of its examples; raises ``ModelFileError``. Imports numpy."""
    from mobilekit.model.preprocess import PREPROCESSINGS, SUFFIXES

    path = Path(spec.path)
    tree = _parse(_read_source(path), path)
    constants = _read_constants(tree, path)
    has_reader = "read_example" in _bound_names(tree)
    preprocessing = constants.get("PREPROCESSING")
    if has_reader != ("EXAMPLES" in constants) or (has_reader and preprocessing is not None):
        raise _bad_file(
            path, 1, "read_example() and EXAMPLES go together, and PREPROCESSING without them"
        )
    if preprocessing is not None and preprocessing.value not in tuple(PREPROCESSINGS):
        known = " or ".join(PREPROCESSINGS)
        raise _bad_file(path, preprocessing.line, f"PREPROCESSING must be {known}")
    data = _text(constants, "DATA", path)
    suffixes = _texts(constants, "EXAMPLES", path)
    return FrontEnd(
        data=path.parent / data if data else None,
        preprocessing=preprocessing.value if preprocessing is not None else None,
        suffixes=SUFFIXES if preprocessing is not None else suffixes or (),
        classes=_texts(constants, "CLASSES", path),
    )


def with_variant(spec: ModelSpec, variant: Variant) -> ModelSpec:
    """A variant of a network of which nothing is changed yet."""
    assert spec.variant == Variant()
    content_sha256 = spec.content_sha256
    if variant.activation is not None:
        content = f"{content_sha256}\0activation\0{variant.activation}"
        content_sha256 = hashlib.sha256(content.encode()).hexdigest()
    return msgspec.structs.replace(spec, variant=variant, content_sha256=content_sha256)


def _named_files() -> dict[str, Path]:
    """Model files by name; those in ``./models`` take precedence over mobilekit's own."""
    files: dict[str, Path] = {}
    for directory in (_own_directory(), Path.cwd() / "models"):
        files |= {p.stem: p for p in directory.glob("*.py") if not p.name.startswith("_")}
    return files


def _own_directory() -> Path:
    """``networks`` beside this file in an installed wheel, ``models`` in a source tree."""
    installed = Path(__file__).parent / "networks"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "models"


# --- reading a file ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Constant:
    value: Any
    line: int


_CONSTANTS = frozenset(
    {"TITLE", "SOURCE", "LICENSE", "INPUT_SHAPES", "INPUT_DTYPES", "WEIGHTS"}
    | {"TASK", "INPUT", "ACCURACY", "MEASURED", "NOTE"}
    | {"DATA", "PREPROCESSING", "EXAMPLES", "CLASSES"}
)


def _read_source(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror}", fix="Check that it is a readable file."
        ) from None


def _parse(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise _bad_file(path, error.lineno or 1, f"a syntax error: {error.msg}") from None
    except ValueError as error:  # a null byte, in some versions of Python
        raise _bad_file(path, 1, f"it is not Python: {error}") from None


def _read_constants(tree: ast.Module, path: Path) -> dict[str, _Constant]:
    constants = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _CONSTANTS:
                try:
                    literal = ast.literal_eval(value)
                except (ValueError, TypeError):
                    raise _bad_file(
                        path,
                        statement.lineno,
                        f"{target.id} must be a literal, since it is read without running the file",
                    ) from None
                constants[target.id] = _Constant(literal, statement.lineno)
    return constants


def _bound_names(tree: ast.Module) -> set[str]:
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


def _input_shapes(constant: _Constant, path: Path) -> tuple[tuple[int, ...], ...]:
    try:
        shapes = msgspec.convert(constant.value, tuple[tuple[int, ...], ...])
    except msgspec.ValidationError:
        shapes = ()
    if not shapes or any(size < 1 for shape in shapes for size in shape):
        raise _bad_file(
            path,
            constant.line,
            "INPUT_SHAPES must be a tuple with one shape of positive sizes for each input",
        )
    return shapes


def _input_dtypes(constant: _Constant | None, inputs: int, path: Path) -> tuple[str, ...]:
    if constant is None:
        return ("float32",) * inputs
    try:
        dtypes: tuple[str, ...] = msgspec.convert(constant.value, tuple[DType, ...])
    except msgspec.ValidationError:
        dtypes = ()
    if len(dtypes) != inputs:
        raise _bad_file(
            path,
            constant.line,
            f"INPUT_DTYPES must be a tuple with one of {', '.join(get_args(DType))} "
            f"for each of the {inputs} inputs",
        )
    return dtypes


def _text(constants: dict[str, _Constant], name: str, path: Path) -> str | None:
    """A constant for people; ``None`` if the file says nothing."""
    constant = constants.get(name)
    if constant is None or constant.value is None:
        return None
    if not isinstance(constant.value, str):
        raise _bad_file(path, constant.line, f"{name} must be a string")
    return constant.value


def _card(constants: dict[str, _Constant], path: Path) -> ModelCard:
    return ModelCard(
        task=_text(constants, "TASK", path),
        input=_text(constants, "INPUT", path),
        published_accuracy=_text(constants, "ACCURACY", path),
        measured_accuracy=_text(constants, "MEASURED", path),
        note=_text(constants, "NOTE", path),
    )


def _texts(constants: dict[str, _Constant], name: str, path: Path) -> tuple[str, ...] | None:
    constant = constants.get(name)
    if constant is None:
        return None
    try:
        return msgspec.convert(constant.value, tuple[str, ...])
    except msgspec.ValidationError:
        raise _bad_file(path, constant.line, f"{name} must be a tuple of strings") from None


def _weights_path(given: Path | None, declared: _Constant | None, path: Path) -> Path | None:
    if given is not None:
        weights = given.resolve()
    elif declared is None or declared.value is None:
        return None
    elif isinstance(declared.value, str):
        weights = (path.parent / declared.value).resolve()
    else:
        raise _bad_file(path, declared.line, "WEIGHTS must be a string")
    if weights.is_dir():
        found = [weights / name for name in checkpoint.NAMES if (weights / name).is_file()]
        if not found:
            raise WeightsError(
                f"The directory {weights} holds no weights",
                fix=f"Give one with {' or '.join(checkpoint.NAMES)}, or the file itself.",
                model=path,
            )
        return found[0]
    if not weights.is_file():
        raise WeightsError(
            f"There is no weights file {weights}",
            fix="Check the path given with --weights."
            if given is not None
            else "Put the file there, or give another with --weights.",
            model=path,
        )
    return weights


def _bad_file(path: Path, line: int, problem: str) -> ModelFileError:
    return ModelFileError(
        f"{path.name} is not a model file: {problem}", fix=_CONVENTION, at=f"{path}:{line}"
    )


# --- content -----------------------------------------------------------------------------------


def _content_sha256(path: Path, weights: Path | None) -> str:
    """Over the file, the local modules that it imports, and the weights.

    Names take part only relative to the file, so that a copied folder has the same hash. A data
    file that ``build`` opens by itself is not seen.
    """
    root = path.parent
    modules = {path: b"model"}
    pending = [path]
    while pending:
        importer = pending.pop()
        for module in _local_imports(importer, root):
            if module not in modules:
                modules[module] = module.relative_to(root).as_posix().encode()
                pending.append(module)
    digest = hashlib.sha256()
    for module, name in sorted(modules.items(), key=lambda item: item[1]):
        digest.update(name + b"\0" + file_sha256(module).encode() + b"\0")
    if weights is not None:
        # The suffix chooses the reader.
        digest.update(b"weights" + weights.suffix.encode())
        for file in checkpoint.find_files(weights):
            digest.update(b"\0" + file_sha256(file).encode())
    return digest.hexdigest()


def _local_imports(importer: Path, root: Path) -> Iterator[Path]:
    """Files below ``root`` that importing what ``importer`` imports, anywhere in it, would run."""
    package = importer.parent.relative_to(root).parts
    for node in ast.walk(_parse(_read_source(importer), importer)):
        if isinstance(node, ast.Import):
            imported = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) - node.level + 1] if node.level else ()
            base = origin + tuple((node.module or "").split(".") if node.module else ())
            # `from a import b` runs a/b.py if b is a module.
            imported = [(*base, alias.name) for alias in node.names]
        else:
            continue
        for parts in imported:
            for length in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:length])
                for candidate in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                    if candidate.is_file():
                        yield candidate
