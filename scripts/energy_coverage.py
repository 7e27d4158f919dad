"""Energy estimates of simulated phones against their known truth, over every simulated gauge.

Each run is another phone: its gauge and voltage have errors of their own, drawn from what the
budget assumes of a gauge that nobody calibrated, and its charge, its inference's time and its
background differ. It is calibrated, a run is planned for the target, carried out in simulated time
and estimated. Prints a table; ``--docs`` also writes it into docs/energy.md. With ``--meter`` each
gauge was first compared with an external meter that is good to half a percent.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilekit.analysis.energy.estimate import estimate_energy
from mobilekit.analysis.energy.gauge import characterize_gauge
from mobilekit.analysis.energy.planning import plan_calibration, plan_energy
from mobilekit.contract.protocol import EnergyPlan, Window, WindowMeasured
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.device import DeviceProfile
from mobilekit.records.energy import EnergyEstimate, GaugeGain, GaugeRefusal
from mobilekit.results.tables.cells import make_table
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.words import SOURCE_NAMES
from mobilekit.runner.energy_phase import measure_energy
from mobilekit.virtual.battery import BatteryState, GaugeKind, SimulatedBattery, gauge_kinds
from mobilekit.virtual.companion import EnergyTruth, SimulatedEnergyStage

CONTRADICTORY = ("dual-cell", "double", "off-by-half")
UNTELLABLE = ("percent-only", "nothing", "zeros")
"""Gauges that tell nothing: refused without a contradiction."""
LEFT_OUT = ("throttling",)
"""Its energy per inference changes during the run: there is no one truth to cover."""
LATENCY_S = (0.01, 1.2)
CHARGE = (0.45, 0.8)
METER_ERROR = 0.005
"""Standard deviation of a gain that was found with an external meter."""
DOCS = Path(__file__).parents[1] / "docs" / "energy.md"
MARKERS = (
    "<!-- coverage: written by `python scripts/energy_coverage.py --runs 400 --docs` -->",
    "<!-- end of coverage -->",
)


class Outcome(NamedTuple):
    """What became of one phone."""

    gauge: str
    refused: bool
    contradictory: bool
    energy: EnergyEstimate | None
    truth: EnergyTruth | None
    true_gain: float
    """What the estimate is too large by, for the gauge's gain and the meter's error alone."""
    unit_known: bool
    """Scale and sign as the phone really has them, or the current not used."""
    used_wrongly: bool
    """An estimate from the current with a wrong scale or sign, with or without a verdict."""


class Phone:
    """A simulated phone, at work in simulated time."""

    def __init__(self, profile: DeviceProfile, kind: GaugeKind, seed: int) -> None:
        self._random = random.Random(f"phone {seed}")
        self._profile = profile
        self._kind = kind
        self._latency_ns = round(1e9 * float(np.exp(self._random.uniform(*np.log(LATENCY_S)))))
        charge_uah = self._random.uniform(*CHARGE) * profile.battery.capacity_uah
        self._state = BatteryState(
            charge_uah=charge_uah, plugged=False, seed=1000 * seed, gauge_seed=seed
        )

    def measure(self, plan: EnergyPlan) -> tuple[list[Window], EnergyTruth, SimulatedBattery]:
        """The windows of a plan, what they truly cost, and the battery that paid."""
        battery = SimulatedBattery(self._profile, self._state, self._kind)
        latency_ns = [round(self._latency_ns * factor) for factor in (1.0, 0.97, 1.04)]
        stage = SimulatedEnergyStage(self._profile, battery, latency_ns, 0)
        events = measure_energy(plan, stage)
        windows = [event.window for event in events if isinstance(event, WindowMeasured)]
        self._state = battery.state
        return windows, stage.truth, battery


def study(
    name: str, kind: GaugeKind, seed: int, target_error: float, *, meter: bool = False
) -> Outcome:
    """One phone with that gauge: calibrated, planned, measured, estimated."""
    profile = load_profiles()["nexus7"] if seed % 2 else load_profiles()["pixel8"]
    phone = Phone(profile, kind, seed)
    calibration, _, battery = phone.measure(plan_calibration())
    gain = battery.gain * battery.voltage_gain
    verdict = characterize_gauge(
        calibration, profile, device=f"virtual:{name}", run_id="calibration", measured_at=""
    )
    refused = isinstance(verdict, GaugeRefusal)
    known = None if isinstance(verdict, GaugeRefusal) else verdict
    if known is not None and known.source == "power_rails":
        gain = battery.rail_gain
    compared = None
    if meter:
        error = METER_ERROR * random.Random(f"meter {seed}").gauss(0, 1)
        compared = GaugeGain(
            device=f"virtual:{name}",
            gain=gain * (1 + error),
            relative_uncertainty=METER_ERROR,
            trace_sha256="",
            run_id="",
            measured_at="",
        )
    planned = plan_energy(
        profile,
        blocks=5,
        target_error=target_error,
        verdict=known,
        gain=compared,
        level_percent=calibration[-1].battery[-1].level_percent,
    )
    windows, truth, battery = phone.measure(planned.plan)
    energy = None if refused else estimate_energy(windows, profile.gauge, known, compared)
    unaided = estimate_energy(windows, profile.gauge)
    odd = kind.current_divisor != 1 or kind.current_sign != 1
    right = known is not None and (known.current_scale, known.current_sign) == (
        kind.current_divisor,
        kind.current_sign,
    )
    reads_current = "current_now_ua" not in (*kind.unsupported, *kind.zero, *kind.stuck)
    return Outcome(
        gauge=name,
        refused=refused,
        contradictory=isinstance(verdict, GaugeRefusal) and verdict.contradictory,
        energy=energy,
        truth=truth,
        true_gain=gain / compared.gain
        if compared and energy and energy.plane == "battery"
        else gain,
        unit_known=right or not reads_current or refused,
        used_wrongly=(energy is not None and energy.source == "current_now" and not right)
        or (unaided is not None and unaided.source == "current_now" and odd)
        or (name in CONTRADICTORY and unaided is not None),
    )


def studies(
    names: Iterable[str], runs: int, target_error: float, *, meter: bool = False
) -> list[Outcome]:
    kinds = gauge_kinds()
    return [
        study(name, kinds[name], number * 1000 + seed, target_error, meter=meter)
        for number, name in enumerate(names, start=1)
        for seed in range(runs)
    ]


def coverage(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """Share of gross and of marginal intervals that hold the truth."""
    gross = [
        item.energy.gross_interval_j.low <= item.truth.gross_j <= item.energy.gross_interval_j.high
        for item in outcomes
        if item.energy and item.truth
    ]
    marginal = [
        item.energy.marginal_interval_j.low
        <= item.truth.marginal_j
        <= item.energy.marginal_interval_j.high
        for item in outcomes
        if item.energy and item.truth
    ]
    return float(np.mean(gross)), float(np.mean(marginal))


def errors(outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of the marginal energy: with the gauge's gain in them, and without."""
    pairs = [
        (item.energy.marginal_j / item.truth.marginal_j, item.true_gain)
        for item in outcomes
        if item.energy and item.truth
    ]
    ratios, gains = np.array(pairs).T
    return ratios - 1, ratios / gains - 1


