"""``results``: what was measured, without a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli.command import Commands
from mobilekit.cli.group import Group
from mobilekit.cli.layers import show_stored
from mobilekit.cli.options import JsonFlag, StoreOption

app = Commands(cls=Group, help="Look at stored measurements; no phone is needed.")
IdArgument = Annotated[
    str, typer.Argument(help="A measurement's id or its beginning, or `last`.", show_default=False)
]


app.command("profile")(show_stored)


@app.command("list")
def list_results(
    model: Annotated[
        str | None, typer.Option("--model", help="Only measurements of this model.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = 20,
    show_all: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List measurements, the newest first."""
    from itertools import islice

    from mobilekit.analysis.answer import derive_answer
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.documents import make_results_document
    from mobilekit.results.listing import results_table
    from mobilekit.results.store import open_to_read
    from mobilekit.results.tables.text import render_text

    opened = open_to_read(store)
    newest = opened.iterate_measurements(model)
    chosen = newest if show_all else islice(newest, limit)
    answered = [(measurement, derive_answer(measurement)) for measurement in chosen]
    stored = opened.count_measurements(model)
    if stored > len(answered):
        typer.echo(
            f"The newest {len(answered)} of {stored}; --limit N or --all shows more.", err=True
        )
    if as_json:
        typer.echo(encode_pretty(make_results_document(answered, stored=stored)), nl=False)
        return
    if not answered:
        of_model = f" of {model}" if model else ""
        typer.echo(
            f"There are no results{of_model} yet: "
            f"`mobilekit deploy {model or 'nin'} --device nexus7` makes one."
        )
        return
    typer.echo(render_text(results_table(answered)))


@app.command()
def show(measurement_id: IdArgument, store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """Show one measurement as `deploy` did."""
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.documents import make_measurement_document
    from mobilekit.results.store import open_to_read
    from mobilekit.results.text.measurement import render_measurement

    measurement = open_to_read(store).read(measurement_id)
    answer = derive_answer(measurement)
    if as_json:
        typer.echo(encode_pretty(make_measurement_document(measurement, answer)), nl=False)
    else:
        typer.echo(render_measurement(measurement, answer))


@app.command()
def export(
    measurement_id: IdArgument,
    csv: Annotated[bool, typer.Option("--csv", help="Write only the durations, as CSV.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file in place of stdout.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write one measurement whole, with all its raw samples."""
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.documents import make_measurement_document
    from mobilekit.results.output_file import check_writable, write_file
    from mobilekit.results.samples_csv import render_samples_csv
    from mobilekit.results.store import open_to_read

    if output is not None:
        check_writable(output)
    measurement = open_to_read(store).read(measurement_id)
    if csv:
        data = render_samples_csv(measurement).encode()
    else:
        data = encode_pretty(make_measurement_document(measurement, derive_answer(measurement)))
    if output is None:
        typer.echo(data, nl=False)
        return
    write_file(output, data)


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
