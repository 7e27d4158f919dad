"""From the windows of an energy phase to joules per inference, and to inferences per charge.

**Blocks.** A load window and the idle windows on both sides are a block. Its marginal power is
P_load - (P_idle_before + P_idle_after) / 2, which cancels linear drift. The block is the unit of
analysis: readings inside a block are not independent.

**Blocks and quantisation are two components of one variance.** With y the energies of K blocks,
y = W p + noise, p the windows' powers with covariance sigma^2 I + C: sigma is what the phone's
power itself scatters from window to window, C what the gauge's resolution makes uncertain
(``sources``). C is computed; sigma^2 is what the scatter of the blocks leaves after C's share,

    sigma^2 = max(0, (y'My - tr(M W C W')) / tr(M W W')),    M = I - 11'/K

and both go into the variance of the mean, 1'W (sigma^2 I + C) W'1 / K^2. So neither is counted
twice, blocks that agree because all were rounded alike prove nothing, and the idle window that two
blocks share is not taken for two.

**Interval.** All terms add in quadrature and are expanded by Student's t for the effective degrees
of freedom of Welch and Satterthwaite (JCGM 100:2008, G.4.1); only sigma^2 was estimated. Below
five blocks it is the range of the blocks, widened by gain and voltage, and called a range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.linalg import block_diag
from scipy.special import stdtrit

from mobilekit.analysis.energy.sources import (
    Gauge,
    Unusable,
    WindowPowers,
    charge_ratio,
    count_readings,
    judge_ratio,
    known_gauge,
    mean_voltage_mv,
    measure_powers,
    voltage_is_told,
)
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.protocol import Window
from mobilekit.records.device import DeviceProfile, ProfileGauge
from mobilekit.records.energy import (
    ChargeEstimate,
    EnergyEstimate,
    EnergySource,
    GaugeGain,
    GaugeVerdict,
    IntervalKind,
    RateEstimate,
    UncertaintyTerm,
)
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Interval, Origin
from mobilekit.units import COULOMB_PER_UAH, NS_PER_S

GAIN_RELATIVE_UNCERTAINTY = 0.03
"""Of a gauge whose gain nobody calibrated: an assumption (sense resistor and ADC tolerance)."""
VOLTAGE_RELATIVE_UNCERTAINTY = 0.005
"""About 20 mV at 3.85 V, usual for fuel gauges: an assumption."""
UNTOLD_VOLTAGE_RELATIVE_UNCERTAINTY = 0.03
"""Of the nominal voltage between 30 and 80 % of charge: an assumption."""
BATTERY_RELATIVE_UNCERTAINTY = 0.075
"""Of a full charge against the profile's figure, for a battery of unknown age: an assumption."""
LEARNED_CHARGE_RELATIVE_UNCERTAINTY = 0.03
"""Of the full charge that a gauge has learned, against what it would count: an assumption."""
NOMINAL_VOLTAGE_RELATIVE_UNCERTAINTY = 0.02
"""Of the mean voltage of a whole discharge against the battery's nominal one: an assumption."""
NORMAL_95 = 1.96
MIN_INTERVAL_BLOCKS = 5
"""Below it there is a range of the blocks and no interval."""
MIN_BLOCKS = 2
SLOWER = 1.05
"""How much longer an inference takes on a phone that is taken to have slowed down."""
SOURCES_IN_ORDER: tuple[EnergySource, ...] = (
    "charge_counter",
    "current_now",
    "energy_counter",
    "power_rails",
)
"""Where no verdict says which is best."""


class _Blocks(NamedTuple):
    """K blocks over n windows, by one source."""

    powers: WindowPowers
    seconds_per_inference: np.ndarray
    """K."""
    gross_weights: np.ndarray
    """K x n: their product with the windows' powers is in joules per inference."""
    marginal_weights: np.ndarray
    idle_curvature_w: float
    """What the idle power's curvature adds to the marginal power."""

    def rows(self, chosen: np.ndarray) -> _Blocks:
        return self._replace(
            seconds_per_inference=self.seconds_per_inference[chosen],
            gross_weights=self.gross_weights[chosen],
            marginal_weights=self.marginal_weights[chosen],
        )


class _Mean(NamedTuple):
    """The mean over blocks of an energy, with the variance of its two random components."""

    mean_j: float
    blocks_j: float
    blocks_freedom: float | None
    quantisation_j: float
    scatter_w: float
    values_j: np.ndarray


# --- energy ------------------------------------------------------------------------------------


