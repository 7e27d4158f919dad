"""What a command says of a network in place of its file: weights, inputs' shapes, inputs.

Imports numpy only where inputs are read, and never torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from mobilekit.contract.protocol import DType
from mobilekit.errors import UsageError
from mobilekit.model.files import BAD_ARRAYS

if TYPE_CHECKING:
    from mobilekit.contract.outputs import Array


class InputKind(NamedTuple):
    """What an input is to be."""

    dtype: str
    """One of ``protocol.DType``."""
    shape: tuple[int, ...]

    @property
    def text(self) -> str:
        """As ``parse_input`` reads it: ``int64:1x128``."""
        sizes = "x".join(map(str, self.shape))
        return sizes if self.dtype == "float32" else f"{self.dtype}:{sizes}"


class Given(NamedTuple):
    """What takes the place of what a network's file declares."""

    weights: Path | None = None
    kinds: tuple[InputKind, ...] = ()
    """One for each input; empty: the file's."""
    inputs: Path | None = None
    """A ``.npy`` or ``.npz`` file to run the network on; ``None``: generated inputs."""


NOTHING = Given()


def parse_input(text: str) -> InputKind:
    """``1x3x96x96``, or with a dtype ``int64:1x128``. Raises ``UsageError``."""
    dtype, colon, sizes = text.strip().rpartition(":")
    known = get_args(DType)
    parts = sizes.strip().lower().split("x")
    if (colon and dtype not in known) or not all(re.fullmatch("[1-9][0-9]{0,8}", p) for p in parts):
        raise UsageError(
            f"--input {text!r} is not the shape of an input",
            fix="Write each size, batch first, as in 1x3x224x224; with another type than float32 "
            f"as in int64:1x128, of {', '.join(known)}. Give --input again for each further input.",
        )
    return InputKind(dtype or "float32", tuple(map(int, parts)))


def read_kinds(path: Path) -> tuple[InputKind, ...]:
    """Type and shape of each input in a file. Raises ``UsageError``, as ``read_inputs`` does."""
    return tuple(InputKind(array.dtype.name, array.shape) for array in read_inputs(path))


def read_inputs(path: Path) -> tuple[Array, ...]:
    """The array of a ``.npy`` file; those of an ``.npz`` file in the order in which they lie there.

    Raises ``UsageError`` for a file that holds something else, an array of a type that no input
    has, and values that are not finite.
    """
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
        named = (
            {path.name: found}
            if isinstance(found, np.ndarray)
            else {f"{name} of {path.name}": found[name] for name in found.files}
        )
    except FileNotFoundError:
        raise UsageError(
            f"There is no file {path}",
            fix="Check the path given with --inputs.",
            looked_in=Path.cwd(),
        ) from None
    except BAD_ARRAYS as error:
        raise UsageError(
            f"{path.name} holds no arrays: {str(error).splitlines()[:1] or [type(error).__name__]}",
            fix="Write one input with numpy.save(file, array), several with "
            "numpy.savez(file, first, second), in the order of forward().",
            path=path,
        ) from None
    if not named:
        raise UsageError(
            f"{path.name} is empty", fix="Save each input with numpy.savez(file, a, b).", path=path
        )
    return tuple(_checked(array, name, path) for name, array in named.items())


def _checked(array: Array, name: str, path: Path) -> Array:
    import numpy as np

    known = get_args(DType)
    if array.dtype.name not in known:
        like = "float32" if array.dtype.kind == "f" else "int64"
        raise UsageError(
            f"{name} is of {array.dtype}, and inputs are of {', '.join(known)}",
            fix=f"Save it as {like}: array.astype({like!r}).",
            path=path,
        )
    if array.size == 0 or not np.isfinite(array).all():
        raise UsageError(
            f"{name} {'is empty' if array.size == 0 else 'holds values that are not finite'}",
            fix="Give inputs as the network takes them.",
            path=path,
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
