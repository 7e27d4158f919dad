"""The seam between a run and what carries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

from mobilekit.contract.protocol import BatterySample, Format
from mobilekit.runner.energy_phase import EnergyStage
from mobilekit.runner.engine import Engine, Program


class Machine(NamedTuple):
    """What a run needs of the machine that it runs on."""

    name: str
    clock_ns: Callable[[], int]
    make_engine: Callable[[Format, int | None], Engine]
    """From the artifact's format and the number of threads; raises ``EngineError``."""
    battery: Literal["gauge", "simulated"] | None
    """As in ``CompanionInfo``."""
    read_battery: Callable[[int], BatterySample] | None
    """At a time of the run's clock."""
    make_energy_stage: Callable[[Program, Sequence[int], int], EnergyStage] | None
    """From the program, the measured latencies and the time on the run's clock; ``None`` where
    there is no battery."""


OpenMachine = Callable[[], AbstractContextManager[Machine]]
"""Makes a run its machine; closed when all is measured, before the result tells everybody that
the run is over."""
