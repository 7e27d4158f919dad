"""What the types of layers take on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mobilekit.analysis.compare.records import ComparedType, ProfiledLayers, TypeShare
from mobilekit.analysis.layers.profile import profile_of
from mobilekit.contract.protocol import RunSuccess
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Description
from mobilekit.records.profile import LayerProfile


class ProfiledRun(NamedTuple):
    """A measurement's layers."""

    id: str
    description: Description
    layers: LayerProfile


def profiled_run(measurement: Measurement) -> ProfiledRun | None:
    """``None`` where the layers were not measured, all of them."""
    known = measurement.layer_trace or measurement.cut
    if known is None or not isinstance(measurement.result, RunSuccess):
        return None
    return ProfiledRun(measurement.id, known.description, profile_of(measurement))


def profiled_layers(profile: ProfiledRun) -> ProfiledLayers:
    layers = profile.layers
    return ProfiledLayers(
        id=profile.id,
        by=layers.by,
        sum_ns=layers.sum_ns,
        plain_p50_ns=layers.plain_p50_ns,
        difference=layers.difference,
    )


def compare_types(
    device: ProfiledRun | None, against: ProfiledRun | None
) -> Iterator[ComparedType]:
    first, second = _type_shares(device), _type_shares(against)
    shares = [(each.share, name) for side in (first, second) for name, each in side.items()]
    for name in dict.fromkeys(name for _, name in sorted(shares, reverse=True)):
        one, other = first.get(name), second.get(name)
        yield ComparedType(
            type=name,
            device=one,
            against=other,
            ratio=one.p50_ns / other.p50_ns if one and other and other.p50_ns else None,
        )


def _type_shares(profile: ProfiledRun | None) -> dict[str, TypeShare]:
    """Of the types that take any time; empty where the layers were not measured.

    By segments no time is a time too, below chance; by a trace it is one below the engine's clock.
    """
    if profile is None:
        return {}
    is_fine = profile.layers.by == "segments"
    return {
        cost.type: TypeShare(p50_ns=cost.p50_ns, share=cost.share)
        for cost in profile.layers.types
        if cost.p50_ns > 0 or (is_fine and cost.measured_layers > 0)
    }
