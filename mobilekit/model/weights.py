"""Reads weights files, without ever running code that one may hold. Imports torch."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.errors import WeightsError
from mobilekit.model import checkpoint

_SHOWN = 5
_NESTED_UNDER = ("state_dict", "model_state_dict", "model")
_SAVE_STATE = (
    "Save them with `torch.save(network.state_dict(), ...)`, "
    "or with safetensors.torch.save_file(network.state_dict(), ...)."
)


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy the weights of a ``.safetensors``, ``.pt`` or ``.pth`` file into ``module``.

    A path ending in ``checkpoint.INDEX_SUFFIX`` stands for the files that it names. What all names
    begin with (``model.``, ``module.``) is left off where they are the network's without it.
    Counters of batch normalization, which inference does not read, may be missing.

    Raises ``WeightsError`` for a file that cannot be read, that would have to run code to be
    read, or whose names and shapes are not exactly the network's.
    """
    expected = module.state_dict()
    state = _fit_names(_read_state(path), expected)
    problems = {
        "missing": sorted(set(expected) - set(state)),
        "unexpected": sorted(set(state) - set(expected)),
        "wrong_shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    if any(problems.values()):
        raise WeightsError(
            f"The weights in {path.name} do not fit the network",
            fix="Give weights of this very network; names and shapes must be those of "
            "network.state_dict().",
            file=path,
            **{name: _cut_off(entries) for name, entries in problems.items() if entries},
        )
    module.load_state_dict(state)


def _fit_names(
    state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Under the network's names, if wrappers and counters are all that differs; else as it is."""
    fitted = state
    while set(fitted) - set(expected):
        if len({name.partition(".")[0] for name in fitted}) > 1 or not all(
            "." in name for name in fitted
        ):
            return state
        fitted = {name.partition(".")[2]: tensor for name, tensor in fitted.items()}
    counters = {
        name: tensor
        for name, tensor in expected.items()
        if name not in fitted and name.endswith("num_batches_tracked")
    }
    return fitted | counters if set(fitted) | set(counters) == set(expected) else state


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if path.name.endswith(checkpoint.INDEX_SUFFIX):
        state: Any = {}
        for part in checkpoint.find_files(path)[1:]:
            state |= _read_safetensors(part)
    elif path.suffix == ".safetensors":
        state = _read_safetensors(path)
    elif path.suffix in (".pt", ".pth"):
        state = _read_pickle(path)
    else:
        raise WeightsError(
            f"{path.name} is not a weights file by its name",
            fix=f"Give a .safetensors, .pt or .pth file, or a {checkpoint.INDEX_SUFFIX} index.",
            file=path,
        )
    for name in _NESTED_UNDER:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not (
        isinstance(state, Mapping)
        and state
        and all(isinstance(name, str) for name in state)
        and all(isinstance(value, torch.Tensor) for value in state.values())
    ):
        raise WeightsError(
            f"{path.name} holds no state_dict: names with a tensor each", fix=_SAVE_STATE, file=path
        )
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    except (RuntimeError, OSError, EOFError, ValueError, LookupError) as error:
        if "TorchScript" in str(error):
            raise _refused(path, error) from None
        raise _unreadable(path, error) from None


def _refused(path: Path, error: Exception) -> WeightsError:
    calls = re.search(r"GLOBAL (\S+)", str(error))
    return WeightsError(
        f"{path.name} holds code, or what only code could read, and mobilekit runs none from a "
        "weights file",
        fix=_SAVE_STATE,
        file=path,
        **({"asks_for": calls[1]} if calls else {}),
    )


def _unreadable(path: Path, error: Exception) -> WeightsError:
    lines = str(error).splitlines()[:1]
    return WeightsError(
        f"{path.name} cannot be read as weights",
        fix="Check that it is whole and of the kind that its name says.",
        file=path,
        reason=": ".join((type(error).__name__, *lines)),
    )


def _cut_off(entries: list[str]) -> str:
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(entries[:_SHOWN]) + more
