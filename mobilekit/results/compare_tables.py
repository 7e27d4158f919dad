"""Comparisons as tables: for people, beside what others published, and one number a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mobilekit.analysis.compare.figures import ratio_of
from mobilekit.analysis.compare.records import (
    ComparedFigure,
    ComparedShare,
    Comparison,
    Quantity,
    Side,
    TypeShare,
)
from mobilekit.records.prediction import NetworkPrediction, Predictions
from mobilekit.records.statistics import Origin
from mobilekit.results.prediction_cells import PredictedFigure, predicted_cell
from mobilekit.results.published import (
    Publication,
    PublishedFigure,
    load_publication,
    publication_names,
)
from mobilekit.results.tables.cell_text import p50_note
from mobilekit.results.tables.cells import (
    Absent,
    Cell,
    CellOrigin,
    Column,
    Number,
    Row,
    Table,
    Unit,
    make_table,
    number_or_absent,
)
from mobilekit.results.text.words import PLANE_NAMES, SOURCE_NAMES, unless_measured
from mobilekit.units import format_duration

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
}
GROWTHS = {"load_pss", "load_rss", "inference_pss", "inference_rss", "peak_rss"}
"""Memory over that with the program closed; shown with its sign."""
BY_MEAN = {"energy_gross", "energy_marginal", "charge"}
"""Of the mean inference under load, whose time may be far from the p50."""
PUBLISHED_LABELS = {
    "model_size": "model size",
    "init": "init",
    "latency": "latency",
    "energy": "energy/inference",
    "charge": "inferences/charge",
}
BYTES_PER_MB = 1e6
OURS = {
    "model_size": "artifact",
    "init": "init",
    "latency": "latency",
    "energy": "energy_gross",
    "charge": "charge",
}
"""Which of our figures stands beside a published one."""


def side_name(side: Side, comparison: Comparison) -> str:
    """For people: where a side ran, and whether that was a virtual phone."""
    place = _place(side, comparison)
    return f"{place} (virtual)" if side.virtual else place


def ratio_name(side: Side, comparison: Comparison) -> str:
    return f"{_place(side, comparison)} / {_place(comparison.against, comparison)}"


def _place(side: Side, comparison: Comparison) -> str:
    """The device, and where sides of one format differ in it the backend: ``pixel6a vulkan``."""
    backends = {each.backend for each in comparison.all_sides if each.format == side.format}
    return f"{side.device} {side.backend}" if len(backends) > 1 else side.device


# --- ours --------------------------------------------------------------------------------------


def comparison_table(comparison: Comparison) -> Table:
    """A row for each figure, a column for each side, and one for each ratio to the reference."""
    sides = comparison.sides
    names = [side_name(side, comparison) for side in comparison.all_sides]
    ratios = [ratio_name(side, comparison) for side in sides]
    rows: list[Row | Sequence[Cell]] = [
        _figure_row(comparison, figure) for figure in comparison.figures
    ]
    rows += [
        (
            f"layers: {each.type}",
            *(_share_cell(side.taken) for side in each.sides),
            _share_cell(each.against),
            *(_share_ratio(side) for side in each.sides),
        )
        for each in comparison.layer_types
    ]
    facts: list[tuple[str, Callable[[Side], Cell]]] = [
        ("energy from", _energy_text),
        ("layers' sum", _sum_cell),
        ("layers by", lambda side: "" if side.profile is None else side.profile.by),
        ("no layers, because", lambda side: side.profile_refusal or ""),
        ("run by", _engine_text),
        ("findings", lambda side: ", ".join(side.findings) or "none"),
        ("saved", lambda side: side.id),
        ("layers saved", _other_run),
    ]
    for name, fact in facts:
        cells = [fact(side) for side in comparison.all_sides]
        if any(cell != "" for cell in cells):
            rows.append((name, *cells, *[""] * len(sides)))
    return make_table(
        ("", *(Column(name, holds="numbers") for name in (*names, *ratios))),
        rows,
    )


def _figure_row(comparison: Comparison, figure: ComparedFigure) -> Row:
    sides, against = comparison.sides, comparison.against
    pairs = list(zip(figure.sides, sides, strict=True))
    return Row(
        (
            LABELS[figure.name],
            *(_quantity_cell(figure, each.quantity, side) for each, side in pairs),
            _quantity_cell(figure, figure.against, against),
            *(_ratio_cell(figure, each.ratio, side, against) for each, side in pairs),
        ),
        origin=figure.origin,
    )


def _quantity_cell(
    figure: ComparedFigure, quantity: Quantity | None, side: Side
) -> Number | Absent:
    if quantity is None:
        return Absent()
    return Number(
        quantity.value,
        figure.unit,
        quantity.interval,
        origin=_origin(figure.origin, side),
        signed=figure.name in GROWTHS,
        note=p50_note(side.far_p50_ratio) if figure.name in BY_MEAN else "",
    )


def _ratio_cell(
    figure: ComparedFigure, ratio: Quantity | None, side: Side, against: Side
) -> Number | Absent:
    if ratio is None:
        return Absent()
    origin = _origin(figure.origin, side, against)
    return Number(ratio.value, "ratio", ratio.interval, origin=origin)


def _origin(origin: Origin, *sides: Side) -> CellOrigin:
    """Of what was measured, whether it was on the computer that was a virtual phone."""
    is_virtual = origin == "measured" and any(side.virtual for side in sides)
    return "virtual" if is_virtual else origin


def _share_cell(share: TypeShare | None) -> Number | Absent:
    if share is None:
        return Absent()
    note = format_duration(share.p50_ns)
    return Number(share.share, "share", note=note, in_doubt=share.share_in_doubt)


def _share_ratio(share: ComparedShare) -> Number | Absent:
    return number_or_absent(share.ratio, "ratio")


def _sum_cell(side: Side) -> Cell:
    profile = side.profile
    if profile is None:
        return ""
    plain = format_duration(profile.plain_p50_ns)
    return Number(profile.sum_ns, "ns", note=f"{profile.difference:+.1%} of {plain}")


def _other_run(side: Side) -> str:
    """Of layers that were measured in a run of their own."""
    return "" if side.profile is None or side.profile.id == side.id else side.profile.id


def _energy_text(side: Side) -> str:
    if side.energy_origin is None or side.energy_source is None or side.energy_plane is None:
        return ""
    origin = unless_measured(side.energy_origin, "{} ")
    source = f"{SOURCE_NAMES[side.energy_source]} {PLANE_NAMES[side.energy_plane]}"
    return f"{origin}{source}, {side.energy_blocks} blocks"


def _engine_text(side: Side) -> str:
    """Without what a run that did not get so far could not tell."""
    threads = f"{side.threads} thread{'' if side.threads == 1 else 's'}" if side.threads else None
    if side.backend == "vulkan":
        threads = "the graphics processor"
    return ", ".join(filter(None, (side.engine, f".{side.format}", threads, side.abi)))


# --- predicted beside measured -----------------------------------------------------------------

PREDICTED: dict[PredictedFigure, str | None] = {
    "latency": "latency",
    "energy_gross": "energy",
    "energy_marginal": None,
    "charge": "charge",
}
"""What is predicted of a real phone, by our figures, and what others publish of it."""


def predicted_table(
    predicted: Sequence[Predictions], comparisons: Sequence[Comparison], papers: Sequence[str]
) -> Table:
    """A row for each figure of a network on a phone that is not here: what is predicted, then what
    was measured of the same network in its place and on the reference, each in a column of its own,
    and what ``papers`` published of that phone."""
    publications = [load_publication(name) for name in papers]
    rows: list[Sequence[Cell]] = []
    for told in predicted:
        (each,) = told.predictions
        of_network = [item for item in comparisons if item.model == each.network]
        for name, theirs in PREDICTED.items():
            value = predicted_cell(each, name)
            measured = _measured_beside(of_network, each.device, name)
            published = (
                next(_published_beside(paper, each, theirs), Absent()) for paper in publications
            )
            label = "latency" if name == "latency" else LABELS[name]
            rows.append((each.network, each.device, label, value, *measured, *published))
    columns = (
        "predicted [90 %]",
        "measured: virtual",
        "measured: other side",
        *(f"theirs: {name}" for name in papers),
    )
    return make_table(
        ("", "real phone", "", *(Column(name, holds="numbers") for name in columns)), rows
    )


def papers_on(predicted: Sequence[Predictions]) -> list[str]:
    """Which publications have figures of one of the networks on one of the phones."""
    told = [each for item in predicted for each in item.predictions]
    return [
        name
        for name in publication_names()
        if any(
            figure.platform == each.device
            for each in told
            for figure in load_publication(name).of(each.network)
        )
    ]


def _measured_beside(
    comparisons: Sequence[Comparison], device: str, name: str
) -> tuple[Cell, Cell]:
    """On the virtual phone, and on what it was compared with."""
    for comparison in comparisons:
        figures = [figure for figure in comparison.figures if figure.name == name]
        for place, side in enumerate(comparison.sides):
            ones = (_quantity_cell(each, each.sides[place].quantity, side) for each in figures)
            others = (_quantity_cell(each, each.against, comparison.against) for each in figures)
            if side.virtual and side.device == device:
                return _first_number(ones), _first_number(others)
            if comparison.against.virtual and comparison.against.device == device:
                return _first_number(others), _first_number(ones)
    return Absent(), Absent()


def _published_beside(
    paper: Publication, each: NetworkPrediction, name: str | None
) -> Iterator[Number]:
    for figure in paper.of(each.network):
        if figure.platform == each.device and figure.name == name:
            yield _published_number(paper, figure.value, figure.unit)


# --- theirs and ours ---------------------------------------------------------------------------


def published_table(publication: Publication, comparisons: Sequence[Comparison]) -> Table:
    """A row for each published figure, theirs to the left and ours to the right."""
    platforms = publication.platforms
    paired = len(platforms) == 2
    theirs = [f"theirs: {name}" for name in platforms]
    if paired:
        theirs.append(f"theirs: {' / '.join(platforms)}")
    most = max(len(comparison.sides) for comparison in comparisons)
    columns = [*theirs, *_our_names(comparisons, most)]
    rows: list[Sequence[Cell]] = []
    for comparison in comparisons:
        of_model = publication.of(comparison.model)
        for name, label in PUBLISHED_LABELS.items():
            figures = [figure for figure in of_model if figure.name == name]
            if figures:
                cells = their_cells(publication, figures, paired=paired)
                ours = _our_cells(comparison, OURS[name], most)
                rows.append((comparison.model, label, *cells, *ours))
        if not of_model:
            rows.append((comparison.model, "not in it", *[Absent()] * len(columns)))
    return make_table(("", "", *(Column(name, holds="numbers") for name in columns)), rows)


def _our_names(comparisons: Sequence[Comparison], most: int) -> list[str]:
    """The devices', or what they are for where the devices differ."""
    names = {
        (
            *(f"ours: {side_name(side, comparison)}" for side in comparison.all_sides),
            *(f"ours: {ratio_name(side, comparison)}" for side in comparison.sides),
        )
        for comparison in comparisons
    }
    if len(names) == 1:
        return list(names.pop())
    numbers = [""] if most == 1 else [f" {number}" for number in range(1, most + 1)]
    return [
        *(f"ours: device{number}" for number in numbers),
        "ours: against",
        *(f"ours: ratio{number}" for number in numbers),
    ]


