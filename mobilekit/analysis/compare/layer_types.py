"""What the types of layers take on every side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mobilekit.analysis.compare.records import (
    ComparedShare,
    ComparedType,
    ProfiledLayers,
    TypeShare,
)
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
    sides: Sequence[ProfiledRun | None], against: ProfiledRun | None
) -> Iterator[ComparedType]:
    """Each type that takes any time anywhere; a side that is refused is ``None``."""
    reference = _type_shares(against)
    others = [_type_shares(side) for side in sides]
    shares = [(each.share, name) for side in (*others, reference) for name, each in side.items()]
    for name in dict.fromkeys(name for _, name in sorted(shares, reverse=True)):
        its = reference.get(name)
        yield ComparedType(
            type=name,
            sides=tuple(_compare_share(side.get(name), its) for side in others),
            against=its,
        )


def _compare_share(taken: TypeShare | None, against: TypeShare | None) -> ComparedShare:
    ratio = taken.p50_ns / against.p50_ns if taken and against and against.p50_ns else None
    return ComparedShare(taken=taken, ratio=ratio)


def _type_shares(profile: ProfiledRun | None) -> dict[str, TypeShare]:
    """Of the types that take any time; empty where the layers were not measured.

    By segments no time is a time too, below chance; by a trace it is one below the engine's clock.
    """
    if profile is None:
        return {}
    is_fine = profile.layers.by == "segments"
    return {
        cost.type: TypeShare(
            p50_ns=cost.p50_ns, share=cost.share, share_in_doubt=cost.share_in_doubt
        )
        for cost in profile.layers.types
        if cost.p50_ns > 0 or (is_fine and cost.measured_layers > 0)
    }
