"""Runs that were made alike, and what several of them say together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from mobilekit.analysis.compare.figures import figures_of
from mobilekit.analysis.compare.likeness import preset_text, threads_of
from mobilekit.analysis.compare.records import UNITS, Quantity, Unit
from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Format, RunSuccess
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Precision
from mobilekit.records.statistics import Interval, Origin

MIN_RUNS_FOR_INTERVAL = 5
"""Below, runs are shown with their range, as energy is below five blocks: Student's t of so few
would be wider than what it is of."""

Between = Literal["one run", "range of runs", "interval of runs"]


class Arrangement(Record, frozen=True):
    """What runs have to have in common to be repeats of one another."""

    model: str
    content_sha256: str
    precision: Precision
    format: Format
    backend: str
    threads: int | None
    """``None`` for runs that did not get so far as to tell."""
    preset: str
    """Or how often they were measured, where that is none of today's."""
    device: str
    device_key: str
    virtual: bool


class RepeatedFigure(Record, frozen=True):
    """A figure over all runs of an arrangement that have it."""

    name: str
    """As of a ``ComparedFigure``."""
    origin: Origin
    unit: Unit
    runs: int
    quantity: Quantity
    between: Between
    """What the quantity's interval is."""


class Repeats(Record, frozen=True):
    arrangement: Arrangement
    ids: tuple[str, ...]
    figures: tuple[RepeatedFigure, ...]

    def figure(self, name: str) -> RepeatedFigure | None:
        """Of a measured and a simulated one, the measured."""
        return next((each for each in self.figures if each.name == name), None)


def arrangement_of(measurement: Measurement) -> Arrangement:
    artifact, device = measurement.artifact, measurement.device
    return Arrangement(
        model=artifact.model.label,
        content_sha256=artifact.model.content_sha256,
        precision=artifact.precision,
        format=artifact.file.format,
        backend=artifact.backend,
        threads=threads_of(measurement),
        preset=preset_text(measurement.request),
        device=device.name,
        device_key=device.key,
        virtual=measurement.virtual,
    )


def is_usable(measurement: Measurement) -> bool:
    """Whether it got through, and nothing says that its figures must not be used."""
    return isinstance(measurement.result, RunSuccess) and not any(
        finding.severity == "error" for finding in measurement.findings
    )


def gather_repeats(measurements: Iterable[Measurement]) -> tuple[Repeats, ...]:
    """Usable runs by what they have in common, in the order in which that is first met."""
    alike: dict[Arrangement, list[Measurement]] = {}
    for each in measurements:
        if is_usable(each):
            alike.setdefault(arrangement_of(each), []).append(each)
    return tuple(
        Repeats(
            arrangement=arrangement,
            ids=tuple(run.id for run in runs),
            figures=_repeated_figures([figures_of(run) for run in runs]),
        )
        for arrangement, runs in alike.items()
    )


def _repeated_figures(
    runs: Sequence[Mapping[tuple[str, Origin], Quantity]],
) -> tuple[RepeatedFigure, ...]:
    keys = {key: None for figures in runs for key in figures}
    order = list(UNITS)
    repeated = []
    for name, origin in sorted(keys, key=lambda key: (order.index(key[0]), key[1])):
        told = [figures[name, origin] for figures in runs if (name, origin) in figures]
        quantity, between = pool(told)
        repeated.append(
            RepeatedFigure(
                name=name,
                origin=origin,
                unit=UNITS[name],
                runs=len(told),
                quantity=quantity,
                between=between,
            )
        )
    return tuple(repeated)


def pool(told: Sequence[Quantity]) -> tuple[Quantity, Between]:
    """What several runs say together, and what its interval is.

    One run: as it is. Fewer than ``MIN_RUNS_FOR_INTERVAL``: their geometric mean, and the range
    of all that they and their own intervals span. From there on: Student's 95 % interval of the
    mean of the logarithms, with the median of the runs' own half-widths added in quadrature, since
    what all runs have in common (the gain of a gauge) does not show in how they spread. Values
    that are not all positive (growths of memory) are averaged as they are.
    """
    if len(told) == 1:
        return told[0], "one run"
    if all(each == told[0] and each.interval is None for each in told):
        return told[0], "range of runs"
    values = np.array([each.value for each in told])
    is_log = bool((values > 0).all())
    scaled = np.log(values) if is_log else values
    middle = float(scaled.mean())

    def back(value: float) -> float:
        return math.exp(value) if is_log else value

    if len(told) < MIN_RUNS_FOR_INTERVAL:
        ends = [end for each in told for end in _ends(each)]
        interval = Interval(low=min(ends), high=max(ends))
        return Quantity(value=back(middle), interval=interval), "range of runs"
    from scipy.special import stdtrit  # at no command's start, as in ``stats``

    spread = float(stdtrit(len(told) - 1, 0.975) * scaled.std(ddof=1) / math.sqrt(len(told)))
    half = math.hypot(spread, float(np.median([_half_width(each, is_log) for each in told])))
    return (
        Quantity(
            value=back(middle), interval=Interval(low=back(middle - half), high=back(middle + half))
        ),
        "interval of runs",
    )


def _ends(quantity: Quantity) -> tuple[float, float]:
    interval = quantity.interval
    return (quantity.value,) * 2 if interval is None else (interval.low, interval.high)


def _half_width(quantity: Quantity, is_log: bool) -> float:
    low, high = _ends(quantity)
    if not is_log:
        return (high - low) / 2
    return math.log(high / low) / 2 if low > 0 else math.log(max(high / quantity.value, 1.0))
