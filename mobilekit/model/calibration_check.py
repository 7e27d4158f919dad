"""Whether calibration examples are what a network was given when it was trained.

An int8 program that is calibrated with other inputs passes its own check, whose input is of the
same kind, and tells nonsense of real ones. Two things tell what the network was given: what its
file declares, and what the first batch normalization has seen. Imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mobilekit.errors import UsageError
from mobilekit.model.reference import run_eager
from mobilekit.model.zoo import read_front_end
from mobilekit.records.network import ModelSpec

DECLARED_RANGES = {
    "imagenet": ((0 - 0.485) / 0.229, (1 - 0.406) / 0.225),
    "caffe": (0.0 - 123, 255.0 - 104),
}
"""The smallest and the largest value that ``preprocess`` makes of a picture."""
RANGE_SLACK = 0.05
"""Of a declared range, at either end: other libraries scale pictures with overshoot."""
LEAST_SHARE = 0.1
"""Of a declared range that a set of pictures takes up at least."""
MAX_SPREAD_RATIO = 4.0
"""Between the deviations of what a trained normalization is given and what it has seen. A camera's
bytes are 60 times and their hundredths 0.2 times what ImageNet's preprocessing makes of them."""
MAX_UNTRAINED_RATIO = 10.0
"""The same for one that has seen nothing: it stands for a mean of 0 and a deviation of 1, which
initial weights miss by less."""
CHECKED_EXAMPLES = 16


def check_examples(
    spec: ModelSpec, module: nn.Module, examples: Sequence[Sequence[Tensor]], path: Path
) -> bool:
    """Raises ``UsageError`` where the network was given something else; ``path`` is theirs.

    ``True`` where nothing tells what it was given, and the examples are whole numbers of 0 to 255,
    as pictures are before they are preprocessed.
    """
    some = [each for each in examples[:CHECKED_EXAMPLES] if all(map(torch.is_floating_point, each))]
    if not some:
        return False
    low, high = _range_of(some)
    found = f"values from {low:.3g} to {high:.3g}"
    declared = _declared_range(spec)
    if declared is not None:
        name, (least, most) = declared
        slack = RANGE_SLACK * (most - least)
        narrow = high - low < LEAST_SHARE * (most - least)
        if low < least - slack or high > most + slack or narrow:
            raise UsageError(
                f"The calibration examples are not what {spec.name} takes",
                path=path,
                found=found,
                wanted=f"{least:.3g} to {most:.3g}, as PREPROCESSING = {name!r} makes them",
                fix=f"Preprocess them with mobilekit.model.preprocess.{name}, which reads a photo.",
            )
    seen = _normalization_ratio(spec, module, some)
    if seen is not None and not seen.is_like_it:
        raise UsageError(
            f"The calibration examples are not what {spec.name} was given in training",
            path=path,
            found=found,
            first_normalization=f"they spread {seen.ratio:.3g} times as far as what it has seen",
            fix="Preprocess them as its training did, such as (array / 255 - mean) / deviation "
            "for pictures.",
        )
    told = declared is not None or (seen is not None and seen.is_trained)
    return not told and _are_whole_bytes(some)


def _are_whole_bytes(examples: Sequence[Sequence[Tensor]]) -> bool:
    low, high = _range_of(examples)
    return (
        low >= 0
        and 1 < high <= 255
        and all(bool((tensor == tensor.round()).all()) for each in examples for tensor in each)
    )


def _range_of(examples: Sequence[Sequence[Tensor]]) -> tuple[float, float]:
    values = [tensor for example in examples for tensor in example if tensor.numel()]
    return (
        min(float(tensor.min()) for tensor in values),
        max(float(tensor.max()) for tensor in values),
    )


def _declared_range(spec: ModelSpec) -> tuple[str, tuple[float, float]] | None:
    if Path(spec.path).suffix != ".py":
        return None
    name = read_front_end(spec).preprocessing
    return None if name is None else (name, DECLARED_RANGES[name])


class _Seen(NamedTuple):
    """The first batch normalization's inputs against what it has seen."""

    ratio: float
    """Of the deviations; the median over its channels."""
    is_trained: bool

    @property
    def is_like_it(self) -> bool:
        if self.is_trained:
            return 1 / MAX_SPREAD_RATIO <= self.ratio <= MAX_SPREAD_RATIO
        return self.ratio <= MAX_UNTRAINED_RATIO


def _normalization_ratio(
    spec: ModelSpec, module: nn.Module, examples: Sequence[Sequence[Tensor]]
) -> _Seen | None:
    """``None`` for a network without one."""
    given: list[Tensor] = []
    first: list[_BatchNorm] = []

    def look(layer: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        if not first:
            first.append(layer)
        if layer is first[0]:
            given.append(inputs[0].detach().transpose(0, 1).flatten(1))

    hooks = [
        each.register_forward_pre_hook(look)
        for each in module.modules()
        if isinstance(each, _BatchNorm) and each.running_var is not None
    ]
    try:
        for example in examples if hooks else ():
            run_eager(spec, module, example)
    finally:
        for hook in hooks:
            hook.remove()
    if not given:
        return None
    (layer,) = first
    deviation = torch.cat(given, 1).std(1, correction=0)
    ratio = float((deviation / (layer.running_var + layer.eps).sqrt()).median())
    is_trained = bool((layer.running_mean != 0).any() or (layer.running_var != 1).any())
    return _Seen(ratio, is_trained)
