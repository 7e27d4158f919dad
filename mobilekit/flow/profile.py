"""The time of each layer, from a trace or from segments."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.layers.profile import (
    least_disturbed,
    profile_of,
    was_disturbed,
    why_by_segments,
)
from mobilekit.contract.protocol import (
    Segment,
)
from mobilekit.errors import (
    ExportError,
)
from mobilekit.flow.deploy import Iterations, deploy, iterations_of, with_found_backend
from mobilekit.flow.prepare import DeployOptions, make_request, prepare
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import begin, run
from mobilekit.formats import FORMATS
from mobilekit.model.export_segments import (
    check_can_be_cut,
    export_segments,
)
from mobilekit.model.packed import find_lacking
from mobilekit.records.measurement import (
    Measurement,
)
from mobilekit.results.store import Store


def profile(
    options: DeployOptions,
    store: Store,
    reporter: Reporter,
    *,
    iterations: Iterations,
    by_segments: bool | None,
) -> Measurement:
    """``deploy`` with the time of each layer: by segments, by a trace, or, for ``None``, by a trace
    and then by segments where it tells too little.

    What other work on the device disturbed is measured once more. What was measured in vain stays
    stored. Raises a ``MobilekitError`` like ``deploy``, and ``ExportError`` for a network without a
    trace that cannot be cut into segments.
    """
    options = with_found_backend(options, store, reporter)
    first = _profile_once(options, store, reporter, iterations, by_segments)
    if not was_disturbed(first):
        return first
    reporter.note(
        "Other work on the device disturbed it: the layers' sum differs by "
        f"{profile_of(first).difference:+.0%} from the inference. The layers are measured once more"
    )
    is_cut = first.cut is not None
    return least_disturbed(first, _profile_once(options, store, reporter, iterations, is_cut))


def _profile_once(
    options: DeployOptions,
    store: Store,
    reporter: Reporter,
    iterations: Iterations,
    by_segments: bool | None,
) -> Measurement:
    if by_segments:
        return _profile_by_segments(options, store, reporter, iterations)
    if by_segments is None and options.format != "auto" and not FORMATS[options.format].has_tracer:
        check_can_be_cut(options.variant)
    traced = deploy(options, store, reporter, traced_iterations=iterations, purpose="profile")
    why = why_by_segments(traced)
    if why is None or by_segments is False:
        return traced
    reporter.note(why)
    try:
        return _profile_by_segments(options, store, reporter, iterations)
    except ExportError as error:
        if traced.layer_trace is None:
            raise
        reporter.note(f"The trace stands in for segments: {error.what}")
        return traced


def profile_alike(
    all_options: Sequence[DeployOptions],
    store: Store,
    reporter: Reporter,
    *,
    iterations: Iterations,
    by_segments: bool | None,
) -> list[Measurement]:
    """``profile`` of several networks, all in one way: where one is cut, all are."""
    all_options = [with_found_backend(each, store, reporter) for each in all_options]
    found = [
        profile(each, store, reporter, iterations=iterations, by_segments=by_segments)
        for each in all_options
    ]
    if all(each.cut is None for each in found):
        return found
    return [
        each if each.cut is not None else _profile_by_segments(options, store, reporter, iterations)
        for options, each in zip(all_options, found, strict=True)
    ]


def _profile_by_segments(
    options: DeployOptions, store: Store, reporter: Reporter, iterations: Iterations
) -> Measurement:
    check_can_be_cut(options.variant)
    reporter.note("The layers are measured by segments, in a run of their own")
    with prepare(options, store, reporter) as prepared:
        with prepared.steps("segments"):
            cut = export_segments(
                prepared.artifact.model,
                prepared.artifact.file.format,
                cache_directory=places.artifacts_directory(),
                on_progress=reporter.note,
            )
        if prepared.executor.outlives:
            for program in cut.programs:
                lacking = find_lacking(program.file, program.inputs, places.artifacts_directory())
                if lacking is not None:
                    raise lacking.refusal(f"A part of {prepared.artifact.model.name}")
        prepared.deliver(cut.files, reporter)
        request = replace(
            make_request(options, prepared),
            profile_iterations=iterations_of(iterations, prepared.artifact),
            segments=tuple(
                Segment(artifact=each.file, inputs=each.inputs) for each in cut.programs
            ),
        )
        return run(prepared, begin(prepared, request, "profile", cut=cut), store, reporter)
