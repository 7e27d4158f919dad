"""``compare``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mobilekit.cli.failure import after_the_answer, show_failure
from mobilekit.cli.options import (
    DeviceOptions,
    FormatOptions,
    JsonFlag,
    PresetOptions,
    StoreOption,
    deploy_options,
    refuse_shared_weights,
)
from mobilekit.formats import BackendOrAuto
from mobilekit.records.network import Backend

if TYPE_CHECKING:
    from mobilekit.errors import MobilekitError
    from mobilekit.flow.compare import Measured
    from mobilekit.results.documents import ComparisonDocument


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Names that `mobilekit models` lists, or model files; with --results, ids.",
            metavar="MODEL...",
            show_default=False,
        ),
    ],
    on: DeviceOptions,
    run: FormatOptions,
    length: PresetOptions,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            help="The device to compare against, named as for --device. "
            "[default: pc, or --device where two backends are compared]",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            help="What a .pte computes with: xnnpack, vulkan or auto as for `deploy`, or two of "
            "them to compare, xnnpack,vulkan.",
        ),
    ] = "xnnpack",
    stored: Annotated[
        bool,
        typer.Option(
            "--results",
            help="Compare stored measurements in place of measuring: ids in pairs, each first "
            "against its second.",
        ),
    ] = False,
    energy: Annotated[
        bool | None,
        typer.Option(
            "--energy/--no-energy",
            help="Measure energy where the device runs on its battery. "
            "[default: with --published only]",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers/--no-layers", help="Also compare the share of time of each type of layer."
        ),
    ] = True,
    published: Annotated[
        str | None,
        typer.Option(
            "--published", help="Show a paper's figures beside these: fantozzi2016 or lane2015."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Also draw the comparison into this file: .png, .svg or .pdf."),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one number per line.")] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure networks on two devices, or two backends, and set the figures side by side."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.cli.terminal import say, terminal_width
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import UsageError
    from mobilekit.flow.compare import compare_pair, measure_pairs, predict_pairs, read_pairs
    from mobilekit.results.compare_plot import draw_comparisons
    from mobilekit.results.compare_tables import numbers_table
    from mobilekit.results.documents import Unmeasured, make_comparison_document
    from mobilekit.results.plot_file import check_plot_path, write_figure
    from mobilekit.results.published import load_publication
    from mobilekit.results.store import Store, open_to_read
    from mobilekit.results.tables.csv import render_csv
    from mobilekit.results.text.compare import render_comparisons, render_comparisons_markdown

    if as_markdown + as_csv + as_json > 1:
        raise UsageError("--markdown, --csv and --json exclude each other", fix="Give one of them.")
    if plot is not None:
        check_plot_path(plot)
    refuse_shared_weights(models, run.weights)
    publication = load_publication(published) if published else None
    with_energy = publication is not None if energy is None else energy
    sides = [
        [
            deploy_options(
                model, device, run, length, energy=with_energy, backend=each, among=models
            )
            for model in models
        ]
        for device, each in _sides(on, against, backend)
    ]
    opened = open_to_read(store) if stored else Store(store or places.default_store())
    if stored:
        measured = read_pairs(models, opened)
    else:
        with TerminalReporter() as reporter:
            measured = measure_pairs(
                list(zip(*sides, strict=True)),
                opened,
                reporter,
                traced_iterations="auto" if layers else None,
            )
    document = make_comparison_document(
        (compare_pair(pair) for pair in measured.pairs),
        (
            Unmeasured(model=model, kind=error.kind, what=error.what, fix=error.fix)
            for model, error in measured.unmeasured
        ),
        predict_pairs(measured.pairs, opened),
        publication,
    )
    if as_json:
        say(encode_pretty(document), nl=False)
    elif as_csv:
        table = numbers_table(document.comparisons, document.predicted, document.published)
        say(render_csv(table), nl=False)
    elif as_markdown:
        say(render_comparisons_markdown(document))
    else:
        say(render_comparisons(document, terminal_width()))
    failures = _failures_of(document, measured)
    for failure in failures:
        show_failure(failure)
    if plot is not None:
        with after_the_answer():
            write_figure(
                draw_comparisons(document.comparisons, document.published, document.predicted),
                plot,
            )
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _sides(
    on: DeviceOptions, against: str | None, given: str
) -> Iterator[tuple[DeviceOptions, BackendOrAuto]]:
    """Device and backend of both sides; raises ``UsageError`` for words that are no backends."""
    from mobilekit.errors import UsageError

    known = get_args(BackendOrAuto)[:1] + get_args(Backend)
    words = [word.strip() for word in given.split(",")]
    if not 1 <= len(words) <= 2 or any(word not in known for word in words):
        raise UsageError(
            f"--backend {given!r} names no backend, or no two of them",
            fix=f"Give one of {', '.join(known)}, or two with a comma: xnnpack,vulkan.",
        )
    if words == ["vulkan"] and against is None:
        raise UsageError(
            "This computer, which phones are compared with unless told, runs no program for Vulkan",
            fix="Give --backend xnnpack,vulkan for both on the phone, or another with --against.",
        )
    default = on.device if len(words) == 2 else "pc"
    second = replace(on, device=default if against is None else against)
    yield from zip((on, second), (words[0], words[-1]), strict=True)


def _failures_of(document: ComparisonDocument, measured: Measured) -> list[MobilekitError]:
    from mobilekit.errors import UnlikeRunsError
    from mobilekit.results.text.compare import refusal_text

    failures: list[MobilekitError] = [error for _, error in measured.unmeasured]
    failures += [
        UnlikeRunsError(
            f"The two runs of {comparison.model} cannot be compared",
            differs=refusal_text(side.refusals),
            fix="Both are stored: `mobilekit results show ID` shows "
            f"{side.id} and {comparison.against.id}.",
        )
        for comparison in document.comparisons
        for side in comparison.sides
        if side.refusals
    ]
    return failures
