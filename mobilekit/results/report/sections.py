"""A report as sections, each of parts that have a table and, most of them, a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from mobilekit.analysis.compare.records import Comparison
from mobilekit.analysis.energy.power_series import PowerSeries
from mobilekit.analysis.repeats import Arrangement, RepeatedFigure, Repeats
from mobilekit.records.statistics import Interval, Proportion
from mobilekit.results.compare_tables import (
    LABELS,
    OURS,
    PUBLISHED_LABELS,
    comparison_table,
    papers_on,
    predicted_table,
    their_cells,
)
from mobilekit.results.published import Publication
from mobilekit.results.report.document import ReportDocument, ReportedResult
from mobilekit.results.report.measured import measured_section, result_row
from mobilekit.results.report.parts import (
    Chart,
    Part,
    Section,
    arrangement_text,
    device_text,
    time_origin,
)
from mobilekit.results.tables.cell_text import IN_DOUBT
from mobilekit.results.tables.cells import (
    Absent,
    Cell,
    Column,
    Number,
    Row,
    Table,
    make_table,
)
from mobilekit.results.text.compare import APART, refusal_text
from mobilekit.results.text.prediction import extrapolation_texts
from mobilekit.results.text.words import SOURCE_NAMES

RANKED = {"latency": "Latency", "energy_gross": "Energy", "charge": "Inferences per charge"}
"""What networks are ranked by."""
OPEN_AT_ONCE = 3
"""Of many alike parts, that are unfolded when the page opens; all are when it is printed."""


def make_sections(document: ReportDocument) -> tuple[Section, ...]:
    """Those that have something to show, but for the first, which is always there."""
    sections = (
        measured_section(document),
        _ranking(document),
        _heat(document),
        _against(document),
        _layers(document),
        _powers(document),
        _drift(document),
        _findings(document),
        _accuracy(document),
        _predicted(document),
        _published(document),
    )
    return tuple(each for each in sections if each.parts)


def _headed(table: Table, *names: str) -> Table:
    """With a name for each column that people need none for: a page's are buttons."""
    left = iter(names)
    columns = (
        column if column.name else replace(column, name=next(left)) for column in table.columns
    )
    return replace(table, columns=tuple(columns))


# --- rankings ----------------------------------------------------------------------------------


def _ranking(document: ReportDocument) -> Section:
    parts = []
    for name, title in RANKED.items():
        ranked = rank(document.repeats, name)
        if ranked:
            parts.append(Part(title, _ranking_table(ranked), Chart("ranking", name)))
    notes = (
        "One run: its own 95 % interval. Fewer than five runs alike: the range that they span. "
        "Five or more: a 95 % interval from how the runs spread.",
    )
    return Section("ranking", "Ranking", notes, tuple(parts))


def rank(repeats: Iterable[Repeats], name: str) -> list[tuple[Arrangement, RepeatedFigure]]:
    """Each arrangement that has the figure, the best first: the least, but of a charge the most."""
    found = [
        (each.arrangement, figure) for each in repeats if (figure := each.figure(name)) is not None
    ]
    sign = -1 if name == "charge" else 1
    return sorted(found, key=lambda pair: sign * pair[1].quantity.value)


def _ranking_table(ranked: Sequence[tuple[Arrangement, RepeatedFigure]]) -> Table:
    return make_table(
        (
            "network",
            "device",
            "as",
            Column(LABELS[ranked[0][1].name], holds="numbers", scale="common"),
            "interval",
            "runs",
        ),
        (
            (
                arrangement.model,
                device_text(arrangement),
                arrangement_text(arrangement),
                _figure_number(arrangement, figure),
                figure.between,
                str(figure.runs),
            )
            for arrangement, figure in ranked
        ),
    )


def _figure_number(arrangement: Arrangement, figure: RepeatedFigure) -> Number:
    return Number(
        figure.quantity.value,
        figure.unit,
        figure.quantity.interval,
        origin=time_origin(figure.origin, arrangement),
    )


# --- phones and networks -----------------------------------------------------------------------


def _heat(document: ReportDocument) -> Section:
    parts = []
    for name in ("latency", "energy_gross"):
        best = best_of_each(document.repeats, name)
        devices = list(dict.fromkeys(device for device, _ in best))
        models = list(dict.fromkeys(model for _, model in best))
        if len(best) > 1:
            table = make_table(
                ("device", *(Column(model, holds="numbers") for model in models)),
                (
                    (device, *(best.get((device, model), Absent()) for model in models))
                    for device in devices
                ),
            )
            parts.append(Part(RANKED[name], table, Chart("heat", name)))
    notes = ("Of a network that a device ran in several ways, the one that took least.",)
    return Section("heat", "Devices and networks", notes, tuple(parts))


