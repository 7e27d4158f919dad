"""Energy for people: plans, budgets, gauges, and what a charge means in use."""

from __future__ import annotations

import math

from mobilekit.records.energy import (
    GaugeEstimate,
    GaugeEvidence,
    GaugeOutcome,
    GaugeRefusal,
    PlannedEnergy,
    Use,
)
from mobilekit.records.statistics import Origin
from mobilekit.results.documents import LifeDocument
from mobilekit.results.tables.cell_text import quantity_text
from mobilekit.results.tables.cells import (
    Absent,
    Column,
    Number,
    Scale,
    make_table,
    number_or_absent,
)
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.words import (
    PLANE_NAMES,
    SOURCE_NAMES,
    STEP_NAMES,
    blocks_text,
    unless_measured,
)
from mobilekit.units import (
    NS_PER_S,
    format_count,
    format_duration,
    format_energy,
    format_hours,
    format_significant,
)


def render_life(document: LifeDocument) -> str:
    """How long a charge lasts under a duty cycle, and what that rests on."""
    life = document.life
    idle = "as given"
    if document.idle_measured:
        idle = f"{document.origin}, with the screen on; --idle-mw takes another"
    how = ", from a range" if document.interval_kind == "block_range" else ""
    how += unless_measured(document.origin, ", {}")
    lines = [
        f"{document.model} · {document.device} · one inference every {life.every_s:g} s",
        f"  life      {format_hours(life.hours)} "
        f"[{format_hours(life.hours_interval.low)}, {format_hours(life.hours_interval.high)}]"
        f"{how}",
        f"  count     {format_count(life.inferences)} inferences "
        f"[{format_count(life.inferences_interval.low)}, "
        f"{format_count(life.inferences_interval.high)}]{how}",
        f"  power     {format_significant(life.mean_w)} W on average, "
        f"{life.inference_share:.1%} of it for inferences; idle {life.idle_w:.3g} W ({idle})",
        f"  from      {document.measurement_id}: marginal energy by "
        f"{unless_measured(document.origin, '{} ')}{SOURCE_NAMES[document.source]} "
        f"{PLANE_NAMES[document.plane]}, "
        f"{blocks_text(document.blocks, document.interval_kind)}, "
        f"{document.gauge_steps} {STEP_NAMES[document.source]}",
    ]
    if document.other_devices:
        lines.append(
            f"  others    measured on {', '.join(document.other_devices)} too: --device names the "
            "one to take; without it, the newest measurement counts"
        )
    return "\n".join(lines)


def render_energy_plan(planned: PlannedEnergy, *, simulated: bool) -> str:
    """What an energy run will do and what is to be expected of it, before it begins."""
    plan = planned.plan
    battery = "the battery"
    if planned.battery_assumed:
        battery = "a small battery, since its capacity is not known,"
    lines = [
        f"Energy by the {SOURCE_NAMES[planned.source]}: {plan.blocks} blocks of idle and load, "
        f"{format_duration(plan.load_ns)} each, "
        f"{planned.expected_duration_ns / NS_PER_S / 60:.1f} min"
        f"{' of simulated time' if simulated else ''} and "
        f"{planned.expected_charge_fraction:.1%} of {battery} in all",
        f"  expected: +-{planned.expected_half_width:.1%} of the marginal energy from resolution "
        f"and scatter (target {planned.target_error:.1%}), "
        f"+-{planned.expected_total_half_width:.1%} with the gauge's gain and voltage"
        if math.isfinite(planned.expected_half_width)
        else "  expected: no energy, since the windows are too short for this source's resolution",
    ]
    if planned.limit is not None:
        lines.append(f"  the target is not reached: {planned.limit}")
    return "\n".join(lines)


