"""The models that came with mobilekit, fitted beforehand; each is read once a process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from mobilekit.analysis.predict.latency import LatencyModel, Predictor
from mobilekit.analysis.predict.memory import MemoryModels
from mobilekit.analysis.predict.power import PowerModel
from mobilekit.contract.codec import Record, decode

R = TypeVar("R", bound=Record)
_PLACE = Path(__file__).parents[1] / "prediction"


@lru_cache(maxsize=1)
def load_predictor() -> Predictor:
    """Of latencies."""
    packed = np.load(_PLACE / "latency_whitener.npy")
    return Predictor(_read("latency.json", LatencyModel), packed)


@lru_cache(maxsize=1)
def load_power_model() -> PowerModel:
    """Of what phones' cores draw."""
    return _read("power.json", PowerModel)


@lru_cache(maxsize=1)
def load_memory_models() -> MemoryModels:
    return _read("memory.json", MemoryModels)


def _read(name: str, kind: type[R]) -> R:
    data = (_PLACE / name).read_bytes()
    model: R = decode(data, kind, source=name)
    return model
