"""``describe`` and ``profile``: a network layer by layer, as it is and as it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from msgspec.structs import replace

from mobilekit.cli.failure import after_the_answer, exit_for
from mobilekit.cli.options import (
    DeviceOptions,
    GivenOptions,
    JsonFlag,
    JsonOptions,
    ModelArgument,
    PresetOptions,
    RunOptions,
    StoreOption,
    deploy_options,
)
from mobilekit.cli.terminal import say
from mobilekit.formats import FORMATS

if TYPE_CHECKING:
    from mobilekit.records.measurement import Measurement
    from mobilekit.records.network import Activation

PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Draw the times into this file (.png, .svg, .pdf).")
]
AllLayersFlag = Annotated[
    bool, typer.Option("--all", help="Show every layer in place of those that take the most.")
]
TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", help="Write one inference as a Chrome trace (.json), for Perfetto."),
]


def describe(model: ModelArgument, network: GivenOptions, as_json: JsonFlag = False) -> None:
    """Show a network's layers: shapes, parameters, MACs, memory."""
    from mobilekit import places
    from mobilekit.analysis.findings import find_uncounted
    from mobilekit.analysis.layers.footprint import footprint_of
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.model.describe import read_description
    from mobilekit.model.zoo import find_model
    from mobilekit.results.network_documents import DescriptionDocument
    from mobilekit.results.text.layers import render_description
    from mobilekit.results.text.measurement import render_findings

    spec = find_model(model, network.given)
    description = read_description(spec, cache_directory=places.artifacts_directory())
    footprint, findings = footprint_of(description), find_uncounted(description)
    if as_json:
        document = DescriptionDocument(
            model=spec, description=description, footprint=footprint, findings=findings
        )
        say(encode_pretty(document), nl=False)
    else:
        say(render_description(spec, description, footprint))
        for line in render_findings(findings):
            say(line)


def profile(
    model: ModelArgument,
    on: DeviceOptions,
    run: RunOptions,
    length: PresetOptions,
    output: JsonOptions,
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "-n",
            min=1,
            help="How many inferences to trace, or to run of each segment. "
            "[default: 50, more for small networks]",
            show_default=False,
        ),
    ] = None,
    segments: Annotated[
        bool | None,
        typer.Option(
            "--segments/--no-segments",
            help="Cut the network into segments and time each by itself, or trace it, however much "
            "that slows it down. [default: segments where the engine cannot trace, or where "
            "tracing would slow so short an inference too much]",
            show_default=False,
        ),
    ] = None,
    plot: PlotOption = None,
    trace: TraceOption = None,
    swap_activation: Annotated[
        str | None,
        typer.Option(
            "--swap-activation",
            help="Replace every activation by each of these in turn, and compare: "
            "relu,tanh,sigmoid.",
        ),
    ] = None,
    show_all: AllLayersFlag = False,
    store: StoreOption = None,
) -> None:
    """Measure the time of each layer and of each type of layer."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.errors import UsageError
    from mobilekit.flow.profile import profile_alike
    from mobilekit.results.output_file import check_writable
    from mobilekit.results.plot_file import check_plot_path
    from mobilekit.results.store import Store

    options = deploy_options(model, on, run, length, energy=False, backend=run.backend)
    opened = Store(store or places.default_store())
    activations = _activations(swap_activation)
    if activations and (plot is not None or trace is not None):
        raise UsageError(
            "--plot and --trace draw one network, --swap-activation measures several",
            fix="`mobilekit results profile ID` draws each of them afterwards.",
        )
    if segments is False and run.format != "auto" and not FORMATS[run.format].has_tracer:
        raise UsageError(
            f"{FORMATS[run.format].engine} has no tracer, and --no-segments asks for a trace",
            fix="Leave --no-segments out: the layers are then measured by segments.",
        )
    if plot is not None:
        check_plot_path(plot)
    if trace is not None:
        check_writable(trace)
    with TerminalReporter() as reporter:
        measurements = profile_alike(
            [
                options._replace(variant=replace(options.variant, activation=one))
                for one in activations
            ]
            or [options],
            opened,
            reporter,
            iterations=iterations or "auto",
            by_segments=segments,
        )
    exit_for(measurements)
    if activations:
        _show_activations(measurements, output)
    else:
        _show_profile(measurements[0], plot, trace, output, show_all=show_all)


def _activations(given: str | None) -> list[Activation]:
    """Raises ``UsageError`` for a word that is none."""
    from mobilekit.errors import UsageError
    from mobilekit.records.network import Activation

    known = get_args(Activation)
    fix = f"Give some of {','.join(known)}, separated by commas."
    words = [word.strip() for word in given.split(",")] if given is not None else []
    if "" in words:
        raise UsageError(f"--swap-activation {given!r} has an empty name in it", fix=fix)
    unknown = [word for word in words if word not in known]
    if unknown or len(set(words)) < len(words):
        raise UsageError(
            f"--swap-activation takes no {', '.join(unknown) or 'activation twice'}",
            fix=fix,
        )
    return cast("list[Activation]", words)


def _show_profile(
    measurement: Measurement,
    plot: Path | None,
    trace: Path | None,
    output: JsonOptions,
    *,
    show_all: bool,
) -> None:
    from mobilekit.analysis.layers.profile import profile_of
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.chrome_trace import write_chrome_trace
    from mobilekit.results.documents import (
        make_profile_document,
        make_profile_summary,
    )
    from mobilekit.results.text.layers import render_profile

    derived = profile_of(measurement)
    document = make_profile_document(measurement, derived)
    if output.summary:
        say(encode_pretty(make_profile_summary([document])), nl=False)
    elif output.as_json:
        say(encode_pretty(document), nl=False)
    else:
        say(render_profile(measurement, derived, show_all=show_all))
    with after_the_answer():
        if trace is not None:
            write_chrome_trace(measurement, trace)
        if plot is not None:
            from mobilekit.results.layer_plot import draw_profile
            from mobilekit.results.plot_file import write_figure

            write_figure(draw_profile(measurement, derived), plot)


def _show_activations(measurements: Sequence[Measurement], output: JsonOptions) -> None:
    from mobilekit.analysis.layers.profile import activation_cost_of, profile_of
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.documents import (
        make_activations_document,
        make_profile_document,
        make_profile_summary,
    )
    from mobilekit.results.text.layers import render_activations

    profiles = [profile_of(measurement) for measurement in measurements]
    pairs = list(zip(measurements, profiles, strict=True))
    costs = [activation_cost_of(*pair) for pair in pairs]
    if output.as_json:
        documents = [make_profile_document(*pair) for pair in pairs]
        make = make_profile_summary if output.summary else make_activations_document
        say(encode_pretty(make(documents, costs)), nl=False)
    else:
        say(render_activations(measurements, costs, profiles))


def show_stored(
    measurement_id: Annotated[
        str,
        typer.Argument(help="A profile's id or its beginning, or `last`.", show_default=False),
    ],
    output: JsonOptions,
    plot: PlotOption = None,
    trace: TraceOption = None,
    show_all: AllLayersFlag = False,
    store: StoreOption = None,
) -> None:
    """Show a stored profile as `mobilekit profile` did."""
    from mobilekit.results.output_file import check_writable
    from mobilekit.results.plot_file import check_plot_path
    from mobilekit.results.store import open_to_read

    if plot is not None:
        check_plot_path(plot)
    if trace is not None:
        check_writable(trace)
    measurement = open_to_read(store).read(measurement_id)
    _show_profile(measurement, plot, trace, output, show_all=show_all)
