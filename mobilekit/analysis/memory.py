"""Memory: what a network needs at the least, and what a run took."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mobilekit.contract.protocol import MemorySample
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import Description
from mobilekit.records.statistics import MemoryGrowth

BYTES_PER_NUMBER = {"fp32": 4, "fp16": 2, "int8": 1}


class LeastNeed(NamedTuple):
    """What running an artifact takes at the very least, whatever the runtime."""

    weights_bytes: int
    activation_bytes: int
    """Of the layer that needs the most: what it reads, and what it yields."""
    layer: str
    input_bytes: int
    """The network's own inputs, which the companion holds."""

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.activation_bytes + self.input_bytes


def weight_bytes(artifact: Artifact) -> int:
    """The parameters at the artifact's precision."""
    return artifact.cost.parameters * BYTES_PER_NUMBER[artifact.precision]


def least_need(artifact: Artifact, description: Description | None) -> LeastNeed:
    """What running the artifact takes at the very least.

    ``description`` is its network's; without it no activations are counted.

    Weights are counted once: a runtime keeps them in an order of its own, so that a mapped file
    does not stand in for them. While it packs them, most hold the file itself too: on a computer
    ExecuTorch grows by 1.0 times the weights of AlexNet and by 2.0 times while it loads.
    Activations are in the artifact's precision, though most engines leave some of them wider.
    """
    activation_bytes, layer = _least_activations(description) if description else (0, "")
    return LeastNeed(
        weights_bytes=min(weight_bytes(artifact), artifact.program.size_bytes),
        activation_bytes=activation_bytes
        * BYTES_PER_NUMBER[artifact.precision]
        // BYTES_PER_NUMBER["fp32"],
        layer=layer,
        input_bytes=sum(
            math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in artifact.inputs
        ),
    )


def _least_activations(description: Description) -> tuple[int, str]:
    """The most that one layer reads and yields which no runtime can do without, and its name.

    Not the ``peak_activation_bytes`` of a plan that keeps to the network as it is written: runtimes
    fold most layers into others, or write over their input, and may go through branches in another
    order. Convolutions and products with weights always read one place and write another. Every
    other layer may be computed from its sources where it is read, and is counted as those then,
    where they are less. The network's inputs are left out.
    """
    held: dict[str, int] = {}
    most_bytes, most_layer = 0, ""
    for layer in description.layers:
        read_bytes = min(layer.input_bytes, sum(held[name] for name in layer.reads))
        if layer.type in ("convolution", "feed-forward") and layer.weights_bytes:
            held[layer.name] = layer.output_bytes
            if read_bytes + layer.output_bytes > most_bytes:
                most_bytes, most_layer = read_bytes + layer.output_bytes, layer.name
        else:
            held[layer.name] = min(layer.output_bytes, read_bytes)
    return most_bytes, most_layer


def measure_growth(samples: tuple[MemorySample, ...]) -> MemoryGrowth | None:
    """How a run's memory grew over its memory with the program closed.

    By PSS where every stage tells it, else by RSS; ``None`` where neither does.
    """
    by_stage = {sample.stage: sample for sample in samples}
    if not {"closed", "loaded", "inferred"} <= set(by_stage):
        return None
    for measure in ("pss_bytes", "rss_bytes"):
        closed, loaded, inferred = (
            getattr(by_stage[stage], measure) for stage in ("closed", "loaded", "inferred")
        )
        if None not in (closed, loaded, inferred):
            peaks = [by_stage[stage].peak_rss_bytes for stage in ("loaded", "inferred")]
            peak = max((peak for peak in peaks if peak is not None), default=None)
            before = by_stage["closed"].rss_bytes
            return MemoryGrowth(
                measure="PSS" if measure == "pss_bytes" else "RSS",
                load_bytes=loaded - closed,
                inference_bytes=inferred - closed,
                peak_rss_bytes=None if peak is None or before is None else peak - before,
            )
    return None
