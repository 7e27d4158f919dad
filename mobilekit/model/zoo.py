"""Finds networks' files and reads what they declare, without running them and without torch.

``FILE.py:NAME`` is what the function or class NAME of a file makes, without arguments; the file
need not declare anything then, if the command says what its inputs are (``Given``).

A model file is a Python file with a function ``build() -> torch.nn.Module`` and these constants,
which must be literals, because they are read with ``ast.literal_eval``:

``INPUT_SHAPES``
    The shape of each input, such as ``((1, 3, 224, 224),)``. Required.
``INPUT_DTYPES``
    The dtype of each input, such as ``("float32",)``, which is the default.
``WEIGHTS``
    A file with a state dict, as ``weights`` reads it, or a directory as Hugging Face lays it out
    (``checkpoint``), relative to the model file. Without it the network keeps the weights that
    ``build`` gives it.
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
import math
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import DType
from mobilekit.errors import ModelFileError, UnknownModelError, UsageError, WeightsError
from mobilekit.hashing import file_sha256
from mobilekit.model import checkpoint, foreign
from mobilekit.model.calibration import find_calibration
from mobilekit.model.given import NOTHING, Given, InputKind, read_kinds
from mobilekit.model.local_modules import content_sha256
from mobilekit.model.source import (
    Constant,
    bad_file,
    bound_names,
    docstring_of,
    network_classes,
    open_argument,
    parse,
    read_constants,
    read_source,
    required_arguments,
)
from mobilekit.records.network import ModelCard, ModelSpec, Variant

MOST_ELEMENTS = 2**30
"""Of an input: 4 GiB of float32."""
BUILD = "build"
"""The function that makes the network, where the command names no other."""


def find_model(name_or_path: str, given: Given = NOTHING) -> ModelSpec:
    """The model of that name, or of that file if it ends in ``.py`` or ``.py:NAME``.

    A file of another tool (``.onnx``, ``.pt2``) is read as ``foreign`` does. A name is looked
    up in ``./models`` and then among mobilekit's own.

    Raises ``UnknownModelError`` if there is none, ``ModelFileError`` for a file that does not
    follow the convention or does not define NAME, ``WeightsError`` for weights that are not there,
    and ``UsageError`` for inputs that do not fit.
    """
    file, builder = split_name(name_or_path)
    if file.endswith(".py"):
        path = Path(file)
        if not path.is_file():
            raise UnknownModelError(
                f"There is no model file {file}",
                fix="Check the path, which is relative to the working directory.",
                looked_in=Path.cwd(),
            )
        return read_spec(path, given, builder=builder)
    known = _named_files()
    if name_or_path in known:
        return read_spec(known[name_or_path], given)
    if name_or_path.endswith(foreign.SUFFIXES) or Path(name_or_path).is_dir():
        return _with_inputs(foreign.read_spec(Path(name_or_path), weights=given.weights), given)
    near = difflib.get_close_matches(name_or_path.lower(), known, n=3, cutoff=0.5)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownModelError(
        f"There is no model named {name_or_path!r}",
        fix=f"{guess}`mobilekit models` lists them all; "
        "to use a file of your own, give its path, such as ./mynet.py, ./mynet.py:MyNet or "
        "./mynet.onnx.",
        known=", ".join(sorted(known)),
    )


def split_name(name_or_path: str) -> tuple[str, str]:
    """A file and what makes the network in it: ``unet.py:UNet``; of anything else, ``build``."""
    file, _, builder = name_or_path.rpartition(":")
    return (file, builder) if file.endswith(".py") and builder else (name_or_path, BUILD)


def network_name(name_or_path: str) -> str:
    """What tables, ids and the store call it: ``unet.UNet``."""
    file, builder = split_name(name_or_path)
    if not file.endswith((".py", *foreign.SUFFIXES)):
        return file
    stem = Path(file).stem
    return stem if builder == BUILD else f"{stem}.{builder}"


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


def read_spec(path: Path, given: Given = NOTHING, *, builder: str = BUILD) -> ModelSpec:
    """What a file declares of the network that ``builder`` makes. The file is parsed, not run.

    Raises ``ModelFileError``, ``WeightsError`` or ``UsageError``.
    """
    path = path.resolve()
    tree = parse(read_source(path), path)
    constants = read_constants(tree, path, _CONSTANTS)
    _check_builder(tree, path, builder)
    declared = _declared_kinds(constants, path)
    if not declared and not given.kinds and given.inputs is None:
        if builder == BUILD:
            raise bad_file(path, 1, "it declares no INPUT_SHAPES")
        raise UsageError(
            f"{path.name} does not say what {builder} takes",
            fix=f"Add the shape of each input, batch first: `{path.name}:{builder} --input "
            "1x3x224x224`, for integers `--input int64:1x128`.",
        )
    docstring = ast.get_docstring(tree) or path.stem
    _card(constants, path)  # a bad one is refused whatever is asked for
    weights_path = _weights_path(given.weights, constants.get("WEIGHTS"), path)
    content = content_sha256(path, weights_path)
    title = _text(constants, "TITLE", path) or docstring.splitlines()[0]
    if builder != BUILD:
        title = docstring_of(tree, builder) or f"{builder} of {path.name}"
        content = _hashed(content, "builder", builder)
    return _with_inputs(
        ModelSpec(
            name=network_name(f"{path}:{builder}"),
            path=str(path),
            builder=builder,
            title=title,
            source=_text(constants, "SOURCE", path) or "",
            license=_text(constants, "LICENSE", path) or "",
            input_shapes=tuple(kind.shape for kind in declared),
            input_dtypes=tuple(kind.dtype for kind in declared),
            inputs_path=None,
            weights_path=str(weights_path) if weights_path else None,
            variant=Variant(),
            content_sha256=content,
        ),
        given,
    )


def _check_builder(tree: ast.Module, path: Path, builder: str) -> None:
    """Raises ``ModelFileError`` where the file does not define it, or it cannot be called so."""
    names = bound_names(tree)
    classes = network_classes(tree)
    if builder not in names and builder == BUILD and classes:
        of = f"{path.name}:{classes[-1]}"
        raise ModelFileError(
            f"{path.name} defines no build()",
            fix=f"Name what makes the network: `{of}`, with `--input` and the shape of each "
            f"input, as in `--input 1x3x224x224`; or let `mobilekit init {of}` write a model file.",
            networks=", ".join(classes),
            at=path,
        )
    if builder not in names and builder == BUILD:
        raise bad_file(path, 1, "it defines no build()")
    if builder not in names:
        near = difflib.get_close_matches(builder, sorted(names), n=3, cutoff=0.5)
        raise ModelFileError(
            f"{path.name} defines no {builder}",
            fix=f"Did you mean {' or '.join(near)}?" if near else "Name a class or function of it.",
            networks=", ".join(classes) or "none found",
            at=path,
        )
    if builder == BUILD:
        left_open = open_argument(tree)
        if left_open is not None:
            name, line = left_open
            raise bad_file(path, line, f"build() gives ... for {name}: put its value there")
    elif arguments := required_arguments(tree, builder):
        raise needs_arguments(path, builder, arguments)


def needs_arguments(path: Path, builder: str, arguments: tuple[str, ...]) -> ModelFileError:
    """Of a class or function that cannot be called without arguments."""
    call = f"{builder}({', '.join(f'{name}=...' for name in arguments)})"
    return ModelFileError(
        f"{builder} of {path.name} needs arguments",
        fix=f"Put a function with their values into the file and name that: `def my_network(): "
        f"return {call}`, then `{path.name}:my_network`; or let `mobilekit init "
        f"{path.name}:{builder}` write a model file in which to fill them in.",
        arguments=", ".join(arguments),
        at=path,
    )


def _declared_kinds(constants: dict[str, Constant], path: Path) -> tuple[InputKind, ...]:
    if "INPUT_SHAPES" not in constants:
        return ()
    shapes = _input_shapes(constants["INPUT_SHAPES"], path)
    dtypes = _input_dtypes(constants.get("INPUT_DTYPES"), len(shapes), path)
    return tuple(map(InputKind, dtypes, shapes))


def _with_inputs(spec: ModelSpec, given: Given) -> ModelSpec:
    """With the inputs that the command gives; raises ``UsageError`` where they do not fit."""
    declared = tuple(map(InputKind, spec.input_dtypes, spec.input_shapes))
    kinds = given.kinds or declared
    if Path(spec.path).suffix != ".py" and kinds != declared:
        raise UsageError(
            f"{Path(spec.path).name} takes inputs of its own shapes",
            inputs=_kinds_text(declared),
            fix="Leave --input out; a file of another tool was made for these.",
        )
    if given.inputs is not None:
        found = read_kinds(given.inputs)
        if kinds and found != kinds:
            raise UsageError(
                f"{given.inputs.name} does not hold what {spec.name} takes",
                found=_kinds_text(found),
                wanted=_kinds_text(kinds),
                fix="Save arrays of these types and shapes"
                + (
                    f", or give {' '.join(f'--input {kind.text}' for kind in found)} to run the "
                    "network on what is there."
                    if Path(spec.path).suffix == ".py"
                    else "."
                ),
            )
        kinds = found
        content = _hashed(spec.content_sha256, "inputs", file_sha256(given.inputs))
        spec = msgspec.structs.replace(
            spec, inputs_path=str(given.inputs.resolve()), content_sha256=content
        )
    for kind in kinds:
        if math.prod(kind.shape) > MOST_ELEMENTS:
            raise ModelFileError(
                f"{spec.name} takes an input of {math.prod(kind.shape):,} numbers, which no phone "
                "has the memory for",
                fix=f"Give one of at most {MOST_ELEMENTS:,}.",
                input=kind.text,
                file=spec.path,
            )
    if kinds != declared:
        content = _hashed(spec.content_sha256, "input kinds", _kinds_text(kinds))
        spec = msgspec.structs.replace(
            spec,
            input_shapes=tuple(kind.shape for kind in kinds),
            input_dtypes=tuple(kind.dtype for kind in kinds),
            content_sha256=content,
        )
    return spec


def _kinds_text(kinds: tuple[InputKind, ...]) -> str:
    return ", ".join(kind.text for kind in kinds)


def _hashed(content_sha256: str, what: str, text: str) -> str:
    return hashlib.sha256(f"{content_sha256}\0{what}\0{text}".encode()).hexdigest()


def read_card(spec: ModelSpec) -> ModelCard:
    """What a model's file says of it to people; nothing, if it is another tool's.

    Raises ``ModelFileError``.
    """
    path = Path(spec.path)
    if path.suffix != ".py":
        return ModelCard(
            task=None, input=None, published_accuracy=None, measured_accuracy=None, note=None
        )
    return _card(read_constants(parse(read_source(path), path), path, _CONSTANTS), path)


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
    tree = parse(read_source(path), path)
    constants = read_constants(tree, path, _CONSTANTS)
    has_reader = "read_example" in bound_names(tree)
    preprocessing = constants.get("PREPROCESSING")
    if has_reader != ("EXAMPLES" in constants) or (has_reader and preprocessing is not None):
        raise bad_file(
            path, 1, "read_example() and EXAMPLES go together, and PREPROCESSING without them"
        )
    if preprocessing is not None and preprocessing.value not in tuple(PREPROCESSINGS):
        known = " or ".join(PREPROCESSINGS)
        raise bad_file(path, preprocessing.line, f"PREPROCESSING must be {known}")
    data = _text(constants, "DATA", path)
    suffixes = _texts(constants, "EXAMPLES", path)
    return FrontEnd(
        data=path.parent / data if data else None,
        preprocessing=preprocessing.value if preprocessing is not None else None,
        suffixes=SUFFIXES if preprocessing is not None else suffixes or (),
        classes=_texts(constants, "CLASSES", path),
    )


def with_variant(spec: ModelSpec, variant: Variant, calibration: Path | None = None) -> ModelSpec:
    """A variant of a network of which nothing is changed yet; its precision, its backend and which
    of its levels is run are its program's, and the network's content is the same.

    Of ``calibration`` a whitened variant is made; raises ``UsageError`` where it is of none or
    other ones.
    """
    assert spec.variant == Variant()
    whitened_by = variant.whitened_by
    if whitened_by is not None:
        examples = find_calibration(calibration, whitened_by)
        spec = msgspec.structs.replace(spec, calibration_path=str(examples.resolve()))
    content = spec.content_sha256
    if variant.activation is not None:
        content = _hashed(content, "activation", variant.activation)
    if variant.compression is not None:
        content = _hashed(content, "compression", encode(variant.compression).decode())
    if variant.level is not None:
        content = _hashed(content, "levels", encode(variant.level.ladder).decode())
    if variant.storage is not None:
        content = _hashed(content, "storage", encode(variant.storage).decode())
    return msgspec.structs.replace(spec, variant=variant, content_sha256=content)


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


_CONSTANTS = frozenset(
    {"TITLE", "SOURCE", "LICENSE", "INPUT_SHAPES", "INPUT_DTYPES", "WEIGHTS"}
    | {"TASK", "INPUT", "ACCURACY", "MEASURED", "NOTE"}
    | {"DATA", "PREPROCESSING", "EXAMPLES", "CLASSES"}
)


def _input_shapes(constant: Constant, path: Path) -> tuple[tuple[int, ...], ...]:
    try:
        shapes = msgspec.convert(constant.value, tuple[tuple[int, ...], ...])
    except msgspec.ValidationError:
        shapes = ()
    if not shapes or any(size < 1 for shape in shapes for size in shape):
        raise bad_file(
            path,
            constant.line,
            "INPUT_SHAPES must be a tuple with one shape of positive sizes for each input",
        )
    return shapes


def _input_dtypes(constant: Constant | None, inputs: int, path: Path) -> tuple[str, ...]:
    if constant is None:
        return ("float32",) * inputs
    try:
        dtypes: tuple[str, ...] = msgspec.convert(constant.value, tuple[DType, ...])
    except msgspec.ValidationError:
        dtypes = ()
    if len(dtypes) != inputs:
        raise bad_file(
            path,
            constant.line,
            f"INPUT_DTYPES must be a tuple with one of {', '.join(get_args(DType))} "
            f"for each of the {inputs} inputs",
        )
    return dtypes


def _text(constants: dict[str, Constant], name: str, path: Path) -> str | None:
    """A constant for people; ``None`` if the file says nothing."""
    constant = constants.get(name)
    if constant is None or constant.value is None:
        return None
    if not isinstance(constant.value, str):
        raise bad_file(path, constant.line, f"{name} must be a string")
    return constant.value


def _card(constants: dict[str, Constant], path: Path) -> ModelCard:
    return ModelCard(
        task=_text(constants, "TASK", path),
        input=_text(constants, "INPUT", path),
        published_accuracy=_text(constants, "ACCURACY", path),
        measured_accuracy=_text(constants, "MEASURED", path),
        note=_text(constants, "NOTE", path),
    )


def _texts(constants: dict[str, Constant], name: str, path: Path) -> tuple[str, ...] | None:
    constant = constants.get(name)
    if constant is None:
        return None
    try:
        return msgspec.convert(constant.value, tuple[str, ...])
    except msgspec.ValidationError:
        raise bad_file(path, constant.line, f"{name} must be a tuple of strings") from None


def _weights_path(given: Path | None, declared: Constant | None, path: Path) -> Path | None:
    if given is not None:
        weights = given.resolve()
    elif declared is None or declared.value is None:
        return None
    elif isinstance(declared.value, str):
        weights = (path.parent / declared.value).resolve()
    else:
        raise bad_file(path, declared.line, "WEIGHTS must be a string")
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
