"""Where an inference's time goes, layer by layer."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.records.artifact import ProgramOperator
from mobilekit.records.network import Activation, Description, LayerSpec
from mobilekit.records.statistics import Summary

ProfiledBy = Literal["trace", "segments"]
"""``trace``: the engine recorded its operators; ``segments``: the network was cut, and each segment
ran by itself."""


MISSES_BY = 1 / 3
"""From here on what the layers take together has little to do with an inference: other work
on the device, or the measuring itself, has a part of its own in every share."""


class LayerCost(Record, frozen=True):
    """What one layer took; derived from a ``LayerTrace`` or from the segments of a ``Cut``."""

    layer: LayerSpec
    operators: tuple[str, ...]
    """The engine's operators that ran it; none are known by segments."""
    p50_ns: float | None
    """Median over the iterations of its operators' sum, or of its segment; ``None`` where it has
    none of its own."""
    share: float | None
    """Of the sum of all operators' or segments' medians."""
    fate: Literal["measured", "folded", "idle", "unresolved"]
    """``folded``: computed inside another layer's operator or segment; ``idle``: there is
    nothing to compute; ``unresolved``: which of the engine's operators are its own cannot be told.
    """
    folded_into: tuple[str, ...]
    """Where it was folded: one of these layers."""
    share_in_doubt: bool = False
    """Whether the sum that it is of misses an inference by ``MISSES_BY`` or more."""

    @property
    def macs_per_s(self) -> float | None:
        return self.layer.macs * 1e9 / self.p50_ns if self.layer.macs and self.p50_ns else None


class TypeCost(Record, frozen=True):
    """What all layers of one type took."""

    type: str
    """A ``LayerType``; ``layout change`` or ``precision change`` for what the engine inserted;
    ``convolution or feed-forward`` for a product whose layer is not known."""
    p50_ns: float
    share: float
    measured_layers: int
    layers: int
    macs: int
    share_in_doubt: bool = False
    """As in ``LayerCost``."""


class LayerProfile(Record, frozen=True):
    """Where an inference's time goes; derived from a ``LayerTrace`` or from segments."""

    by: ProfiledBy
    iterations: int
    layers: tuple[LayerCost, ...]
    types: tuple[TypeCost, ...]
    """The most expensive first."""
    operators_ns: float
    """The sum of all operators' medians, or of all segments' less the call that each makes: these
    still pay for reordering what they read and yield."""
    outside_ns: float
    """By a trace, median of one inference less its operators: the call, what the engine does
    between them, and what tracing costs. By segments, median of a call."""
    traced_p50_ns: float | None
    """Of one inference with tracing on, as the companion timed it; ``None`` by segments."""
    plain_p50_ns: float
    """Of one inference without tracing, in the same run."""
    fastest_difference: float
    """The fastest traced inference, or the same sum of each segment's fastest, against the fastest
    plain one, relative to the latter: what is left of ``difference`` where other work on the device
    disturbed the medians."""
    problems: tuple[str, ...]
    """Which operators could not be resolved to layers, and why."""

    @property
    def sum_ns(self) -> float:
        return self.operators_ns + self.outside_ns

    @property
    def difference(self) -> float:
        """The sum against the plain inference, relative to the latter."""
        return self.sum_ns / self.plain_p50_ns - 1

    @property
    def misses(self) -> bool:
        """Whether the shares are none of an inference's."""
        return abs(self.difference) >= MISSES_BY

    @property
    def overhead(self) -> float | None:
        """What tracing costs, relative to the plain inference."""
        return None if self.traced_p50_ns is None else self.traced_p50_ns / self.plain_p50_ns - 1


class ActivationCost(Record, frozen=True):
    """What the non-linear layers of a network cost with one activation; derived."""

    activation: Activation
    measurement_id: str
    layers: int
    folded_layers: int
    """Computed inside other operators, where nothing tells what they cost."""
    p50_ns: float | None
    """Of all measured non-linear layers; ``None`` where none has an operator of its own."""
    resolution_ns: int
    """What the engine's clock can hide: a step of it for each operator; 0 by segments, which the
    companion times."""
    share: float | None
    """Of all operators' or segments' time."""
    share_in_doubt: bool
    """As in ``LayerCost``."""
    latency: Summary
    """Of the whole inference, without tracing."""


class OperatorTime(Record, frozen=True):
    """When something ran in each traced iteration, as the engine recorded it."""

    role: Literal["operator", "part", "program"]
    """A ``part`` is a call of a kernel or delegate as the program sees it, around its operators;
    ``program`` is the whole inference."""
    part: int | None
    """As in ``ProgramOperator``."""
    name: str
    kind: str
    started_ns: tuple[int, ...]
    """Since the inference's own start."""
    duration_ns: tuple[int, ...]


class LayerTrace(Record, frozen=True):
    """All that a profile is derived from besides the run's own samples."""

    description: Description
    program: tuple[ProgramOperator, ...]
    operators: tuple[OperatorTime, ...]
