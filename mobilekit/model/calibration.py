"""The examples from which an int8 program's activation ranges are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import UsageError
from mobilekit.hashing import file_sha256
from mobilekit.records.network import ModelSpec

if TYPE_CHECKING:
    from mobilekit.contract.outputs import Array

Example = tuple["Array", ...]
"""One array for each input, of its type and shape."""


def calibration_files(path: Path) -> list[Path]:
    """The ``.npy`` file itself, or those of a directory by name; raises ``UsageError``."""
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise UsageError(
            "There is no .npy file" if path.is_dir() else "There is no such calibration file",
            path=path,
            fix="--calibration takes a .npy file, or a directory of them.",
        )
    return files


def calibration_sha256(path: Path) -> str:
    """Of the content of all its files, without importing numpy."""
    digests = [file_sha256(file) for file in calibration_files(path)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def read_examples(path: Path, spec: ModelSpec) -> list[Example]:
    """Examples of a network's inputs, stacked on axis 0 of ``.npy`` files.

    A network with one input takes them from all the files, one after the other. One with several
    takes input k from the k-th file by name, as many examples from each. Inputs with a batch of
    one may be stacked with or without that axis.

    Raises ``UsageError`` for what does not fit the network.
    """
    files = calibration_files(path)
    kinds = list(zip(spec.input_shapes, spec.input_dtypes, strict=True))
    if len(kinds) == 1:
        return [(array,) for file in files for array in _read_stack(file, *kinds[0])]
    if len(files) != len(kinds):
        raise UsageError(
            f"{spec.name} has {len(kinds)} inputs, and there are {len(files)} files",
            path=path,
            fix="Give a directory with one .npy file for each input, in the order of their names.",
        )
    stacks = [list(_read_stack(file, *kind)) for file, kind in zip(files, kinds, strict=True)]
    if len({len(stack) for stack in stacks}) > 1:
        raise UsageError(
            "The files hold different numbers of examples",
            path=path,
            examples=", ".join(str(len(stack)) for stack in stacks),
            fix="Example k must be at place k of every file.",
        )
    return list(zip(*stacks, strict=True))


def _read_stack(file: Path, shape: tuple[int, ...], dtype: str) -> Iterator[Array]:
    import numpy as np

    try:
        found = stack = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(
            f"{file.name} is not a .npy file: {error}",
            path=file,
            fix="Write it with numpy.save(file, array).",
        ) from None
    if stack.shape == shape:
        stack = stack[None]
    elif shape[:1] == (1,) and stack.shape[1:] == shape[1:]:
        stack = stack[:, None]
    if stack.shape[1:] != shape or stack.dtype != dtype or not len(stack):
        raise UsageError(
            f"{file.name} holds no examples of this network's input",
            path=file,
            found=f"{found.dtype} {found.shape}",
            wanted=f"{dtype} (examples, {', '.join(map(str, shape))})",
            fix=f"Save it as {dtype}: numpy.save(file, array.astype({dtype!r}))."
            if stack.shape[1:] == shape and len(stack)
            else "Stack preprocessed inputs on axis 0.",
        )
    for example in stack:
        if not np.isfinite(example).all():
            raise UsageError(
                f"{file.name} holds values that are not finite",
                path=file,
                fix="Leave those examples out.",
            )
        yield np.array(example, order="C")
