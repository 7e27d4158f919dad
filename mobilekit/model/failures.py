"""Why a load or an export failed, in words for people. No torch is needed to tell."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilekit.errors import ExportError, MobilekitError
from mobilekit.model.quiet import quiet_python
from mobilekit.records.network import ModelSpec


@contextmanager
def running_code_of(spec: ModelSpec) -> Iterator[None]:
    """Turn what the network's ``forward`` raises into an ``ExportError``, and keep it quiet."""
    try:
        with quiet_python():
            yield
    except MobilekitError:
        raise
    except Exception as error:
        shapes = zip(spec.input_dtypes, spec.input_shapes, strict=True)
        raise ExportError(
            f"{spec.name} fails in PyTorch: {describe_error(error)}",
            fix="Check that the inputs are what forward() takes: INPUT_SHAPES and INPUT_DTYPES in "
            "the file, or --input.",
            at=failing_line(error, Path(spec.path).parent) or spec.path,
            inputs=", ".join(f"{dtype} {shape}" for dtype, shape in shapes),
        ) from error


def describe_error(error: BaseException) -> str:
    """An exception's type and the first thing that it says, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "These operators are taking inputs of mismatched dtypes:" says nothing without the next.
    said = lines[:2] if lines and lines[0].endswith(":") else lines[:1]
    return f"{type(error).__name__}: {' '.join(said)}" if said else type(error).__name__


_OPERATOR = re.compile(r"\b(?:aten|prims|quantized|torchvision|torchaudio)(?:\.|::)\w+(?:\.\w+)?")


def fix_of(error: BaseException, engine: str) -> str:
    """What to try where an engine's exporter does not take a network."""
    said = str(error)
    if "complex" in said.lower():
        return (
            f"{engine} takes no complex numbers, as torch.fft and torch.stft yield them: compute "
            "that part outside of the network, or with real numbers, a spectrum by products with "
            "sines and cosines."
        )
    named = list(dict.fromkeys(_OPERATOR.findall(said)))[:3]
    if named:
        return f"Replace {', '.join(named)} by others that do the same, or report it to {engine}."
    return (
        f"No operator is named. Halve the network until it exports: what was left out last is what "
        f"{engine} does not take. Another --format may."
    )


def failing_line(error: BaseException, directory: Path) -> str | None:
    """``file:line`` of the innermost statement of the user's own code on the way to ``error``.

    ``None`` if no file below ``directory`` takes part.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    own = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if is_own_file(frame.filename, directory)
    ]
    return own[-1] if own else None


def is_own_file(file: str, directory: Path) -> bool:
    """Whether the file is the user's; an environment may lie in the same directory."""
    return Path(file).is_relative_to(directory) and "site-packages" not in Path(file).parts
