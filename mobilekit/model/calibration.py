"""The examples from which an int8 program's activation ranges are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mobilekit.errors import UsageError
from mobilekit.hashing import file_sha256
from mobilekit.model.files import BAD_ARRAYS
from mobilekit.records.network import ModelSpec

if TYPE_CHECKING:
    from mobilekit.contract.outputs import Array

Example = tuple["Array", ...]
"""One array for each input, of its type and shape."""


SUFFIXES = (".npy", ".npz")


def calibration_files(path: Path) -> list[Path]:
    """The file itself, or the ``.npy`` and ``.npz`` files of a directory by name; raises
    ``UsageError``."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files or not all(file.is_file() for file in files):
        raise UsageError(
            "There is no .npy or .npz file"
            if path.is_dir()
            else "There is no such calibration file",
            path=path,
            fix="--calibration takes a .npy or .npz file, or a directory of them.",
        )
    return files


def calibration_sha256(path: Path) -> str:
    """Of the content of all its files, without importing numpy."""
    digests = [file_sha256(file) for file in calibration_files(path)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def find_calibration(path: Path | None, sha256: str) -> Path:
    """The examples of that hash (``calibration_sha256``), by which a network was whitened; raises
    ``UsageError`` where none are given, or others."""
    if path is None:
        raise UsageError(
            "--compressed is whitened by examples, and there is no --calibration",
            wanted=sha256,
            fix="Give the --calibration that `mobilekit compress` named when it wrote the file.",
        )
    found = calibration_sha256(path)
    if found != sha256:
        raise UsageError(
            "--compressed is whitened by other examples than these",
            path=path,
            found=found,
            wanted=sha256,
            fix="Give the --calibration that `mobilekit compress` named when it wrote the file, or "
            "compress anew with these.",
        )
    return path


def read_examples(path: Path, spec: ModelSpec) -> list[Example]:
    """At least two examples of a network's inputs, stacked on axis 0 of arrays in files.

    A network with one input takes them from all the arrays, one after the other. One with several
    takes input k from the k-th array, by the files' names and the order in a ``.npz``, as many
    examples from each. Inputs with a batch of one may be stacked with or without that axis.

    Raises ``UsageError`` for what does not fit the network.
    """
    arrays = [named for file in calibration_files(path) for named in _read_arrays(file)]
    kinds = list(zip(spec.input_shapes, spec.input_dtypes, strict=True))
    examples: list[Example]
    if len(kinds) == 1:
        examples = [(one,) for array in arrays for one in _examples_of(array, *kinds[0])]
    elif len(arrays) != len(kinds):
        raise UsageError(
            f"{spec.name} has {len(kinds)} inputs, and there are {len(arrays)} arrays",
            path=path,
            fix="Give a directory with one .npy file for each input, in the order of their names, "
            "or a .npz file with one array for each.",
        )
    else:
        stacks = [
            list(_examples_of(array, *kind)) for array, kind in zip(arrays, kinds, strict=True)
        ]
        if len({len(stack) for stack in stacks}) > 1:
            raise UsageError(
                "The arrays hold different numbers of examples",
                path=path,
                examples=", ".join(str(len(stack)) for stack in stacks),
                fix="Example k must be at place k of every array.",
            )
        examples = list(zip(*stacks, strict=True))
    if len(examples) < 2:
        raise UsageError(
            "One example does not calibrate",
            path=path,
            fix="Give at least two, better a few dozen: the first one is kept for the check.",
        )
    return examples


class _Named(NamedTuple):
    """A stack of examples, and where it is from."""

    file: Path
    name: str
    stack: Array


def _read_arrays(file: Path) -> Iterator[_Named]:
    import numpy as np

    try:
        read = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(read, np.ndarray):
            yield _Named(file, file.name, read)
            return
        with read:
            for name in read.files:
                yield _Named(file, f"{name} in {file.name}", read[name])
    except BAD_ARRAYS as error:
        raise UsageError(
            f"{file.name} is neither a .npy nor a .npz file of numbers: {error}",
            path=file,
            fix="Write it with numpy.save(file, array) or numpy.savez(file, array).",
        ) from None


def _examples_of(named: _Named, shape: tuple[int, ...], dtype: str) -> Iterator[Array]:
    import numpy as np

    stack = named.stack
    if stack.shape == shape:
        stack = stack[None]
    elif shape[:1] == (1,) and stack.shape[1:] == shape[1:]:
        stack = stack[:, None]
    if stack.shape[1:] != shape or stack.dtype != dtype or not len(stack):
        raise UsageError(
            f"{named.name} holds no examples of this network's input",
            path=named.file,
            found=f"{named.stack.dtype} {named.stack.shape}",
            wanted=f"{dtype} (examples, {', '.join(map(str, shape))})",
            fix=_fix_of_kind(named.stack, stack.shape[1:] == shape, shape, dtype),
        )
    for example in stack:
        if not np.isfinite(example).all():
            raise UsageError(
                f"{named.name} holds values that are not finite",
                path=named.file,
                fix="Leave those examples out.",
            )
        yield np.array(example, order="C")


def _fix_of_kind(found: Array, fits: bool, shape: tuple[int, ...], dtype: str) -> str:
    """What would make examples of them; ``fits``: only their type is another."""
    whole = found.dtype.kind in "iu"
    pictures = "Preprocess them as the network's training did: whole numbers, such as the bytes of "
    pictures += f"pictures, are not what a {dtype} input was given, and a mere astype() would make "
    pictures += "the ranges wrong."
    if not len(found):
        return "Stack preprocessed inputs on axis 0."
    if fits:
        convert = f"numpy.save(file, array.astype({dtype!r}))."
        return pictures if whole and dtype.startswith("float") else f"Save it as {dtype}: {convert}"
    wanted = shape[1:] if shape[:1] == (1,) else shape
    if len(wanted) == 3 and found.shape[1:] == (*wanted[1:], wanted[0]):
        turn = "Its channels are last: put them first, numpy.moveaxis(array, -1, 1)."
        return f"{turn} {pictures}" if whole or not _is_centred(found) else turn
    return "Stack preprocessed inputs on axis 0."


def _is_centred(found: Array) -> bool:
    """Whether there are values on both sides of zero, as after most preprocessing."""
    return bool(found.min() < 0)
