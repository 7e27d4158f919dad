"""Labelled examples in a directory, read as one network's inputs.

A directory holds one of

- ``inputs.npy`` and ``labels.npy``: inputs as the network takes them, stacked, and class indices;
- ``labels.csv`` with the columns ``file`` and ``label``, the files relative to the directory;
- a folder for each class, named by it.

A label is a class index, a name out of the model file's ``CLASSES``, or, where there is exactly one
folder for each class, a folder's name, in their order (as in torchvision's ``ImageFolder``).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mobilekit.contract.outputs import Array
from mobilekit.errors import DataError
from mobilekit.model.files import BAD_ARRAYS
from mobilekit.model.preprocess import PREPROCESSINGS
from mobilekit.model.zoo import FrontEnd, read_front_end
from mobilekit.records.network import ModelSpec

INPUTS, LABELS, TABLE = "inputs.npy", "labels.npy", "labels.csv"
LAYOUTS = (
    f"A directory of examples holds {INPUTS} and {LABELS}, or {TABLE} with the columns file and "
    "label, or a folder for each class (`mobilekit docs evaluate`)."
)


class Dataset(NamedTuple):
    """Examples that are read one at a time, so that a large directory needs little memory."""

    directory: Path
    names: tuple[str, ...]
    """What to call each example in an error."""
    labels: tuple[str, ...]
    folders: bool
    """Whether the labels are folders' names."""
    classes: tuple[str, ...] | None
    """The model file's ``CLASSES``."""
    read: Callable[[int], Array]
    """The input of one example, of the network's own shape and type; raises ``DataError``."""


@contextmanager
def open_dataset(spec: ModelSpec, directory: Path | None) -> Iterator[Dataset]:
    """The examples in ``directory``, or those that the model file itself names as ``DATA``.

    Raises ``DataError`` for a directory that is of none of the layouts, or whose files the network
    cannot read, and ``ModelFileError`` for a model file that contradicts itself.
    """
    front_end = read_front_end(spec)
    found = directory or front_end.data
    if found is None:
        raise DataError(
            f"{spec.name} comes without examples",
            fix="Give a directory of labelled examples with --data (`mobilekit docs evaluate`).",
        )
    if not found.is_dir():
        raise DataError(f"There is no directory {found}", fix=LAYOUTS)
    if len(spec.input_shapes) != 1 or spec.input_shapes[0][:1] != (1,):
        raise DataError(
            f"{spec.name} does not take one example at a time",
            inputs=", ".join(str(shape) for shape in spec.input_shapes),
            fix="Only a network with one input and a batch of 1 can be evaluated.",
        )
    if (found / INPUTS).exists() or (found / LABELS).exists():
        yield _stacked(spec, front_end, found)
        return
    if not front_end.suffixes:
        raise DataError(
            f"{spec.name} does not say how a file becomes its input",
            directory=found,
            fix=f"Give its inputs as {INPUTS} and {LABELS}, or declare PREPROCESSING or a "
            "read_example() in the model file (`mobilekit docs evaluate`).",
        )
    table = (found / TABLE).exists()
    files = _table(found) if table else _folders(found, front_end.suffixes)
    with _file_reader(spec, front_end) as read_file:
        yield Dataset(
            directory=found,
            names=tuple(str(path) for path, _ in files),
            labels=tuple(label for _, label in files),
            folders=not table,
            classes=front_end.classes,
            read=lambda index: read_file(files[index][0]),
        )


def class_indices(dataset: Dataset, classes: int) -> tuple[int, ...]:
    """The index of each example's class among the network's ``classes`` outputs.

    Raises ``DataError`` for a label that is none of them.
    """
    known: dict[str, int] = {}
    if dataset.classes is not None and len(dataset.classes) != classes:
        raise DataError(
            f"The network has {classes} outputs, but its CLASSES name {len(dataset.classes)}",
            fix="Correct the model file.",
        )
    if dataset.classes is not None:
        known = {name: index for index, name in enumerate(dataset.classes)}
    elif dataset.folders and not all(label.isdecimal() for label in dataset.labels):
        names = sorted(set(dataset.labels))
        if len(names) == classes:
            known = {name: index for index, name in enumerate(names)}
    known |= {str(index): index for index in range(classes) if str(index) not in known}
    indices = []
    for name, label in zip(dataset.names, dataset.labels, strict=True):
        # Folders may be called 00 to 09.
        index = known.get(label, known.get(label.lstrip("0") or "0"))
        if index is None:
            raise DataError(
                f"{label!r} is none of the network's {classes} classes",
                example=name,
                fix=f"Labels are 0 to {classes - 1}, or names that the model file's CLASSES list; "
                f"folders may have other names where there is one for each of the {classes}.",
            )
        indices.append(index)
    return tuple(indices)


