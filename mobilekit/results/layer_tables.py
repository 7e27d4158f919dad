"""A network layer by layer, as tables: what it is, and where its time goes."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.analysis.layers.matching import CLOCK_STEP_NS
from mobilekit.records.network import Description, LayerSpec
from mobilekit.records.profile import ActivationCost, LayerCost, LayerProfile, TypeCost
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
from mobilekit.units import NS_PER_MS

# --- what a network is -------------------------------------------------------------------------


def layers_table(description: Description) -> Table:
    """A layer a row, in the order in which they run."""
    return make_table(
        (
            "layer",
            "type",
            "output",
            Column("parameters", holds="numbers"),
            Column("MACs", holds="numbers", scale="common"),
            Column("activation", holds="numbers", scale="common"),
            Column("MACs/byte", holds="numbers"),
            Column("alone", holds="numbers", scale="common"),
        ),
        (_layer_row(layer) for layer in description.layers),
    )


def _layer_row(layer: LayerSpec) -> tuple[Cell, ...]:
    return (
        layer.name,
        layer.type,
        " ".join("x".join(map(str, shape)) for shape in layer.output_shapes),
        number_or_absent(layer.parameters or None, "count"),
        number_or_absent(layer.macs or None, "MACs"),
        Absent("in place") if layer.in_place else Number(layer.output_bytes, "bytes"),
        number_or_absent(layer.macs_per_byte if layer.macs else None, "MACs/byte"),
        Number(layer.alone_bytes, "bytes"),
    )


# --- where its time goes -----------------------------------------------------------------------


def costliest(profile: LayerProfile, most: int) -> tuple[LayerCost, ...]:
    """Those of the layers that take the most time, the longest first."""
    timed = [cost for cost in profile.layers if cost.p50_ns is not None]
    return tuple(sorted(timed, key=lambda cost: -(cost.p50_ns or 0.0))[:most])


def layer_costs_table(profile: LayerProfile, layers: Sequence[LayerCost]) -> Table:
    """A layer a row, with its time or the reason why it has none of its own."""
    return make_table(
        (
            "layer",
            "type",
            Column("p50", holds="numbers", scale=_time_scale(profile)),
            Column("share", holds="numbers"),
            Column("MACs", holds="numbers", scale="common"),
            Column("GMAC/s", holds="numbers", scale=Scale("", 1e9)),
        ),
        (
            (
                cost.layer.name,
                cost.layer.type,
                _layer_time(cost, profile),
                _share(cost.share, cost),
                number_or_absent(cost.layer.macs or None, "MACs"),
                number_or_absent(cost.macs_per_s, "MACs/s"),
            )
            for cost in layers
        ),
    )


def type_costs_table(profile: LayerProfile) -> Table:
    """A type of layer a row, the most expensive first."""
    return make_table(
        (
            "type of layer",
            Column("p50", holds="numbers", scale=_time_scale(profile)),
            Column("share", holds="numbers"),
            "measured",
            Column("MACs", holds="numbers", scale="common"),
        ),
        (
            (
                cost.type,
                _time(cost.p50_ns, profile)
                if _was_measured(cost)
                else Absent(_why_not(cost, profile)),
                _share(cost.share if _was_measured(cost) else None, cost),
                f"{cost.measured_layers} of {cost.layers}" if cost.layers else "-",
                number_or_absent(cost.macs or None, "MACs"),
            )
            for cost in profile.types
        ),
    )


def _time_scale(profile: LayerProfile) -> Scale:
    if profile.sum_ns >= NS_PER_MS:
        return Scale(" ms", NS_PER_MS, decimals=3)
    return Scale(" us", 1000, decimals=1 if profile.by == "trace" else 2)


def _time(duration_ns: float, profile: LayerProfile) -> Number:
    """A trace's clock tells nothing below half a step of it."""
    if profile.by == "trace" and 0 <= duration_ns < CLOCK_STEP_NS / 2:
        return Number(CLOCK_STEP_NS, "ns", is_bound=True)
    return Number(duration_ns, "ns")


def _share(share: float | None, cost: LayerCost | TypeCost) -> Number | Absent:
    return Absent() if share is None else Number(share, "share", in_doubt=cost.share_in_doubt)


def _layer_time(cost: LayerCost, profile: LayerProfile) -> Number | Absent:
    if cost.p50_ns is not None:
        return _time(cost.p50_ns, profile)
    if cost.fate == "folded":
        hosts = cost.folded_into
        few = len(hosts) <= 2
        return Absent(f"in {' or '.join(hosts)}" if few else f"in one of {len(hosts)} others")
    return Absent("nothing to do" if cost.fate == "idle" else "unresolved")


def _was_measured(cost: TypeCost) -> bool:
    """A layout change has a time and no layer; a folded type has layers and no time of its own."""
    return cost.measured_layers > 0 or cost.layers == 0 or cost.p50_ns > 0


def _why_not(cost: TypeCost, profile: LayerProfile) -> str:
    fates = {each.fate for each in profile.layers if each.layer.type == cost.type}
    return "unresolved" if "unresolved" in fates else "folded or idle"


# --- what activations cost ---------------------------------------------------------------------


def activations_table(costs: Sequence[ActivationCost], profiles: Sequence[LayerProfile]) -> Table:
    """An activation a row, with what its non-linear layers take of an inference."""
    return make_table(
        (
            "activation",
            "own operators",
            Column("their p50", holds="numbers"),
            Column("share", holds="numbers"),
            Column("whole inference p50", holds="numbers", scale="common"),
            "saved",
        ),
        (
            (
                cost.activation,
                f"{cost.layers - cost.folded_layers} of {cost.layers}",
                _activation_time(cost),
                _activation_share(cost, profile),
                Number(cost.latency.p50_ns, "ns", cost.latency.p50_interval_ns),
                cost.measurement_id,
            )
            for cost, profile in zip(costs, profiles, strict=True)
        ),
    )


def is_below_clock(cost: ActivationCost) -> bool:
    """Whether the steps of the engine's clock hide all of its time."""
    return cost.p50_ns is not None and cost.p50_ns < cost.resolution_ns


def _activation_time(cost: ActivationCost) -> Number | Absent:
    if cost.p50_ns is None:
        return Absent("folded" if cost.folded_layers else "-")
    if is_below_clock(cost):
        return Number(cost.p50_ns + cost.resolution_ns, "ns", is_bound=True)
    return Number(cost.p50_ns, "ns")


def _activation_share(cost: ActivationCost, profile: LayerProfile) -> Number | Absent:
    if cost.share is None or cost.p50_ns is None:
        return Absent()
    if is_below_clock(cost):
        # Against the whole: each operator's own time is as coarse as theirs.
        share = (cost.p50_ns + cost.resolution_ns) / profile.plain_p50_ns
        return Number(share, "share", is_bound=True, in_doubt=cost.share_in_doubt)
    return Number(cost.share, "share", in_doubt=cost.share_in_doubt)
