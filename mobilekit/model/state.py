"""A network's state: what its inference leaves behind in its buffers and attributes.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Written(NamedTuple):
    """What an inference has written to, by dotted names."""

    buffers: list[str]
    attributes: list[str]


@contextmanager
def preserved_state(module: nn.Module) -> Iterator[Written]:
    """Whatever runs inside, the network has the same buffers and attributes afterwards.

    Yields what will have been written to, which is known at the end. An attribute that is neither
    a tensor nor replaced, such as a list that is appended to, keeps what it got.
    """
    written = Written([], [])
    saved = [
        (f"{path}." if path else "", each, _attributes(each), _copies(each))
        for path, each in module.named_modules()
    ]
    try:
        yield written
    finally:
        for path, each, attributes, copies in saved:
            now = _attributes(each)
            for name in set(now) - set(attributes):
                delattr(each, name)
            each.__dict__.update(attributes)
            written.attributes.extend(
                path + name for name in now if now[name] is not attributes.get(name, now)
            )
            for place, name, tensor, copy in copies:
                same = place.get(name) is tensor and torch.equal(tensor, copy)
                place[name] = tensor
                if not same:
                    tensor.detach().copy_(copy)
                    into = written.buffers if place is each._buffers else written.attributes
                    into.append(path + name)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """All but what ``nn.Module`` itself keeps."""
    own = nn.Module().__dict__
    return {name: value for name, value in module.__dict__.items() if name not in own}


def _copies(module: nn.Module) -> list[tuple[dict[str, Any], str, Tensor, Tensor]]:
    """Each buffer and each tensor that is an attribute: where it lies, itself and what it holds."""
    return [
        (place, name, tensor, tensor.detach().clone())
        for place in (module._buffers, module.__dict__)
        for name, tensor in _tensors(place)
    ]


def _tensors(place: dict[str, Any]) -> list[tuple[str, Tensor]]:
    return [(name, value) for name, value in place.items() if isinstance(value, Tensor)]