def table(outcomes: Sequence[Outcome], target_error: float) -> list[list[str]]:
    """A line for each gauge that gives energies, and one for all of them."""
    rows = []
    names = list(dict.fromkeys(item.gauge for item in outcomes))
    for name in (*names, "all"):
        mine = [item for item in outcomes if name in (item.gauge, "all") and item.energy]
        if not mine:
            continue
        sources = sorted({SOURCE_NAMES[item.energy.source] for item in mine if item.energy})
        gross, marginal = coverage(mine)
        total, rest = errors(mine)
        rows.append(
            [
                name,
                ", ".join(sources) if name != "all" else "",
                str(len(mine)),
                f"{gross:.1%}",
                f"{marginal:.1%}",
                f"{np.median(abs(total)):.1%}",
                f"{np.median(abs(rest)):.1%}",
                f"{target_error:.0%}",
            ]
        )
    return rows


HEADER = (
    "gauge",
    "source",
    "runs",
    "gross covered",
    "marginal covered",
    "median error",
    "without gain",
    "target",
)


def counts(outcomes: Sequence[Outcome]) -> list[str]:
    """What must hold in every run, counted."""
    honest = [item for item in outcomes if item.gauge not in (*CONTRADICTORY, *UNTELLABLE)]
    contradictory = [item for item in outcomes if item.gauge in CONTRADICTORY]
    untellable = [item for item in outcomes if item.gauge in UNTELLABLE]
    kinds = gauge_kinds()
    odd = [
        item
        for item in honest
        if (kinds[item.gauge].current_divisor, kinds[item.gauge].current_sign) != (1, 1)
    ]
    return [
        f"wrong unit or sign detected: {sum(item.unit_known for item in odd)} of {len(odd)}",
        f"wrong unit or sign used: {sum(item.used_wrongly for item in outcomes)} "
        f"of {len(outcomes)}",
        f"contradictory evidence refused: {sum(item.contradictory for item in contradictory)} "
        f"of {len(contradictory)}",
        f"gauges that tell nothing refused: {sum(item.refused for item in untellable)} "
        f"of {len(untellable)}",
        f"sound gauges refused: {sum(item.energy is None for item in honest)} of {len(honest)}",
    ]


def gauges_studied() -> list[str]:
    return [name for name in gauge_kinds() if name not in LEFT_OUT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="runs for each gauge")
    parser.add_argument("--target-error", type=float, default=0.05)
    parser.add_argument("--meter", action="store_true", help="with gains from a meter")
    parser.add_argument("--gauge", action="append", choices=gauges_studied())
    parser.add_argument("--docs", action="store_true", help="write the table into the guide")
    options = parser.parse_args()
    names = options.gauge or gauges_studied()
    outcomes = studies(names, options.runs, options.target_error, meter=options.meter)
    rows = table(outcomes, options.target_error)
    print(render_text(make_table(HEADER, rows)))
    print("\n".join(counts(outcomes)))
    if options.docs:
        lines = [HEADER, ["---"] * len(HEADER), *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        text += "\n\n" + "\n".join(f"- {line}" for line in counts(outcomes))
        before, rest = DOCS.read_text(encoding="utf-8").split(MARKERS[0])
        after = rest.split(MARKERS[1])[1]
        DOCS.write_text(f"{before}{MARKERS[0]}\n\n{text}\n\n{MARKERS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
