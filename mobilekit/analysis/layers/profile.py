"""Where an inference's time goes: by layer and by type, from a trace or from segments."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec.structs import replace

from mobilekit.analysis.layers.matching import CLOCK_STEP_NS, Resolution, resolve
from mobilekit.analysis.stats import summarize
from mobilekit.contract.protocol import RunFailure
from mobilekit.errors import RunFailedError
from mobilekit.records.artifact import Cut
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import LayerSpec
from mobilekit.records.profile import (
    MISSES_BY,
    ActivationCost,
    LayerCost,
    LayerProfile,
    LayerTrace,
    TypeCost,
)

RECONCILED_WITHIN = 0.1
"""How far the sum of all operators may be from the plain inference, relative to it."""
TRACEABLE_FROM_NS = 1_000_000
"""Of a plain inference. Engines' tracing costs some microseconds an operator (measured: ExecuTorch
2 us an inference, ONNX Runtime 4 us an operator); from here on that is below a hundredth, and a sum
that is far off was disturbed by something else."""


def profile_of(measurement: Measurement) -> LayerProfile:
    """The profile that a measurement holds; raises ``RunFailedError`` where it holds none."""
    samples = measurement.result.samples
    cut = measurement.cut
    if cut is not None and len(samples.segments) == len(cut.programs):
        *segments_ns, call_ns = (each.latency_ns for each in samples.segments)
        return derive_segment_profile(cut, samples.iteration_ns, segments_ns, call_ns)
    if cut is not None:
        raise RunFailedError(
            f"There is no profile: of {len(cut.programs)} programs, the segments and a call, "
            f"{len(samples.segments)} were measured",
            measurement=measurement.id,
            fix="`mobilekit profile` measures them again.",
        )
    if measurement.layer_trace is None or samples.trace is None:
        raise RunFailedError(
            f"There is no profile: {samples.profile_refusal or 'none was asked for'}",
            measurement=measurement.id,
            fix="`mobilekit profile` measures one; with --segments it needs no engine that traces.",
        )
    return derive_profile(measurement.layer_trace, samples.iteration_ns, samples.trace.latency_ns)


def derive_profile(
    trace: LayerTrace, plain_ns: Sequence[int], traced_ns: Sequence[int]
) -> LayerProfile:
    """What each layer and each type of layer took.

    ``plain_ns`` and ``traced_ns`` are whole inferences, as the companion timed them without and
    with tracing, the latter of the iterations in the trace. A layer's time is the median over the
    iterations of the sum of its operators, a type's the sum of its layers' times.
    """
    places = [n for n, each in enumerate(trace.operators) if each.role == "operator"]
    durations = {n: np.array(trace.operators[n].duration_ns, dtype=np.float64) for n in places}
    resolution = resolve(trace)
    of_layer: dict[str, list[int]] = defaultdict(list)
    for place, name in resolution.layer_of.items():
        of_layer[name].append(place)
    layer_ns = {
        name: float(np.median(np.sum([durations[n] for n in found], axis=0)))
        for name, found in of_layer.items()
    }
    other_ns = {n: float(np.median(durations[n])) for n in places if n not in resolution.layer_of}
    total_ns = sum(layer_ns.values()) + sum(other_ns.values())
    outside = np.array(traced_ns) - np.sum(list(durations.values()), axis=0)
    layers = _layer_costs(trace, resolution, of_layer, layer_ns, total_ns)
    profile = LayerProfile(
        by="trace",
        iterations=len(traced_ns),
        layers=layers,
        types=_type_costs(layers, [(resolution.type_of[n], ns) for n, ns in other_ns.items()]),
        operators_ns=total_ns,
        outside_ns=float(np.median(outside)),
        traced_p50_ns=float(np.median(traced_ns)),
        plain_p50_ns=float(np.median(plain_ns)),
        fastest_difference=min(traced_ns) / min(plain_ns) - 1,
        problems=resolution.problems,
    )
    return _with_doubts(profile)


def derive_segment_profile(
    cut: Cut,
    plain_ns: Sequence[int],
    segments_ns: Sequence[Sequence[int]],
    call_ns: Sequence[int],
) -> LayerProfile:
    """What each layer and each type of layer took where each segment ran by itself.

    ``plain_ns`` are whole inferences; ``segments_ns`` each segment's, as they are in the cut, and
    ``call_ns`` those of a program with next to nothing to do. A segment's time is its median less
    the median of a call, and that of the layer in it that does the work; the whole makes one call.
    """
    p50_ns, outside_ns = _without_calls(cut, segments_ns, call_ns, lambda ns: float(np.median(ns)))
    fastest_ns, fastest_outside_ns = _without_calls(cut, segments_ns, call_ns, min)
    hosts = {layer: each.layers[0] for each in cut.segments for layer in each.layers[1:]}
    total_ns = sum(p50_ns.values())
    costs = []
    for layer in cut.description.layers:
        host, own_ns = hosts.get(layer.name), p50_ns.get(layer.name)
        # Even a view may be a copy at a segment's end.
        fate: Literal["folded", "idle"] = "idle" if host is None else "folded"
        costs.append(
            LayerCost(
                layer=layer,
                operators=(),
                p50_ns=own_ns,
                share=None if own_ns is None else own_ns / total_ns if total_ns else 0.0,
                fate=fate if own_ns is None else "measured",
                folded_into=() if host is None else (host,),
            )
        )
    profile = LayerProfile(
        by="segments",
        iterations=len(call_ns),
        layers=tuple(costs),
        types=_type_costs(costs, ()),
        operators_ns=total_ns,
        outside_ns=outside_ns,
        traced_p50_ns=None,
        plain_p50_ns=float(np.median(plain_ns)),
        fastest_difference=(sum(fastest_ns.values()) + fastest_outside_ns) / min(plain_ns) - 1,
        problems=(),
    )
    return _with_doubts(profile)


def _with_doubts(profile: LayerProfile) -> LayerProfile:
    """Its shares marked where they are none of an inference's."""
    if not profile.misses:
        return profile
    return replace(
        profile,
        layers=tuple(replace(cost, share_in_doubt=True) for cost in profile.layers),
        types=tuple(replace(cost, share_in_doubt=True) for cost in profile.types),
    )


