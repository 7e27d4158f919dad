"""Weights as Hugging Face lays them out: a directory, an index, and the files that it names.

Imports no torch.
"""

from __future__ import annotations

import json
from pathlib import Path

from mobilekit.errors import WeightsError

INDEX_SUFFIX = ".safetensors.index.json"
MAX_INDEX_BYTES = 2**26
"""The index of 100,000 tensors has 10 MB."""
NAMES = (f"model{INDEX_SUFFIX}", "model.safetensors", "pytorch_model.bin")
"""What a directory may hold, in the order in which they are looked for."""


def _is_beside(name: str) -> bool:
    """Whether it can be the name of a file in the same directory, and of weights."""
    return (
        Path(name).name == name
        and name.endswith(".safetensors")
        and "\0" not in name
        and len(name.encode(errors="replace")) < 256
    )


def find_files(path: Path) -> tuple[Path, ...]:
    """The file, and if it is an index the files that it names, which lie beside it.

    Raises ``WeightsError`` for an index that is none, or whose files are not there.
    """
    if not path.name.endswith(INDEX_SUFFIX):
        return (path,)
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError(f"it is longer than {MAX_INDEX_BYTES:,} bytes")
        names = set(json.loads(path.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path.name} is not an index of weights",
            fix="It must be JSON with a weight_map from each tensor's name to its file's.",
            file=path,
            reason=f"{type(error).__name__}: {error}",
        ) from None
    parts = []
    for name in sorted(map(str, names)):
        part = path.parent / name
        # A file beside the index, and nothing elsewhere on this computer.
        if not _is_beside(name) or not part.is_file():
            raise WeightsError(
                f"{path.name} names {name!r}, and there is no such .safetensors file beside it",
                fix="Put all of the files into one directory.",
                file=path,
            )
        parts.append(part)
    return (path, *parts)
