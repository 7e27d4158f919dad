"""What ranks lose of accuracy, in PyTorch: a fraction of the time that an export and a run take.

Imports torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mobilekit.model.dataset import class_indices, open_dataset
from mobilekit.model.kept_lines import KeptLines
from mobilekit.model.lowrank import Decomposition, decompose, factorise
from mobilekit.model.reference import run_eager
from mobilekit.model.whitening import InputMoments, measure_moments
from mobilekit.records.network import Compression, ModelSpec

LARGEST_SCREENED = 400
"""Examples at most: more would tell little more of which ranks are worth a try."""
SCREENING_VERSION = 1
"""Of how a rank is judged."""


class Screen:
    """A network on some of the examples, whole and with layers cut.

    What was judged is kept, so that a killed search goes on where it was.
    """

    def __init__(
        self, spec: ModelSpec, module: nn.Module, directory: Path | None, *, cache_directory: Path
    ) -> None:
        """``directory`` as ``open_dataset`` takes it. Raises ``DataError``, and what running the
        network raises."""
        self._spec = spec
        self._module = module
        self._decompositions: dict[tuple[str, str | None], Decomposition] = {}
        self._moments: dict[str, InputMoments] = {}
        self._right: dict[str, tuple[bool, ...]] = {}
        with open_dataset(spec, directory) as dataset:
            drawn = np.random.default_rng(0).permutation(len(dataset.labels))
            chosen = sorted(drawn[:LARGEST_SCREENED].tolist())
            arrays = [dataset.read(index) for index in chosen]
            inputs = [torch.from_numpy(each) for each in arrays]
            classes = run_eager(spec, module, inputs[:1])[0].numel()
            labels = class_indices(dataset, classes)
        known = [labels[index] for index in chosen]
        digest = hashlib.sha256()
        for array, label in zip(arrays, known, strict=True):
            digest.update(array.tobytes())
            digest.update(b"%d" % label)
        self.examples_sha256 = digest.hexdigest()
        parts = [SCREENING_VERSION, spec.content_sha256, self.examples_sha256, torch.__version__]
        self._kept = KeptLines(cache_directory, "screened", parts, int)
        outputs = [run_eager(spec, module, (each,))[0].flatten() for each in inputs]
        margins = list(map(_margin, outputs, known))
        # What loses too much loses what is nearly wrong first, and is given up the sooner.
        order = sorted(range(len(known)), key=margins.__getitem__)
        self._inputs = [inputs[place] for place in order]
        self._labels = [known[place] for place in order]
        self._whole_right = tuple(_is_right(outputs[place], known[place]) for place in order)
        self._whole = self._whole_right.count(True)

    def weigh(self, layers: Iterable[str], calibration: Path) -> None:
        """Have ``loss_points`` judge compressions of these layers that are whitened by those
        examples, too. Raises what ``measure_moments`` does."""
        self._moments = measure_moments(self._spec, self._module, layers, calibration)

    def can_whiten(self, layers: Iterable[str]) -> bool:
        """Whether any of the examples that were weighed by reaches each of these layers: of
        compressions of others nothing is told, and ``lowrank.compress`` refuses them."""
        return all(layer in self._moments for layer in layers)

    def loss_points(self, compression: Compression | None, most: float = math.inf) -> float:
        """Of accuracy, beside the whole network; below 0 where it is righter.

        What loses more than ``most`` is not followed to the end, and is told to lose as much as was
        seen, which is more than ``most`` too.
        """
        if compression is None:
            return 0.0
        examples = len(self._labels)
        least_right = math.ceil(max(0.0, self._whole - most * examples / 100))
        return 100 * (self._whole - self._count_right(compression, least_right)) / examples

    def is_right(self, compression: Compression | None) -> tuple[bool, ...]:
        """Of each example, in one order for all compressions and the whole network: what pairs of
        them tell is more than what two counts do."""
        if compression is None:
            return self._whole_right
        known = self._right.get(compression.key)
        return known or self._run(compression, 0)

    def _count_right(self, compression: Compression, least_right: int) -> int:
        """Below ``least_right`` it is as many as there may be at most."""
        key = compression.key
        given_up = f"{key}-below-{least_right}"
        known: int | None = self._kept.get(key)
        if known is None:
            known = self._kept.get(given_up)
        if known is None:
            right = self._run(compression, least_right)
            known = len(self._labels) - right.count(False)
            if known < least_right:
                self._kept.add(given_up, known)
        return known

    def _run(self, compression: Compression, least_right: int) -> tuple[bool, ...]:
        """Of each example, until fewer than ``least_right`` may be. Where it is of all of them, it
        is kept how many there are."""
        whitened_by = compression.whitened_by
        whole = {cut.layer: self._module.get_submodule(cut.layer) for cut in compression.ranks}
        try:
            for cut in compression.ranks:
                layer = whole[cut.layer]
                moments = None if whitened_by is None else self._moments[cut.layer]
                found = self._decompositions.get((cut.layer, whitened_by))
                if found is None:
                    found = decompose(layer, moments)
                    self._decompositions[cut.layer, whitened_by] = found
                made = factorise(layer, cut.rank, found, moments)
                self._put(cut.layer, made.requires_grad_(False))
            outputs = (
                run_eager(self._spec, self._module, (each,))[0].flatten() for each in self._inputs
            )
            right: list[bool] = []
            for output, label in zip(outputs, self._labels, strict=True):
                right.append(_is_right(output, label))
                if len(self._labels) - right.count(False) < least_right:
                    return tuple(right)
            self._right[compression.key] = tuple(right)
            self._kept.add(compression.key, right.count(True))
            return tuple(right)
        finally:
            for path, layer in whole.items():
                self._put(path, layer)

    def _put(self, path: str, layer: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self._module.get_submodule(parent), name, layer)


def _is_right(outputs: torch.Tensor, label: int) -> bool:
    return int(outputs.argmax()) == label


def _margin(outputs: torch.Tensor, label: int) -> float:
    """By how much a network's outputs tell the label before all other classes; below 0 where they
    tell another."""
    right = float(outputs[label])
    others = [float(part.max()) for part in (outputs[:label], outputs[label + 1 :]) if len(part)]
    return right - max(others, default=-math.inf)
