"""A network's segments spread over a device's processors: what it costs, the plan, its trial."""

from __future__ import annotations

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import OutputCheck
from mobilekit.records.network import Placed
from mobilekit.records.statistics import Origin

Assignment = tuple[str, ...]
"""Of each segment the backend that computes it: ``xnnpack``, ``vulkan`` or ``portable``."""
USUAL = "xnnpack"
"""What every other backend's costs are told against."""


class Flow(Record, frozen=True):
    """A tensor that one segment yields and later ones read."""

    producer: int
    consumers: tuple[int, ...]
    """By their places in the order in which segments run, from 0."""


class Chart(Record, frozen=True):
    """What of a network can be placed apart, and what flows there."""

    segments: tuple[tuple[str, ...], ...]
    """Layers, as in ``SegmentArtifact.layers``, in an order in which they can run."""
    flows: tuple[Flow, ...]

    @property
    def is_chain(self) -> bool:
        """Whether each segment reads what the one before it yields, and nothing else."""
        return all(flow.consumers == (flow.producer + 1,) for flow in self.flows)


class Observed(Record, frozen=True):
    """What one inference took of a program of the whole network."""

    assignment: Assignment
    latency_ns: float


class BackendCosts(Record, frozen=True):
    """Of a backend other than the usual one, by what segments and tensors cost more there."""

    backend: str
    extra_ns: tuple[float | None, ...]
    """Of each segment, its time there less its time on the usual backend; negative where it is
    faster. With the network's input and output brought there and back, where the segment reads or
    yields them. ``None``: it was not tried there."""
    crossing_ns: tuple[float, ...]
    """Of each flow, to bring it there from the usual backend or back: the mean of both."""


class Costs(Record, frozen=True):
    """What the time of a program depends on, as it is told from programs that were measured."""

    usual_ns: float
    """With every segment on the usual backend."""
    usual_segments_ns: tuple[float, ...]
    """Of each segment its part of that, as segments that ran alone tell it."""
    others: tuple[BackendCosts, ...]
    largest_residual_ns: float
    """The farthest that a measured program is from what these costs make of it."""


class Candidate(Record, frozen=True):
    """A program that the trial measured: a single backend's, or the plan's."""

    name: str
    threads: int
    round_p50_ns: tuple[float, ...]
    """The median of each round. Rounds of one number of threads took turns."""
    p50_ns: float
    """The median of those."""


class PartitionPlan(Record, frozen=True):
    """The cheapest assignment that was found with some number of threads."""

    threads: int
    costs: Costs
    assignment: Assignment
    predicted_ns: float
    best_single: str
    best_single_ns: float
    """What the fastest program of one backend was measured to take."""


class BackendPower(Record, frozen=True):
    """What the whole network draws on one backend, with the plan's threads."""

    backend: str
    origin: Origin
    power_w: float
    """Of the whole device while it computes: gross."""
    inference_j: float


class Partition(Record, frozen=True):
    """What came of it."""

    chart: Chart
    backends: tuple[str, ...]
    left_out: dict[str, str]
    """Backends that the device cannot run, and why."""
    plans: tuple[PartitionPlan, ...]
    """One for each number of threads."""
    best: int
    """Which of ``plans`` was put to the trial: the one with the least predicted time."""
    trial: tuple[Candidate, ...]
    """The fastest first."""
    check: OutputCheck | None
    """Of the plan's outputs on the device against eager PyTorch's; ``None`` where the plan is a
    single backend."""
    adopted: bool
    """Whether the plan spreads the network and was faster than every single backend."""
    verdict: str
    """For people."""
    placement: tuple[Placed, ...]
    """What a ``Variant`` takes; empty where XNNPACK alone is best."""
    powers: tuple[BackendPower, ...]
    """Of each backend that the device has; empty where its energy was not measured."""
    powers_unknown: dict[str, str]
    """Backends whose run for that broke off or told no energy, and why."""
    runs: tuple[str, ...]
    """The ids of the stored runs that it was told from."""
