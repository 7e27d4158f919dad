"""Results in the forms that others' programs read: pandas, Bencher, github-action-benchmark.

Each figure keeps its interval and its origin: what is simulated says so in its name, and a virtual
phone in that of the benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from mobilekit.analysis.compare.figures import figures_of
from mobilekit.analysis.compare.likeness import engine_of, threads_of
from mobilekit.analysis.compare.records import UNITS, Quantity
from mobilekit.analysis.repeats import Arrangement, RepeatedFigure, Repeats, gather_repeats
from mobilekit.errors import UsageError
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Interval, Origin
from mobilekit.results.tables.csv import csv_text

_SUFFIXES = {"ns": "ns", "bytes": "bytes", "J": "j", "inferences": "inferences"}
_FIGURE_COLUMNS = (
    "id",
    "started_at",
    "model",
    "content_sha256",
    "device",
    "virtual",
    "format",
    "precision",
    "backend",
    "threads",
    "engine",
    "doubts",
    "figure",
    "origin",
    "value",
    "low",
    "high",
)
_LARGER_IS_BETTER = ("charge", "available")


def render_figures_csv(measurements: Iterable[Measurement]) -> str:
    """A figure of a run a line, with its unit at the end of its name: ``latency_ns``.

    ``low`` and ``high`` are the ends of its interval, empty where it has none: 95 %, of what is
    predicted 90 %. The origin of what a virtual phone measured is ``virtual``, since it is of the
    computer that ran it.
    """
    return csv_text(
        _FIGURE_COLUMNS, (line for measurement in measurements for line in _lines(measurement))
    )


def _lines(measurement: Measurement) -> Iterator[tuple[object, ...]]:
    artifact = measurement.artifact
    doubts = [each.id for each in measurement.findings if each.severity != "info"]
    whose = (
        measurement.id,
        measurement.started_at,
        artifact.model.label,
        artifact.model.content_sha256,
        measurement.device.name,
        str(measurement.virtual).lower(),
        artifact.file.format,
        artifact.precision,
        artifact.backend,
        threads_of(measurement) or "",
        engine_of(measurement) or "",
        " ".join(doubts),
    )
    for (name, origin), quantity in _all_figures(measurement):
        low, high = _ends(quantity)
        said = "virtual" if measurement.virtual and origin == "measured" else origin
        yield (*whose, _figure_name(name), said, quantity.value, low, high)


def _all_figures(measurement: Measurement) -> Iterator[tuple[tuple[str, Origin], Quantity]]:
    yield from figures_of(measurement).items()
    foretold = measurement.predicted
    if foretold is not None:
        interval = Interval(low=foretold.low_ns, high=foretold.high_ns)
        yield ("latency", "predicted"), Quantity(value=foretold.latency_ns, interval=interval)


def _ends(quantity: Quantity) -> tuple[object, object]:
    interval = quantity.interval
    return ("", "") if interval is None else (interval.low, interval.high)


def _figure_name(name: str) -> str:
    return f"{name}_{_SUFFIXES[UNITS[name]]}"


def render_bencher(measurements: Sequence[Measurement]) -> bytes:
    """Bencher Metric Format: a benchmark for each network, device and way, all its runs together.

    ``latency`` is Bencher's own measure, in nanoseconds; the others are of this program, each with
    its unit in its name, and with ``_simulated`` where it is. Raises ``UsageError`` as ``_gather``.
    """
    document = {
        benchmark_name(repeats.arrangement): {
            _measure_name(figure): _metric(figure.quantity) for figure in repeats.figures
        }
        for repeats in _gather(measurements)
    }
    return _json(document)


def _measure_name(figure: RepeatedFigure) -> str:
    name = "latency" if figure.name == "latency" else _figure_name(figure.name)
    return name if figure.origin == "measured" else f"{name}_{figure.origin}"


def _metric(quantity: Quantity) -> dict[str, float]:
    if quantity.interval is None:
        return {"value": quantity.value}
    return {
        "value": quantity.value,
        "lower_value": quantity.interval.low,
        "upper_value": quantity.interval.high,
    }


def render_action_benchmark(measurements: Sequence[Measurement]) -> bytes:
    """What github-action-benchmark reads as ``customSmallerIsBetter``.

    What is better the more of it there is (inferences per charge) has no place in it. Raises
    ``UsageError`` as ``_gather``.
    """
    return _json(
        [
            _action_entry(repeats, figure)
            for repeats in _gather(measurements)
            for figure in repeats.figures
            if figure.name not in _LARGER_IS_BETTER
        ]
    )


def _action_entry(repeats: Repeats, figure: RepeatedFigure) -> dict[str, object]:
    origin = "" if figure.origin == "measured" else f", {figure.origin}"
    quantity = figure.quantity
    entry: dict[str, object] = {
        "name": f"{benchmark_name(repeats.arrangement)}: {figure.name}{origin}",
        "value": quantity.value,
        "unit": figure.unit,
        "extra": "\n".join(
            (
                f"origin: {figure.origin}",
                f"interval: {figure.between}",
                f"runs: {', '.join(repeats.ids)}",
            )
        ),
    }
    if quantity.interval is not None:
        entry["range"] = f"{quantity.interval.low:.6g} to {quantity.interval.high:.6g}"
    return entry


def benchmark_name(arrangement: Arrangement) -> str:
    """The same for a network that changes, so that its past and its future are one line."""
    threads = "" if arrangement.threads is None else f", {arrangement.threads} threads"
    preset = "" if arrangement.preset == "default" else f", {arrangement.preset}"
    return (
        f"{arrangement.model} on {arrangement.device}{' (virtual)' if arrangement.virtual else ''}"
        f", .{arrangement.format} {arrangement.precision} {arrangement.backend}{threads}{preset}"
    )


def _gather(measurements: Sequence[Measurement]) -> tuple[Repeats, ...]:
    """Raises ``UsageError`` where runs of unlike networks or phones would have one name."""
    gathered = gather_repeats(measurements)
    named: dict[str, Repeats] = {}
    for repeats in gathered:
        name = benchmark_name(repeats.arrangement)
        other = named.setdefault(name, repeats)
        if other is not repeats:
            raise UsageError(
                "Runs of two networks, or of two phones, would be one benchmark",
                benchmark=name,
                one=other.ids[0],
                other=repeats.ids[0],
                fix="Export the runs of each for themselves, by their ids or by a tag.",
            )
    return gathered


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"
