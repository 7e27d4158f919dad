"""The search for a network that keeps within a budget."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.records.network import Variant
from mobilekit.records.statistics import Proportion


class Budget(Record, frozen=True):
    """What the network is to keep within."""

    size_bytes: int | None
    """Of the exported program; ``None``: whatever it is."""
    latency_ns: int | None
    """The median on this computer; ``None``: whatever it is."""
    max_loss_points: float
    """Of accuracy, in percentage points of the uncompressed network's."""


class Candidate(Record, frozen=True):
    """A network that was exported, and what was measured of it on this computer."""

    variant: Variant
    size_bytes: int
    latency_p50_ns: float | None
    """``None`` where neither a budget nor its accuracy asked for a run."""
    accuracy: Proportion | None
    """``None`` where it was not evaluated."""
    loss_points: float | None
    """Of accuracy, beside the uncompressed network; below 0 where it is righter."""


class Choice(Record, frozen=True):
    """Which network keeps within a budget, and which others were tried."""

    budget: Budget
    judged_by: Literal["labels", "agreement"]
    """What is right: the examples' labels, or what the uncompressed network says of generated
    inputs, which tells little of a trained network's accuracy."""
    examples: int
    calibration: str | None
    """The examples that int8 was calibrated with, none of which was evaluated unless a person gave
    them; ``None``: generated ones."""
    weights_are_drawn: bool
    """Nobody trained it, and what is lost of accuracy means nothing."""
    uncompressed: Candidate
    chosen: Candidate
    tried: tuple[Candidate, ...]
    """In order; with the uncompressed and the chosen one."""
