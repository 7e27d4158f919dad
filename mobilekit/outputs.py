"""Outputs: whether they are what the network computes (the contract's ``check`` phase), and reading
them from files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobilekit.errors import ProtocolError
from mobilekit.protocol import OutputCheck, TensorFile

Array = npt.NDArray[np.generic]


def check_outputs(
    outputs: Sequence[Array], references: Sequence[Array], relative_tolerance: float
) -> OutputCheck:
    """Compare outputs with references of the same number and shapes.

    Errors are taken over all tensors: the largest absolute difference, also divided by the
    largest absolute reference value (by 1 where the references are all zero). A missing output,
    another shape and a value that is not finite never match; their errors are the largest double,
    since JSON has no infinity.
    """
    sound = [array.shape for array in outputs] == [array.shape for array in references] and all(
        bool(np.isfinite(array).all()) for array in (*outputs, *references)
    )
    if not sound:
        return OutputCheck(
            matches=False,
            max_absolute_error=sys.float_info.max,
            max_relative_error=sys.float_info.max,
        )
    differences = [
        output.astype(np.float64) - reference.astype(np.float64)
        for output, reference in zip(outputs, references, strict=True)
    ]
    absolute = _largest(differences)
    relative = absolute / (_largest(references) or 1.0)
    return OutputCheck(
        matches=relative <= relative_tolerance,
        max_absolute_error=absolute,
        max_relative_error=relative,
    )


def read_tensor(directory: Path, file: TensorFile) -> Array:
    """A tensor that lies in ``directory`` under its content's hash.

    Raises ``ProtocolError`` for one that is not there, or that is not what its name says.
    """
    path = directory / Path(file.path).name
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ValueError("it has other content than its name says")
        return np.frombuffer(data, np.dtype(file.dtype).newbyteorder("<")).reshape(file.shape)
    except (OSError, ValueError) as error:
        raise ProtocolError(
            f"A tensor cannot be read: {getattr(error, 'strerror', None) or error}",
            file=path,
            fix="Run it again.",
        ) from None


def _largest(arrays: Sequence[Array]) -> float:
    return max((float(np.max(np.abs(array), initial=0)) for array in arrays), default=0.0)
