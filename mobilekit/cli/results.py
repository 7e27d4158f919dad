"""``results``: what was measured, without a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mobilekit.cli.command import Commands
from mobilekit.cli.failure import exit_for_damage
from mobilekit.cli.group import Group
from mobilekit.cli.layers import show_stored
from mobilekit.cli.options import JsonFlag, JsonOptions, StoreOption
from mobilekit.cli.terminal import say

if TYPE_CHECKING:
    from mobilekit.errors import DamagedResultError
    from mobilekit.records.measurement import Measurement
    from mobilekit.records.meter import MeterResult
    from mobilekit.results.listing import Answered
    from mobilekit.results.store import Store

app = Commands(cls=Group, help="Look at stored results; no phone is needed.")
IdArgument = Annotated[
    str, typer.Argument(help="A result's id or its beginning, or `last`.", show_default=False)
]
IdsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Results' ids or their beginnings, or `last`.", metavar="ID...", show_default=False
    ),
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only results of this model.")]
TagOption = Annotated[str | None, typer.Option("--tag", help="Only results with this tag.")]
ExportForm = Literal[
    "json", "summary", "durations", "figures", "bencher", "github-action-benchmark", "perfetto"
]
TAG = re.compile(r"[A-Za-z0-9][\w.-]{0,39}")


app.command("profile")(show_stored)


@app.command("list")
def list_results(
    model: ModelOption = None,
    tag: TagOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = 20,
    show_all: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List measurements and imported traces, the newest first."""
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import UsageError
    from mobilekit.records.meter import MeterResult
    from mobilekit.results.documents import (
        ResultsDocument,
        list_import,
        list_result,
    )
    from mobilekit.results.listing import results_table
    from mobilekit.results.store import open_to_read
    from mobilekit.results.tables.csv import render_csv
    from mobilekit.results.tables.text import render_text

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other", fix="Give one of them.")
    opened = open_to_read(store)
    stored = opened.result_ids(model=model, tag=tag)
    chosen = stored if show_all else stored[:limit]
    damaged: list[DamagedResultError] = []
    answered = _answered(opened, chosen, damaged.append)
    tags = opened.list_tags()
    if len(stored) > len(chosen):
        say(f"The newest {len(chosen)} of {len(stored)}; --limit N or --all shows more.", err=True)
    if as_json:
        document = ResultsDocument(
            stored=len(stored),
            results=tuple(
                list_result(*each, tags) for each in answered if not isinstance(each, MeterResult)
            ),
            imports=tuple(
                list_import(each, tags) for each in answered if isinstance(each, MeterResult)
            ),
        )
        say(encode_pretty(document), nl=False)
    elif as_csv:
        say(render_csv(results_table(answered, tags)), nl=False)
    elif answered:
        say(render_text(results_table(answered, tags)))
    elif not damaged:
        which = f"{f' of {model}' if model else ''}{f' with the tag {tag}' if tag else ''}"
        say(
            f"There are no results{which} yet: "
            f"`mobilekit deploy {model or 'nin'} --device nexus7` makes one."
        )
    exit_for_damage(damaged)


@app.command()
def show(measurement_id: IdArgument, output: JsonOptions, store: StoreOption = None) -> None:
    """Show one result as `deploy` or `meter import` did."""
    from mobilekit.cli.answer import render_result
    from mobilekit.results.store import open_to_read

    opened = open_to_read(store)
    result = opened.read_result(measurement_id)
    say(render_result(result, output, opened), nl=not output.as_json)


