"""What is listed, as tables: measurements, networks, devices, runs that are waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Union

from mobilekit.records.campaign import Campaign, ListedAgent, RunState
from mobilekit.records.device import BatteryStatus, ListedDevice
from mobilekit.records.measurement import Answer, Measurement, WaitingRun
from mobilekit.records.meter import MeterResult
from mobilekit.records.network import ModelCost, ModelSpec
from mobilekit.records.prediction import Predictions
from mobilekit.results.documents import NO_TAGS, Tags
from mobilekit.results.prediction_cells import predicted_cell
from mobilekit.results.tables.cell_text import p50_note
from mobilekit.results.tables.cells import (
    Absent,
    Cell,
    Column,
    Number,
    Scale,
    Table,
    make_table,
    number_or_absent,
)

Answered = Union[tuple[Measurement, Answer], MeterResult]
"""A measurement with what it says, or an import of a meter's trace."""


def results_table(answered: Iterable[Answered], tags: Tags = NO_TAGS) -> Table:
    """A measurement or an import of a trace a row; a column of tags where any has one."""
    columns = (
        "id",
        "started (UTC)",
        "model",
        "device",
        Column("latency p50", holds="numbers", scale="common"),
        Column("energy", holds="numbers", scale="common"),
        "plane",
        "doubts",
    )
    rows = [
        _import_row(each) if isinstance(each, MeterResult) else _result_row(*each)
        for each in answered
    ]
    if not any(row[0] in tags for row in rows):
        return make_table(columns, rows)
    words = [", ".join(tags.get(str(row[0]), ())) or "-" for row in rows]
    return make_table(
        (*columns, "tags"), ((*row, word) for row, word in zip(rows, words, strict=True))
    )


def _import_row(result: MeterResult) -> tuple[Cell, ...]:
    estimate = result.estimate
    return (
        result.id,
        _minute_text(result.imported_at),
        result.model or result.trace.file,
        f"{result.profile.name if result.profile is not None else '-'} ({estimate.source})",
        Absent(),
        Number(estimate.gross_j, "J", origin=estimate.origin),
        estimate.plane,
        "-",
    )


def _result_row(measurement: Measurement, answer: Answer) -> tuple[Cell, ...]:
    latency, energy = answer.latency, answer.energy
    doubts = [finding.id for finding in measurement.findings if finding.severity != "info"]
    return (
        measurement.id,
        _minute_text(measurement.started_at),
        measurement.artifact.model.label,
        measurement.device.name + (" (virtual)" if measurement.virtual else ""),
        number_or_absent(
            None if latency is None else latency.p50_ns,
            "ns",
            "virtual" if measurement.virtual else "measured",
        ),
        Absent()
        if energy is None
        else Number(energy.gross_j, "J", origin=energy.origin, note=p50_note(answer.far_p50_ratio)),
        "-" if energy is None else energy.plane,
        ", ".join(doubts) or "-",
    )


def models_table(
    known: Iterable[tuple[ModelSpec, ModelCost]], predicted: Predictions | None = None
) -> Table:
    """A network a row; with what is ``predicted`` of them on a phone, in their order, beside it."""
    known = list(known)
    latencies: list[tuple[Cell, ...]] = [()] * len(known)
    if predicted is not None:
        latencies = [(predicted_cell(each, "latency"),) for each in predicted.predictions]
    return make_table(
        (
            "model",
            Column("parameters", holds="numbers"),
            Column("MACs", holds="numbers", scale=Scale(" M", 1e6)),
            *(
                Column(f"latency on {each.device} [90 %]", holds="numbers", scale="common")
                for each in (predicted.devices if predicted is not None else ())
            ),
            "input",
            "weights",
            "title",
        ),
        (
            (
                spec.name,
                Number(cost.parameters, "count"),
                Number(cost.macs, "MACs"),
                *latency,
                " ".join("x".join(map(str, shape)) for shape in spec.input_shapes),
                "trained" if spec.weights_path else "untrained",
                spec.title,
            )
            for (spec, cost), latency in zip(known, latencies, strict=True)
        ),
    )


def devices_table(listed: Iterable[ListedDevice]) -> Table:
    """A link to a device a row."""
    return make_table(
        ("serial", "device", "state", "system", "formats", "gpu", "battery"),
        (
            (
                device.attached.serial,
                _device_text(device),
                device.attached.state,
                f"Android {device.info.android_release}, {device.info.abi}" if device.info else "-",
                " ".join(f".{name}" for name in device.formats) or "-",
                _gpu_text(device),
                _battery_text(device.battery),
            )
            for device in listed
        ),
    )


def _device_text(device: ListedDevice) -> str:
    if device.info is None:
        return "-"
    return device.info.name + (" (virtual)" if device.info.virtual else "")


def _gpu_text(device: ListedDevice) -> str:
    """What a program for Vulkan finds there."""
    gpu = None if device.info is None else device.info.gpu
    if gpu is None:
        return "-"
    if gpu.vulkan_version is None:
        return "no Vulkan"
    unused = [] if device.vulkan_obstacle is None else ["unused"]
    name = [] if gpu.name is None else [gpu.name]
    return ", ".join((*name, f"Vulkan {gpu.vulkan_version}", *unused))


def _battery_text(battery: BatteryStatus | None) -> str:
    if battery is None:
        return "-"
    words = [] if battery.level_percent is None else [f"{battery.level_percent}%"]
    if battery.plugged:
        words.append("plugged in")
    return ", ".join(words) or "-"


def campaigns_table(listed: Iterable[tuple[Campaign, Mapping[RunState, int]]]) -> Table:
    """A campaign a row."""
    states: tuple[RunState, ...] = ("done", "failed", "stopped", "running", "queued")
    return make_table(
        ("campaign", "started (UTC)", "on", *(Column(each, holds="numbers") for each in states)),
        (
            (
                campaign.id,
                _minute_text(campaign.started_at),
                campaign.planned_on,
                *(Number(counts.get(state, 0), "count") for state in states),
            )
            for campaign, counts in listed
        ),
    )


def hosts_table(agents: Iterable[ListedAgent]) -> Table:
    """A host a row."""
    return make_table(
        ("host", "state", "process", "version", "phones"),
        (
            (
                agent.info.name,
                "alive" if agent.is_alive else f"silent for {agent.silent_s:.0f} s",
                str(agent.info.pid),
                agent.info.mobilekit_version,
                ", ".join(offer.device for offer in agent.info.offers) or "-",
            )
            for agent in agents
        ),
    )


def offers_table(agents: Iterable[ListedAgent]) -> Table:
    """A device that a host lends a row."""
    return make_table(
        ("host", "serial", "device", "state", "formats", "battery"),
        (
            (
                agent.info.name,
                offer.device,
                offer.name + (" (computes there)" if offer.computes_here else ""),
                offer.state if agent.is_alive else "host silent",
                " ".join(f".{name}" for name in offer.formats) or "-",
                "-" if offer.level_percent is None else f"{offer.level_percent}%",
            )
            for agent in agents
            for offer in agent.info.offers
        ),
    )


def waiting_table(runs: Iterable[WaitingRun]) -> Table:
    """A run that could not be collected a row."""
    return make_table(
        ("run", "started", "device", "state", "windows"),
        (
            (
                run.id,
                _minute_text(run.started_at),
                run.device,
                run.why,
                f"{run.windows} of {run.planned_windows}" if run.planned_windows else "-",
            )
            for run in runs
        ),
    )


def _minute_text(time: str) -> str:
    """``2026-11-21 09:56``, of an ISO 8601 time."""
    return time[:16].replace("T", " ")