def best_of_each(repeats: Iterable[Repeats], name: str) -> dict[tuple[str, str], Number]:
    """By device and network, in the order of the ranking."""
    best: dict[tuple[str, str], Number] = {}
    for arrangement, figure in rank(repeats, name):
        place = device_text(arrangement), arrangement.model
        best.setdefault(place, _figure_number(arrangement, figure))
    return best


# --- against this computer ---------------------------------------------------------------------


def _against(document: ReportDocument) -> Section:
    parts = [
        Part(
            f"{each.model}, {each.precision}",
            _headed(comparison_table(each), "figure"),
            Chart("ratios", str(place)) if each.figures else None,
            notes=_comparison_notes(each),
        )
        for place, each in enumerate(document.comparisons)
    ]
    return Section(
        "against",
        "Phones against this computer",
        ("The newest run on each phone over the newest on the computer.",),
        tuple(parts),
    )


def _comparison_notes(comparison: Comparison) -> tuple[str, ...]:
    return (
        *(
            f"Not comparable, {side.device}: {refusal_text(side.refusals)}"
            for side in comparison.sides
            if side.refusals
        ),
        *(finding.summary for finding in comparison.findings),
    )


# --- layers and power --------------------------------------------------------------------------


def _layers(document: ReportDocument) -> Section:
    if not document.profiles:
        return Section("layers", "", (), ())
    whose = {each.id: each.arrangement for each in document.results}
    types = dict.fromkeys(
        cost.type for profile in document.profiles for cost in profile.profile.types
    )
    rows: list[Sequence[Cell]] = []
    for each in document.profiles:
        shares = {cost.type: cost for cost in each.profile.types}
        arrangement = whose[each.id]
        origin = time_origin("measured", arrangement)
        rows.append(
            (
                f"{arrangement.model} on {device_text(arrangement)}",
                each.profile.by,
                *(
                    Number(
                        shares[name].share,
                        "share",
                        origin=origin,
                        in_doubt=shares[name].share_in_doubt,
                    )
                    if name in shares
                    else Absent()
                    for name in types
                ),
                each.id,
            )
        )
    table = make_table(
        ("network", "by", *(Column(name, holds="numbers") for name in types), "id"), rows
    )
    notes = (
        f"Of the sum of all layers; {IN_DOUBT}: that sum is far from the inference as a whole.",
    )
    part = Part("Share of each type of layer", table, Chart("layers"), notes)
    return Section("layers", "Where the time goes", (), (part,))


def _powers(document: ReportDocument) -> Section:
    whose = {each.id: each.arrangement for each in document.results}
    parts = tuple(
        Part(
            f"{whose[each.measurement_id].model} on {device_text(whose[each.measurement_id])}, "
            f"{each.origin}: {each.measurement_id}",
            _power_table(each),
            Chart("power", str(place)),
            notes=(f"By the {SOURCE_NAMES[each.source]}.",),
            is_open=place < OPEN_AT_ONCE,
        )
        for place, each in enumerate(document.powers)
    )
    return Section(
        "power",
        "Power over time",
        ("Intervals are of 95 % by the gauge's resolution alone.",),
        parts,
    )


def _power_table(series: PowerSeries) -> Table:
    start_ns = series.windows[0].started_ns
    rows: list[Sequence[Cell]] = []
    for number, window in enumerate(series.windows, 1):
        power: Cell = Absent("does not count")
        if window.power_w is not None and window.half_width_w is not None:
            interval = Interval(
                low=window.power_w - window.half_width_w, high=window.power_w + window.half_width_w
            )
            power = Number(window.power_w, "W", interval, origin=series.origin)
        rows.append(
            (
                str(number),
                window.kind,
                Number(window.started_ns - start_ns, "ns"),
                Number(window.ended_ns - window.started_ns, "ns"),
                Number(window.iterations, "count"),
                power,
            )
        )
    return make_table(
        ("window", "kind", "began after", "length", "inferences", Column("power", "numbers")), rows
    )


# --- doubts ------------------------------------------------------------------------------------


def _drift(document: ReportDocument) -> Section:
    drifting = [each for each in document.results if each.latency_drift is not None]
    if not drifting:
        return Section("drift", "", (), ())
    table = make_table(
        (
            "id",
            "network",
            "device",
            Column("latency, second half", holds="numbers"),
            Column("idle power over the run", holds="numbers"),
            "battery",
            "warm-up",
        ),
        (_drift_row(each) for each in drifting),
    )
    notes = (
        "How much longer the second half of a run's inferences took than the first, and how much "
        "the idle power changed, over what inferences draw above it.",
    )
    return Section("drift", "Drift", notes, (Part("Drift within each run", table, Chart("drift")),))


def _drift_row(result: ReportedResult) -> Sequence[Cell]:
    energy, temperature = result.answer.energy, result.temperature_decicelsius
    return (
        result.id,
        result.arrangement.model,
        device_text(result.arrangement),
        Number(
            result.latency_drift or 0.0,
            "share",
            origin=time_origin("measured", result.arrangement),
            signed=True,
        ),
        Absent()
        if energy is None
        else Number(energy.drift_ratio, "share", origin=energy.origin, signed=True),
        "-"
        if temperature is None
        else f"{temperature[0] / 10:.1f} to {temperature[1] / 10:.1f} °C",
        f"{result.answer.warmup_iterations:,} inferences",
    )


