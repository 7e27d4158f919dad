"""What weighs the ranks of a layer: the second moments of the inputs that flow through it.

The best approximation of a matrix W by one of lower rank counts an error alike in every direction
of its inputs, and inputs do not. Of inputs x with the second moment C = E[x x^T] the outputs' mean
squared error is E||(W - W_r) x||^2 = ||(W - W_r) R||_F^2 with R R^T = C, which is least for W_r =
[W R]_r R^-1, [.]_r being the best approximation of rank r (P. Chen et al., "DRONE: data-aware
low-rank compression for large NLP models", NeurIPS 2021; X. Wang et al., "SVD-LLM: truncation-aware
singular value decomposition for large language model compression", 2024, arXiv:2403.07378).

C is known from a few examples only, and in directions that none of them takes it is 0, which has no
inverse and would leave W_r there to chance. So it is drawn towards a multiple of the identity, with
which nothing is weighted, by the share that makes the expected error of C least (O. Ledoit, M.
Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
Multivariate Analysis 88 (2004)): few examples that differ count for little, and no number is set
by hand. What is independent there is an example; its positions, as of a convolution, are not.

Of a k x k convolution, which becomes a k x 1 and a 1 x k one, the inputs are the vertical patches
that the first of the two reads. Its outputs are sums over k such patches side by side, and what
those have in common is left out: k ||(W - W_r) R||_F^2 is a bound then, by Cauchy and Schwarz, and
exact where the kernel is one column wide.

Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mobilekit.model.calibration import read_examples
from mobilekit.model.reference import run_eager
from mobilekit.records.network import ModelSpec

LEAST_SHRINKAGE = 1e-4
"""Below which C is not trusted, whatever its examples say: equal ones have nothing to tell how far
they are from others. R^-1 stretches rounding errors by at most 100 then."""
NO_DIRECTION = 1e-10
"""Of the largest eigenvalue, what is one of no direction that an example takes."""


class InputMoments(NamedTuple):
    """The symmetric root R of a layer's shrunk second moment, whose mean eigenvalue is 1: it
    stretches some directions of n inputs, and all others alike."""

    directions: Tensor
    """(n, k), orthonormal, float64."""
    stretches: Tensor
    """(k,), of those directions."""
    rest: float
    """Of all others; above 0."""

    def weigh(self, matrix: Tensor) -> Tensor:
        """(rows, n) times R, in float64."""
        return self._stretched(matrix, self.stretches, self.rest)

    def unweigh(self, matrix: Tensor) -> Tensor:
        """(rows, n) times the inverse of R, in float64."""
        return self._stretched(matrix, 1 / self.stretches, 1 / self.rest)

    def _stretched(self, matrix: Tensor, stretches: Tensor, rest: float) -> Tensor:
        matrix = matrix.double()
        return rest * matrix + (matrix @ self.directions * (stretches - rest)) @ self.directions.T


def measure_moments(
    spec: ModelSpec, module: nn.Module, layers: Iterable[str], calibration: Path
) -> dict[str, InputMoments]:
    """Of the inputs of each of ``layers``, by path, of the whole network on the examples of
    ``calibration`` (a file or a directory, as ``read_examples`` takes it).

    What is no linear layer and no convolution, or is not called, is left out. Raises
    ``UsageError`` for examples that do not fit, and what running the network raises.
    """
    examples = read_examples(calibration, spec)
    modules = dict(module.named_modules())
    found = {
        path: modules[path]
        for path in layers
        if isinstance(modules.get(path), (nn.Linear, nn.Conv2d))
    }
    collected = {path: _Collected(len(examples)) for path in found}
    read: dict[str, list[Tensor]] = {path: [] for path in found}

    def note(path: str) -> Callable[..., None]:
        def look(layer: nn.Module, args: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> None:
            read[path].append(_rows(layer, args[0] if args else named["input"]))

        return look

    hooks = [
        layer.register_forward_pre_hook(note(path), with_kwargs=True)
        for path, layer in found.items()
    ]
    try:
        for example in examples:
            run_eager(spec, module, tuple(map(torch.from_numpy, example)))
            for path, rows in read.items():
                if rows:
                    collected[path].add(torch.cat(rows))
                rows.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return {path: each.moments() for path, each in collected.items() if each.examples}


def moments_of(samples: Sequence[Tensor]) -> InputMoments:
    """Of at least one example, each the (positions, n) inputs that a layer has in it."""
    collected = _Collected(len(samples))
    for each in samples:
        collected.add(each)
    return collected.moments()


class _Collected:
    """The sums that a layer's moments are made of, in little room: the inputs themselves where
    they are fewer than the numbers in one, else the sum of their products."""

    def __init__(self, expected: int) -> None:
        """``expected`` is how many examples there will be."""
        self.examples = 0
        self._expected = expected
        self._rows: list[Tensor] = []
        self._products: Tensor | None = None
        self._squares = 0.0
        """Of each example's own second moment, the sum of the squared Frobenius norms."""

    def add(self, rows: Tensor) -> None:
        """One example's inputs, (positions, n)."""
        positions, size = rows.shape
        # So that each example counts alike, whatever its positions.
        rows = rows.double() / positions**0.5
        small = rows @ rows.T if positions < size else rows.T @ rows
        self._squares += float(small.square().sum())
        if not self.examples and positions * self._expected >= size:
            self._products = torch.zeros(size, size, dtype=rows.dtype)
        self.examples += 1
        if self._products is None:
            self._rows.append(rows)
        else:
            self._products += small if positions >= size else rows.T @ rows

    def moments(self) -> InputMoments:
        """Of what was added, at least one example. Nothing is weighted where only zeros flow
        through the layer, or what is no number or too large to be summed."""
        size = self._rows[0].shape[1] if self._products is None else len(self._products)
        unweighted = InputMoments(torch.zeros(size, 0).double(), torch.zeros(0).double(), 1.0)
        if not math.isfinite(self._squares):
            return unweighted
        if self._products is None:
            rows = torch.cat(self._rows)
            values, vectors = torch.linalg.eigh(rows @ rows.T / self.examples)
            is_one = values > NO_DIRECTION * values.max()
            values, directions = values[is_one], rows.T @ vectors[:, is_one]
            directions = directions / torch.linalg.vector_norm(directions, dim=0)
        else:
            values, directions = torch.linalg.eigh(self._products / self.examples)
            values = values.clamp(min=0)
        mean = float(values.sum()) / size
        if mean == 0:
            return unweighted
        squares = float(values.square().sum())
        # Of the moment itself about the multiple of the identity, and of its examples about it.
        spread = squares - size * mean**2
        noise = (self._squares / self.examples - squares) / self.examples
        share = noise / spread if spread > 0 else 1.0
        share = min(1.0, max(LEAST_SHRINKAGE, share))
        stretches = ((1 - share) * values / mean + share).sqrt()
        return InputMoments(directions, stretches, share**0.5)


def _rows(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What the first of the two layers reads, (positions, n): a linear layer's own inputs, of a
    convolution the patches of one column, in the order of the matrix's rows."""
    if not isinstance(layer, nn.Conv2d):
        return inputs.detach().reshape(-1, inputs.shape[-1])
    inputs = inputs.detach()
    images = inputs if inputs.dim() == 4 else inputs[None]
    height, dilation = layer.kernel_size[0], layer.dilation[0]
    if layer.padding == "same":
        more = dilation * (height - 1)
        above, below = more // 2, more - more // 2
    else:
        above = below = 0 if layer.padding == "valid" else int(layer.padding[0])
    # A kernel of one number may stride across at once; of others each column is read.
    strides = layer.stride if layer.kernel_size == (1, 1) else (layer.stride[0], 1)
    patches = F.unfold(
        F.pad(images, (0, 0, above, below)), (height, 1), (dilation, 1), stride=strides
    )
    return patches.transpose(1, 2).flatten(0, 1)
