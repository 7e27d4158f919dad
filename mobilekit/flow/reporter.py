"""Who hears what is going on while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from mobilekit.contract.protocol import (
    EnergyPlan,
    ProgressEvent,
    RunRequest,
)
from mobilekit.records.energy import (
    PlannedEnergy,
)
from mobilekit.records.measurement import (
    TimeSpent,
)


class Reporter(Protocol):
    """Hears what is going on while it goes on."""

    def step(self, name: str) -> None: ...

    def note(self, text: str) -> None: ...

    def pushed(self, done_bytes: int, total_bytes: int) -> None: ...

    def planned_energy(self, planned: PlannedEnergy, *, simulated: bool) -> None: ...

    def planned_calibration(self, plan: EnergyPlan, *, simulated: bool) -> None: ...

    def queued_run(self, name: str, number: int, count: int, plan: EnergyPlan) -> None:
        """That one of the runs that were started together is followed from here."""

    def event(self, event: ProgressEvent) -> None: ...

    def lost(self, requests: Sequence[RunRequest]) -> None:
        """The phone of these runs went away; the first of them was under way."""

    def back(self) -> None: ...


class Steps:
    """Tells the reporter of each step and adds up where the time went."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._spent: dict[str, int] = {}
        self._step: str | None = None
        self._since_ns = time.monotonic_ns()

    @property
    def spent(self) -> tuple[TimeSpent, ...]:
        self._account()
        return tuple(TimeSpent(step=step, duration_ns=ns) for step, ns in self._spent.items())

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        outer = self._step
        self._account()
        self._step = step
        self._reporter.step(step)
        try:
            yield
        finally:
            self._account()
            self._step = outer

    def _account(self) -> None:
        now_ns = time.monotonic_ns()
        if self._step is not None:
            self._spent[self._step] = self._spent.get(self._step, 0) + now_ns - self._since_ns
        self._since_ns = now_ns