def _findings(document: ReportDocument) -> Section:
    found = [(each, finding) for each in document.results for finding in each.findings]
    if not found:
        return Section("findings", "", (), ())
    order = ("error", "warning", "info")
    found.sort(key=lambda pair: order.index(pair[1].severity))
    table = make_table(
        ("finding", "severity", "network", "device", "what", "what to do", "id"),
        (
            (
                finding.id,
                finding.severity,
                result.arrangement.model,
                device_text(result.arrangement),
                finding.summary,
                finding.advice,
                result.id,
            )
            for result, finding in found
        ),
    )
    notes = ("Figures of a run with an error are listed above and charted nowhere.",)
    return Section("findings", "Findings", notes, (Part("Doubts about the results", table),))


# --- accuracy ----------------------------------------------------------------------------------


def _accuracy(document: ReportDocument) -> Section:
    evaluated = [
        each for each in document.results if each.is_usable and each.answer.accuracy is not None
    ]
    if not evaluated:
        return Section("accuracy", "", (), ())
    table = make_table(
        (
            "network",
            "device",
            "as",
            Column("latency p50", holds="numbers", scale="common"),
            Column("energy, gross", holds="numbers", scale="common"),
            Column("top 1", holds="numbers"),
            Column("top 1 in PyTorch", holds="numbers"),
            "examples",
            "id",
        ),
        (_accuracy_row(each) for each in evaluated),
    )
    part = Part("Accuracy and what it costs", table, Chart("accuracy"))
    return Section("accuracy", "Accuracy beside cost", (), (part,))


def _accuracy_row(result: ReportedResult) -> Sequence[Cell]:
    _, _, network, device, arrangement, _, latency, energy, *_ = result_row(result)
    accuracy = result.answer.accuracy
    assert accuracy is not None
    return (
        network,
        device,
        arrangement,
        latency,
        energy,
        # What is computed is the same wherever it is: a virtual phone's accuracy is a program's.
        _proportion(accuracy.device.top1),
        _proportion(accuracy.pytorch.top1),
        f"{accuracy.examples:,}",
        result.id,
    )


def _proportion(told: Proportion) -> Number:
    return Number(told.share, "share", told.interval)


# --- what is told from elsewhere ---------------------------------------------------------------


def _predicted(document: ReportDocument) -> Section:
    parts = []
    told = [
        item
        for item in document.predicted
        if any(each.latency_ms is not None for each in item.predictions)
    ]
    if told:
        engines = dict.fromkeys(device.engine for item in told for device in item.devices)
        table = predicted_table(told, document.comparisons, papers_on(told))
        parts.append(
            Part(
                "Beside what was measured without them",
                _headed(table, "network", "figure"),
                notes=(
                    *(f"Predicted as of {engine}, with 90 % intervals." for engine in engines),
                    *(text for item in told for text in extrapolation_texts(item)),
                ),
            )
        )
    reasons = [
        (each.network, each.device, each.reasons[0])
        for item in document.predicted
        for each in item.predictions
        if each.latency_ms is None
    ]
    if reasons:
        table = make_table(("network", "real phone", "why"), reasons)
        parts.append(Part("What cannot be told", table))
    return Section(
        "predicted",
        "Predicted of real phones",
        ("What virtual phones cannot tell of the phones that they stand in for.",),
        tuple(parts),
    )


def _published(document: ReportDocument) -> Section:
    parts = tuple(
        Part(each.name, _paper_table(each, document), notes=(each.source, *each.notes, APART))
        for each in document.published
    )
    return Section("published", "Published figures beside ours", (), parts)


def _paper_table(paper: Publication, document: ReportDocument) -> Table:
    """Theirs to the left; ours of each device, of the way that took least, to the right."""
    ours = {name: best_of_each(document.repeats, name) for name in dict.fromkeys(OURS.values())}
    devices = list(dict.fromkeys(device for best in ours.values() for device, _ in best))
    names = dict.fromkeys(each.arrangement.model for each in document.results)
    rows: list[Row | Sequence[Cell]] = []
    for model in names:
        for name, label in PUBLISHED_LABELS.items():
            figures = [figure for figure in paper.of(model) if figure.name == name]
            if figures:
                rows.append(
                    (
                        model,
                        label,
                        *their_cells(paper, figures),
                        *(ours[OURS[name]].get((device, model), Absent()) for device in devices),
                    )
                )
    columns = (
        *(f"theirs: {name}" for name in paper.platforms),
        *(f"ours: {device}" for device in devices),
    )
    return make_table(
        ("network", "figure", *(Column(name, holds="numbers") for name in columns)), rows
    )
