"""The search for a network that keeps within a budget."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import ArtifactFile
from mobilekit.records.network import Compression, ModelCost, Precision, Variant
from mobilekit.records.statistics import Origin, Proportion

Redundancy = Literal["frobenius", "rms"]
"""What tells how much of a layer a rank loses: ||W - W_r|| / ||W||, or DeepX's root of the mean
squared difference, which takes a layer of small weights for a redundant one."""


class Budget(Record, frozen=True):
    """What the network is to keep within; ``None``: whatever it is."""

    size_bytes: int | None
    """Of the exported program."""
    latency_ns: int | None
    """The median on the device."""
    energy_j: float | None
    """Of an inference, gross: the whole device's while it computes."""
    max_loss_points: float
    """Of accuracy, in percentage points of the uncompressed network's."""

    @property
    def has_costs(self) -> bool:
        """Whether anything but the accuracy is bounded."""
        return (self.size_bytes, self.latency_ns, self.energy_j) != (None, None, None)


class Candidate(Record, frozen=True):
    """A network that was exported, and what was measured of it on the device."""

    variant: Variant
    size_bytes: int
    latency_p50_ns: float | None
    """``None`` where neither a budget nor its accuracy asked for a run."""
    energy_j: float | None
    """Of an inference, gross; ``None`` where no budget asked for it."""
    accuracy: Proportion | None
    """``None`` where it was not evaluated."""
    loss_points: float | None
    """Of accuracy, beside the uncompressed network; below 0 where it is righter."""


class TriedRank(Record, frozen=True):
    """One layer at a lower rank, everything else whole."""

    rank: int
    latency_ns: float | None
    """Of the layer alone on the device, a call of the engine taken off; ``None``: not timed."""
    loss_points: float | None
    """Of accuracy, in PyTorch on this computer, where it is more than allowed at least so much;
    ``None``: not evaluated."""
    whitened_loss_points: float | None = None
    """As ``loss_points``, whitened; ``None``: not evaluated, as where it is not needed."""


class CutLayer(Record, frozen=True):
    """A layer that could be cut, and what came of trying it alone."""

    layer: str
    whole_latency_ns: float | None
    """As of ``TriedRank``, at its full rank."""
    tried: tuple[TriedRank, ...]
    least_rank: int
    """Below it the layer alone loses more accuracy than allowed, whitened or not; 1 where none was
    evaluated."""
    most_rank: int
    """Above it two layers save nothing of what the budget is of; below ``least_rank``: the layer
    stays whole."""
    why_whole: Literal["loses", "slower"] | None
    """``slower``: no tried rank is faster, the layer is below the floor."""
    least_plain_rank: int | None = None
    """As ``least_rank``, not whitened; ``None``: nothing was whitened."""


class Screened(Record, frozen=True):
    """A step of the ladder, in PyTorch on this computer."""

    compression: Compression | None
    """Whitened only where that is surely right for more of the examples than the same ranks
    without, and surely loses little beside the whole network."""
    loss_points: float
    """Where it is far more than allowed, at least so much."""
    other_loss_points: float | None = None
    """Of the same ranks made the other way, whitened or not; of the whitened, where it is more than
    ``loss_points`` or far more than allowed, at least so much. ``None``: there is none."""


class Levels(Record, frozen=True):
    """Nested ranks of a network, each a method of one program."""

    precision: Precision
    ladder: tuple[Compression, ...]
    """The ranks of each level, from the smallest."""
    file: ArtifactFile
    """Of all levels; the method is the largest one's."""
    costs: tuple[ModelCost, ...]
    """Of each level."""
    relative_errors: tuple[float | None, ...]
    """Of each level's outputs, from those of the same level in PyTorch in fp32; ``None`` where it
    was not run here."""
    largest_alone_bytes: int
    """Of a program of the largest level's ranks alone."""
    uncompressed_bytes: int
    uncompressed_cost: ModelCost
    weights_bytes: tuple[int, ...] = ()
    """Of each level's own file of weights, where they are not in the program."""

    @property
    def size_bytes(self) -> int:
        """Of all that every level needs; the largest one's weights hold the others'."""
        return self.file.size_bytes + (self.weights_bytes[-1] if self.weights_bytes else 0)

    @property
    def size_ratio(self) -> float:
        """To the program of the largest level alone."""
        return self.size_bytes / self.largest_alone_bytes


class Choice(Record, frozen=True):
    """Which network keeps within a budget, and which others were tried."""

    budget: Budget
    device: str
    virtual: bool
    energy_origin: Origin
    """Of the candidates' energies."""
    judged_by: Literal["labels", "agreement"]
    """What is right: the examples' labels, or what the uncompressed network says of generated
    inputs, which tells little of a trained network's accuracy."""
    examples: int
    calibration: str | None
    """The examples that int8 was calibrated with, none of which was evaluated unless a person gave
    them; ``None``: generated ones."""
    overlap: int
    """How many of the evaluated examples are among those that a person gave for calibration."""
    weights_are_drawn: bool
    """Nobody trained it, and what is lost of accuracy means nothing."""
    uncompressed: Candidate
    chosen: Candidate
    tried: tuple[Candidate, ...]
    """In order; with the uncompressed and the chosen one."""
    layers: tuple[CutLayer, ...]
    screened: tuple[Screened, ...]
    """The ladder, as far as it was followed."""
