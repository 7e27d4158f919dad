"""Comparisons for people: aligned text, and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mobilekit.analysis.compare.figures import ratio_of
from mobilekit.analysis.compare.records import (
    ComparedFigure,
    Comparison,
    Difference,
    Quantity,
    Side,
    TypeShare,
)
from mobilekit.analysis.layers.profile import RECONCILED_WITHIN
from mobilekit.results.compare_document import ComparisonDocument
from mobilekit.results.published import Publication, PublishedFigure
from mobilekit.results.tables.cells import make_table
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.measurement import render_findings
from mobilekit.results.text.words import PLANE_NAMES, SOURCE_NAMES
from mobilekit.units import (
    format_bytes,
    format_count,
    format_duration,
    format_energy,
    format_significant,
)

LABELS = {
    "init": "init p50",
    "latency": "latency p50",
    "artifact": "artifact",
    "load_pss": "memory by load, PSS",
    "load_rss": "memory by load, RSS",
    "inference_pss": "memory by inference, PSS",
    "inference_rss": "memory by inference, RSS",
    "peak_rss": "memory peak, RSS",
    "available": "memory available before",
    "energy_gross": "energy, gross",
    "energy_marginal": "energy, marginal",
    "charge": "inferences/charge",
    "energy_gross_simulated": "energy, gross, simulated",
    "energy_marginal_simulated": "energy, marginal, simulated",
    "charge_simulated": "inferences/charge, simulated",
}
GROWTHS = {"load_pss", "load_rss", "inference_pss", "inference_rss", "peak_rss"}
"""Memory over that with the program closed; shown with its sign."""
PUBLISHED_LABELS = {
    "model_size": "model size",
    "init": "init",
    "latency": "latency",
    "energy": "energy/inference",
    "charge": "inferences/charge",
}
OURS = {
    "model_size": ("artifact",),
    "init": ("init",),
    "latency": ("latency",),
    "energy": ("energy_gross", "energy_gross_simulated"),
    "charge": ("charge", "charge_simulated"),
}
"""Which of our figures stand beside a published one."""
APART = (
    "Theirs and ours are of another year, framework and computer: compare the ratios of each, and "
    "do not divide ours by theirs."
)


class _Table(NamedTuple):
    header: list[str]
    rows: list[list[str]]


def render_comparisons(document: ComparisonDocument) -> str:
    """A block for each network; what was published about them follows, apart."""
    blocks = [_block(comparison) for comparison in document.comparisons]
    if findings := _findings(document):
        blocks.append("\n".join(findings))
    if document.published is not None:
        blocks.append(_published_block(document.published, document.comparisons))
    return "\n\n".join(blocks)


def render_comparisons_markdown(document: ComparisonDocument) -> str:
    """The same as tables of GitHub's Markdown, each with its notes as a list below it."""
    parts = []
    for comparison in document.comparisons:
        parts.append(f"### {_heading(comparison)}")
        if comparison.figures:
            parts.append(_markdown_table(_table(comparison)))
        if notes := _notes(comparison):
            parts.append("\n".join(f"- {line}" for line in notes))
    if findings := _findings(document):
        parts.append("\n".join(f"- {line}" for line in findings))
    publication = document.published
    if publication is not None:
        parts.append(f"### {publication.name}")
        parts.append(_markdown_table(_published_table(publication, document.comparisons)))
        parts.append("\n".join(f"- {line}" for line in _published_notes(publication)))
    return "\n\n".join(parts)


def refusal_text(differences: Iterable[Difference]) -> str:
    """What keeps two runs from being compared, in one line."""
    return "; ".join(
        f"{item.id} ({item.device} / {item.against}): {item.meaning}" for item in differences
    )


def side_name(side: Side) -> str:
    return f"{side.device} (virtual)" if side.virtual else side.device


def ratio_name(comparison: Comparison) -> str:
    return f"{comparison.device.device} / {comparison.against.device}"


# --- ours --------------------------------------------------------------------------------------


def _block(comparison: Comparison) -> str:
    lines = [_heading(comparison)]
    if comparison.figures:
        lines += _indented(_table(comparison))
    return "\n".join([*lines, *_notes(comparison)])