@app.command()
def export(
    measurement_ids: Annotated[
        list[str] | None,
        typer.Argument(
            help="Results' ids or their beginnings, or `last`.", metavar="ID...", show_default=False
        ),
    ] = None,
    model: ModelOption = None,
    tag: TagOption = None,
    show_all: Annotated[bool, typer.Option("--all", help="Every result.")] = False,
    form: Annotated[
        ExportForm,
        typer.Option(
            "--format",
            help="json: whole, with all raw samples; summary: JSON without those; durations and "
            "figures: CSV; bencher; github-action-benchmark; perfetto: a trace to look at.",
        ),
    ] = "json",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file in place of stdout.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write results, whole or as others' programs read them: one, several, or those with a tag."""
    from mobilekit.errors import UsageError
    from mobilekit.results.output_file import check_writable, write_file
    from mobilekit.results.store import open_to_read

    given = bool(measurement_ids)
    if given + show_all + (model is not None or tag is not None) != 1:
        raise UsageError(
            "Which results are meant is not told, or in more than one way",
            fix="Give ids, or --model and --tag, or --all.",
        )
    if output is not None:
        check_writable(output)
    opened = open_to_read(store)
    if measurement_ids:
        ids = opened.resolve(measurement_ids)
    else:
        ids = opened.result_ids(model=model, tag=tag)
    if not ids:
        raise UsageError("There is no such result", fix="`mobilekit results list --all` shows all.")
    damaged: list[DamagedResultError] = []
    data = _exported(opened, ids, damaged.append, form, alone=given)
    if given and form in ("json", "summary") and len(ids) == len(damaged) == 1:
        data = damaged[0].document
    if output is None:
        say(data, nl=False)
    else:
        write_file(output, data)
    exit_for_damage(damaged)


@app.command()
def delete(result_ids: IdsArgument, store: StoreOption = None) -> None:
    """Delete results for good, their raw samples and tags too: all that are named, or none."""
    from mobilekit.results.store import open_to_read

    opened = open_to_read(store)
    ids = opened.resolve(result_ids)
    opened.delete(ids)
    for each in ids:
        say(f"Deleted {each}")


@app.command("tag")
def tag_results(
    word: Annotated[str, typer.Argument(help="The tag: letters, digits, ., _ and -.")],
    result_ids: IdsArgument,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
    store: StoreOption = None,
) -> None:
    """Give results a word, by which `results list` and `results export` find them."""
    from mobilekit.errors import UsageError
    from mobilekit.results.store import open_to_read

    if TAG.fullmatch(word) is None:
        raise UsageError(
            f"{word!r} is no tag",
            fix="Give up to 40 letters, digits, points, underscores and hyphens.",
        )
    opened = open_to_read(store)
    ids = opened.resolve(result_ids)
    (opened.untag if remove else opened.tag)(ids, [word])
    for each in ids:
        say(f"{each} {'no longer has' if remove else 'has'} the tag {word}")


@app.command()
def plot(
    measurement_id: IdArgument,
    file: Annotated[
        Path, typer.Argument(help="The file to draw into: .png, .svg or .pdf.", metavar="FILE")
    ],
    store: StoreOption = None,
) -> None:
    """Draw one measurement's power over time, as its gauge tells it, with the counter below."""
    from mobilekit.results.plot_file import check_plot_path, write_figure
    from mobilekit.results.power_plot import draw_measurement
    from mobilekit.results.store import open_to_read

    check_plot_path(file)
    write_figure(draw_measurement(open_to_read(store).read(measurement_id)), file)


@app.command()
def history(
    model: Annotated[str, typer.Argument(help="A network's name, whatever its precision.")],
    device: Annotated[
        str | None,
        typer.Option("--device", help="Only runs on this device: its name or its key."),
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            help="Draw each history of two runs or more, the newest 12: .png, .svg or .pdf.",
            metavar="FILE",
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell how a network's figures changed from run to run, like with like, and where."""
    from mobilekit.analysis.history import trace_histories
    from mobilekit.cli.terminal import terminal_width
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import UsageError
    from mobilekit.records.meter import MeterResult
    from mobilekit.results.documents import HistoryDocument
    from mobilekit.results.history_plot import draw_histories
    from mobilekit.results.plot_file import check_plot_path, write_figure
    from mobilekit.results.store import open_to_read
    from mobilekit.results.text.history import render_histories

    if plot_file is not None:
        check_plot_path(plot_file)
    opened = open_to_read(store)
    damaged: list[DamagedResultError] = []
    runs = [
        each[0]
        for each in _answered(opened, opened.result_ids(model=model), damaged.append)
        if not isinstance(each, MeterResult)
        and (device is None or device in (each[0].device.name, each[0].device.key))
    ]
    histories = trace_histories(runs)
    if not histories:
        raise UsageError(
            f"There is no run of {model} that measured it{f' on {device}' if device else ''}",
            fix="`mobilekit results list --all` shows what there is; `mobilekit deploy` makes one.",
        )
    if as_json:
        say(encode_pretty(HistoryDocument(model=model, histories=histories)), nl=False)
    else:
        say(render_histories(histories, terminal_width()))
    if plot_file is not None:
        write_figure(draw_histories(histories), plot_file)
    exit_for_damage(damaged)


def _answered(
    store: Store, ids: Sequence[str], on_damage: Callable[[DamagedResultError], None]
) -> list[Answered]:
    """Each result that is still there, measurements with what they say; one that is damaged keeps
    none of the others back."""
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.errors import DamagedResultError
    from mobilekit.records.meter import MeterResult

    answered: list[Answered] = []
    for each in ids:
        try:
            result = store.find_result(each)
        except DamagedResultError as error:
            on_damage(error)
            continue
        if isinstance(result, MeterResult):
            answered.append(result)
        elif result is not None:
            answered.append((result, derive_answer(result)))
    return answered


def _exported(
    store: Store,
    ids: Sequence[str],
    on_damage: Callable[[DamagedResultError], None],
    form: ExportForm,
    *,
    alone: bool,
) -> bytes:
    """``alone``: of one result its own document, in place of one of several."""
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow.predict import predict_real
    from mobilekit.meter.document import ExportDocument, make_meter_document
    from mobilekit.records.meter import MeterResult
    from mobilekit.results.documents import (
        make_measurement_document,
        make_summaries_document,
    )

    answered = _answered(store, ids, on_damage)
    imports = [each for each in answered if isinstance(each, MeterResult)]
    measured = [each for each in answered if not isinstance(each, MeterResult)]
    if form == "summary":
        return encode_pretty(make_summaries_document(measured, imports, store.list_tags()))
    if form == "json":
        documents = [
            make_measurement_document(*each, predict_real(each[0], store)) for each in measured
        ]
        traces = [make_meter_document(each) for each in imports]
        if alone and len(answered) == 1:
            return encode_pretty([*documents, *traces][0])
        return encode_pretty(ExportDocument(measurements=tuple(documents), imports=tuple(traces)))
    return _for_others([measurement for measurement, _ in measured], imports, form)


def _for_others(
    measured: Sequence[Measurement], imports: Sequence[MeterResult], form: ExportForm
) -> bytes:
    """Of runs; what has no place in the form is named, and where nothing has one that is an
    error."""
    from mobilekit.analysis.repeats import is_usable
    from mobilekit.errors import UsageError
    from mobilekit.results.exchange import (
        render_action_benchmark,
        render_bencher,
        render_figures_csv,
    )
    from mobilekit.results.run_trace import render_run_trace
    from mobilekit.results.samples_csv import render_samples_csv

    if imports and not measured:
        raise UsageError(
            f"An import of a meter's trace is no run, which {form} is of",
            fix="Export it as json.",
        )
    if imports:
        names = ", ".join(each.id for each in imports)
        say(f"Left out, since imported traces are no runs: {names}", err=True)
    if form == "durations":
        return render_samples_csv(measured).encode()
    if form == "figures":
        return render_figures_csv(measured).encode()
    if form == "perfetto":
        return render_run_trace(measured)
    used = [each for each in measured if each.purpose == "measure" and is_usable(each)]
    kept = {each.id for each in used}
    unusable = [each.id for each in measured if each.id not in kept]
    if measured and not used:
        raise UsageError(
            "None of these runs has figures that may be used",
            runs=", ".join(unusable),
            fix="`mobilekit results show ID` says why.",
        )
    if unusable:
        why = "they failed, are in error, or were not to measure the network"
        say(f"Left out, since {why}: {', '.join(unusable)}", err=True)
    render = render_bencher if form == "bencher" else render_action_benchmark
    return render(used)
