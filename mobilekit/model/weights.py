"""Gives a network the weights that a file holds for it, under whatever keys. Imports torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mobilekit.errors import WeightsError
from mobilekit.model.weights_file import SAVE_STATE, Content, States, printable, read_content

_SHOWN = 5
_PROBED = 5
_COMPILED = "_orig_mod."
"""What torch.compile puts before the names of what it wraps, at any depth."""
_NOT_OF_THE_NETWORK = re.compile(r"(loss|criterion|metric)\w*\.|(.*\.)?total_(ops|params)$")
"""Names that training adds: of losses and metrics, and what the profiler thop counts."""


class _Fit(NamedTuple):
    """One way to read a mapping of the file as the network's weights."""

    keys: tuple[str, ...]
    prefix: str
    """What stands before each of the network's names."""
    tensors: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    wrong_shape: list[str]

    @property
    def is_whole(self) -> bool:
        return not (self.missing or self.unexpected or self.wrong_shape)

    @property
    def where(self) -> str:
        keys = ".".join(map(printable, self.keys))
        return f"{keys}, names beginning with {printable(self.prefix)}" if self.prefix else keys


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy the weights of a file into ``module``; ``read_content`` says which files.

    They are looked for under every key of the file, and behind every prefix of names. Counters of
    batch normalization, which inference does not read, and all but one of the names of a shared
    parameter may be missing. What lies outside of the prefix, and what losses, metrics and
    profilers add, is left out.

    Raises ``WeightsError`` for a file that cannot be read, that would have to run code to be read,
    that holds no weights whose names and shapes are the network's, or that holds several.
    """
    content = read_content(path)
    expected = module.state_dict(keep_vars=True)
    fits = [fit for states in content.states() for fit in _fits(states, expected)]
    whole = [fit for fit in fits if fit.is_whole]
    if not whole:
        raise _misfit(content, fits)
    if not all(_equal(fit, whole[0]) for fit in whole):
        raise _ambiguous(content, whole)
    module.load_state_dict(whole[0].tensors)


def _fits(states: States, expected: Mapping[str, Tensor]) -> list[_Fit]:
    """With each prefix that some of the network's names are found behind; one at least."""
    tensors = {name.replace(_COMPILED, ""): tensor for name, tensor in states.tensors.items()}
    prefixes = []
    for name in sorted(expected, key=len, reverse=True):
        found = [key[: -len(name)] for key in tensors if key == name or key.endswith(f".{name}")]
        prefixes += [found] if found else []
        if len(prefixes) == _PROBED:
            break
    distinct = dict.fromkeys(prefix for found in prefixes for prefix in found) or {"": None}
    return [_fit(states.keys, prefix, tensors, expected) for prefix in distinct]


def _fit(
    keys: tuple[str, ...],
    prefix: str,
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
) -> _Fit:
    under = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    fitted = {name: under[name] for name in expected if name in under}
    for name, tensor in expected.items():
        shared = (other for other in fitted if expected[other] is tensor)
        if name not in fitted and (other := next(shared, None)) is not None:
            fitted[name] = fitted[other]
        elif name not in fitted and name.endswith("num_batches_tracked"):
            fitted[name] = tensor.detach()
    return _Fit(
        keys,
        prefix,
        fitted,
        missing=sorted(set(expected) - set(fitted)),
        unexpected=sorted(
            name for name in set(under) - set(expected) if not _NOT_OF_THE_NETWORK.match(name)
        ),
        wrong_shape=[
            f"{name} {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            for name, tensor in fitted.items()
            if tensor.shape != expected[name].shape
        ],
    )


def _equal(fit: _Fit, other: _Fit) -> bool:
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in fit.tensors.items())


def _misfit(content: Content, fits: list[_Fit]) -> WeightsError:
    found = content.module()
    path = content.path
    if not fits and found is None:
        return WeightsError(
            f"{path.name} holds no state_dict: names with a tensor each",
            fix=SAVE_STATE,
            file=path,
            holds=content.text,
        )
    best = max(fits, key=lambda fit: len(fit.tensors) - len(fit.wrong_shape), default=None)
    if found is not None and (best is None or not best.tensors):
        keys, kind = found
        return WeightsError(
            f"{path.name} holds code: a pickled network, which only its own code could read, and "
            "mobilekit runs none from a weights file",
            fix=f"If you trust it, where that class can be imported: {_conversion(content, keys)}. "
            "Then give that file.",
            file=path,
            asks_for=printable(kind),
            holds=content.text,
        )
    assert best is not None
    facts = {
        "missing": best.missing,
        "unexpected": best.unexpected,
        "wrong_shape": best.wrong_shape,
    }
    return WeightsError(
        f"The weights in {path.name} do not fit the network",
        fix="Give weights of this very network; names and shapes must be those of "
        "network.state_dict().",
        file=path,
        **({"nearest": best.where} if best.where else {}),
        **{name: _cut_off(entries) for name, entries in facts.items() if entries},
        **({"holds": content.text} if best.where else {}),
    )


def _ambiguous(content: Content, fits: list[_Fit]) -> WeightsError:
    first, last = fits[0], fits[-1]
    return WeightsError(
        f"{content.path.name} holds several weights for this network, and they differ",
        fix=f"Take out the ones to use, as in: {_conversion(content, last.keys, last.prefix)}.",
        file=content.path,
        found=" | ".join(fit.where or "the names themselves" for fit in (first, *fits[1:])),
    )


def _conversion(content: Content, keys: tuple[str, ...], prefix: str | None = None) -> str:
    """A line that puts what lies under ``keys`` into a file of its own; a network, if there is no
    ``prefix``."""
    if not all(re.fullmatch(r"[\w.-]*", each) for each in (content.path.name, *keys, prefix or "")):
        # It is a line for a shell, and they may say anything.
        return "load it with torch.load and save only these with torch.save"
    weights_only = prefix is not None and not content.needs_code
    load = f"torch.load({content.path.name!r}, map_location='cpu', weights_only={weights_only})"
    load += "".join(f"[{key!r}]" for key in keys)
    name = (prefix or "").rstrip(".") or (keys[-1] if keys else "state")
    target = re.sub(r"\W", "_", f"{content.path.name.split('.')[0]}_{name}") + ".pth"
    state = f"{load}.state_dict()" if prefix is None else load
    if prefix:
        taken = f"k.removeprefix({prefix!r}): v for k, v in {load}.items()"
        state = f"{{{taken} if k.startswith({prefix!r})}}"
    return f'`python -c "import torch; torch.save({state}, {target!r})"`'


def _cut_off(entries: list[str]) -> str:
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(map(printable, entries[:_SHOWN])) + more