def their_cells(
    publication: Publication, figures: Sequence[PublishedFigure], *, paired: bool = False
) -> Iterator[Cell]:
    """Of one figure, what each platform is published to have; ``paired``: their ratio too."""
    values = {figure.platform: figure for figure in figures}
    platforms = publication.platforms
    if None in values:
        # The network's own: the same on every platform.
        values = dict.fromkeys(platforms, values[None])
    for platform in platforms:
        figure = values.get(platform)
        yield (
            Absent()
            if figure is None
            else _published_number(publication, figure.value, figure.unit)
        )
    if paired:
        ratio = None
        if set(platforms) <= set(values) and figures[0].name != "model_size":
            one, other = (
                Quantity(value=values[platform].value, interval=None) for platform in platforms
            )
            ratio = ratio_of(one, other)
        yield Absent() if ratio is None else _published_number(publication, ratio.value, "ratio")


def _published_number(publication: Publication, value: float, unit: Unit) -> Number:
    return Number(value, unit, origin="published", source=publication.name)


def _our_cells(comparison: Comparison, name: str, most: int) -> list[Cell]:
    """Every side and its ratio; of a measured and a simulated figure, the one that a side has."""
    figures = [figure for figure in comparison.figures if figure.name == name]
    missing = [Absent()] * (most - len(comparison.sides))
    values: list[Cell] = []
    ratios: list[Cell] = []
    for place, side in enumerate(comparison.sides):
        parts = [(figure, figure.sides[place]) for figure in figures]
        values.append(
            _first_number(_our_cell(figure, part.quantity, side) for figure, part in parts)
        )
        ratios.append(
            _first_number(
                _ratio_cell(figure, part.ratio, side, comparison.against) for figure, part in parts
            )
        )
    against = _first_number(
        _our_cell(figure, figure.against, comparison.against) for figure in figures
    )
    return [*values, *missing, against, *ratios, *missing]