def estimate_energy(
    windows: Sequence[Window],
    profile_gauge: ProfileGauge,
    verdict: GaugeVerdict | None = None,
    gain: GaugeGain | None = None,
    *,
    origin: Origin = "measured",
) -> EnergyEstimate | None:
    """Energy per inference over the complete unplugged blocks of ``windows``.

    ``origin`` is that of the battery's readings. The verdict's source comes first, then its other
    usable ones by expected error. ``None`` with fewer than two blocks, when no source can be used,
    and when charge counter and current contradict each other (unless a person chose the source).
    """
    gauge = known_gauge(profile_gauge, verdict)
    stretches = find_stretches(windows)
    if sum(len(stretch) // 2 for stretch in stretches) < MIN_BLOCKS:
        return None
    for source in usable_sources(stretches, gauge, verdict):
        measured = _measure_stretches(stretches, source, gauge)
        if measured is not None:
            used, blocks = measured
            return _estimate(windows, used, blocks, source, gain, origin)
    return None


def energy_of(measurement: Measurement) -> EnergyEstimate | None:
    """``estimate_energy`` of a stored run, by what was known of its gauge at the time."""
    profile = measurement.profile
    if profile is None:
        return None
    return estimate_energy(
        measurement.result.samples.windows,
        profile.gauge,
        measurement.gauge,
        measurement.gain,
        origin="simulated" if measurement.virtual else "measured",
    )


def usable_sources(
    stretches: Sequence[Sequence[Window]], gauge: Gauge, verdict: GaugeVerdict | None
) -> list[EnergySource]:
    """Which sources may be tried, the best first; none where the evidence is contradictory."""
    agreement = judge_ratio(charge_ratio(stretches, gauge))
    if verdict is None:
        if agreement == "contradictory":
            return []
        return [
            source for source in SOURCES_IN_ORDER if source != "current_now" or agreement == "agree"
        ]
    if "source" in verdict.overridden:
        return [verdict.source]
    if agreement != "agree":
        return []
    usable = [item for item in verdict.sources if item.usable]
    usable.sort(key=lambda item: (item.source != verdict.source, item.expected_half_width or 0.0))
    return [item.source for item in usable]


def explain_refusal(
    windows: Sequence[Window], profile_gauge: ProfileGauge, verdict: GaugeVerdict | None = None
) -> str:
    """Why ``estimate_energy`` says nothing, for people."""
    gauge = known_gauge(profile_gauge, verdict)
    stretches = find_stretches(windows)
    blocks = sum(len(stretch) // 2 for stretch in stretches)
    if blocks < MIN_BLOCKS:
        return f"{blocks} complete blocks without a cable, and {MIN_BLOCKS} are needed"
    sources = usable_sources(stretches, gauge, verdict)
    if not sources:
        return "charge counter and current contradict each other"
    reasons = []
    for source in sources:
        for stretch in stretches:
            powers = measure_powers(stretch, source, gauge)
            if isinstance(powers, Unusable):
                reasons.append(f"{source.replace('_', ' ')}: {powers.reason}")
                break
    return "; ".join(reasons)


def _measure_stretches(
    stretches: Sequence[list[Window]], source: EnergySource, gauge: Gauge
) -> tuple[list[list[Window]], _Blocks] | None:
    """The stretches that the source tells something of; ``None`` where it cannot be right in one,
    or tells too little."""
    used, parts = [], []
    for stretch in stretches:
        powers = measure_powers(stretch, source, gauge)
        if isinstance(powers, Unusable):
            if powers.contradictory:
                return None
            continue
        used.append(stretch)
        parts.append(powers)
    if sum(len(stretch) // 2 for stretch in used) < MIN_BLOCKS:
        return None
    return used, _join(used, parts)


def _join(stretches: Sequence[Sequence[Window]], parts: Sequence[WindowPowers]) -> _Blocks:
    seconds, gross, marginal, curvatures = [], [], [], []
    for stretch, powers in zip(stretches, parts, strict=True):
        loads = stretch[1::2]
        seconds_here = np.array(
            [
                (window.ended_ns - window.started_ns) / NS_PER_S / window.iterations
                for window in loads
            ]
        )
        count = np.arange(len(loads))
        load_only = np.zeros((len(loads), len(stretch)))
        load_only[count, 1 + 2 * count] = seconds_here
        less_idle = load_only.copy()
        less_idle[count, 2 * count] = less_idle[count, 2 * count + 2] = -seconds_here / 2
        seconds.append(seconds_here)
        gross.append(load_only)
        marginal.append(less_idle)
        curvatures += np.diff(powers.power_w[0::2], n=2).tolist()
    return _Blocks(
        powers=WindowPowers(
            np.concatenate([powers.power_w for powers in parts]),
            block_diag(*[powers.covariance_w2 for powers in parts]),
        ),
        seconds_per_inference=np.concatenate(seconds),
        gross_weights=block_diag(*gross),
        marginal_weights=block_diag(*marginal),
        # The second difference of a parabola over two windows' distance is eight times what it
        # adds to a load between two idle windows.
        idle_curvature_w=float(np.mean(curvatures)) / 8 if curvatures else 0.0,
    )


def _estimate(
    windows: Sequence[Window],
    stretches: Sequence[Sequence[Window]],
    blocks: _Blocks,
    source: EnergySource,
    gain: GaugeGain | None,
    origin: Origin,
) -> EnergyEstimate:
    on_battery = source != "power_rails"
    gain_value = 1.0
    gain_relative = GAIN_RELATIVE_UNCERTAINTY
    gain_note = f"{gain_relative:.1%}: no meter has been set against this gauge, an assumption"
    if gain is not None and on_battery:
        gain_value, gain_relative = gain.gain, gain.relative_uncertainty
        gain_note = f"{gain_relative:.2%} after the comparison with an external meter"
    used = [window for stretch in stretches for window in stretch]
    voltage_relative, voltage_note = 0.0, "power rails need none"
    if on_battery and source != "energy_counter" and not voltage_is_told(used):
        voltage_relative = UNTOLD_VOLTAGE_RELATIVE_UNCERTAINTY
        voltage_note = f"{voltage_relative:.1%}: the nominal one, since the phone tells none"
    elif on_battery and gain is None:
        voltage_relative = VOLTAGE_RELATIVE_UNCERTAINTY
        voltage_note = f"{voltage_relative:.1%}, an assumption"
    elif on_battery:
        voltage_note = "part of the gain, which compares energies"
    counted_w = blocks.powers.power_w
    blocks = blocks._replace(
        powers=WindowPowers(counted_w / gain_value, blocks.powers.covariance_w2 / gain_value**2)
    )
    gross = _mean_of(blocks.gross_weights, blocks.powers)
    marginal = _mean_of(blocks.marginal_weights, blocks.powers)
    drift_j = abs(blocks.idle_curvature_w) / gain_value * float(blocks.seconds_per_inference.mean())
    drift_j /= float(np.sqrt(3))
    budget = (
        UncertaintyTerm(
            name="blocks",
            gross_j=gross.blocks_j,
            marginal_j=marginal.blocks_j,
            gross_freedom=gross.blocks_freedom,
            marginal_freedom=marginal.blocks_freedom,
            note=f"scatter of {len(gross.values_j)} blocks, less quantisation's share",
        ),
        UncertaintyTerm(
            name="quantisation",
            gross_j=gross.quantisation_j,
            marginal_j=marginal.quantisation_j,
            gross_freedom=None,
            marginal_freedom=None,
            note="the source's step, period and noise, carried through the fit",
        ),
        _common("gain", gain_relative, gross, marginal, gain_note),
        _common("voltage", voltage_relative, gross, marginal, voltage_note),
        UncertaintyTerm(
            name="drift",
            gross_j=0.0,
            marginal_j=drift_j,
            gross_freedom=None,
            marginal_freedom=None,
            note="the idle power's curvature, which idle-load-idle does not cancel",
        ),
    )
    loads = [window for stretch in stretches for window in stretch[1::2]]
    idle_w = np.concatenate(
        [part[0::2] for part in np.split(blocks.powers.power_w, _splits(stretches))]
    )
    load_w = np.concatenate(
        [part[1::2] for part in np.split(blocks.powers.power_w, _splits(stretches))]
    )
    kind: IntervalKind = (
        "interval_95" if len(gross.values_j) >= MIN_INTERVAL_BLOCKS else "block_range"
    )
    charge_uah = voltage_mv = None
    if source in ("charge_counter", "current_now"):
        voltage_mv = float(np.mean([mean_voltage_mv(window.battery) for window in loads]))
        charge_uah = gross.mean_j * gain_value / (COULOMB_PER_UAH * voltage_mv / 1000)
    burst, sustained = _rates(loads, blocks, gain_relative, voltage_relative)
    return EnergyEstimate(
        origin=origin,
        source=source,
        plane="battery" if on_battery else "rails",
        blocks=len(loads),
        spoiled_windows=len(windows) - len(used),
        gauge_steps=count_readings(loads, source),
        iterations=sum(window.iterations for window in loads),
        idle_w=float(idle_w.mean()),
        load_w=float(load_w.mean()),
        seconds_per_inference=float(blocks.seconds_per_inference.mean()),
        gross_j=gross.mean_j,
        gross_interval_j=_interval(gross, [(t.gross_j, t.gross_freedom) for t in budget]),
        marginal_j=marginal.mean_j,
        marginal_interval_j=_interval(
            marginal, [(t.marginal_j, t.marginal_freedom) for t in budget]
        ),
        interval_kind=kind,
        budget=budget,
        drift_ratio=_drift_ratio(idle_w, float(load_w.mean())),
        scatter_w=marginal.scatter_w,
        gauge_charge_uah=charge_uah,
        gauge_voltage_mv=voltage_mv,
        burst=burst,
        sustained=sustained,
    )


def _splits(stretches: Sequence[Sequence[Window]]) -> np.ndarray:
    """Where one stretch's windows end in the array of all."""
    return np.cumsum([len(stretch) for stretch in stretches])[:-1]


def _common(
    name: Literal["gain", "voltage"], relative: float, gross: _Mean, marginal: _Mean, note: str
) -> UncertaintyTerm:
    """What is wrong with all blocks alike."""
    return UncertaintyTerm(
        name=name,
        gross_j=relative * abs(gross.mean_j),
        marginal_j=relative * abs(marginal.mean_j),
        gross_freedom=None,
        marginal_freedom=None,
        note=note,
    )


def _drift_ratio(idle_w: np.ndarray, load_w: float) -> float:
    """Change of a line through the idle powers over the run, relative to the marginal power."""
    slope = float(np.polyfit(np.arange(len(idle_w)), idle_w, 1)[0])
    marginal_w = load_w - float(idle_w.mean())
    return slope * (len(idle_w) - 1) / marginal_w if marginal_w else 0.0


# --- burst and sustained -----------------------------------------------------------------------


def _rates(
    loads: Sequence[Window], blocks: _Blocks, gain_relative: float, voltage_relative: float
) -> tuple[RateEstimate | None, RateEstimate | None]:
    """What the blocks before the phone slowed down cost, and those on the plateau at the end.

    Slowed down: 5 % longer than in the first block. On the plateau: within 5 % of the last block.
    ``None`` for both where it did not, and for one of fewer than two blocks.
    """
    seconds = blocks.seconds_per_inference
    hot = np.array([(window.thermal.status or 0) > 0 for window in loads])
    slowed = seconds > SLOWER * seconds[0]
    if not slowed[-1]:
        return None, None
    cool = ~(slowed | hot)
    burst = np.cumprod(cool).astype(bool)
    like_last = np.abs(seconds / seconds[-1] - 1) < SLOWER - 1
    sustained = np.cumprod((slowed & like_last)[::-1])[::-1].astype(bool)
    rates: list[RateEstimate | None] = []
    for chosen in (burst, sustained):
        if chosen.sum() < MIN_BLOCKS:
            rates.append(None)
            continue
        rows = blocks.rows(chosen)
        gross = _mean_of(rows.gross_weights, rows.powers)
        terms = [
            (gross.blocks_j, gross.blocks_freedom),
            (gross.quantisation_j, None),
            (gain_relative * abs(gross.mean_j), None),
            (voltage_relative * abs(gross.mean_j), None),
        ]
        kind: IntervalKind = "interval_95" if chosen.sum() >= MIN_INTERVAL_BLOCKS else "block_range"
        rates.append(
            RateEstimate(
                blocks=int(chosen.sum()),
                seconds_per_inference=float(rows.seconds_per_inference.mean()),
                gross_j=gross.mean_j,
                gross_interval_j=_interval(gross, terms),
                interval_kind=kind,
            )
        )
    return rates[0], rates[1]


# --- charge ------------------------------------------------------------------------------------


def estimate_charge(
    energy: EnergyEstimate, profile: DeviceProfile, full_charge_uah: int | None = None
) -> ChargeEstimate | None:
    """Inferences per charge; ``None`` for an energy that is not metered at the battery.

    Where the gauge has learned its full charge and counts the charge of an inference, N is the one
    over the other, so that the gauge's gain cancels; the charge of an inference is brought from the
    run's voltage to the nominal one of the battery, at which a discharge is on the average.
    Otherwise N = E_battery / E_gross.
    """
    if energy.plane != "battery":
        return None
    capacity_as = profile.battery.capacity_uah * COULOMB_PER_UAH
    nominal_v = profile.battery.energy_j / capacity_as
    method: Literal["coulombs", "energy"] = "coulombs"
    if full_charge_uah is None or not energy.gauge_charge_uah or not energy.gauge_voltage_mv:
        method = "energy"
        battery_j, battery_source = profile.battery.energy_j, profile.sources["battery.energy_j"]
        inferences = battery_j / energy.gross_j
        battery_relative = BATTERY_RELATIVE_UNCERTAINTY
        half_widths = [
            (energy.gross_interval_j.high - energy.gross_j) / energy.gross_j,
            (energy.gross_j - energy.gross_interval_j.low) / energy.gross_j,
        ]
    else:
        battery_j = full_charge_uah * COULOMB_PER_UAH * nominal_v
        battery_source = "the full charge that the gauge has learned, at the nominal voltage"
        charge_at_nominal_uah = energy.gauge_charge_uah * energy.gauge_voltage_mv / 1000 / nominal_v
        inferences = full_charge_uah / charge_at_nominal_uah
        battery_relative = float(
            np.hypot(LEARNED_CHARGE_RELATIVE_UNCERTAINTY, NOMINAL_VOLTAGE_RELATIVE_UNCERTAINTY)
        )
        random_terms = [
            (term.gross_j / energy.gross_j, term.gross_freedom)
            for term in energy.budget
            if term.name not in ("gain", "voltage")
        ]
        half_widths = [_expanded(random_terms)] * 2
    low, high = (
        float(np.hypot(half_width, NORMAL_95 * battery_relative)) for half_width in half_widths
    )
    return ChargeEstimate(
        origin=energy.origin,
        method=method,
        battery_j=battery_j,
        battery_source=battery_source,
        battery_relative_uncertainty=battery_relative,
        full_charge_uah=full_charge_uah,
        inferences=inferences,
        inferences_interval=Interval(
            low=max(0.0, inferences * (1 - low)), high=inferences * (1 + high)
        ),
        interval_kind=energy.interval_kind,
    )


# --- intervals ---------------------------------------------------------------------------------


def _mean_of(weights: np.ndarray, powers: WindowPowers) -> _Mean:
    """Mean and variance components over the rows of ``weights``, as the module's docstring says."""
    values = weights @ powers.power_w
    count = len(values)
    centring = np.eye(count) - 1 / count
    phone = weights @ weights.T
    resolution = weights @ powers.covariance_w2 @ weights.T
    share = float(np.trace(centring @ phone))
    unexplained = float(values @ centring @ values) - float(np.trace(centring @ resolution))
    scatter_w2 = max(0.0, unexplained / share)
    blocks_j2 = scatter_w2 * float(phone.sum()) / count**2
    freedom = None
    if blocks_j2 > 0:
        # The variance of a quadratic form of normal variables: 2 tr((M V)^2).
        spread = centring @ (scatter_w2 * phone + resolution)
        variance_j4 = 2 * float(np.trace(spread @ spread)) * (phone.sum() / count**2 / share) ** 2
        freedom = float(2 * blocks_j2**2 / variance_j4)
    return _Mean(
        mean_j=float(values.mean()),
        blocks_j=float(np.sqrt(blocks_j2)),
        blocks_freedom=freedom,
        quantisation_j=float(np.sqrt(max(0.0, float(resolution.sum())))) / count,
        scatter_w=float(np.sqrt(scatter_w2)),
        values_j=values,
    )


def _expanded(terms: Sequence[tuple[float, float | None]]) -> float:
    """The 95 % half-width of standard uncertainties with their degrees of freedom."""
    variance = sum(standard**2 for standard, _ in terms)
    if not variance:
        return 0.0
    estimated = sum(
        standard**4 / freedom for standard, freedom in terms if standard and freedom is not None
    )
    factor = float(stdtrit(variance**2 / estimated, 0.975)) if estimated else NORMAL_95
    return factor * float(np.sqrt(variance))


def _interval(mean: _Mean, terms: Sequence[tuple[float, float | None]]) -> Interval:
    """Terms in the order of the budget: blocks and quantisation, then what all blocks share."""
    if len(mean.values_j) < MIN_INTERVAL_BLOCKS:
        shared = _expanded(terms[2:])
        return Interval(
            low=float(mean.values_j.min()) - shared, high=float(mean.values_j.max()) + shared
        )
    half_width = _expanded(terms)
    return Interval(low=mean.mean_j - half_width, high=mean.mean_j + half_width)
