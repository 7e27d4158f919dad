"""A network over a device's backends, for people."""

from __future__ import annotations

from mobilekit.analysis.partition.costs import segment_ns
from mobilekit.plain import plain
from mobilekit.records.partition import USUAL, BackendPower, Candidate, Partition
from mobilekit.results.network_documents import PartitionDocument
from mobilekit.results.tables.cells import Absent, Cell, Column, Number, Table, make_table
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.words import VIRTUAL_LABEL
from mobilekit.units import NS_PER_S, format_duration, format_energy, format_power


def render_partition(document: PartitionDocument) -> str:
    """Segment by segment what the backends cost and what the plan says, then the trial."""
    found = document.partition
    plan = found.plans[found.best]
    mark = f" · {VIRTUAL_LABEL}" if document.virtual else ""
    threads = f"{plan.threads} thread{'' if plan.threads == 1 else 's'}"
    lines = [
        plain(f"{document.model.name} · {document.device}{mark}"),
        *(plain(f"{name} is left out: {why}") for name, why in found.left_out.items()),
        render_text(segments_table(found)),
        "",
        render_text(trial_table(found)),
        "",
        f"  {USUAL:<10} {format_duration(plan.costs.usual_ns)} with {threads}, of which the table "
        "tells the differences",
        f"  predicted  {format_duration(plan.predicted_ns)} for the plan; the costs are within "
        f"{format_duration(plan.costs.largest_residual_ns)} of every program measured",
    ]
    if found.check is not None:
        matches = "" if found.check.matches else ", which is WRONG"
        lines.append(
            f"  outputs    of the plan differ from PyTorch's by "
            f"{found.check.max_relative_error:.2g} of the largest{matches}"
        )
    lines += [
        plain(
            f"  {each.backend:<10} draws {format_power(each.power_w)}, "
            f"{format_energy(each.inference_j)} an inference, {each.origin}"
        )
        for each in found.powers
    ]
    lines += [
        plain(f"  {backend:<10} draws an unknown power: {why}")
        for backend, why in found.powers_unknown.items()
    ]
    lines += [f"  saved      {', '.join(found.runs)}", plain(f"Verdict: {found.verdict}.")]
    return "\n".join(lines)


def segments_table(found: Partition) -> Table:
    """A segment a row: where the plan has it, what it takes on the usual backend, what others cost
    more, and where that was measured what it takes of energy on each."""
    plan = found.plans[found.best]
    others = plan.costs.others
    after = [
        {
            each.backend: sum(
                each.crossing_ns[number]
                for number, flow in enumerate(found.chart.flows)
                if flow.producer == place
            )
            for each in others
        }
        for place in range(len(found.chart.segments))
    ]
    return make_table(
        (
            "segment",
            "plan",
            Column(USUAL, holds="numbers"),
            *(
                Column(f"{each.backend} {what}", holds="numbers")
                for each in others
                for what in ("more", "crossing")
            ),
            *(Column(f"{each.backend} energy", holds="numbers") for each in found.powers),
        ),
        (
            (
                " ".join(layers),
                plan.assignment[place],
                Number(plan.costs.usual_segments_ns[place], "ns"),
                *(
                    cell
                    for each in others
                    for cell in (
                        _difference(each.extra_ns[place]),
                        Number(after[place][each.backend], "ns"),
                    )
                ),
                *(
                    _energy(segment_ns(plan.costs, each.backend, place), each)
                    for each in found.powers
                ),
            )
            for place, layers in enumerate(found.chart.segments)
        ),
    )


def _difference(extra_ns: float | None) -> Cell:
    return Absent("not tried") if extra_ns is None else Number(extra_ns, "ns", signed=True)


def _energy(taken_ns: float | None, power: BackendPower) -> Cell:
    """Of a segment, at what the whole network draws there."""
    if taken_ns is None:
        return Absent("not tried")
    return Number(power.power_w * taken_ns / NS_PER_S, "J", origin=power.origin)


def trial_table(found: Partition) -> Table:
    return make_table(
        ("program", "threads", Column("p50", holds="numbers"), "rounds"),
        (
            (each.name, str(each.threads), Number(each.p50_ns, "ns"), _rounds(each))
            for each in found.trial
        ),
    )


def _rounds(candidate: Candidate) -> str:
    return ", ".join(format_duration(each) for each in candidate.round_p50_ns)
