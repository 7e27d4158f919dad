"""How long and how often is measured."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import RunRequest, TemperatureGate, WarmupRule
from mobilekit.units import NS_PER_S

PresetName = Literal["fast", "default", "rigorous"]


class Preset(Record, frozen=True):
    cold_loads: int
    min_iterations: int
    min_duration_ns: int
    max_duration_ns: int
    energy_blocks: int
    energy_target_error: float
    """Half-width that the gauge's resolution may cause, relative to the marginal power."""


class Bounds(Record, frozen=True):
    """How long and how often init and latency of one run are measured."""

    cold_loads: int
    warmup: WarmupRule
    min_iterations: int
    min_duration_ns: int
    max_duration_ns: int


WARMUP = WarmupRule(
    window_iterations=5, tolerance=0.04, max_iterations=100, max_duration_ns=30 * NS_PER_S
)
"""Within 4 %, as androidx.benchmark asks of its two moving averages."""
UNPLUG_TIMEOUT_NS = 600 * NS_PER_S
"""How long a person is given to pull the cable."""
REST_NS = 30 * NS_PER_S
TEMPERATURE_GATE = TemperatureGate(max_decicelsius=350, timeout_ns=600 * NS_PER_S)
"""Between 20 and 35 degC a battery is itself; above, the phone may be about to throttle."""
PRESETS = {
    "fast": Preset(
        cold_loads=3,
        min_iterations=30,
        min_duration_ns=NS_PER_S // 2,
        max_duration_ns=60 * NS_PER_S,
        energy_blocks=5,
        energy_target_error=0.1,
    ),
    "default": Preset(
        cold_loads=5,
        min_iterations=100,
        min_duration_ns=3 * NS_PER_S,
        max_duration_ns=180 * NS_PER_S,
        energy_blocks=5,
        energy_target_error=0.05,
    ),
    # At least 60 s and 1,024 samples, as MLPerf Mobile.
    "rigorous": Preset(
        cold_loads=10,
        min_iterations=1024,
        min_duration_ns=60 * NS_PER_S,
        max_duration_ns=1800 * NS_PER_S,
        energy_blocks=10,
        energy_target_error=0.02,
    ),
}


def bounds_of(request: RunRequest) -> Bounds:
    """What a run was asked for of all that a preset decides about init and latency."""
    return Bounds(
        cold_loads=request.cold_loads,
        warmup=request.warmup,
        min_iterations=request.min_iterations,
        min_duration_ns=request.min_duration_ns,
        max_duration_ns=request.max_duration_ns,
    )


def find_preset(request: RunRequest) -> str | None:
    """The preset by which a run was measured; ``None`` where it was by none of today's."""
    asked = bounds_of(request)
    for name, preset in PRESETS.items():
        bounds = Bounds(
            cold_loads=preset.cold_loads,
            warmup=WARMUP,
            min_iterations=preset.min_iterations,
            min_duration_ns=preset.min_duration_ns,
            max_duration_ns=preset.max_duration_ns,
        )
        if bounds == asked:
            return name
    return None


PROFILED_MACS = 10**9
FEWEST_PROFILED, MOST_PROFILED = 50, 1000


def profiled_iterations(macs: int) -> int:
    """How many inferences tell the layers of a network of so many multiply-accumulates.

    More for a small one: fifty inferences of some microseconds would all fall into one disturbance
    by other work, which takes milliseconds, or all between two.
    """
    return min(max(PROFILED_MACS // max(macs, 1), FEWEST_PROFILED), MOST_PROFILED)
