"""Comparisons for people: aligned text, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mobilekit.analysis.compare.records import Comparison, Difference, ProfiledLayers
from mobilekit.analysis.layers.profile import RECONCILED_WITHIN
from mobilekit.records.prediction import NetworkPrediction, PredictedDevice, Predictions
from mobilekit.results.compare_tables import (
    comparison_table,
    papers_on,
    predicted_table,
    published_table,
    side_name,
)
from mobilekit.results.documents import ComparisonDocument
from mobilekit.results.published import Publication, load_publication
from mobilekit.results.tables.cell_text import IN_DOUBT
from mobilekit.results.tables.cells import Table
from mobilekit.results.tables.markdown import render_markdown
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.measurement import render_findings
from mobilekit.results.text.prediction import extrapolation_text
from mobilekit.units import format_bytes

APART = (
    "Theirs and ours are of another year, framework and computer: compare the ratios of each, and "
    "do not divide ours by theirs."
)


INDENT = "  "
PREDICTED_HEADING = "Predicted of the real phone, beside what was measured without it"


def render_comparisons(document: ComparisonDocument, width: int | None = None) -> str:
    """A block for each network; what was published about them follows, apart. Tables are broken to
    ``width`` characters."""
    blocks = [_block(comparison, width) for comparison in document.comparisons]
    if findings := _findings(document):
        blocks.append("\n".join(findings))
    if document.predicted:
        table = _indented(_predicted_table(document), width)
        blocks.append("\n".join([PREDICTED_HEADING, *table, *_predicted_notes(document)]))
    if document.published is not None:
        blocks.append(_published_block(document.published, document.comparisons, width))
    return "\n\n".join(blocks)


def render_comparisons_markdown(document: ComparisonDocument) -> str:
    """The same as tables of GitHub's Markdown, each with its notes as a list below it."""
    parts = []
    for comparison in document.comparisons:
        parts.append(f"### {_heading(comparison)}")
        if comparison.figures:
            parts.append(render_markdown(comparison_table(comparison)))
        if notes := _notes(comparison):
            parts.append("\n".join(f"- {line}" for line in notes))
    if findings := _findings(document):
        parts.append("\n".join(f"- {line}" for line in findings))
    if document.predicted:
        parts.append(f"### {PREDICTED_HEADING}")
        parts.append(render_markdown(_predicted_table(document)))
        parts.append("\n".join(f"- {line}" for line in _predicted_notes(document)))
    publication = document.published
    if publication is not None:
        parts.append(f"### {publication.name}")
        parts.append(render_markdown(published_table(publication, document.comparisons)))
        parts.append("\n".join(f"- {line}" for line in _published_notes(publication)))
    return "\n\n".join(parts)


def _predicted_table(document: ComparisonDocument) -> Table:
    return predicted_table(document.predicted, document.comparisons, papers_on(document.predicted))


def _predicted_notes(document: ComparisonDocument) -> list[str]:
    told = [(device, each) for item in document.predicted for device, each in _each_of(item)]
    lines = [
        f"{each.network} on the real {each.device} cannot be told: {each.reasons[0]}"
        for _, each in told
        if each.latency_ms is None
    ]
    engines = dict.fromkeys(device.engine for device, each in told if each.latency_ms is not None)
    lines += [f"Predicted: as of {engine}, with 90 % intervals" for engine in engines]
    lines += [
        f"{each.network} on the real {each.device} is extrapolated: "
        f"{extrapolation_text(each.extrapolation)}"
        for _, each in told
        if each.extrapolation is not None
    ]
    papers = map(load_publication, papers_on(document.predicted))
    lines += [f"Theirs: {paper.source}; {paper.notes[0]}" for paper in papers]
    return lines


def _each_of(predicted: Predictions) -> Iterator[tuple[PredictedDevice, NetworkPrediction]]:
    return zip(predicted.devices, predicted.predictions, strict=True)


def refusal_text(differences: Iterable[Difference]) -> str:
    """What keeps two runs from being compared, in one line."""
    return "; ".join(
        f"{item.id} ({item.side} / {item.against}): {item.meaning}" for item in differences
    )


def _block(comparison: Comparison, width: int | None) -> str:
    lines = [_heading(comparison)]
    if comparison.figures:
        lines += _indented(comparison_table(comparison), width)
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
    lines += [
        f"Not comparable: {refusal_text(side.refusals)} [{side.id}, {comparison.against.id}]"
        for side in comparison.sides
        if side.refusals
    ]
    for side in comparison.all_sides:
        profile = side.profile
        if profile is not None and abs(profile.difference) > RECONCILED_WITHIN:
            lines.append(
                f"Warning: the sum of {side_name(side, comparison)}'s layers differs by "
                f"{profile.difference:+.1%} from the plain inference: "
                f"{_doubt_text(profile)} "
                f"(`mobilekit results profile {profile.id}`)"
            )
    several = len(comparison.sides) > 1
    lines += [
        f"Differs in {item.id}{f', {side_name(side, comparison)}' if several else ''}: "
        f"{item.side} / {item.against}: {item.meaning}"
        for side in comparison.sides
        for item in side.differences
        if not item.refuses
    ]
    return lines


def _doubt_text(profile: ProfiledLayers) -> str:
    if profile.misses:
        return f"the shares, marked {IN_DOUBT}, are those of the sum"
    return "the shares may not be its own"


def _findings(document: ComparisonDocument) -> list[str]:
    """Those of all comparisons, each once."""
    every = [finding for each in document.comparisons for finding in each.findings]
    return list(dict.fromkeys(render_findings(every)))


def _published_block(
    publication: Publication, comparisons: Sequence[Comparison], width: int | None
) -> str:
    lines = [
        f"{publication.name} beside ours",
        *_indented(published_table(publication, comparisons), width),
    ]
    return "\n".join([*lines, *_published_notes(publication)])


def _published_notes(publication: Publication) -> list[str]:
    return [
        f"Theirs: {publication.source}",
        *(f"Theirs: {note}" for note in publication.notes),
        APART,
    ]


def _indented(table: Table, width: int | None) -> list[str]:
    inside = None if width is None else width - len(INDENT)
    return [f"{INDENT}{line}" for line in render_text(table, inside).splitlines()]