def _without_calls(
    cut: Cut,
    segments_ns: Sequence[Sequence[int]],
    call_ns: Sequence[int],
    pick: Callable[[Sequence[int]], float],
) -> tuple[dict[str, float], float]:
    """Of each segment by the layer that does its work, and of a call; none is below nothing."""
    own_ns = pick(call_ns)
    works = (each.layers[0] for each in cut.segments)
    return {
        name: max(pick(taken_ns) - own_ns, 0.0)
        for name, taken_ns in zip(works, segments_ns, strict=True)
    }, own_ns


def why_by_segments(traced: Measurement) -> str | None:
    """Why the layers of a run that was to be traced are better measured by segments.

    ``None`` where its trace will do, and for a run that failed.
    """
    if isinstance(traced.result, RunFailure):
        return None
    refusal = traced.result.samples.profile_refusal
    if refusal is not None:
        return f"No trace: {refusal}"
    profile = profile_of(traced)
    excess = min(profile.difference, profile.fastest_difference)
    if profile.plain_p50_ns < TRACEABLE_FROM_NS and excess > RECONCILED_WITHIN:
        return f"Tracing costs too much of so short an inference: {excess:+.0%}"
    operators = sum(len(cost.operators) for cost in profile.layers)
    if operators * CLOCK_STEP_NS / 2 > RECONCILED_WITHIN * profile.plain_p50_ns:
        return (
            f"The engine's clock of whole microseconds is too coarse for {operators} operators in "
            f"{profile.plain_p50_ns / 1000:.3g} us"
        )
    return None


def was_disturbed(measurement: Measurement) -> bool:
    """Whether other work on the device made the layers' sum miss the inference, which their fastest
    do not: another pass may do better."""
    if isinstance(measurement.result, RunFailure) or not _has_profile(measurement):
        return False
    profile = profile_of(measurement)
    return profile.misses and abs(profile.fastest_difference) < MISSES_BY


