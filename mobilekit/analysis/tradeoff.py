"""What each level of a program costs and is right in, beside the uncompressed network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mobilekit.analysis.accuracy import paired_difference
from mobilekit.analysis.answer import derive_answer
from mobilekit.contract.codec import Record
from mobilekit.records.energy import ChargeEstimate, GaugeEstimate
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import ModelCost
from mobilekit.records.statistics import Interval, MemoryGrowth, Proportion, Summary


class Loss(Record, frozen=True):
    """Of accuracy beside the uncompressed network, on the same examples; below 0 where it is
    righter."""

    points: float
    """Percentage points."""
    interval_points: Interval
    """95 %, of paired proportions."""


class Rung(Record, frozen=True):
    """A level, or the uncompressed network; ``None`` where the run did not tell."""

    measurement_id: str
    level: int | None
    """From 1, the smallest; ``None``: the uncompressed network."""
    text: str
    cost: ModelCost
    file_bytes: int
    """Of its program: one for all levels."""
    init: Summary | None
    latency: Summary | None
    memory: MemoryGrowth | None
    energy: GaugeEstimate | None
    charge: ChargeEstimate | None
    examples: int | None
    """How many it was evaluated on; ``None``: it was not evaluated."""
    accuracy: Proportion | None
    loss: Loss | None
    """``None`` too of the uncompressed network itself."""


def make_rungs(measurements: Sequence[Measurement]) -> Iterator[Rung]:
    """One for each run, the last of which is the uncompressed network's."""
    whole = _rights(measurements[-1])
    for measurement in measurements:
        artifact, answer = measurement.artifact, derive_answer(measurement)
        level, accuracy = artifact.model.variant.level, answer.accuracy
        loss = None
        rights = _rights(measurement)
        if level is not None and rights is not None and whole is not None:
            lost, interval = paired_difference(whole, rights)
            loss = Loss(
                points=100 * lost,
                interval_points=Interval(low=100 * interval.low, high=100 * interval.high),
            )
        yield Rung(
            measurement_id=measurement.id,
            level=None if level is None else level.number,
            text=artifact.model.variant.text,
            cost=artifact.cost,
            file_bytes=artifact.size_bytes,
            init=answer.init,
            latency=answer.latency,
            memory=answer.memory,
            energy=answer.energy,
            charge=answer.charge,
            examples=None if accuracy is None else accuracy.examples,
            accuracy=None if accuracy is None else accuracy.device.top1,
            loss=loss,
        )


def _rights(measurement: Measurement) -> list[bool] | None:
    """Of each example, whether it was told rightly on the device."""
    found = measurement.classification
    return None if found is None else [rank == 0 for rank in found.device.label_ranks]
