"""Exports a network in segments, each of which is a program of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mobilekit.contract.protocol import Format
from mobilekit.errors import ExportError, ProtocolError
from mobilekit.formats import FORMATS
from mobilekit.model.artifact_cache import (
    DamagedError,
    Target,
    cache_key,
    check_files,
    write_tensor,
)
from mobilekit.model.files import read_record, reporting_full_disk, write_record
from mobilekit.model.program import check_packages, make_program, trace_for, write_program
from mobilekit.records.artifact import Cut, SegmentArtifact
from mobilekit.records.network import Description, ModelSpec, Variant
from mobilekit.records.partition import Chart

if TYPE_CHECKING:
    from mobilekit.model.segments import Segment

CUT_VERSION = 3
"""Of how a network is cut into segments. History: 1: first; 2: with a program for the call;
3: with its own hash."""


def export_segments(
    spec: ModelSpec,
    artifact_format: Format,
    *,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Cut:
    """The network's segments, each exported by itself, from the cache or exported now.

    Their inputs are the values that the network's own inputs give rise to in eager PyTorch.

    Raises ``ExportError``, also for int8 and for a segment that cannot be exported or yields
    something else than PyTorch does.
    """
    check_can_be_cut(spec.variant)
    target = Target(artifact_format, None)
    manifest = cache_directory / f"{cache_key(spec, target)}.segments{CUT_VERSION}.json"
    try:
        found: Cut = read_record(manifest, Cut)
        check_files(found.files, cache_directory)
    except (OSError, ProtocolError, DamagedError):
        found = _export_segments(spec, target, cache_directory, on_progress)
        with reporting_full_disk(cache_directory):
            write_record(manifest, found)
    return found


def check_can_be_cut(variant: Variant) -> None:
    """Raises ``ExportError`` for int8, and for layers that are placed on several backends."""
    if variant.placement:
        raise ExportError(
            "A network over several backends cannot be measured by segments: each segment would "
            "pay for bringing all that it reads and yields from one to another",
            fix="`mobilekit partition` tells what its layers and the crossings cost.",
        )
    if variant.precision == "int8":
        raise ExportError(
            "An int8 network cannot be measured by segments: each segment would convert all that "
            "it reads and yields from float32 and back, which the whole network does not",
            fix="Profile it with --precision fp32 or fp16, or with an engine that traces its "
            "operators: --format onnx, or pte where that engine has its tracer.",
        )


def _export_segments(
    spec: ModelSpec,
    target: Target,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Cut:
    facts = FORMATS[target.format]
    check_packages(facts, facts.export_packages[spec.variant.precision])
    with reporting_full_disk(cache_directory):
        cache_directory.mkdir(parents=True, exist_ok=True)
    on_progress("Importing PyTorch")
    from mobilekit.model import describe, load, reference, segments
    from mobilekit.model.graph import make_graph

    on_progress(f"Cutting {spec.name} into segments")
    description = describe.read_description(spec, cache_directory=cache_directory)
    module = load.load_module(spec)
    inputs = reference.make_inputs(spec)
    exported = make_graph(spec, module, inputs)
    parts = segments.cut(spec, exported, description, inputs, target.format)
    on_progress(f"Exporting its {len(parts)} segments one by one")
    *made, call = (
        export_part(spec, target, part, cache_directory) for part in (*parts, segments.make_call())
    )
    return Cut(description=description, segments=tuple(made), call=call)


def export_part(
    spec: ModelSpec, target: Target, part: Segment, cache_directory: Path
) -> SegmentArtifact:
    """One part as a program; raises ``ExportError``, also where it yields something else than
    PyTorch does."""
    what = f"segment {part.layers[0]}" if part.layers else "call"
    # Only its name, for what errors say.
    own = msgspec.structs.replace(spec, name=f"{spec.name}'s {what}")
    exported = trace_for(own, target, part.module, part.inputs)
    program = make_program(own, target, exported, [part.inputs], lambda _: None, is_part=True)
    with reporting_full_disk(cache_directory):
        file, check = write_program(
            own, target, program, part.inputs, part.outputs, cache_directory
        )
        return SegmentArtifact(
            layers=part.layers,
            file=file,
            inputs=tuple(write_tensor(one, cache_directory) for one in part.inputs),
            relative_error=None if check is None else check.max_relative_error,
        )


def read_chart(
    spec: ModelSpec, artifact_format: Format, *, cache_directory: Path
) -> tuple[Chart, Description]:
    """Which segments a network has and what flows between them, with its layers.

    Imports torch. Raises ``ExportError`` for a graph that cannot be cut.
    """
    from mobilekit.model import describe, load, reference, segments
    from mobilekit.model.graph import make_graph

    description = describe.read_description(spec, cache_directory=cache_directory)
    exported = make_graph(spec, load.load_module(spec), reference.make_inputs(spec))
    return segments.make_chart(spec, exported, description, artifact_format), description
