"""Which of two backends a network is better run with: pure functions of a run on each."""

from __future__ import annotations

from typing import NamedTuple

from mobilekit.analysis.answer import derive_answer
from mobilekit.contract.protocol import RunFailure
from mobilekit.records.measurement import Measurement
from mobilekit.units import format_duration, format_energy


class Pick(NamedTuple):
    better: Measurement
    other: Measurement
    reason: str
    """For people."""


def pick_backend(usual: Measurement, other: Measurement) -> Pick:
    """The run with the lower median latency, of those that ran to their end with right outputs.

    Where neither did, or both are as fast, it is ``usual``.
    """
    spoilt = {each.id: _why_unusable(each) for each in (usual, other)}
    text = "; ".join(
        f"{each.artifact.backend} {spoilt[each.id] or _figures(each)}" for each in (usual, other)
    )
    if spoilt[other.id] or (not spoilt[usual.id] and _p50_ns(other) >= _p50_ns(usual)):
        return Pick(usual, other, text)
    return Pick(other, usual, text)


def _why_unusable(measurement: Measurement) -> str | None:
    result = measurement.result
    if isinstance(result, RunFailure):
        return f"failed: {result.message}"
    check = result.samples.output_check
    if check is None:
        return "has outputs that were not checked"
    if not check.matches:
        return "has wrong outputs"
    return None if result.samples.iteration_ns else "has no latency"


def _p50_ns(measurement: Measurement) -> float:
    latency = derive_answer(measurement).latency
    assert latency is not None
    return latency.p50_ns


def _figures(measurement: Measurement) -> str:
    energy = derive_answer(measurement).energy
    words = [f"takes {format_duration(_p50_ns(measurement))}"]
    if energy is not None:
        words.append(f"{format_energy(energy.gross_j)} ({energy.origin})")
    return " and ".join(words)
