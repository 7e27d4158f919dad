"""What a network costs, in counts that time is told from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mobilekit.records.prediction import LayerWork

Array = npt.NDArray[np.float64]

COSTS = (
    "pw_macs",
    "c3s1_macs",
    "conv_macs",
    "group_macs",
    "dw_macs",
    "fc_weights",
    "elements",
    "layers",
    "window_operations",
)
"""MACs by kind of convolution; numbers that fully connected layers read once; numbers that all
layers read and write; how many layers; what pooling and local normalization compute."""
_MACS_OF = {"pw": 0, "c3s1": 1, "conv": 2, "group": 3, "dw": 4}
KINDS = frozenset({*_MACS_OF, "fc", "pool", "lrn", "elt", "none"})


def costs_of(layers: Iterable[LayerWork]) -> Array:
    """The sum over the layers of each of ``COSTS``."""
    total = [0] * len(COSTS)
    for layer in layers:
        for index, cost in layer_costs(layer):
            total[index] += cost
    return np.array(total, dtype=np.float64)


def layer_costs(layer: LayerWork) -> list[tuple[int, int]]:
    """What of ``COSTS`` one layer has, each with its index there."""
    costs = [(6, layer.input_elements + layer.output_elements), (7, 1)]
    if layer.kind in _MACS_OF:
        costs.append((_MACS_OF[layer.kind], layer.macs))
    elif layer.kind == "fc":
        costs.append((5, layer.weights))
    elif layer.kind == "lrn":
        costs.append((8, layer.input_elements))
    elif layer.kind == "pool":
        costs.append((8, layer.output_elements * max(1, layer.kernel) ** 2))
    return costs


SAME_WITHIN = 0.003
"""Of the time: two networks' tables may differ by a softmax, or by how a pooling is written."""


def are_same(costs: Array, others: Array, unit_ms: Array) -> npt.NDArray[np.bool_]:
    """Which rows of ``others`` are the network of these costs: a name may be anybody's.

    ``unit_ms`` is what a unit of each cost takes, so that what takes no time tells no networks
    apart.
    """
    apart = np.abs(others - costs) @ unit_ms
    return np.asarray(apart <= SAME_WITHIN * (costs @ unit_ms))
