"""``tradeoff``: what every level of a program costs, and what it is right in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli.failure import after_the_answer, exit_for
from mobilekit.cli.options import (
    CalibrationOption,
    DataOption,
    DeviceOptions,
    FormatOptions,
    GivenOptions,
    JsonFlag,
    ModelArgument,
    PrecisionOption,
    PresetOptions,
    StoreOption,
    ThreadsOption,
    deploy_options,
)
from mobilekit.cli.terminal import say, terminal_width
from mobilekit.errors import UsageError
from mobilekit.records.network import LEAST_LEVELS, MOST_LEVELS


def tradeoff(
    model: ModelArgument,
    on: DeviceOptions,
    given: GivenOptions,
    length: PresetOptions,
    compressed: Annotated[
        Path | None,
        typer.Option(
            "--compressed",
            help="The file that `mobilekit compress --levels -o` wrote. [default: levels are made]",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(
            "--levels",
            min=LEAST_LEVELS,
            max=MOST_LEVELS,
            help="How many levels are made, without --compressed. [default: 4]",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    precision: PrecisionOption = "fp32",
    calibration: CalibrationOption = None,
    threads: ThreadsOption = None,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy/--no-energy", help="Measure energy where the device runs on its battery."
        ),
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Also draw the curve into this file: .png, .svg or .pdf."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure each level of a network, and tell its size, time, energy and accuracy."""
    from mobilekit import places
    from mobilekit.analysis.tradeoff import make_rungs
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow.levels import make_ladder
    from mobilekit.flow.tradeoff import measure_tradeoff
    from mobilekit.records.measurement import Measurement
    from mobilekit.records.network import Level
    from mobilekit.results.network_documents import TradeoffDocument
    from mobilekit.results.plot_file import check_plot_path, write_figure
    from mobilekit.results.store import Store
    from mobilekit.results.text.tradeoff import render_tradeoff
    from mobilekit.results.tradeoff_plot import draw_tradeoff

    if compressed is not None and levels is not None:
        raise UsageError(
            "--compressed has levels of its own, and --levels asks for others",
            fix="Give one of them.",
        )
    if plot is not None:
        check_plot_path(plot)
    run = FormatOptions(
        weights=given.weights,
        input=given.input,
        inputs=given.inputs,
        precision=precision,
        calibration=calibration,
        compressed=compressed,
        format="pte",
        threads=threads,
    )
    options = deploy_options(model, on, run, length, energy=energy)
    level = options.variant.level
    if compressed is not None and level is None:
        raise UsageError(
            "--compressed has no levels",
            file=compressed,
            fix="`mobilekit compress MODEL --levels 4 -o FILE` writes a file that has.",
        )
    opened = Store(store or places.default_store())
    measured: list[Measurement] = []
    with TerminalReporter() as reporter:
        if level is None:
            level = Level(number=1, ladder=make_ladder(options, levels or 4, reporter))
        stopped = measure_tradeoff(options, level, data, opened, reporter, measured.append)
    if stopped is not None:
        raise stopped
    document = TradeoffDocument(
        model=measured[0].artifact.model.name,
        device=measured[0].device.name,
        virtual=measured[0].virtual,
        rungs=tuple(make_rungs(measured)),
    )
    if as_json:
        say(encode_pretty(document), nl=False)
    else:
        say(render_tradeoff(document, terminal_width()))
    if plot is not None:
        with after_the_answer():
            write_figure(draw_tradeoff(document), plot)
    exit_for(measured)
