"""Whether an artifact computes what its network computes: the contract's ``check`` phase."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mobilekit.protocol import OutputCheck

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


def _largest(arrays: Sequence[Array]) -> float:
    return max((float(np.max(np.abs(array), initial=0)) for array in arrays), default=0.0)
