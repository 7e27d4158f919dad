"""From the windows of an energy phase to joules per inference, by the phone's own gauge.

Each source (``sources``) tells the windows' powers, ``blocks`` what an inference costs in them, and
``budget`` how well that is known. Gain and voltage are wrong in all blocks alike, and no run tells
by how much: they are assumed until the gauge is compared with a meter.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from mobilekit.analysis.energy.blocks import (
    Blocks,
    estimate_of_blocks,
    gross_mean,
    idle_weights,
    marginal_mean,
)
from mobilekit.analysis.energy.budget import Standard, kind_of, share_term
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
from mobilekit.records.device import ProfileGauge
from mobilekit.records.energy import (
    EnergySource,
    GaugeEstimate,
    GaugeGain,
    GaugeVerdict,
    RateEstimate,
    UncertaintyTerm,
)
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Origin
from mobilekit.units import COULOMB_PER_UAH, NS_PER_S

GAIN_RELATIVE_UNCERTAINTY = 0.03
"""Of a gauge whose gain nobody calibrated: an assumption (sense resistor and ADC tolerance)."""
VOLTAGE_RELATIVE_UNCERTAINTY = 0.005
"""About 20 mV at 3.85 V, usual for fuel gauges: an assumption."""
UNTOLD_VOLTAGE_RELATIVE_UNCERTAINTY = 0.03
"""Of the nominal voltage between 30 and 80 % of charge: an assumption."""
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


def estimate_energy(
    windows: Sequence[Window],
    profile_gauge: ProfileGauge,
    verdict: GaugeVerdict | None = None,
    gain: GaugeGain | None = None,
    *,
    origin: Origin = "measured",
    capacity_uah: int | None = None,
) -> GaugeEstimate | None:
    """Energy per inference over the complete unplugged blocks of ``windows``.

    ``origin`` is that of the battery's readings; ``capacity_uah`` is its full charge, by which a
    charge counter in an odd unit is found out, where it is known. The verdict's source comes first,
    then its other usable ones by expected error. ``None`` with fewer than two blocks, when no
    source can be used, and when charge counter and current contradict each other (unless a person
    chose the source).
    """
    stretches = find_stretches(windows)
    gauge = known_gauge(profile_gauge, verdict, stretches, capacity_uah)
    if sum(len(stretch) // 2 for stretch in stretches) < MIN_BLOCKS:
        return None
    for source in usable_sources(stretches, gauge, verdict):
        measured = _measure_stretches(stretches, source, gauge)
        if measured is not None:
            used, blocks = measured
            return _estimate(windows, used, blocks, source, gain, origin)
    return None


def energy_of(measurement: Measurement) -> GaugeEstimate | None:
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
        capacity_uah=profile.capacity_uah,
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
    windows: Sequence[Window],
    profile_gauge: ProfileGauge,
    verdict: GaugeVerdict | None = None,
    capacity_uah: int | None = None,
) -> str:
    """Why ``estimate_energy`` says nothing, for people."""
    stretches = find_stretches(windows)
    gauge = known_gauge(profile_gauge, verdict, stretches, capacity_uah)
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
) -> tuple[list[list[Window]], Blocks] | None:
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


def _join(stretches: Sequence[Sequence[Window]], parts: Sequence[WindowPowers]) -> Blocks:
    from scipy.linalg import block_diag  # at no command's start, as in ``budget``

    loads = [window for stretch in stretches for window in stretch[1::2]]
    starts = np.cumsum([0, *(len(stretch) for stretch in stretches)])[:-1]
    load = np.concatenate(
        [
            start + np.arange(1, len(stretch), 2)
            for start, stretch in zip(starts, stretches, strict=True)
        ]
    )
    return Blocks(
        power_w=np.concatenate([powers.power_w for powers in parts]),
        covariance_w2=block_diag(*[powers.covariance_w2 for powers in parts]),
        load=load,
        idle=idle_weights(
            sum(len(stretch) for stretch in stretches), [(at - 1, at + 1) for at in load.tolist()]
        ),
        load_s=np.array([(window.ended_ns - window.started_ns) / NS_PER_S for window in loads]),
        iterations=np.array([window.iterations for window in loads], dtype=np.float64),
    )


def _estimate(
    windows: Sequence[Window],
    stretches: Sequence[Sequence[Window]],
    blocks: Blocks,
    source: EnergySource,
    gain: GaugeGain | None,
    origin: Origin,
) -> GaugeEstimate:
    loads = [window for stretch in stretches for window in stretch[1::2]]
    used = [window for stretch in stretches for window in stretch]
    on_battery = source != "power_rails"
    gain_value = gain.gain if gain is not None and on_battery else 1.0
    blocks = blocks._replace(
        power_w=blocks.power_w / gain_value,
        covariance_w2=None
        if blocks.covariance_w2 is None
        else blocks.covariance_w2 / gain_value**2,
    )
    common = _common_terms(blocks, used, source, gain)
    ends = np.cumsum([len(stretch) for stretch in stretches])[:-1]
    energy = estimate_of_blocks(
        blocks,
        common,
        idle_w=[part[0::2].tolist() for part in np.split(blocks.power_w, ends)],
        origin=origin,
        plane="battery" if on_battery else "rails",
    )
    charge_uah = voltage_mv = None
    if source in ("charge_counter", "current_now"):
        voltage_mv = float(np.mean([mean_voltage_mv(window.battery) for window in loads]))
        charge_uah = energy.gross_j * gain_value / (COULOMB_PER_UAH * voltage_mv / 1000)
    burst, sustained = _rates(loads, blocks, [term.gross_j / energy.gross_j for term in common])
    return GaugeEstimate(
        **msgspec.structs.asdict(energy),
        source=source,
        spoiled_windows=len(windows) - len(used),
        gauge_steps=count_readings(loads, source),
        gauge_charge_uah=charge_uah,
        gauge_voltage_mv=voltage_mv,
        burst=burst,
        sustained=sustained,
    )


def _common_terms(
    blocks: Blocks, used: Sequence[Window], source: EnergySource, gain: GaugeGain | None
) -> list[UncertaintyTerm]:
    """Gain and voltage."""
    on_battery = source != "power_rails"
    gain_relative = GAIN_RELATIVE_UNCERTAINTY
    gain_note = f"{gain_relative:.1%}: no meter has been set against this gauge, an assumption"
    if gain is not None and on_battery:
        gain_relative = gain.relative_uncertainty
        gain_note = f"{gain_relative:.2%} after the comparison with an external meter"
    voltage_relative, voltage_note = 0.0, "power rails need none"
    if on_battery and source != "energy_counter" and not voltage_is_told(used):
        voltage_relative = UNTOLD_VOLTAGE_RELATIVE_UNCERTAINTY
        voltage_note = f"{voltage_relative:.1%}: the nominal one, since the phone tells none"
    elif on_battery and gain is None:
        voltage_relative = VOLTAGE_RELATIVE_UNCERTAINTY
        voltage_note = f"{voltage_relative:.1%}, an assumption"
    elif on_battery:
        voltage_note = "part of the gain, which compares energies"
    gross_j, marginal_j = gross_mean(blocks).mean_j, marginal_mean(blocks).mean_j
    return [
        share_term("gain", gain_relative, gross_j, marginal_j, gain_note),
        share_term("voltage", voltage_relative, gross_j, marginal_j, voltage_note),
    ]


# --- burst and sustained -----------------------------------------------------------------------


def _rates(
    loads: Sequence[Window], blocks: Blocks, common: Sequence[float]
) -> tuple[RateEstimate | None, RateEstimate | None]:
    """What the blocks before the phone slowed down cost, and those on the plateau at the end.

    Slowed down: 5 % longer than in the first block. On the plateau: within 5 % of the last block.
    ``None`` for both where it did not, and for one of fewer than two blocks. ``common`` are the
    relative uncertainties that all blocks share.
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
        gross = gross_mean(rows)
        rates.append(
            RateEstimate(
                blocks=len(rows.load),
                seconds_per_inference=float(rows.load_s.sum() / rows.iterations.sum()),
                gross_j=gross.mean_j,
                gross_interval_j=gross.interval(
                    Standard(relative * abs(gross.mean_j)) for relative in common
                ),
                interval_kind=kind_of(len(rows.load)),
            )
        )
    return rates[0], rates[1]
