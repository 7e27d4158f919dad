"""Predictions for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from mobilekit.records.prediction import (
    EarlierPrediction,
    Extrapolation,
    FitVerdict,
    NetworkPrediction,
    OwnRuns,
    PastError,
    PhonePower,
    PredictedDevice,
    PredictionCalibration,
    Predictions,
    Score,
    Told,
)
from mobilekit.records.statistics import Interval
from mobilekit.results.prediction_cells import (
    PREDICTED_FIGURES,
    PredictedFigure,
    memory_cell,
    predicted_cell,
)
from mobilekit.results.tables.cell_text import number_text, quantity_text
from mobilekit.results.tables.cells import (
    Column,
    Number,
    Row,
    Table,
    make_table,
)
from mobilekit.results.tables.text import render_text
from mobilekit.units import NS_PER_MS, format_duration, format_energy, format_power

MEMORY_IS = (
    "Memory is what a companion grows by over its memory with the program closed, as was measured "
    "on computers: a phone's allocator and pages may add to it."
)


def render_predictions(predicted: Predictions, width: int | None = None) -> str:
    """A line for each phone and for each network on it, then why any figure cannot be told, and how
    far this has been right."""
    several = len(predicted.devices) > 1
    lines = [_device_text(each, named=several) for each in predicted.devices]
    lines += [
        f"{f'{each.device}: ' if several else ''}{_own_text(each.own)}"
        for each in predicted.devices
        if each.own is not None
    ]
    lines.append(render_text(predictions_table(predicted), width))
    if any(each.memory is not None for each in predicted.predictions):
        lines.append(render_text(memory_table(predicted), width))
    for each in predicted.predictions:
        if each.layers:
            lines.append(f"Layers of {_name(each, several=several)}:")
            lines.append(render_text(layers_table(each), width))
    if any(each.fits is not None for each in predicted.predictions):
        lines.append(render_text(fits_table(predicted), width))
        lines += _unfitted_texts(predicted)
    lines += [
        f"{'' if each.memory is None else 'The latency of '}{_name(each, several=several)} "
        f"cannot be told: {'; '.join(each.reasons)}."
        for each in predicted.predictions
        if each.reasons
    ]
    lines += _untold_texts(predicted)
    lines += extrapolation_texts(predicted)
    lines += [
        f"Power{f' of {each.device}' if several else ''}: {_power_text(each.power)}"
        for each in predicted.devices
        if each.power is not None
    ]
    lines += [
        f"Battery{f' of {each.device}' if several else ''}: "
        f"{format_energy(each.battery.energy_j)}, {each.battery.source}."
        for each in predicted.devices
        if each.battery is not None
    ]
    if any(each.memory is not None for each in predicted.predictions):
        lines.append(MEMORY_IS)
    lines += [_past_text(each) for each in predicted.past_errors]
    return "\n".join(lines)


def reading_of(predicted: Predictions) -> list[str]:
    """What to know of a column of predictions: of which chip, whose times, how far that was right,
    and where to read why any cannot be told."""
    lines = [_device_text(each, named=True) for each in predicted.devices]
    lines += [
        f"Why it cannot be told: `mobilekit predict {each.network} --device "
        f"{shlex.quote(each.device)}`."
        for each in predicted.predictions
        if each.latency_ms is None
    ][:1]
    lines += extrapolation_texts(predicted)
    return lines + [_past_text(each) for each in predicted.past_errors]


def predicted_text(predicted: Predictions) -> str:
    """One network on one phone that is not here, on one line."""
    (device,), (each,) = predicted.devices, predicted.predictions
    if each.latency_ms is None:
        return f"{each.device} cannot be told: {each.reasons[0].split(';')[0]}"
    named: dict[PredictedFigure, str] = {
        "latency": "",
        "energy_gross": " gross",
        "charge": " inferences per charge",
    }
    cells = ((predicted_cell(each, figure), name) for figure, name in named.items())
    parts = [f"{number_text(cell)}{name}" for cell, name in cells if isinstance(cell, Number)]
    told_from = _told_from(each, device)
    return f"{each.device}: {', '.join(parts)}   90 %, as of {device.engine}, from {told_from}"


def predictions_table(predicted: Predictions) -> Table:
    """Intervals are of 90 %."""
    several = len(predicted.devices) > 1
    devices = {each.device: each for each in predicted.devices}
    rows = [
        Row(
            (
                each.network,
                *((each.device,) if several else ()),
                *(predicted_cell(each, figure) for figure in PREDICTED_FIGURES),
                _told_from(each, devices[each.device]),
            ),
            origin="predicted",
        )
        for each in predicted.predictions
    ]
    return make_table(
        (
            "network",
            *(("device",) if several else ()),
            Column("latency [90 %]", holds="numbers", scale="common"),
            Column("energy, gross [90 %]", holds="numbers", scale="common"),
            Column("marginal [90 %]", holds="numbers", scale="common"),
            Column("inferences per charge [90 %]", holds="numbers"),
            "latency is told from",
        ),
        rows,
    )


def memory_table(predicted: Predictions) -> Table:
    """Of the networks whose memory can be told; intervals are of 90 %."""
    several = len(predicted.devices) > 1
    rows = [
        Row(
            (
                each.network,
                *((each.device,) if several else ()),
                f".{each.memory.format}, {each.memory.precision}",
                *map(memory_cell, (each.memory.load, each.memory.inference, each.memory.peak)),
            ),
            origin="predicted",
        )
        for each in predicted.predictions
        if each.memory is not None
    ]
    figures = ("by load [90 %]", "by inference [90 %]", "peak [90 %]")
    columns = (Column(figure, holds="numbers", scale="common") for figure in figures)
    return make_table(("memory", *(("device",) if several else ()), "as", *columns), rows)


def layers_table(each: NetworkPrediction) -> Table:
    """A network's layers in the order in which they run."""
    rows = [
        Row(
            (
                layer.name,
                layer.kind,
                Number(layer.latency_ms * NS_PER_MS, "ns", origin="predicted"),
                Number(layer.share, "share", origin="predicted"),
            ),
            origin="predicted",
        )
        for layer in each.layers
    ]
    latency = Column("latency", holds="numbers", scale="common")
    return make_table(("layer", "kind", latency, Column("share", holds="numbers")), rows)


