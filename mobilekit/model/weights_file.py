"""What a weights file holds, told by its content and without running code of it. Imports torch."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from mobilekit.errors import WeightsError
from mobilekit.model import checkpoint
from mobilekit.model.files import BAD_ARRAYS

SAVE_STATE = (
    "Save them with `torch.save(network.state_dict(), ...)`, "
    "or with safetensors.torch.save_file(network.state_dict(), ...)."
)
_DEEPEST = 4
_SHOWN = 12


class Unread:
    """What only code of somebody's could make; it is not run."""

    kind = ""

    def __init__(self, *_: object, **__: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class States(NamedTuple):
    """A mapping from names to tensors, and the keys under which it lies in its file."""

    keys: tuple[str, ...]
    tensors: dict[str, Tensor]


class Content(NamedTuple):
    """A weights file."""

    path: Path
    whole: object
    needs_code: bool
    """Whether parts of it are ``Unread``."""

    def states(self) -> list[States]:
        """Every mapping that has tensors in it, the outermost first."""
        return list(_states((), self.whole))

    def module(self) -> tuple[tuple[str, ...], str] | None:
        """Where a pickled network lies, and what it is of."""
        return _module((), self.whole)

    @property
    def text(self) -> str:
        """For people, who may have to find their own words in it."""
        if not isinstance(self.whole, Mapping):
            return _kind(self.whole)
        entries = [f"{printable(key)}: {_kind(value)}" for key, value in self.whole.items()]
        more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
        return ", ".join(entries[:_SHOWN]) + more


def read_content(path: Path) -> Content:
    """Read a file that safetensors, torch or numpy has written, or an index of such.

    Objects of classes that torch does not know are left out (``Unread``). Raises ``WeightsError``
    for a file that is none of these, or that could be read by running code of it only.
    """
    if path.name.endswith(checkpoint.INDEX_SUFFIX):
        whole: dict[str, Tensor] = {}
        for part in checkpoint.find_files(path)[1:]:
            whole |= _read_safetensors(part)
        return Content(path, whole, needs_code=False)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise _unreadable(path, error) from None
    if start[8:] == b"{":
        return Content(path, _read_safetensors(path), needs_code=False)
    if start.startswith(b"PK"):
        return _read_zip(path)
    if start.startswith(b"\x80"):
        return Content(path, _read_torch(path), needs_code=False)
    tool = "Keras (HDF5)" if start.startswith(b"\x89HDF") else None
    raise WeightsError(
        f"{path.name} is no file of weights"
        + (f" for PyTorch: it is of {tool}" if tool else ", by its content"),
        fix="Give what torch.save, safetensors or numpy.savez has written. "
        "Check that the file is whole: a download may have left a page or a pointer in its place.",
        file=path,
        begins_with=repr(start[:8]),
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _read_zip(path: Path) -> Content:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            return Content(path, _read_numpy(path), needs_code=False)
        unknown = get_unsafe_globals_in_checkpoint(path)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    except BAD_ARRAYS as error:
        raise _unreadable(path, error) from None
    stand_ins = [(type("Unread", (Unread,), {"kind": name}), name) for name in unknown]
    with safe_globals(stand_ins):
        return Content(path, _read_torch(path), needs_code=bool(unknown))


def _read_numpy(path: Path) -> dict[str, Tensor]:
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    except (
        *(RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError),
        MemoryError,
    ) as error:
        if "TorchScript" in str(error):
            raise _refused(path, error) from None
        raise _unreadable(path, error) from None


def _states(keys: tuple[str, ...], value: object) -> Iterator[States]:
    if not isinstance(value, Mapping) or len(keys) > _DEEPEST:
        return
    named = {name: each for name, each in value.items() if isinstance(name, str)}
    tensors = {name: each for name, each in named.items() if isinstance(each, Tensor)}
    if tensors:
        yield States(keys, tensors)
    for name, each in named.items():
        yield from _states((*keys, name), each)


def _module(keys: tuple[str, ...], value: object) -> tuple[tuple[str, ...], str] | None:
    if isinstance(value, Unread) and isinstance(value.state, Mapping):
        return (keys, value.kind) if "_parameters" in value.state else None
    if isinstance(value, Mapping) and len(keys) <= _DEEPEST:
        for name, each in value.items():
            found = _module((*keys, str(name)), each)
            if found is not None:
                return found
    return None


def _kind(value: object) -> str:
    if isinstance(value, Unread):
        return f"an object of {printable(value.kind)}"
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, Mapping):
        tensors = sum(isinstance(each, Tensor) for each in value.values())
        return f"{tensors} tensors" if tensors else f"{len(value)} entries"
    return type(value).__name__


def printable(text: object) -> str:
    """A name out of the file, which may hold anything, for a terminal."""
    return "".join(filter(str.isprintable, str(text)))[:120]


def _refused(path: Path, error: Exception) -> WeightsError:
    calls = re.search(r"GLOBAL (\S+)", str(error))
    if not re.fullmatch(r"[\w.-]+", path.name):  # The advice is a line for a shell.
        path = path.with_name("FILE")
    target = f"{path.name.split('.')[0]}_state.pth"
    script = "TorchScript" in str(error)
    load = (
        f"torch.jit.load('{path.name}').state_dict()"
        if script
        else f"torch.load('{path.name}', weights_only=False, map_location='cpu')"
        if zipfile.is_zipfile(path)
        else f"{{k: torch.as_tensor(v) for k, v in pickle.load(open('{path.name}', 'rb')).items()}}"
    )
    return WeightsError(
        f"{path.name} holds code, or what only code could read, and mobilekit runs none from a "
        "weights file",
        fix=f'If you trust it: `python -c "import pickle, torch; torch.save({load}, '
        f"'{target}')\"`, where its classes can be imported, with .state_dict() behind a network. "
        f"{SAVE_STATE}",
        file=path,
        **({"asks_for": calls[1]} if calls else {}),
    )


def _unreadable(path: Path, error: Exception) -> WeightsError:
    lines = str(error).splitlines()[:1]
    return WeightsError(
        f"{path.name} cannot be read as weights",
        fix="Check that it is whole, and a state dict as torch.save or safetensors writes it; "
        'a pickle of another kind: `python -c "import pickle, torch; torch.save({k: '
        f"torch.as_tensor(v) for k, v in pickle.load(open('{path.name}', 'rb')).items()}}, "
        "'state.pth')\"`.",
        file=path,
        reason=": ".join((type(error).__name__, *lines)),
    )