def _heading(comparison: Comparison) -> str:
    network = comparison.network
    return " · ".join(
        (
            comparison.model,
            comparison.precision,
            f"{network.parameters:,} parameters",
            f"{network.macs:,} MACs",
            f"weights {format_bytes(network.weights_bytes)}",
        )
    )


def _table(comparison: Comparison) -> _Table:
    device, against = comparison.device, comparison.against
    rows = [
        [
            LABELS[figure.name],
            _quantity_text(figure, figure.device),
            _quantity_text(figure, figure.against),
            _ratio_text(figure.ratio),
        ]
        for figure in comparison.figures
    ]
    rows += [
        [
            f"layers: {each.type}",
            _share_text(each.device),
            _share_text(each.against),
            "-" if each.ratio is None else format_significant(each.ratio),
        ]
        for each in comparison.layer_types
    ]
    facts: list[tuple[str, Callable[[Side], str]]] = [
        ("energy from", _energy_text),
        ("layers' sum", _sum_text),
        ("layers by", lambda side: "" if side.profile is None else side.profile.by),
        ("no layers, because", lambda side: side.profile_refusal or ""),
        ("run by", _engine_text),
        ("findings", lambda side: ", ".join(side.findings) or "none"),
        ("saved", lambda side: side.id),
        ("layers saved", _other_run),
    ]
    rows += [
        [name, tell(device), tell(against), ""]
        for name, tell in facts
        if tell(device) or tell(against)
    ]
    return _Table(["", side_name(device), side_name(against), ratio_name(comparison)], rows)


def _notes(comparison: Comparison) -> list[str]:
    lines = []
    footprint = comparison.footprint
    if footprint is not None:
        lines.append(
            f"Memory that {comparison.model} needs in fp32: "
            f"{format_bytes(footprint.whole_bytes)} whole, "
            f"{format_bytes(footprint.planned_bytes)} planned, by layer "
            f"{format_bytes(footprint.alone_bytes)} at most ({footprint.alone_layer})"
        )
    if comparison.refusals:
        lines.append(
            f"Not comparable: {refusal_text(comparison.refusals)} "
            f"[{comparison.device.id}, {comparison.against.id}]"
        )
    for side in (comparison.device, comparison.against):
        profile = side.profile
        if profile is not None and abs(profile.difference) > RECONCILED_WITHIN:
            lines.append(
                f"Warning: the sum of {side_name(side)}'s layers differs by "
                f"{profile.difference:+.1%} from the plain inference: the shares may not be its "
                "own "
                f"(`mobilekit results profile {profile.id}`)"
            )
    lines += [
        f"Differs in {item.id}: {item.device} / {item.against}: {item.meaning}"
        for item in comparison.differences
        if not item.refuses
    ]
    return lines


def _findings(document: ComparisonDocument) -> list[str]:
    """Those of all comparisons, each once."""
    every = [finding for each in document.comparisons for finding in each.findings]
    return list(dict.fromkeys(render_findings(every)))


def _quantity_text(figure: ComparedFigure, quantity: Quantity | None) -> str:
    if quantity is None:
        return "-"
    like = quantity.value

    def text(value: float) -> str:
        if figure.unit == "ns":
            return format_duration(value, like_ns=like)
        if figure.unit == "J":
            return format_energy(value)
        if figure.unit == "inferences":
            return format_count(value)
        sign = "+" if figure.name in GROWTHS and value >= 0 else ""
        return sign + format_bytes(value)

    return _with_interval(quantity, text)


def _ratio_text(ratio: Quantity | None) -> str:
    return "-" if ratio is None else _with_interval(ratio, format_significant)


def _with_interval(quantity: Quantity, text: Callable[[float], str]) -> str:
    interval = quantity.interval
    if interval is None:
        return text(quantity.value)
    return f"{text(quantity.value)} [{text(interval.low)}, {text(interval.high)}]"


def _share_text(share: TypeShare | None) -> str:
    return "-" if share is None else f"{share.share:.1%} ({format_duration(share.p50_ns)})"


def _sum_text(side: Side) -> str:
    profile = side.profile
    if profile is None:
        return ""
    plain = format_duration(profile.plain_p50_ns)
    return f"{format_duration(profile.sum_ns)} ({profile.difference:+.1%} of {plain})"


def _other_run(side: Side) -> str:
    """Of layers that were measured in a run of their own."""
    return "" if side.profile is None or side.profile.id == side.id else side.profile.id