def fits_table(predicted: Predictions) -> Table:
    """A column for each criterion, and one for all of them at once."""
    several = len(predicted.devices) > 1
    judged = [(each, each.fits) for each in predicted.predictions if each.fits is not None]
    rows = [
        Row(
            (
                each.network,
                *((each.device,) if several else ()),
                *(_fit_text(one.verdict, one.probability) for one in fits.criteria),
                _fit_text(fits.verdict, fits.probability),
            ),
            origin="predicted",
        )
        for each, fits in judged
    ]
    bounds = (one.criterion.text for one in judged[0][1].criteria)
    return make_table(("fits", *(("device",) if several else ()), *bounds, "all"), rows)


def _fit_text(verdict: FitVerdict, probability: float | None) -> str:
    if probability is None:
        return verdict
    if probability < 0.001:
        return f"{verdict}, < 0.1 %"
    if probability > 0.999:
        return f"{verdict}, > 99.9 %"
    return f"{verdict}, {100 * probability:.1f} %"


def _unfitted_texts(predicted: Predictions) -> list[str]:
    """Why a bound cannot be judged at all, each reason once."""
    reasons = (
        (one.criterion.text, one.reason)
        for each in predicted.predictions
        if each.fits is not None and each.latency_ms is not None
        for one in each.fits.criteria
        if one.reason is not None
    )
    return [f"{text} is unknown: {reason}." for text, reason in dict.fromkeys(reasons)]


def render_calibration(calibration: PredictionCalibration) -> str:
    """What was measured, and how surely others were told before and are told now."""
    simulated = (
        " · a virtual phone: its latency is this computer's, and so is what is told from it"
        if calibration.origin == "simulated"
        else ""
    )
    lines = [
        f"{calibration.device} ({calibration.serial}) · {calibration.setting.text}, "
        f"{_count(calibration.threads, 'thread')}{simulated}"
    ]
    width = max((len(each.network) for each in calibration.measured), default=0)
    lines += [
        f"  {each.network:{width}}  "
        + ("failed" if each.p50_ns is None else f"p50 {format_duration(each.p50_ns)}")
        + f"  {each.measurement_id}"
        for each in calibration.measured
    ]
    lines += [
        f"Before: {_surely_text(calibration.before)}.",
        f"Now: {_surely_text(calibration.after)}.",
        f"It took {calibration.duration_s:.0f} s, exports included.",
    ]
    return "\n".join(lines)


def _surely_text(told: Told) -> str:
    if told.median_factor is None:
        return f"none of {told.networks} packaged networks could be told"
    return (
        f"{told.told} of {told.networks} packaged networks are told to within a factor of "
        f"{told.median_factor:.2f} (90 % intervals, in the median)"
    )


def render_scores(scores: Sequence[Score], width: int | None = None) -> str:
    """A line for each population and each number of networks that predictions were told from."""
    rows = [
        Row(
            (
                each.population,
                _known_text(each),
                Number(each.predictions, "count"),
                Number(each.phones, "count"),
                f"{each.median_ape_percent:.1f} %",
                f"{each.coverage:.0%}",
                f"{each.bias_percent:+.1f} %",
                f"{each.widening:.2f} x",
            )
        )
        for each in scores
    ]
    columns = (
        *("of", "networks known there", "predictions", "devices", "median APE"),
        *("in the 90 % interval", "bias", "next interval's width"),
    )
    return render_text(make_table(columns, rows), width)


