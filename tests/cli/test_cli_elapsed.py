"""What takes long is told while it goes on."""

from __future__ import annotations

import sys
import threading

import pytest
from examples import energy_plan

from mobilekit.cli import elapsed
from mobilekit.cli.elapsed import Elapsed
from mobilekit.cli.progress import TerminalReporter
from mobilekit.records.energy import PlannedEnergy


class Listener:
    """Hears what is told, and when there is enough of it."""

    def __init__(self, wanted: int) -> None:
        self.heard: list[str] = []
        self.enough = threading.Event()
        self._wanted = wanted

    def __call__(self, text: str) -> None:
        self.heard.append(text)
        if len(self.heard) >= self._wanted:
            self.enough.set()


def test_what_goes_on_is_told_again_and_again() -> None:
    """By its name, while the one who does it is busy."""
    listener = Listener(2)
    clock = Elapsed(listener, first_s=0.01, looks_after_s=0.001)
    clock.start()
    clock.begin("Lowering")
    assert listener.enough.wait(30)
    clock.stop()
    assert set(listener.heard) == {"Lowering: 0 s so far"}


def test_what_is_over_is_not_told() -> None:
    """Neither something that took less, nor what is no step."""
    listener = Listener(1)
    clock = Elapsed(listener, first_s=3600, looks_after_s=0.001)
    clock.start()
    clock.begin("Lowering")
    clock.begin(None)
    clock.stop()
    assert listener.heard == []
    assert clock.text() == ""


def test_it_ends_whatever_was_interrupted() -> None:
    """Ctrl-C between any two steps of ``begin`` leaves nothing that its end would wait for."""
    clock = Elapsed(lambda text: None, looks_after_s=0.001)
    clock.start()
    steps = 0

    def interrupt(frame: object, event: str, argument: object) -> object:
        nonlocal steps
        steps -= event in ("line", "return")
        if steps < 0:
            raise KeyboardInterrupt
        return interrupt

    for at in range(20):
        steps = at
        sys.settrace(interrupt)  # type: ignore[arg-type]
        try:
            clock.begin("Lowering")
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
    ending = threading.Thread(target=clock.stop, daemon=True)
    ending.start()
    ending.join(10)
    assert not ending.is_alive()


def test_minutes_are_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lowering may take some."""
    now = [100.0]
    monkeypatch.setattr(elapsed.time, "monotonic", lambda: now[0])
    clock = Elapsed(lambda text: None)
    clock.begin("Lowering")
    now[0] += 4
    assert clock.text() == ""
    now[0] += 68
    assert clock.text() == "Lowering: 1 min 12 s so far"


def test_a_stage_of_an_export_is_told_and_a_run_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run says itself how far it is."""
    begun: list[str | None] = []
    monkeypatch.setattr(Elapsed, "begin", lambda self, what: begun.append(what))
    with TerminalReporter() as reporter:
        reporter.step("export")
        reporter.note("Tracing the network")
        reporter.step("run")
        reporter.note("The phone is back.")
    assert begun == ["Exporting", "Tracing the network", None, None]
    assert capsys.readouterr().err == "Tracing the network\nThe phone is back.\n"


def test_a_plan_of_several_lines_stays_so(capsys: pytest.CaptureFixture[str]) -> None:
    """As the README shows it; text of others is one line each all the same."""
    planned = PlannedEnergy(
        plan=energy_plan(),
        source="charge_counter",
        target_error=0.05,
        expected_half_width=0.003,
        expected_total_half_width=0.06,
        expected_duration_ns=330 * 10**9,
        expected_charge_fraction=0.013,
        battery_assumed=False,
        limit="the battery is too small",
    )
    with TerminalReporter() as reporter:
        reporter.planned_energy(planned, simulated=True)
        reporter.note("a name\nError: forged")
    plan, expected, limit, note = capsys.readouterr().err.splitlines()
    assert plan.startswith("Energy by the charge counter: 5 blocks of idle and load, ")
    assert expected.startswith("  expected: +-0.3% of the marginal energy")
    assert limit == "  the target is not reached: the battery is too small"
    assert note == "a name Error: forged"
