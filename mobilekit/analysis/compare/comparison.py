"""Two measurements of one network side by side: what differs, and every figure's ratio."""

from __future__ import annotations

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
from mobilekit.analysis.compare.records import Comparison, Network, Side
from mobilekit.analysis.layers.footprint import weigh
from mobilekit.analysis.memory import weight_bytes
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Measurement


def compare(
    device: Measurement,
    against: Measurement,
    layers: tuple[Measurement, Measurement] | None = None,
) -> Comparison:
    """``device``'s figures over ``against``'s, unless the runs are unlike.

    The types of layers are those of ``layers``, runs beside the two, where these are given.
    """
    profiles = (
        profiled_run(layers[0] if layers else device),
        profiled_run(layers[1] if layers else against),
    )
    differences = tuple(
        sorted(
            (*find_differences(device, against), *find_way_difference(*profiles)),
            key=lambda item: not item.refuses,
        )
    )
    refused = any(difference.refuses for difference in differences)
    artifact = device.artifact
    return Comparison(
        model=artifact.model.name,
        precision=artifact.precision,
        network=Network(
            parameters=artifact.cost.parameters,
            macs=artifact.cost.macs,
            weights_bytes=weight_bytes(artifact),
        ),
        footprint=next((weigh(each.description) for each in profiles if each is not None), None),
        device=_side(device, profiles[0]),
        against=_side(against, profiles[1]),
        differences=differences,
        findings=() if refused else _find_doubts(device, against),
        figures=() if refused else tuple(compare_figures(device, against)),
        layer_types=() if refused else tuple(compare_types(*profiles)),
    )


def _side(measurement: Measurement, profile: ProfiledRun | None) -> Side:
    answer = derive_answer(measurement)
    energy = answer.energy
    return Side(
        id=measurement.id,
        started_at=measurement.started_at,
        device=measurement.device.name,
        virtual=measurement.virtual,
        engine=engine_of(measurement),
        format=measurement.artifact.file.format,
        abi=measurement.device.abi,
        threads=threads_of(measurement),
        energy_source=None if energy is None else energy.source,
        energy_plane=None if energy is None else energy.plane,
        energy_blocks=None if energy is None else energy.blocks,
        findings=tuple(finding.id for finding in measurement.findings),
        profile=None if profile is None else profiled_layers(profile),
        profile_refusal=None if profile is not None else measurement.result.samples.profile_refusal,
    )


def _find_doubts(device: Measurement, against: Measurement) -> tuple[Finding, ...]:
    virtual = [item.device.name for item in (device, against) if item.virtual]
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
