"""Comparisons as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from mobilekit.analysis.compare.records import ComparedFigure, Comparison, Quantity, Side
from mobilekit.contract.codec import Record
from mobilekit.results.published import Publication

# History: 1: first.
SCHEMA = "mobilekit.comparison/1"

CSV_COLUMNS = (
    "model",
    "figure",
    "unit",
    "side",
    "device",
    "origin",
    "value",
    "low",
    "high",
    "measurement",
)


class Unmeasured(Record, frozen=True):
    """A network that came to no measurement, and why."""

    model: str
    kind: str
    what: str
    fix: str


class ComparisonDocument(Record, frozen=True):
    schema: str
    comparisons: tuple[Comparison, ...]
    unmeasured: tuple[Unmeasured, ...]
    published: Publication | None
    """Figures of others for the same networks, apart from ours."""


def make_comparison_document(
    comparisons: Iterable[Comparison],
    unmeasured: Iterable[Unmeasured],
    published: Publication | None,
) -> ComparisonDocument:
    """``published`` keeps what it says of the networks that are compared."""
    compared = tuple(comparisons)
    if published is not None:
        models = dict.fromkeys(comparison.model for comparison in compared)
        figures = tuple(figure for model in models for figure in published.of(model))
        published = replace(published, figures=figures)
    return ComparisonDocument(
        schema=SCHEMA,
        comparisons=compared,
        unmeasured=tuple(unmeasured),
        published=published,
    )


def render_comparison_csv(document: ComparisonDocument) -> str:
    """One number a line under a header, with its interval where it has one.

    ``side`` is ``device``, ``against``, ``ratio`` or ``published``; ``origin`` is ``measured``,
    ``virtual`` (measured, but on the computer that was the virtual phone), ``simulated`` (its
    energy, and the memory that it has available), or the publication's name. A pair that is
    refused has no line.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for comparison in document.comparisons:
        for figure in comparison.figures:
            writer.writerows(_rows(comparison, figure))
    if document.published is not None:
        for published in document.published.figures:
            writer.writerow(
                (
                    published.model,
                    published.name,
                    published.unit,
                    "published",
                    published.platform or "",
                    document.published.name,
                    published.value,
                    "",
                    "",
                    "",
                )
            )
    return text.getvalue()


def _rows(comparison: Comparison, figure: ComparedFigure) -> Iterator[tuple[object, ...]]:
    device, against = comparison.device, comparison.against
    sides = (
        ("device", device.device, _origin(figure, device), figure.device, device.id),
        ("against", against.device, _origin(figure, against), figure.against, against.id),
        (
            "ratio",
            f"{device.device}/{against.device}",
            _origin(figure, device, against),
            figure.ratio,
            "",
        ),
    )
    for side, name, origin, quantity, measurement in sides:
        if quantity is not None:
            unit = "" if side == "ratio" else figure.unit
            low_high = _limits(quantity)
            yield (
                comparison.model,
                figure.name,
                unit,
                side,
                name,
                origin,
                quantity.value,
                *low_high,
                measurement,
            )


def _origin(figure: ComparedFigure, *sides: Side) -> str:
    if not any(side.virtual for side in sides):
        return "measured"
    is_simulated = figure.name.endswith("_simulated") or figure.name == "available"
    return "simulated" if is_simulated else "virtual"


def _limits(quantity: Quantity) -> tuple[object, object]:
    interval = quantity.interval
    return ("", "") if interval is None else (interval.low, interval.high)
