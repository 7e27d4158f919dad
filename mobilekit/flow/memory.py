"""The memory that a network is predicted to take."""

from __future__ import annotations

from importlib.resources import files

from mobilekit.analysis.predict.memory import MemoryModels
from mobilekit.contract.codec import decode


def load_memory_models() -> MemoryModels:
    """The shipped ones, fitted beforehand."""
    data = files("mobilekit").joinpath("prediction", "memory.json").read_bytes()
    models: MemoryModels = decode(data, MemoryModels, source="memory.json")
    return models
