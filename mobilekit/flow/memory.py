"""The memory that a network is predicted to take."""

from __future__ import annotations

from msgspec.structs import replace

from mobilekit.analysis.predict.memory import predict_memory
from mobilekit.contract.protocol import Format
from mobilekit.flow.shipped import load_memory_models
from mobilekit.formats import FORMATS
from mobilekit.records.chip import Chip
from mobilekit.records.network import Description, Precision
from mobilekit.records.prediction import NetworkPrediction, Untold


def with_memory(
    prediction: NetworkPrediction,
    description: Description | None,
    chip: Chip | None,
    *,
    artifact_format: Format | None,
    precision: Precision,
) -> NetworkPrediction:
    """A prediction with the memory of the network on a phone with that chip; ``None``: it is not
    known.

    ``artifact_format``: ``None`` for the first that the phone runs and that can be told.
    """
    if description is None:
        return _untold(prediction, "a table of layers does not tell which of them read which")
    if chip is None:
        return _untold(prediction, "the processors of the phone are not known")
    abi = "armeabi-v7a" if chip.clusters[0].core.armv7 else "arm64-v8a"
    formats = [artifact_format] if artifact_format else [*FORMATS]
    every = [
        predict_memory(description, each, precision, load_memory_models(), abi=abi)
        for each in formats
        if artifact_format or abi in FORMATS[each].abis
    ]
    memory = next((each for each in every if not each.reasons), every[0])
    if memory.reasons:
        return _untold(prediction, "; ".join(memory.reasons))
    return replace(prediction, memory=memory)


def _untold(prediction: NetworkPrediction, reason: str) -> NetworkPrediction:
    return replace(prediction, untold=(*prediction.untold, Untold(figure="memory", reason=reason)))
