"""A network layer by layer, for people: what it is, and where its time goes."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.analysis.layers.matching import CLOCK_STEP_NS
from mobilekit.analysis.layers.profile import RECONCILED_WITHIN
from mobilekit.formats import FORMATS
from mobilekit.plain import plain
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Description, Footprint, ModelSpec
from mobilekit.records.profile import ActivationCost, LayerProfile
from mobilekit.results.layer_tables import (
    activations_table,
    costliest,
    is_below_clock,
    layer_costs_table,
    layers_table,
    type_costs_table,
)
from mobilekit.results.tables.cell_text import IN_DOUBT
from mobilekit.results.tables.text import render_text
from mobilekit.units import format_bytes, format_duration

COSTLIEST = 10
"""How many layers a profile shows where not all are asked for."""


def render_description(spec: ModelSpec, description: Description, footprint: Footprint) -> str:
    """A line a layer, then the totals and the memory, each by its definition."""
    cost = description.cost
    unused = description.unused_parameters
    heaviest = footprint.heaviest
    lines = [
        f"{spec.name} · {spec.title}",
        render_text(layers_table(description)),
        f"  total       {len(description.layers)} layers, {cost.parameters:,} parameters"
        f"{f' ({unused:,} of them read by no layer)' if unused else ''}, {cost.macs:,} MACs",
        f"  weights     {format_bytes(footprint.weights_bytes)}",
        f"  activations {format_bytes(description.peak_activation_bytes)} alive at most, in "
        f"{description.peak_layer}: what it reads, writes, and what later layers still read",
        f"  whole       {format_bytes(footprint.whole_bytes)}: weights, input and every layer's "
        "output held at once",
        f"  planned     {format_bytes(footprint.planned_bytes)}: weights, and activations only "
        "while they are alive",
        f"  by layer    {format_bytes(footprint.alone_bytes)} at most, in {footprint.alone_layer}: "
        "one layer's weights, input and output alone",
        f"  held by     {len(heaviest)} of {len(description.layers)} layers "
        f"({_listed(heaviest)}), which need {footprint.heaviest_share:.0%} of the whole",
    ]
    return "\n".join(lines)


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def render_profile(measurement: Measurement, profile: LayerProfile, *, show_all: bool) -> str:
    """By type, by layer, and how the sum compares with the plain inference.

    Of the layers those that take the most time, the longest first, or all in the network's order.
    """
    layers = profile.layers if show_all else costliest(profile, COSTLIEST)
    left_out = len(profile.layers) - len(layers)
    lines = [
        heading_text(measurement, profile),
        render_text(type_costs_table(profile)),
        "",
        render_text(layer_costs_table(profile, layers)),
        *([_left_out_text(left_out, len(profile.layers))] if left_out else []),
        "",
        *_sum_lines(measurement, profile),
        f"  saved      {measurement.id}",
    ]
    if abs(profile.difference) > RECONCILED_WITHIN:
        lines.append(_unreconciled(profile))
    lines += [f"Unresolved: {problem.rstrip('.')}." for problem in profile.problems]
    return "\n".join(lines)


def _left_out_text(count: int, of: int) -> str:
    return f"  and {count} more of {of} layers: --all shows all, in their order"


def heading_text(measurement: Measurement, profile: LayerProfile) -> str:
    """What ran where, and how its layers were measured."""
    by = "by segments" if profile.by == "segments" else "by the engine's trace"
    model = measurement.artifact.model
    return plain(f"{model.name} · {model.variant.text} · {_place_text(measurement)} · {by}")


def _sum_lines(measurement: Measurement, profile: LayerProfile) -> list[str]:
    """The sum against the plain inference of the same run."""
    difference = (
        f"the sum of both, {format_duration(profile.sum_ns)}, differs by {profile.difference:+.1%} "
        f"(of the fastest of each by {profile.fastest_difference:+.1%})"
    )
    plain = f"  plain      {format_duration(profile.plain_p50_ns)}"
    if profile.traced_p50_ns is None:
        count = sum(cost.p50_ns is not None for cost in profile.layers)
        artifact = measurement.artifact
        converts = artifact.precision == "fp16" and FORMATS[artifact.file.format].computes_in_half
        ends = "reordering and converting to half and back" if converts else "reordering"
        return [
            f"  segments   {format_duration(profile.operators_ns)} in all, less a call of each: "
            f"{count}, each exported and run by itself (medians of {profile.iterations} "
            "inferences of each)",
            f"  call       {format_duration(profile.outside_ns)}, measured with one operator on "
            "one number; the whole makes one too",
            f"{plain} as a whole: {difference}",
            f"  apart      each segment also pays for {ends} what it reads and yields, and finds "
            "its weights and inputs in the cache, unlike a layer in the whole",
        ]
    return [
        f"  operators  {format_duration(profile.operators_ns)} in all, and "
        f"{format_duration(profile.outside_ns)} outside them: the call, the engine's own work, "
        f"tracing (medians of {profile.iterations} traced inferences)",
        f"{plain} without tracing: {difference}",
        f"  tracing    {format_duration(profile.traced_p50_ns)} with it, an overhead of "
        f"{profile.overhead:+.1%}",
    ]


def doubt_text(difference: float) -> str:
    """What the mark after a share means."""
    return (
        f"{IN_DOUBT} the layers' sum differs by {difference:+.0%} from the inference: these are "
        "shares of the sum"
    )


def _unreconciled(profile: LayerProfile) -> str:
    if profile.misses:
        return f"Warning: {doubt_text(profile.difference)}, and not of an inference."
    warning = (
        f"Warning: the sum differs by more than {RECONCILED_WITHIN:.0%} from the plain inference"
    )
    if abs(profile.fastest_difference) <= RECONCILED_WITHIN:
        return f"{warning}, but not for the fastest of both: other work ran on the device."
    undisturbed = "an inference without tracing" if profile.by == "trace" else "the whole network"
    return f"{warning}: the shares may not be those of {undisturbed}."


def render_activations(
    measurements: Sequence[Measurement],
    costs: Sequence[ActivationCost],
    profiles: Sequence[LayerProfile],
) -> str:
    """The share of non-linear layers in an inference, an activation a line."""
    first = measurements[0]
    name, precision = first.artifact.model.name, first.artifact.precision
    by = ", by segments" if any(profile.by == "segments" for profile in profiles) else ""
    heading = f"{name} · {precision} · {_place_text(first)}{by}"
    lines = [heading, render_text(activations_table(costs, profiles))]
    folded = [cost.activation for cost in costs if cost.folded_layers]
    if folded:
        lines.append(
            f"Note: {', '.join(folded)}: computed inside the operator before it where possible. "
            "That cost cannot be measured separately, which does not mean that there is none."
        )
    if any(is_below_clock(cost) for cost in costs):
        lines.append(
            f"Note: the engine times its operators in steps of {format_duration(CLOCK_STEP_NS)}. "
            'What is shorter than the steps of all of them is given as "<" their sum; the whole '
            "inferences are timed in nanoseconds."
        )
    for measurement, profile in zip(measurements, profiles, strict=True):
        model = measurement.artifact.model.label
        lines += [f"Unresolved in {model}: {problem}." for problem in profile.problems]
    return "\n".join(lines)


def _place_text(measurement: Measurement) -> str:
    """Backend and device; of a virtual one, whose times they are."""
    artifact = measurement.artifact
    virtual = " (virtual: times are this computer's)" if measurement.virtual else ""
    return f"{artifact.backend} · {measurement.device.name}{virtual}"