# --- the layouts -------------------------------------------------------------------------------


def _stacked(spec: ModelSpec, front_end: FrontEnd, directory: Path) -> Dataset:
    inputs, labels = _load_array(directory / INPUTS), _load_array(directory / LABELS)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise DataError(
            f"{LABELS} holds no class indices: {labels.dtype} {labels.shape}",
            directory=directory,
            fix="It must be one integer for each example.",
        )
    if inputs.ndim < 1 or len(inputs) != len(labels):
        raise DataError(
            f"{INPUTS} of the shape {inputs.shape} does not go with {len(labels)} labels",
            directory=directory,
            fix="Its first dimension must be the examples.",
        )
    return Dataset(
        directory=directory,
        names=tuple(f"{INPUTS}[{index}]" for index in range(len(labels))),
        labels=tuple(str(label) for label in labels),
        folders=False,
        classes=front_end.classes,
        read=lambda index: _fitting(spec, inputs[index], f"{INPUTS}[{index}]"),
    )


def _load_array(path: Path) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except BAD_ARRAYS as error:
        raise DataError(
            f"{path.name} cannot be read: {error}",
            directory=path.parent,
            fix=f"{INPUTS} and {LABELS} go together, as numpy.save() writes them.",
        ) from None


def _table(directory: Path) -> list[tuple[Path, str]]:
    path = directory / TABLE
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{TABLE} cannot be read: {error}", file=path, fix=LAYOUTS) from None
    if not rows:
        raise DataError(f"{TABLE} names no examples", file=path, fix=LAYOUTS)
    files = []
    for number, row in enumerate(rows, start=1):
        name, label = row.get("file"), row.get("label")
        if not name or not label:
            raise DataError(
                f"Row {number} of {TABLE} has no file or no label",
                file=path,
                fix="Its first line must be file,label and each other line a file and its label.",
            )
        files.append((directory / name, label))
    return files


def _folders(directory: Path, suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    files = [
        (path, folder.name)
        for folder in sorted(directory.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes
    ]
    if not files:
        kinds = " or ".join(suffixes)
        raise DataError(f"{directory} holds no folders of {kinds} files", fix=LAYOUTS)
    return files


# --- reading -----------------------------------------------------------------------------------


@contextmanager
def _file_reader(spec: ModelSpec, front_end: FrontEnd) -> Iterator[Callable[[Path], Array]]:
    """What turns a file into an input of this network."""
    if front_end.preprocessing is not None:
        shape = spec.input_shapes[0]
        if len(shape) != 4 or shape[1] != 3:
            raise DataError(
                f"{spec.name} takes {shape}, not a colour photo",
                fix="PREPROCESSING is for inputs of (1, 3, height, width).",
                model=spec.path,
            )
        preprocess = PREPROCESSINGS[front_end.preprocessing]
        yield lambda path: _read(spec, lambda path: preprocess(path, shape[2], shape[3]), path)
    else:
        from mobilekit.model.load import example_reader

        with example_reader(spec) as read:
            yield lambda path: _read(spec, read, path)


def _read(spec: ModelSpec, read: Callable[[Path], object], path: Path) -> Array:
    try:
        example = read(path)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}", fix=f"Correct {TABLE}.") from None
    except Exception as error:
        said = str(error).splitlines()[:1]
        raise DataError(
            f"{path.name} cannot be read as an input of {spec.name}: "
            f"{': '.join((type(error).__name__, *said))}",
            file=path,
            fix="Take it out, or convert it to what the network reads.",
        ) from None
    return _fitting(spec, np.asarray(example), str(path))


def _fitting(spec: ModelSpec, example: np.ndarray[Any, Any], name: str) -> Array:
    """The example with the network's batch of 1; raises ``DataError`` if it is no input of it."""
    shape, dtype = spec.input_shapes[0], spec.input_dtypes[0]
    if example.shape not in (shape, shape[1:]) or example.dtype.name != dtype:
        raise DataError(
            f"An example of {spec.name} is {example.dtype} {example.shape}, "
            f"not {dtype} {shape[1:]}",
            example=name,
            fix="Examples must have the network's own shape and type, with or without the batch.",
        )
    if not np.isfinite(example).all():
        raise DataError(
            "An example holds values that are not finite numbers", example=name, fix="Take it out."
        )
    # A copy that torch takes: it may be written to, and its bytes are in this computer's order.
    return np.array(example, example.dtype.newbyteorder("="), order="C").reshape(shape)
