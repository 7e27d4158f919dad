"""The report's first section: what was measured, where and when."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.results.report.document import ReportDocument, ReportedResult
from mobilekit.results.report.parts import (
    Part,
    Section,
    arrangement_text,
    device_text,
    time_origin,
)
from mobilekit.results.tables.cell_text import p50_note
from mobilekit.results.tables.cells import Absent, Cell, Column, Number, Table, make_table
from mobilekit.results.text.words import PLANE_NAMES


def measured_section(document: ReportDocument) -> Section:
    parts = [Part("Results", _results_table(document.results))]
    if document.imports:
        parts.append(Part("Traces of external meters", _imports_table(document)))
    parts.append(Part("Devices", _devices_table(document.results)))
    return Section("measured", "What was measured, where and when", (), tuple(parts))


def _results_table(results: Sequence[ReportedResult]) -> Table:
    return make_table(
        (
            "id",
            "started (UTC)",
            "network",
            "device",
            "as",
            "for",
            Column("latency p50", holds="numbers", scale="common"),
            Column("energy, gross", holds="numbers", scale="common"),
            Column("inferences/charge", holds="numbers"),
            "doubts",
        ),
        (result_row(each) for each in results),
    )


def result_row(result: ReportedResult) -> Sequence[Cell]:
    answer, arrangement = result.answer, result.arrangement
    doubts = [each.id for each in result.findings if each.severity != "info"]
    latency, energy, charge = answer.latency, answer.energy, answer.charge
    return (
        result.id,
        result.started_at[:16].replace("T", " "),
        arrangement.model,
        device_text(arrangement),
        arrangement_text(arrangement),
        result.purpose,
        Absent()
        if latency is None
        else Number(
            latency.p50_ns,
            "ns",
            latency.p50_interval_ns,
            origin=time_origin("measured", arrangement),
        ),
        Absent()
        if energy is None
        else Number(
            energy.gross_j,
            "J",
            energy.gross_interval_j,
            origin=energy.origin,
            note=p50_note(answer.far_p50_ratio),
        ),
        Absent()
        if charge is None
        else Number(
            charge.inferences, "inferences", charge.inferences_interval, origin=charge.origin
        ),
        ", ".join(doubts) or "-",
    )


def _imports_table(document: ReportDocument) -> Table:
    return make_table(
        ("id", "imported (UTC)", "network", "device", "file", "plane", Column("energy", "numbers")),
        (
            (
                each.id,
                each.imported_at[:16].replace("T", " "),
                each.model or "-",
                each.device or "-",
                each.file,
                PLANE_NAMES[each.estimate.plane],
                Number(
                    each.estimate.gross_j,
                    "J",
                    each.estimate.gross_interval_j,
                    origin=each.estimate.origin,
                ),
            )
            for each in document.imports
        ),
    )


def _devices_table(results: Sequence[ReportedResult]) -> Table:
    of_device: dict[tuple[str, str | None], list[ReportedResult]] = {}
    for each in results:
        of_device.setdefault((each.arrangement.device_key, each.host), []).append(each)
    return make_table(
        ("device", "what it is", "system", "host", "results", "first (UTC)", "last (UTC)"),
        (
            (
                device_text(found[0].arrangement),
                found[0].phone,
                found[0].system,
                host or "-",
                str(len(found)),
                min(each.started_at for each in found)[:16].replace("T", " "),
                max(each.started_at for each in found)[:16].replace("T", " "),
            )
            for (_, host), found in of_device.items()
        ),
    )