def _energy_text(side: Side) -> str:
    if side.energy_source is None or side.energy_plane is None:
        return ""
    simulated = "simulated " if side.virtual else ""
    told_by = f"{simulated}{SOURCE_NAMES[side.energy_source]} {PLANE_NAMES[side.energy_plane]}"
    return f"{told_by}, {side.energy_blocks} blocks"


def _engine_text(side: Side) -> str:
    threads = f"{side.threads} thread{'' if side.threads == 1 else 's'}"
    return f"{side.engine}, .{side.format}, {threads}, {side.abi}"


# --- theirs and ours ---------------------------------------------------------------------------


def _published_block(publication: Publication, comparisons: Sequence[Comparison]) -> str:
    lines = [
        f"{publication.name} beside ours",
        *_indented(_published_table(publication, comparisons)),
    ]
    return "\n".join([*lines, *_published_notes(publication)])


def _published_notes(publication: Publication) -> list[str]:
    return [
        f"Theirs: {publication.source}",
        *(f"Theirs: {note}" for note in publication.notes),
        APART,
    ]


def _published_table(publication: Publication, comparisons: Sequence[Comparison]) -> _Table:
    """A row for each published figure, theirs to the left and ours to the right."""
    platforms = publication.platforms
    paired = len(platforms) == 2
    header = ["", "", *(f"theirs: {name}" for name in platforms)]
    if paired:
        header.append(f"theirs: {' / '.join(platforms)}")
    header += ["ours: device", "ours: against", "ours: ratio"]
    if len({(side_name(item.device), side_name(item.against)) for item in comparisons}) == 1:
        first = comparisons[0]
        header[-3:] = [
            f"ours: {side_name(first.device)}",
            f"ours: {side_name(first.against)}",
            f"ours: {ratio_name(first)}",
        ]
    rows = []
    for comparison in comparisons:
        of_model = publication.of(comparison.model)
        for name in PUBLISHED_LABELS:
            theirs = [figure for figure in of_model if figure.name == name]
            ours = [figure for figure in comparison.figures if figure.name in OURS[name]]
            if not theirs:
                continue
            rows.append(
                [
                    comparison.model,
                    PUBLISHED_LABELS[name],
                    *_published_cells(theirs, platforms, paired=paired),
                    *_our_cells(ours),
                ]
            )
        if not of_model:
            rows.append([comparison.model, "not in it", *["-"] * (len(header) - 2)])
    return _Table(header, rows)


def _published_cells(
    theirs: Sequence[PublishedFigure], platforms: Sequence[str], *, paired: bool
) -> Iterator[str]:
    values = {figure.platform: figure for figure in theirs}
    if None in values:
        # The network's own: the same on every platform.
        values = dict.fromkeys(platforms, values[None])
    for platform in platforms:
        yield _published_text(values[platform]) if platform in values else "-"
    if paired:
        is_comparable = set(platforms) <= set(values) and theirs[0].name != "model_size"
        quantities = (
            [Quantity(value=values[platform].value, interval=None) for platform in platforms]
            if is_comparable
            else [None, None]
        )
        yield _ratio_text(ratio_of(quantities[0], quantities[1]))


def _published_text(figure: PublishedFigure) -> str:
    if figure.unit == "MB":
        return f"{figure.value:g} MB"
    if figure.unit == "ns":
        return format_duration(figure.value)
    return format_energy(figure.value) if figure.unit == "J" else format_count(figure.value)


def _our_cells(ours: Sequence[ComparedFigure]) -> list[str]:
    """Both sides and their ratio; of a measured and a simulated figure, whichever a side has."""
    sides = []
    for side in ("device", "against"):
        texts = [
            _quantity_text(figure, quantity)
            + (" (simulated)" if "simulated" in figure.name else "")
            for figure in ours
            if (quantity := getattr(figure, side)) is not None
        ]
        sides.append(", ".join(texts) or "-")
    ratios = [figure.ratio for figure in ours if figure.ratio is not None]
    return [*sides, _ratio_text(ratios[0] if ratios else None)]


# --- tables ------------------------------------------------------------------------------------


def _indented(table: _Table) -> list[str]:
    return [f"  {line}" for line in render_text(make_table(table.header, table.rows)).splitlines()]


def _markdown_table(table: _Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
