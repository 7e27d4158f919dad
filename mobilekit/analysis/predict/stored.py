"""What a measurement tells predictions of other networks, and of its own."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mobilekit.contract.codec import decode
from mobilekit.contract.protocol import RunSuccess
from mobilekit.records.device import DeviceInfo
from mobilekit.records.prediction import Population, ScoredPrediction, StoredLatency

if TYPE_CHECKING:
    from mobilekit.records.measurement import Measurement


def latency_of(measurement: Measurement) -> StoredLatency | None:
    """``None`` for a run that did not get through, for one that only was played again, and for one
    on a GPU, of which the model of cores tells nothing."""
    # Where predictions start, it would take longer than the rest of this module.
    from mobilekit.analysis.findings import REPLAYED

    samples = measurement.result.samples
    is_replayed = any(finding.id == REPLAYED.id for finding in measurement.findings)
    if (
        not isinstance(measurement.result, RunSuccess)
        or not samples.iteration_ns
        or samples.companion is None
        or is_replayed
        or not measurement.artifact.model.variant.has_usual_backend
    ):
        return None
    return StoredLatency(
        measurement_id=measurement.id,
        started_at=measurement.started_at,
        model=measurement.artifact.model,
        device=measurement.device,
        format=measurement.artifact.file.format,
        threads=samples.companion.threads,
        p50_ns=statistics.median(samples.iteration_ns),
        predicted=measurement.predicted,
    )


def decode_latency(document: bytes) -> StoredLatency:
    """Raises ``ProtocolError``."""
    latency: StoredLatency = decode(document, StoredLatency, source="the stored latency")
    return latency


def population_of(device: DeviceInfo) -> Population:
    if device.virtual:
        return "virtual phones"
    return "computers" if device.link == "none" else "phones"


def scored(latencies: Iterable[StoredLatency]) -> tuple[ScoredPrediction, ...]:
    """Those that had been predicted, with as many threads as they then ran with."""
    return tuple(
        ScoredPrediction(
            measurement_id=each.measurement_id,
            model=each.model.label,
            device=each.device.name,
            device_key=each.device.key,
            population=population_of(each.device),
            setting=each.setting,
            threads=each.threads,
            predicted_ns=each.predicted.latency_ns,
            low_ns=each.predicted.low_ns,
            high_ns=each.predicted.high_ns,
            known=each.predicted.known,
            seen=each.predicted.seen,
            widening=each.predicted.widening,
            measured_ns=each.p50_ns,
            measured_origin="simulated" if each.device.virtual else "measured",
        )
        for each in latencies
        if each.predicted is not None and each.predicted.threads == each.threads
    )
