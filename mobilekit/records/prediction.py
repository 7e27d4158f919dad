"""What is predicted of a network on a phone that is not here; never what was measured."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.records.statistics import Origin

WorkKind = Literal["pw", "c3s1", "conv", "group", "dw", "fc", "pool", "lrn", "elt", "none"]
"""What a layer does, as far as its time depends on it: ``pw`` a convolution of 1x1, ``c3s1`` of 3x3
and stride 1, ``conv`` any other dense one, ``group`` grouped, ``dw`` depthwise, ``fc`` a matrix
times one vector, ``elt`` moves or computes each element, ``none`` does nothing that takes time."""


class LayerWork(Record, frozen=True):
    """What one layer has to do for one inference."""

    name: str
    type: str
    """The word of whoever described the network: ``Convolution``."""
    kind: str
    """A ``WorkKind``; one that is none cannot be predicted."""
    macs: int
    weights: int
    """Numbers, not bytes."""
    input_elements: int
    output_elements: int
    kernel: int
    """The longer side of its window; 0 or 1 where it has none."""


class NetworkWork(Record, frozen=True):
    """A network's layers, whoever described them."""

    name: str
    layers: tuple[LayerWork, ...]


class KnownLatency(Record, frozen=True):
    """A network that was measured on the phone that is predicted, by the same engine."""

    network: str
    latency_ms: float


class PastError(Record, frozen=True):
    """How far predictions of one kind were right on phones that were held back."""

    known: int
    """How many networks were known on the phone."""
    seen: bool
    """Whether the network itself was measured on other phones."""
    predictions: int
    median_ape_percent: float
    p90_ape_percent: float
    coverage: float
    """The share of times that lay within their 90 % interval."""


class LatencyPrediction(Record, frozen=True):
    """The latency of one network; ``None`` in all three where it cannot be told."""

    network: str
    latency_ms: float | None
    """The median of what is expected."""
    low_ms: float | None
    high_ms: float | None
    """The ends of a 90 % interval."""
    known: int
    """How many networks measured on this phone it is told from; 0: from the chip alone."""
    seen: bool
    """Whether this very network was measured on other phones."""
    reasons: tuple[str, ...]
    """Why it cannot be told, and what to measure; empty where it is."""
    origin: Origin = "predicted"


class PredictedChip(Record, frozen=True):
    """Networks on one chip."""

    chip: str
    """As described: ``4xA76@2.4,4xA55@1.8``."""
    threads: int | None
    """``None``: nobody told, and the chip's cores are not known."""
    engine: str
    """Whose latencies these are: the engine, and the precision, that the model was fitted to, or
    that of the known latencies."""
    predictions: tuple[LatencyPrediction, ...]
    past_errors: tuple[PastError, ...]
    """How far predictions like these were right on phones held back."""