def least_disturbed(first: Measurement, second: Measurement) -> Measurement:
    """The one whose layers' sum is nearer to its inference; the first where the second failed."""
    if isinstance(second.result, RunFailure) or not _has_profile(second):
        return first
    return min((first, second), key=lambda each: abs(profile_of(each).difference))


def _has_profile(measurement: Measurement) -> bool:
    return measurement.cut is not None or measurement.layer_trace is not None


def activation_cost_of(measurement: Measurement, profile: LayerProfile) -> ActivationCost:
    """What the non-linear layers of a network with a swapped activation cost."""
    activation = measurement.artifact.model.variant.activation
    assert activation is not None
    costs = [cost for cost in profile.layers if cost.layer.type == "non-linear"]
    own = [cost for cost in costs if cost.p50_ns is not None]
    spent_ns = sum(cost.p50_ns or 0.0 for cost in own)
    return ActivationCost(
        activation=activation,
        measurement_id=measurement.id,
        layers=len(costs),
        folded_layers=sum(cost.fate == "folded" for cost in costs),
        p50_ns=spent_ns if own else None,
        resolution_ns=CLOCK_STEP_NS * sum(len(cost.operators) for cost in own),
        share=spent_ns / profile.operators_ns if own and profile.operators_ns else None,
        share_in_doubt=profile.misses,
        latency=summarize(measurement.result.samples.iteration_ns),
    )


def _layer_costs(
    trace: LayerTrace,
    resolution: Resolution,
    of_layer: Mapping[str, Sequence[int]],
    layer_ns: Mapping[str, float],
    total_ns: float,
) -> tuple[LayerCost, ...]:
    costs: dict[str, LayerCost] = {}
    for layer in trace.description.layers:
        p50_ns = layer_ns.get(layer.name)
        folded_into = tuple(dict.fromkeys(_hosts(layer, costs)))
        fate: Literal["measured", "folded", "idle", "unresolved"]
        if p50_ns is not None:
            fate, folded_into = "measured", ()
        elif layer.name in resolution.lost_layers:
            fate, folded_into = "unresolved", ()
        elif layer.in_place and layer.type in ("dropout", "reshape"):
            fate, folded_into = "idle", ()
        else:
            fate = "folded" if folded_into else "unresolved"
        costs[layer.name] = LayerCost(
            layer=layer,
            operators=tuple(trace.operators[n].name for n in of_layer.get(layer.name, ())),
            p50_ns=p50_ns,
            share=None if p50_ns is None else p50_ns / total_ns if total_ns else 0.0,
            fate=fate,
            folded_into=folded_into,
        )
    return tuple(costs.values())


def _hosts(layer: LayerSpec, costs: Mapping[str, LayerCost]) -> Iterator[str]:
    """Through layers that are folded themselves, the measured ones whose outputs it reads."""
    for name in layer.reads:
        cost = costs.get(name)
        if cost is None:
            continue
        if cost.fate == "measured":
            yield name
        elif cost.fate == "idle":
            yield from _hosts(cost.layer, costs)
        else:
            yield from cost.folded_into


def _type_costs(
    layers: Iterable[LayerCost], others: Iterable[tuple[str, float]]
) -> tuple[TypeCost, ...]:
    spent_ns: dict[str, float] = defaultdict(float)
    measured: Counter[str] = Counter()
    every: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    for cost in layers:
        every[cost.layer.type] += 1
        macs[cost.layer.type] += cost.layer.macs
        measured[cost.layer.type] += cost.p50_ns is not None
        spent_ns[cost.layer.type] += cost.p50_ns or 0.0
    for name, duration_ns in others:
        spent_ns[name] += duration_ns
    total_ns = sum(spent_ns.values())
    return tuple(
        TypeCost(
            type=name,
            p50_ns=spent_ns[name],
            share=spent_ns[name] / total_ns if total_ns else 0.0,
            measured_layers=measured[name],
            layers=every[name],
            macs=macs[name],
        )
        for name in sorted(spent_ns, key=lambda name: -spent_ns[name])
    )
