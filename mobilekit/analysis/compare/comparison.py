"""Measurements of one network side by side: what differs, and every figure's ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.compare.figures import compare_figures
from mobilekit.analysis.compare.layer_types import (
    ProfiledRun,
    compare_types,
    profiled_layers,
    profiled_run,
)
from mobilekit.analysis.compare.likeness import (
    engine_of,
    find_differences,
    find_way_difference,
    threads_of,
)
from mobilekit.analysis.compare.records import Comparison, Difference, Network, Side
from mobilekit.analysis.layers.footprint import footprint_of
from mobilekit.analysis.memory import weight_bytes
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Measurement


class MeasuredSide(NamedTuple):
    measurement: Measurement
    layers: Measurement | None = None
    """A run beside it, whose layers count in place of its own."""


def compare(sides: Sequence[MeasuredSide], against: MeasuredSide) -> Comparison:
    """Each side's figures over those of ``against``, but for sides whose runs are unlike its."""
    profiles = [_profile_of(side) for side in sides]
    reference, reference_profile = against.measurement, _profile_of(against)
    differences = [
        _differences(side.measurement, reference, profile, reference_profile)
        for side, profile in zip(sides, profiles, strict=True)
    ]
    is_like = [not any(item.refuses for item in items) for items in differences]
    liked = [side.measurement if like else None for side, like in zip(sides, is_like, strict=True)]
    liked_profiles = [
        profile if like else None for profile, like in zip(profiles, is_like, strict=True)
    ]
    artifact = reference.artifact
    known = [each for each in (*profiles, reference_profile) if each is not None]
    return Comparison(
        model=artifact.model.network_label,
        precision=artifact.precision,
        network=Network(
            parameters=artifact.cost.parameters,
            macs=artifact.cost.macs,
            weights_bytes=weight_bytes(artifact),
        ),
        footprint=footprint_of(known[0].description) if known else None,
        sides=tuple(
            _side(side.measurement, profile, items)
            for side, profile, items in zip(sides, profiles, differences, strict=True)
        ),
        against=_side(reference, reference_profile, ()),
        findings=_find_doubts([each for each in (*liked, reference) if each is not None])
        if any(is_like)
        else (),
        figures=tuple(compare_figures(liked, reference)) if any(is_like) else (),
        layer_types=tuple(compare_types(liked_profiles, reference_profile)) if any(is_like) else (),
    )


def _profile_of(side: MeasuredSide) -> ProfiledRun | None:
    return profiled_run(side.layers or side.measurement)


def _differences(
    side: Measurement,
    against: Measurement,
    profile: ProfiledRun | None,
    reference_profile: ProfiledRun | None,
) -> tuple[Difference, ...]:
    """Those that refuse first."""
    found = (
        *find_differences(side, against),
        *find_way_difference(profile, reference_profile),
    )
    return tuple(sorted(found, key=lambda item: not item.refuses))


def _side(
    measurement: Measurement, profile: ProfiledRun | None, differences: tuple[Difference, ...]
) -> Side:
    answer = derive_answer(measurement)
    energy = answer.energy
    return Side(
        id=measurement.id,
        started_at=measurement.started_at,
        device=measurement.device.name,
        virtual=measurement.virtual,
        engine=engine_of(measurement),
        format=measurement.artifact.file.format,
        backend=measurement.artifact.backend,
        abi=measurement.device.abi,
        threads=threads_of(measurement),
        energy_origin=None if energy is None else energy.origin,
        energy_source=None if energy is None else energy.source,
        energy_plane=None if energy is None else energy.plane,
        energy_blocks=None if energy is None else energy.blocks,
        far_p50_ratio=answer.far_p50_ratio,
        findings=tuple(finding.id for finding in measurement.findings),
        profile=None if profile is None else profiled_layers(profile),
        profile_refusal=None if profile is not None else measurement.result.samples.profile_refusal,
        differences=differences,
    )


def _find_doubts(compared: Sequence[Measurement]) -> tuple[Finding, ...]:
    virtual = list(dict.fromkeys(item.device.name for item in compared if item.virtual))
    if not virtual:
        return ()
    is_are, their = ("is", "its") if len(virtual) == 1 else ("are", "their")
    return (
        Finding(
            id="VIRTUAL-RATIO",
            severity="warning",
            summary=f"{' and '.join(virtual)} {is_are} virtual: {their} init, latency and memory "
            "are those of the computer that ran it, so that the ratio tells nothing about a phone",
            advice="Attach a phone for a ratio that means something.",
        ),
    )
