"""What the levels of a program cost and are right in, for people."""

from __future__ import annotations

from collections.abc import Iterator

from mobilekit.analysis.tradeoff import Loss, Rung
from mobilekit.plain import plain, plain_lines
from mobilekit.records.statistics import Summary
from mobilekit.results.network_documents import TradeoffDocument
from mobilekit.results.tables.cells import (
    Absent,
    Cell,
    CellOrigin,
    Column,
    Number,
    Table,
    make_table,
)
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.words import VIRTUAL_LABEL
from mobilekit.units import format_bytes


def render_tradeoff(document: TradeoffDocument, width: int | None = None) -> str:
    """A level a row, then the uncompressed network; what the table leaves out below it."""
    mark = f" ({VIRTUAL_LABEL})" if document.virtual else ""
    *levels, whole = document.rungs
    lines = [
        plain(f"{document.model} · {document.device}{mark}"),
        plain_lines(render_text(tradeoff_table(document), width)),
        f"  file      {format_bytes(levels[0].file_bytes)} for all levels, "
        f"{format_bytes(whole.file_bytes)} for the uncompressed network",
    ]
    if whole.examples is not None:
        lines.append(
            f"  examples  {whole.examples:,}; intervals are of 95 %, the loss's of the same "
            "examples in pairs"
        )
    lines += [plain(f"  verdict   {each}") for each in _verdicts(document)]
    lines.append(plain(f"  saved     {', '.join(each.measurement_id for each in document.rungs)}"))
    return "\n".join(lines)


def _verdicts(document: TradeoffDocument) -> Iterator[str]:
    """What speaks against levels here, by the medians alone."""
    *levels, whole = document.rungs
    if whole.latency is None:
        return
    slower = [
        str(each.level)
        for each in levels
        if each.latency is not None and each.latency.p50_ns >= whole.latency.p50_ns
    ]
    if slower:
        levels_text = f"level{'s' if len(slower) > 1 else ''} {', '.join(slower)}"
        yield f"the latency p50 of {levels_text} is not below the uncompressed network's"


def tradeoff_table(document: TradeoffDocument) -> Table:
    """Columns of what no run told are left out."""
    rungs = document.rungs
    measured: CellOrigin = "virtual" if document.virtual else "measured"
    columns: list[tuple[Column | str, list[Cell]]] = [
        ("level", ["uncompressed" if each.level is None else str(each.level) for each in rungs]),
        (
            Column("parameters", holds="numbers"),
            [Number(each.cost.parameters, "count") for each in rungs],
        ),
        (
            Column("init p50", holds="numbers", scale="common"),
            [_duration(each.init, measured) for each in rungs],
        ),
        (
            Column("latency p50", holds="numbers", scale="common"),
            [_duration(each.latency, measured, interval=True) for each in rungs],
        ),
        (
            Column("memory", holds="numbers", scale="common"),
            [
                Absent()
                if each.memory is None
                else Number(each.memory.inference_bytes, "bytes", origin=measured, signed=True)
                for each in rungs
            ],
        ),
    ]
    if any(each.energy is not None for each in rungs):
        columns.append(
            (
                Column("energy", holds="numbers", scale="common"),
                [
                    Absent()
                    if each.energy is None
                    else Number(
                        each.energy.gross_j,
                        "J",
                        each.energy.gross_interval_j,
                        origin=each.energy.origin,
                    )
                    for each in rungs
                ],
            )
        )
    if any(each.charge is not None for each in rungs):
        columns.append(
            (
                Column("inferences per charge", holds="numbers"),
                [
                    Absent()
                    if each.charge is None
                    else Number(each.charge.inferences, "inferences", origin=each.charge.origin)
                    for each in rungs
                ],
            )
        )
    if any(each.accuracy is not None for each in rungs):
        columns += [
            (Column("accuracy", holds="numbers"), [_accuracy(each, measured) for each in rungs]),
            ("lost points", [_loss(each.loss) for each in rungs]),
        ]
    return make_table(
        [column for column, _ in columns], zip(*(cells for _, cells in columns), strict=True)
    )


def _duration(summary: Summary | None, origin: CellOrigin, *, interval: bool = False) -> Cell:
    if summary is None:
        return Absent()
    told = summary.p50_interval_ns if interval else None
    return Number(summary.p50_ns, "ns", told, origin=origin)


def _accuracy(rung: Rung, origin: CellOrigin) -> Cell:
    if rung.accuracy is None:
        return Absent()
    return Number(rung.accuracy.share, "share", rung.accuracy.interval, origin=origin)


def _loss(loss: Loss | None) -> Cell:
    if loss is None:
        return "-"
    interval = loss.interval_points
    return f"{loss.points:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"
