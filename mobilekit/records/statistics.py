"""What samples say, each with its interval."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record

Origin = Literal["measured", "simulated", "predicted"]
"""Where a figure comes from: a device's own instruments, a virtual phone's battery, or a model of a
device that is not there."""


class Interval(Record, frozen=True):
    """A 95 % interval; one of a prediction is of 90 %, and its column says so."""

    low: float
    high: float


class Summary(Record, frozen=True):
    """Durations in nanoseconds over ``count`` samples."""

    count: int
    p50_ns: float
    p50_interval_ns: Interval
    """Bootstrap interval of the median."""
    p90_ns: float
    p99_ns: float
    mad_ns: float
    min_ns: int
    max_ns: int


class MemoryGrowth(Record, frozen=True):
    """How much the companion grew over its memory with the program closed."""

    measure: Literal["PSS", "RSS"]
    load_bytes: int
    inference_bytes: int
    peak_rss_bytes: int | None
    """Peak of RSS during load and inference over RSS before; ``None`` where not told."""


class Proportion(Record, frozen=True):
    """``count`` of all examples, with its 95 % interval by Wilson."""

    count: int
    share: float
    interval: Interval


class Accuracy(Record, frozen=True):
    """How often the right class has the highest score, or is among the five highest."""

    top1: Proportion
    top5: Proportion | None
    """``None`` for a network of fewer than ten classes."""


class AccuracyAnswer(Record, frozen=True):
    """The accuracy on labelled examples, on the device and in eager PyTorch on this computer."""

    examples: int
    device: Accuracy
    pytorch: Accuracy
    same_class: int
    """For how many examples the two told the same class."""