def _our_cell(figure: ComparedFigure, quantity: Quantity | None, side: Side) -> Number | Absent:
    """As ``_quantity_cell``, in the unit of those that others publish."""
    cell = _quantity_cell(figure, quantity, side)
    if isinstance(cell, Number) and figure.name == "artifact":
        return Number(cell.value / BYTES_PER_MB, "MB", origin=cell.origin)
    return cell


def _first_number(cells: Iterator[Number | Absent]) -> Cell:
    return next((cell for cell in cells if isinstance(cell, Number)), Absent())


# --- one number a line -------------------------------------------------------------------------


def numbers_table(
    comparisons: Sequence[Comparison],
    predicted: Sequence[Predictions],
    publication: Publication | None,
) -> Table:
    """A row for each number, for programs.

    ``side`` is ``device``, ``against``, ``ratio``, ``predicted`` or ``published``; ``measurement``
    the one that the number is of, of a ratio the device's. A side that is refused has no row.
    """
    rows: list[tuple[Cell, ...]] = []
    for comparison in comparisons:
        for figure in comparison.figures:
            rows += _number_rows(comparison, figure)
    rows += [
        (each.network, name, "predicted", each.device, cell, "")
        for told in predicted
        for each in told.predictions
        for name in PREDICTED
        if isinstance(cell := predicted_cell(each, name), Number)
    ]
    if publication is not None:
        rows += [
            (
                figure.model,
                figure.name,
                "published",
                figure.platform or "",
                _published_number(publication, figure.value, figure.unit),
                "",
            )
            for figure in publication.figures
        ]
    columns = ("model", "figure", "side", "device", Column("", holds="numbers"), "measurement")
    return make_table(columns, rows)


def _number_rows(comparison: Comparison, figure: ComparedFigure) -> Iterator[tuple[Cell, ...]]:
    against = comparison.against
    pairs = list(zip(figure.sides, comparison.sides, strict=True))
    cells: list[tuple[str, str, Number | Absent, str]] = [
        ("device", _place(side, comparison), _quantity_cell(figure, each.quantity, side), side.id)
        for each, side in pairs
    ]
    cells.append(
        (
            "against",
            _place(against, comparison),
            _quantity_cell(figure, figure.against, against),
            against.id,
        )
    )
    cells += [
        (
            "ratio",
            ratio_name(side, comparison).replace(" / ", "/"),
            _ratio_cell(figure, each.ratio, side, against),
            side.id,
        )
        for each, side in pairs
    ]
    for what, device, cell, measurement in cells:
        if isinstance(cell, Number):
            yield comparison.model, figure.name, what, device, cell, measurement
