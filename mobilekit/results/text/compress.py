"""The network that was found within a budget, for people."""

from __future__ import annotations

from pathlib import Path

from mobilekit.plain import plain, plain_lines
from mobilekit.records.compression import Candidate, Choice, CutLayer, Levels
from mobilekit.records.network import ModelSpec
from mobilekit.results.tables.cells import (
    Absent,
    Column,
    Number,
    Table,
    make_table,
    number_or_absent,
)
from mobilekit.results.tables.text import render_text
from mobilekit.units import format_bytes, format_duration, format_energy

THIS_COMPUTER = "pc"
MOST_TOLD = 4
"""Layers that are named of those left whole."""


def render_choice(spec: ModelSpec, choice: Choice, written: Path | None) -> str:
    """What was chosen beside the uncompressed network, and how it is used again."""
    chosen, before = choice.chosen, choice.uncompressed
    examples = f"{choice.examples:,}"
    judged = (
        f"right on {examples} labelled examples"
        if choice.judged_by == "labels"
        else f"agreement with the uncompressed network on {examples} generated inputs"
    )
    place = "this computer"
    if choice.virtual:
        place = f"virtual {choice.device}: this computer's"
    elif choice.device != THIS_COMPUTER:
        place = choice.device
    compression = chosen.variant.compression
    ranks = () if compression is None else compression.ranks
    lines = [
        f"{spec.name} · {chosen.variant.text}",
        f"  size      {format_bytes(chosen.size_bytes)}, of {format_bytes(before.size_bytes)}",
        f"  latency   {_latency(chosen)}, of {_latency(before)}, the median on {place}",
        *_energy(choice),
        f"  accuracy  {_share(chosen)}, of {_share(before)}: {judged}",
        *(
            [f"  ranks     {', '.join(f'{each.layer}: {each.rank}' for each in ranks)}"]
            * bool(ranks)
        ),
        *_whitened(choice),
        *_left_whole(choice),
        *(
            ["  stored    condensed, and expanded before it is loaded: its init contains that"]
            * (chosen.variant.storage is not None)
        ),
        f"  tried     {len(choice.tried)} networks, and {len(choice.screened)} steps of ranks in "
        "PyTorch",
    ]
    if compression is None:
        lines.append(_why_uncut(choice))
    if choice.overlap:
        lines.append(
            f"Warning: {choice.overlap:,} of the evaluated examples are among those of "
            "--calibration: int8 is judged by what it was made from. Give others."
        )
    if choice.judged_by == "agreement":
        lines.append(
            "Warning: there are no labelled examples, and agreement on generated inputs tells "
            "little of the accuracy on real ones. Give --data."
        )
    if choice.weights_are_drawn:
        lines.append(
            "Warning: nobody has trained these weights: what is lost of accuracy means nothing. "
            "Give --weights."
        )
    if written is not None:
        is_calibrated = choice.calibration is not None and chosen.variant.takes_calibration
        calibration = f" --calibration {choice.calibration}" if is_calibrated else ""
        lines.append(
            f"`mobilekit deploy {spec.name} --compressed {written}{calibration}` measures it."
        )
    return "\n".join(map(plain, lines))


def _energy(choice: Choice) -> list[str]:
    if choice.chosen.energy_j is None:
        return []
    before = choice.uncompressed.energy_j
    of = "" if before is None else f", of {format_energy(before)}"
    return [
        f"  energy    {format_energy(choice.chosen.energy_j)}{of}, of an inference, gross, "
        f"{choice.energy_origin}"
    ]


def _whitened(choice: Choice) -> list[str]:
    """What it is worth that ranks were made for the inputs that flow through the layers."""
    variant = choice.chosen.variant
    if variant.whitened_by is None:
        return []
    step = next((each for each in choice.screened if each.compression == variant.compression), None)
    gained = ""
    if step is not None and step.other_loss_points is not None:
        gained = f": loses {step.other_loss_points - step.loss_points:.1f} points less than without"
        gained += ", in PyTorch"
    return [f"  whitened  by the inputs of {choice.calibration}{gained}"]


def _left_whole(choice: Choice) -> list[str]:
    """The layers that stay whole, by why: the first few."""
    lines = []
    for why, text in (
        ("slower", "that no rank makes faster"),
        ("loses", "whose cutting alone loses too much"),
    ):
        found = [each for each in choice.layers if each.why_whole == why]
        if found:
            told = ", ".join(map(_told, found[:MOST_TOLD]))
            more = f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
            layers = f"{len(found)} layer{'s' if len(found) > 1 else ''}"
            lines.append(f"  whole     {layers} {text}: {told}{more}")
    return lines


