"""What goes on while it goes on, on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from mobilekit.analysis.energy.planning import planned_duration_ns
from mobilekit.cli.elapsed import Elapsed
from mobilekit.contract.protocol import (
    EnergyPlan,
    EnergyRefused,
    LoadMeasured,
    PhaseStarted,
    ProgressEvent,
    RunRequest,
    SegmentMeasured,
    WaitEnded,
    WaitStarted,
    WindowMeasured,
)
from mobilekit.plain import plain
from mobilekit.records.energy import PlannedEnergy
from mobilekit.results.text.energy import render_energy_plan
from mobilekit.results.text.progress import (
    PHASE_TEXTS,
    STEP_TEXTS,
    TIMEOUT_TEXTS,
    WAIT_TEXTS,
)
from mobilekit.units import NS_PER_S, format_bytes


class TerminalReporter:
    """A ``flow.Reporter`` for people."""

    def __init__(self) -> None:
        # Not what stands for it while a library is kept quiet.
        self._console = Console(file=sys.stderr, highlight=False)
        self._shown, self._step = "Starting", ""
        self._elapsed = Elapsed(self._print)
        self._status = self._console.status(self) if self._console.is_terminal else None
        self._loads = self._windows = 0
        self._planned_windows = 0

    def __enter__(self) -> TerminalReporter:
        if self._status is not None:
            self._status.start()
        else:
            self._elapsed.start()
        return self

    def __rich__(self) -> Text:
        """The live line, drawn several times a second."""
        return Text(plain(self._elapsed.text() or self._shown))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._elapsed.stop()
        if self._status is not None:
            self._status.stop()

    def pause(self) -> None:
        """Leave the terminal to a question."""
        if self._status is not None:
            self._status.stop()

    def step(self, name: str) -> None:
        self._step = name
        self._show(STEP_TEXTS[name])

    def note(self, text: str) -> None:
        self._print(text)
        # Runs and pushes say themselves how far they are.
        self._elapsed.begin(None if self._step in ("run", "push") else text)

    def _print(self, text: str) -> None:
        self._console.print(plain(text), style="dim", markup=False, soft_wrap=True)

    def pushed(self, done_bytes: int, total_bytes: int) -> None:
        done, total = format_bytes(done_bytes), format_bytes(total_bytes)
        if self._status is not None:
            self._show(f"Pushing {done} of {total}")
        elif done_bytes == total_bytes:
            self.note(f"Pushed {total}")

    def planned_energy(self, planned: PlannedEnergy, *, simulated: bool) -> None:
        self._planned_windows = 2 * planned.plan.blocks + 1
        self._windows = 0
        for line in render_energy_plan(planned, simulated=simulated).splitlines():
            self.note(line)

    def planned_calibration(self, plan: EnergyPlan, *, simulated: bool) -> None:
        self._planned_windows = 2 * plan.blocks + 1
        minutes = planned_duration_ns(plan) / NS_PER_S / 60
        self.note(
            f"Calibration: {self._planned_windows} windows of idle and load, "
            f"{minutes:.1f} min{' of simulated time' if simulated else ''}, "
            f"the gauge read {NS_PER_S / plan.sample_period_ns:.0f} times a second."
        )

    def queued_run(self, name: str, number: int, count: int, plan: EnergyPlan) -> None:
        self._planned_windows = 2 * plan.blocks + 1
        self._windows = 0
        self.note(f"Run {number} of {count}: {name}")

    def event(self, event: ProgressEvent) -> None:
        if isinstance(event, PhaseStarted):
            if event.phase == "load":
                self._loads = 0
            self._show(f"Running: {PHASE_TEXTS[event.phase]}")
        elif isinstance(event, LoadMeasured):
            self._loads += 1
            self._show(f"Running: cold loads, {self._loads} done")
        elif isinstance(event, SegmentMeasured):
            self._show(f"Running: timing the layers, {event.latency.segment + 1} segments done")
        elif isinstance(event, WindowMeasured):
            self._windows += 1
            # Of a pilot and a collected run no plan was told; spoiled windows are made up for.
            planned = f" of {self._planned_windows}" if self._planned_windows else ""
            self._show(f"Running: energy, window {self._windows}{planned}")
        elif isinstance(event, WaitStarted):
            self.note(WAIT_TEXTS[event.reason])
        elif isinstance(event, WaitEnded) and not event.wait.passed:
            self.note(TIMEOUT_TEXTS[event.wait.reason])
        elif isinstance(event, EnergyRefused):
            self.note(f"No energy is measured: {event.reason}")

    def lost(self, requests: Sequence[RunRequest]) -> None:
        plans = [request.energy for request in requests if request.energy is not None]
        if not plans or plans[0].unplug_timeout_ns is None:
            self.note("The phone is away: waiting for it.")
            return
        duration_s = sum(planned_duration_ns(plan) for plan in plans) / NS_PER_S
        over = datetime.now() + timedelta(seconds=duration_s)
        self.note(
            "The phone is away and goes on by itself. Plug it in again when it is done, at "
            f"{over:%H:%M} or later. Ctrl-C leaves it alone: `mobilekit collect` fetches "
            "everything, even days later."
        )

    def back(self) -> None:
        self.note("The phone is back.")

    def _show(self, text: str) -> None:
        self._shown = text
        self._elapsed.begin(None if self._step in ("run", "push") else text)
        if self._status is not None:
            self._status.start()


@contextmanager
def reading_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for the bytes of a file that is read; none where stderr is no terminal."""
    console = Console(stderr=True, highlight=False)
    with Progress(
        "Reading {task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(escape(plain(name)), total=None)

        def read(done_bytes: int, total_bytes: int) -> None:
            progress.update(task, completed=done_bytes, total=total_bytes)

        yield read
