"""A network layer by layer, for people: what it is, and where its time goes."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.analysis.layers.matching import CLOCK_STEP_NS
from mobilekit.analysis.layers.profile import RECONCILED_WITHIN
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Description, Footprint, ModelSpec
from mobilekit.records.profile import ActivationCost, LayerCost, LayerProfile, TypeCost
from mobilekit.results.tables.text import render_table
from mobilekit.units import NS_PER_MS, format_bytes, format_duration, format_significant


def render_description(spec: ModelSpec, description: Description, footprint: Footprint) -> str:
    """A line a layer, then the totals and the memory, each by its definition."""
    rows = [
        [
            layer.name,
            layer.type,
            " ".join("x".join(map(str, shape)) for shape in layer.output_shapes),
            f"{layer.parameters:,}" if layer.parameters else "-",
            _macs_text(layer.macs),
            "in place" if layer.in_place else format_bytes(layer.output_bytes),
            f"{layer.macs_per_byte:.2f}" if layer.macs else "-",
            format_bytes(layer.alone_bytes),
        ]
        for layer in description.layers
    ]
    header = ["layer", "type", "output", "parameters", "MACs", "activation", "MACs/byte", "alone"]
    cost = description.cost
    unused = description.unused_parameters
    heaviest = footprint.heaviest
    lines = [
        f"{spec.name} · {spec.title}",
        render_table(header, rows),
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


def _macs_text(macs: int) -> str:
    for unit, size in ((" M", 1e6), (" k", 1e3)):
        if macs >= size:
            return format_significant(macs / size) + unit
    return str(macs) if macs else "-"


def render_profile(measurement: Measurement, profile: LayerProfile) -> str:
    """By layer, by type, and how the sum compares with the plain inference."""
    by_layer = [
        [
            cost.layer.name,
            cost.layer.type,
            _time_text(cost, profile),
            "-" if cost.share is None else f"{cost.share:.1%}",
            _macs_text(cost.layer.macs),
            _speed_text(cost),
        ]
        for cost in profile.layers
    ]
    by_type = [
        [
            cost.type,
            _column(cost.p50_ns, profile) if _was_measured(cost) else _why_not(cost, profile),
            f"{cost.share:.1%}" if _was_measured(cost) else "-",
            f"{cost.measured_layers} of {cost.layers}" if cost.layers else "-",
            _macs_text(cost.macs),
        ]
        for cost in profile.types
    ]
    lines = [
        heading_text(measurement, profile),
        render_table(["layer", "type", "p50", "share", "MACs", "GMAC/s"], by_layer),
        "",
        render_table(["type of layer", "p50", "share", "measured", "MACs"], by_type),
        "",
        *_sum_lines(measurement, profile),
        f"  saved      {measurement.id}",
    ]
    if abs(profile.difference) > RECONCILED_WITHIN:
        lines.append(_unreconciled(profile))
    lines += [f"Unresolved: {problem.rstrip('.')}." for problem in profile.problems]
    return "\n".join(lines)


def heading_text(measurement: Measurement, profile: LayerProfile) -> str:
    """What ran where, and how its layers were measured."""
    by = "by segments" if profile.by == "segments" else "by the engine's trace"
    return f"{measurement.artifact.model.name} · {place_text(measurement)} · {by}"


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
        # LiteRT keeps weights alone in half precision.
        converts = artifact.precision == "fp16" and artifact.file.format != "tflite"
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


def _unreconciled(profile: LayerProfile) -> str:
    told = f"Warning: the sum differs by more than {RECONCILED_WITHIN:.0%} from the plain inference"
    if abs(profile.fastest_difference) <= RECONCILED_WITHIN:
        return f"{told}, but not where neither was disturbed: other work ran on the device."
    undisturbed = "an inference without tracing" if profile.by == "trace" else "the whole network"
    return f"{told}: the shares may not be those of {undisturbed}."


def _time_text(cost: LayerCost, profile: LayerProfile) -> str:
    if cost.p50_ns is not None:
        return _column(cost.p50_ns, profile)
    if cost.fate == "folded":
        hosts = cost.folded_into
        return f"in {' or '.join(hosts)}" if len(hosts) <= 2 else f"in one of {len(hosts)} others"
    return "nothing to do" if cost.fate == "idle" else "unresolved"


def _was_measured(cost: TypeCost) -> bool:
    """A layout change has a time and no layer; a folded type has layers and no time of its own."""
    return cost.measured_layers > 0 or cost.layers == 0 or cost.p50_ns > 0


def _why_not(cost: TypeCost, profile: LayerProfile) -> str:
    fates = {each.fate for each in profile.layers if each.layer.type == cost.type}
    return "unresolved" if "unresolved" in fates else "folded or idle"


def _column(duration_ns: float, profile: LayerProfile) -> str:
    """One unit and one number of decimals for a whole column."""
    if profile.by == "trace" and 0 <= duration_ns < CLOCK_STEP_NS / 2:
        return f"< {format_duration(CLOCK_STEP_NS)}"
    if profile.sum_ns >= NS_PER_MS:
        return f"{duration_ns / NS_PER_MS:.3f} ms"
    return f"{duration_ns / 1000:.{1 if profile.by == 'trace' else 2}f} us"


def _speed_text(cost: LayerCost) -> str:
    speed = cost.macs_per_s
    return "-" if speed is None else format_significant(speed / 1e9)


def render_activations(
    measurements: Sequence[Measurement],
    costs: Sequence[ActivationCost],
    profiles: Sequence[LayerProfile],
) -> str:
    """The share of non-linear layers in an inference, an activation a line."""
    first = measurements[0]
    name = first.artifact.model.name.removesuffix(f"-{costs[0].activation}")
    rows = [
        [
            cost.activation,
            f"{cost.layers - cost.folded_layers} of {cost.layers}",
            _activation_time(cost),
            _activation_share(cost, profile),
            _interval_text(cost),
            cost.measurement_id,
        ]
        for cost, profile in zip(costs, profiles, strict=True)
    ]
    header = ["activation", "own operators", "their p50", "share", "whole inference p50", "saved"]
    by = ", by segments" if any(profile.by == "segments" for profile in profiles) else ""
    lines = [f"{name} · {place_text(first)}{by}", render_table(header, rows)]
    folded = [cost.activation for cost in costs if cost.folded_layers]
    if folded:
        lines.append(
            f"Note: {', '.join(folded)}: computed inside the operator before it where that can be. "
            "What that costs cannot be measured apart, which does not mean that it is nothing."
        )
    if any(_is_below_clock(cost) for cost in costs):
        lines.append(
            f"Note: the engine times its operators in steps of {format_duration(CLOCK_STEP_NS)}. "
            'What is shorter than the steps of all of them is given as "<" their sum; the whole '
            "inferences are timed in nanoseconds."
        )
    for measurement, profile in zip(measurements, profiles, strict=True):
        model = measurement.artifact.model.name
        lines += [f"Unresolved in {model}: {problem}." for problem in profile.problems]
    return "\n".join(lines)


def _is_below_clock(cost: ActivationCost) -> bool:
    return cost.p50_ns is not None and cost.p50_ns < cost.resolution_ns


def _activation_time(cost: ActivationCost) -> str:
    if cost.p50_ns is None:
        return "folded" if cost.folded_layers else "-"
    if _is_below_clock(cost):
        return f"< {format_duration(cost.p50_ns + cost.resolution_ns)}"
    return format_duration(cost.p50_ns)


def _activation_share(cost: ActivationCost, profile: LayerProfile) -> str:
    if cost.share is None or cost.p50_ns is None:
        return "-"
    if _is_below_clock(cost):
        # Against the whole: each operator's own time is as coarse as theirs.
        return f"< {(cost.p50_ns + cost.resolution_ns) / profile.plain_p50_ns:.1%}"
    return f"{cost.share:.1%}"


def _interval_text(cost: ActivationCost) -> str:
    latency = cost.latency
    low, high = (
        format_duration(value, like_ns=latency.p50_ns)
        for value in (latency.p50_interval_ns.low, latency.p50_interval_ns.high)
    )
    return f"{format_duration(latency.p50_ns)} [{low}, {high}]"


def place_text(measurement: Measurement) -> str:
    """Precision, backend and device; of a virtual one, whose times they are."""
    artifact = measurement.artifact
    virtual = " (virtual: times are this computer's)" if measurement.virtual else ""
    return f"{artifact.precision} · {artifact.backend} · {measurement.device.name}{virtual}"