def _told(cut: CutLayer) -> str:
    """A layer with what cutting it alone came to."""
    if cut.why_whole == "slower" and cut.whole_latency_ns is not None:
        fastest = min((each.latency_ns for each in cut.tried if each.latency_ns), default=None)
        if fastest is not None:
            return (
                f"{cut.layer} ({format_duration(cut.whole_latency_ns)}, cut "
                f"{format_duration(fastest)})"
            )
    losses = [each for each in cut.tried if each.loss_points is not None]
    if cut.why_whole == "loses" and losses:
        return f"{cut.layer} (at rank {losses[-1].rank})"
    return cut.layer


def _why_uncut(choice: Choice) -> str:
    precision = choice.chosen.variant.precision
    if precision == "fp32":
        return "The uncompressed network keeps the budget, and nothing else is better."
    if not choice.screened:
        return f"{precision} alone keeps the budget, so that no layer has to be cut."
    if not choice.layers:
        return f"{precision} alone is better here: the network has no layer that can be cut."
    if all(each.why_whole is not None for each in choice.layers):
        return f"{precision} alone is better here: no layer is worth cutting."
    return (
        f"{precision} alone is better here: no network with cut layers keeps the budget and is "
        "smaller, or faster where that counts."
        if choice.budget.has_costs
        else f"{precision} alone is better here: every smaller network loses too much."
    )


def render_levels(
    spec: ModelSpec, levels: Levels, written: Path | None, calibration: Path | None
) -> str:
    """A level a line, what the file has, and how it is used."""
    count = len(levels.ladder)
    lines = [
        f"{spec.name} · {count} levels in one program · {levels.precision}",
        f"  size      {format_bytes(levels.size_bytes)}: {levels.size_ratio:.3f} x that of "
        f"level {count} alone ({format_bytes(levels.largest_alone_bytes)}), and "
        f"{levels.size_bytes / levels.uncompressed_bytes:.3f} x the uncompressed network's",
        *_apart_lines(levels),
        render_text(levels_table(levels)),
        f"  layers    {', '.join(each.layer for each in levels.ladder[-1].ranks)}: in this order "
        "the ranks are told",
        "  accuracy  not measured: `mobilekit tradeoff` tells each level's",
    ]
    if written is not None:
        more = "" if calibration is None else f" --calibration {calibration}"
        lines.append(
            f"`mobilekit deploy {spec.name} --compressed {written}{more} --level auto --budget-ms "
            f"20` chooses one, and `mobilekit tradeoff {spec.name} --compressed {written}{more}` "
            "measures all."
        )
    return "\n".join(map(plain_lines, lines))


def _apart_lines(levels: Levels) -> list[str]:
    """What a device fetches for each level, where that is not all."""
    if not levels.weights_bytes:
        return []
    fetched = ", ".join(
        format_bytes(levels.file.size_bytes + weights) for weights in levels.weights_bytes
    )
    return [
        f"  fetched   {fetched} for the levels 1 to {len(levels.ladder)}: the program "
        f"({format_bytes(levels.file.size_bytes)}) and what the level needs of the weights"
    ]


def levels_table(levels: Levels) -> Table:
    """A level a row, then the whole network."""
    rows = [
        (
            str(number),
            ", ".join(str(each.rank) for each in ranks.ranks),
            Number(cost.parameters, "count"),
            Number(cost.macs, "MACs"),
            number_or_absent(error, "ratio"),
        )
        for number, (ranks, cost, error) in enumerate(
            zip(levels.ladder, levels.costs, levels.relative_errors, strict=True), 1
        )
    ]
    whole = levels.uncompressed_cost
    return make_table(
        (
            "level",
            "ranks",
            Column("parameters", holds="numbers"),
            Column("MACs", holds="numbers", scale="common"),
            Column("differs from PyTorch", holds="numbers"),
        ),
        (
            *rows,
            (
                "uncompressed",
                "-",
                Number(whole.parameters, "count"),
                Number(whole.macs, "MACs"),
                Absent(),
            ),
        ),
    )


def _latency(candidate: Candidate) -> str:
    latency_ns = candidate.latency_p50_ns
    return "not measured" if latency_ns is None else format_duration(latency_ns)


def _share(candidate: Candidate) -> str:
    assert candidate.accuracy is not None
    interval = candidate.accuracy.interval
    return (
        f"{candidate.accuracy.share:.1%} (95 % interval {100 * interval.low:.1f} to "
        f"{100 * interval.high:.1f} %)"
    )