def render_budget(energy: GaugeEstimate) -> str:
    """Each term of an estimate's uncertainty, as standard uncertainties."""
    percent = Scale("%", 0.01, decimals=2)
    table = make_table(
        (
            "term",
            Column("gross", holds="numbers"),
            Column("", holds="numbers", scale=percent),
            Column("marginal", holds="numbers"),
            Column("", holds="numbers", scale=percent),
            Column("degrees", holds="numbers", scale=Scale("", 1, decimals=1)),
            "what it is",
        ),
        (
            (
                term.name,
                Number(term.gross_j, "J"),
                _share_cell(term.gross_j, energy.gross_j),
                Number(term.marginal_j, "J"),
                _share_cell(term.marginal_j, energy.marginal_j),
                number_or_absent(term.marginal_freedom, "count"),
                term.note,
            )
            for term in energy.budget
        ),
    )
    interval = (
        "95 % intervals"
        if energy.interval_kind == "interval_95"
        else f"ranges of the {energy.blocks} blocks, not 95 % intervals"
    )
    return "\n".join(
        [
            f"{SOURCE_NAMES[energy.source]} {PLANE_NAMES[energy.plane]}, {energy.blocks} blocks, "
            f"{energy.gauge_steps} {STEP_NAMES[energy.source]}: idle {_watts(energy.idle_w)}, load "
            f"{_watts(energy.load_w)}; standard uncertainties for each inference",
            render_text(table),
            f"gross {quantity_text(energy.gross_j, 'J', energy.gross_interval_j)}, marginal "
            f"{quantity_text(energy.marginal_j, 'J', energy.marginal_interval_j)}: {interval}",
        ]
    )


def render_gauge(found: GaugeOutcome) -> str:
    """What a calibration run found out about a gauge, and why."""
    evidence = make_table(
        ("evidence", "value", "what it says"),
        ((item.name, _value_text(item), item.text) for item in found.evidence),
    )
    shown = render_text(evidence) if evidence.rows else ""
    if isinstance(found, GaugeRefusal):
        word = "contradicts itself" if found.contradictory else "tells nothing"
        return "\n".join([f"The gauge of {found.device} {word}: {found.reason}", shown]).rstrip()
    sources = make_table(
        (
            "source",
            "usable",
            f"expected in {found.stated_blocks} x {found.stated_window_s:.0f} s",
            "why",
        ),
        (
            (
                SOURCE_NAMES[item.source] + (" <- used" if item.source == found.source else ""),
                "yes" if item.usable else "no",
                "-" if item.expected_half_width is None else f"+-{item.expected_half_width:.2%}",
                item.reason,
            )
            for item in found.sources
        ),
    )
    lines = [
        f"The gauge of {found.device}: {SOURCE_NAMES[found.source]} is trusted",
        shown,
        render_text(sources),
    ]
    if found.overridden:
        lines.append(f"set by a person, against this evidence: {', '.join(found.overridden)}")
    return "\n".join(lines)


def render_use(use: Use, origin: Origin) -> str:
    """What a charge means in use, a line each; ``origin`` is the charge's."""
    low, high = use.days_interval.low, use.days_interval.high
    note = unless_measured(origin, " ({})")
    lines = [
        f"one inference a minute for {format_significant(use.days_at_one_a_minute)} days "
        f"[{format_significant(low)}, {format_significant(high)}], if the phone did nothing "
        f"else{note}"
    ]
    for item in use.uploads:
        lower, upper = item.inferences_interval.low, item.inferences_interval.high
        lines.append(
            f"one upload by {item.upload.name} ({format_energy(item.upload.energy_j)}) is worth "
            f"{format_significant(item.inferences)} inferences [{format_significant(lower)}, "
            f"{format_significant(upper)}]{note}"
        )
    lines += dict.fromkeys(f"uploads: {item.upload.source}" for item in use.uploads)
    return "\n".join(lines)


def _watts(power_w: float) -> str:
    return f"{power_w * 1000:.0f} mW" if abs(power_w) < 0.9995 else f"{power_w:.2f} W"


def _share_cell(part: float, whole: float) -> Number | Absent:
    return Number(part / abs(whole), "share") if whole else Absent()


def _value_text(item: GaugeEvidence) -> str:
    return "-" if item.value is None else f"{item.value:.6g} {item.unit}".rstrip()
