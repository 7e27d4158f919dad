"""Outputs: whether they are what the network computes (the contract's ``check`` phase), and reading
them from files."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobilekit.contract.protocol import OutputCheck, TensorFile
from mobilekit.errors import ProtocolError
from mobilekit.hashing import file_sha256

Array = npt.NDArray[np.generic]
_PIECE_ELEMENTS = 1 << 18


def check_outputs(
    outputs: Sequence[Array], references: Sequence[Array], relative_tolerance: float
) -> OutputCheck:
    """Compare outputs with references of the same number and shapes.

    Large tensors are taken in pieces, so that those of ``map_tensor`` need not fit into memory.
    Errors are taken over all tensors: the largest absolute difference, also divided by the
    largest absolute reference value (by 1 where the references are all zero). A missing output,
    another shape and a value that is not finite never match; their errors are the largest double,
    since JSON has no infinity.
    """
    sound = [array.shape for array in outputs] == [array.shape for array in references] and all(
        bool(np.isfinite(piece).all())
        for array in (*outputs, *references)
        for piece in _pieces(array)
    )
    if not sound:
        return OutputCheck(
            matches=False,
            max_absolute_error=sys.float_info.max,
            max_relative_error=sys.float_info.max,
        )
    absolute = _largest(
        here.astype(np.float64) - there.astype(np.float64)
        for output, reference in zip(outputs, references, strict=True)
        for here, there in zip(_pieces(output), _pieces(reference), strict=True)
    )
    scale = _largest(piece for reference in references for piece in _pieces(reference))
    relative = absolute / (scale or 1.0)
    return OutputCheck(
        matches=relative <= relative_tolerance,
        max_absolute_error=absolute,
        max_relative_error=relative,
    )


def tensor_bytes(file: TensorFile) -> int:
    """The size of a tensor's file, in bytes."""
    return math.prod(file.shape) * np.dtype(file.dtype).itemsize


def map_tensor(directory: Path, file: TensorFile) -> Array:
    """A tensor that lies in ``directory`` under its content's hash, mapped and not read.

    Raises ``ProtocolError`` for one that is not there, or that is not what its name says.
    """
    path = directory / Path(file.path).name
    try:
        if file_sha256(path) != file.sha256:
            raise ValueError("it has other content than its name says")
        flat = np.memmap(path, np.dtype(file.dtype).newbyteorder("<"), mode="r")
        return flat.reshape(file.shape)
    except (OSError, ValueError) as error:
        raise ProtocolError(
            f"A tensor cannot be read: {getattr(error, 'strerror', None) or error}",
            file=path,
            fix="Run it again.",
        ) from None


def _pieces(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _PIECE_ELEMENTS):
        yield flat[start : start + _PIECE_ELEMENTS]


def _largest(arrays: Iterable[Array]) -> float:
    return max((float(np.max(np.abs(array), initial=0)) for array in arrays), default=0.0)