def _known_text(each: Score) -> str:
    if each.known_most is None:
        return f"{each.known_least} or more"
    if each.known_least == each.known_most:
        return "none" if each.known_most == 0 else str(each.known_most)
    return f"{each.known_least} or {each.known_most}"


def earlier_text(earlier: EarlierPrediction, p50_ns: float | None) -> str:
    """What had been predicted of a run, and how far that was right."""
    interval = Interval(low=earlier.low_ns, high=earlier.high_ns)
    off = ""
    if p50_ns is not None:
        inside = "within" if earlier.low_ns <= p50_ns <= earlier.high_ns else "OUTSIDE"
        ratio = earlier.latency_ns / p50_ns
        off = (
            f": {abs(ratio - 1):.1%} too {'long' if ratio > 1 else 'short'}, {inside} its 90 % "
            "interval"
        )
    return (
        f"{quantity_text(earlier.latency_ns, 'ns', interval)} predicted before the run, from "
        f"{_count(earlier.known, 'other network')} measured here{off}"
    )


def _device_text(each: PredictedDevice, *, named: bool) -> str:
    name = f"{each.device}: " if named and each.device != each.chip else ""
    threads = "" if each.threads is None else f", {_count(each.threads, 'thread')}"
    return f"{name}{each.chip}{threads} · predicted, as of {each.engine}"


def _own_text(own: OwnRuns) -> str:
    simulated = " of virtual phones" if own.origin == "simulated" else ""
    return (
        f"Told from your own runs{simulated}: {_count(own.networks_here, 'network')} here with "
        f"{own.setting.text}, {own.runs_elsewhere} with other settings or threads or on other "
        "phones."
    )


def _name(each: NetworkPrediction, *, several: bool) -> str:
    return f"{each.network} on {each.device}" if several else each.network


def _told_from(each: NetworkPrediction, device: PredictedDevice) -> str:
    if each.latency_ms is None:
        return "-"
    if each.known:
        told = f"{_count(each.known, 'network')} measured here"
    else:
        told = "the chip alone" if device.own is None else "your runs elsewhere"
    if each.extrapolation is not None:
        return f"{told}; extrapolated"
    return f"{told}; {'measured' if each.seen else 'never measured'} before"


def extrapolation_texts(predicted: Predictions) -> list[str]:
    """Once for each network: it is its own, on whatever phone."""
    told = {
        each.network: each.extrapolation for each in predicted.predictions if each.extrapolation
    }
    return [
        f"{network} is extrapolated: {extrapolation_text(each)}." for network, each in told.items()
    ]


def extrapolation_text(each: Extrapolation) -> str:
    return (
        f"{each.share:.0%} of its time on the reference phone goes into {each.work}, and at most "
        f"{each.fitted_share:.0%} of that of any network that was measured; its interval is "
        f"{each.widening:.2f} times as wide for that"
    )


def _untold_texts(predicted: Predictions) -> list[str]:
    """Each reason once for each phone, of the networks whose latency is told."""
    several = len(predicted.devices) > 1
    told = [each for each in predicted.predictions if each.latency_ms is not None]
    reasons = _unique(
        (each.device, untold.figure, untold.reason) for each in told for untold in each.untold
    )
    figures = {(device, figure) for device, figure, _ in reasons}
    return [
        f"The {figure}{f' on {device}' if several else ''} cannot be told: {reason}."
        for device, figure, reason in reasons
        # What follows from a figure that is told to be missing goes without saying.
        if not (figure == "charge" and (device, "energy") in figures)
    ]


def _unique(each: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys(each))


def _power_text(power: PhonePower) -> str:
    gross, marginal = power.gross_interval_w, power.marginal_interval_w
    return (
        f"{format_power(power.gross_w)} [{format_power(gross.low)}, {format_power(gross.high)}] "
        f"gross, {format_power(power.marginal_w)} [{format_power(marginal.low)}, "
        f"{format_power(marginal.high)}] marginal: {power.told_from}."
    )


def _past_text(past: PastError) -> str:
    known = (
        f"With {_count(past.known, 'network')} measured on the phone"
        if past.known
        else "From the chip alone"
    )
    kind = "a network measured elsewhere" if past.seen else "a network measured nowhere"
    if past.extrapolated:
        kind += " and extrapolated"
    return (
        f"{known}, {kind} was predicted to {past.median_ape_percent:.1f} % (median; nine in ten to "
        f"{past.p90_ape_percent:.0f} %) on chips held back, and {past.coverage:.0%} of "
        f"{past.predictions:,} lay in their 90 % intervals."
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
