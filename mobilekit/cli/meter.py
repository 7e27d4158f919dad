"""``meter``: traces of external power meters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mobilekit.cli.command import Commands
from mobilekit.cli.failure import after_the_answer
from mobilekit.cli.group import Group
from mobilekit.cli.options import JsonFlag, StoreOption
from mobilekit.cli.terminal import say

if TYPE_CHECKING:
    from mobilekit.meter.envelope import Span

app = Commands(cls=Group, help="Energy from an external power meter's trace.")


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A meter's CSV export, or a Joulescope's .jls.", metavar="FILE")
    ],
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "-n",
            min=1,
            help="How many inferences are in all load windows; known with --run.",
        ),
    ] = None,
    format: Annotated[
        Literal["auto", "monsoon", "ppk2", "joulescope", "csv"],
        typer.Option("--format", help="Which meter wrote the file; auto tells from its columns."),
    ] = "auto",
    plane: Annotated[
        Literal["usb", "battery"] | None,
        typer.Option(
            "--plane", help="Where the meter was connected. [default: told from channel or voltage]"
        ),
    ] = None,
    shunt_ohm: Annotated[
        float | None,
        typer.Option(
            "--shunt-ohm", help="The reading is the voltage across a shunt of so many ohms."
        ),
    ] = None,
    supply_volt: Annotated[
        float | None,
        typer.Option("--supply-volt", help="The supply's voltage, where the file has none."),
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option(
            "--time-column",
            help="The column of times: its name or number, or `row` to count the rows.",
        ),
    ] = None,
    time_unit: Annotated[
        str | None,
        typer.Option(
            "--time-unit",
            help="The unit of the times: s, ms, us or ns, or the seconds of one count: 2e-5.",
        ),
    ] = None,
    value_column: Annotated[
        str | None,
        typer.Option("--value-column", help="The column of the reading: its name or number."),
    ] = None,
    value_unit: Annotated[
        str | None,
        typer.Option(
            "--value-unit", help="The unit of the reading: V, mV, uV, A, mA, uA, nA, W, mW or uW."
        ),
    ] = None,
    voltage_column: Annotated[
        str | None,
        typer.Option(
            "--voltage-column", help="The column of the supply's voltage: its name or number."
        ),
    ] = None,
    voltage_unit: Annotated[
        str | None, typer.Option("--voltage-unit", help="The unit of that column: V, mV or uV.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--delimiter", help="What stands between the columns: a character, tab or space."
        ),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option("--decimal", help="The decimal sign: a point or a comma.")
    ] = None,
    load_channel: Annotated[
        str | None,
        typer.Option(
            "--load-channel", help="A PPK2's digital channel that is high under load: D0."
        ),
    ] = None,
    zero: Annotated[
        str | None,
        typer.Option(
            "--zero", help="Seconds of the trace with nothing connected, to zero the meter on: 0:5."
        ),
    ] = None,
    offset: Annotated[
        float | None,
        typer.Option("--offset", help="What the meter shows with nothing connected, in V, A or W."),
    ] = None,
    gain_uncertainty: Annotated[
        float | None,
        typer.Option(
            "--gain-uncertainty",
            min=0.0,
            max=0.5,
            help="Standard uncertainty of the meter's gain, relative: 0.01. [default: assumed]",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "-d", help="The profile whose battery the inferences per charge are for."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            help="The stored run that this is the trace of: its id, the id's beginning, or `last`.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw power over time into this file.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Import a power trace: joules per inference, gross and marginal, and inferences per charge."""
    from mobilekit import places
    from mobilekit.cli.progress import reading_progress
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import UsageError
    from mobilekit.flow.meter import import_meter_trace
    from mobilekit.meter.columns import FileOptions
    from mobilekit.meter.document import make_meter_document, render_meter
    from mobilekit.meter.importing import TraceOptions
    from mobilekit.meter.plot import draw_trace
    from mobilekit.results.plot_file import check_plot_path, write_figure
    from mobilekit.results.store import Store

    for first, second, both in (
        ("--zero", "--offset", zero is not None and offset is not None),
        ("--run", "--load-channel", run is not None and load_channel is not None),
        (
            "--supply-volt",
            "--voltage-column",
            supply_volt is not None and voltage_column is not None,
        ),
    ):
        if both:
            raise UsageError(f"{first} and {second} exclude each other", fix="Give one of them.")
    if voltage_unit is not None and voltage_column is None:
        raise UsageError(
            "--voltage-unit is given, and no column that it is the unit of",
            fix="Name the column with --voltage-column.",
        )
    for option, value, unit in (
        ("--shunt-ohm", shunt_ohm, "ohms"),
        ("--supply-volt", supply_volt, "volts"),
    ):
        if value is not None and not value > 0:
            raise UsageError(f"{option} must be above zero", fix=f"Give it in {unit}.")
    if plot is not None:
        check_plot_path(plot)
    opened = Store(store or places.default_store())
    measurement = opened.read(run) if run is not None else None
    trace_options = TraceOptions(
        iterations=iterations,
        zero=_parse_zero(zero),
        offset=offset,
        gain_uncertainty=gain_uncertainty,
    )
    file_options = FileOptions(
        format=None if format == "auto" else format,
        shunt_ohm=shunt_ohm,
        supply_volt=supply_volt,
        time_column=time_column,
        time_unit=time_unit,
        value_column=value_column,
        value_unit=value_unit,
        voltage_column=voltage_column,
        voltage_unit=voltage_unit,
        load_channel=load_channel,
        delimiter=delimiter,
        decimal=decimal,
        plane=plane,
    )
    with reading_progress(file.name) as on_bytes:
        result, imported = import_meter_trace(
            file,
            file_options,
            trace_options,
            device=device,
            run=measurement,
            store=opened,
            on_bytes=on_bytes,
        )
    document = make_meter_document(result)
    if as_json:
        say(encode_pretty(document), nl=False)
    else:
        say(render_meter(document))
    if plot is not None:
        with after_the_answer():
            figure = draw_trace(imported.bins, imported.blocks, imported.trace, imported.estimate)
            write_figure(figure, plot)


def _parse_zero(text: str | None) -> Span | None:
    """``0:5`` as a part of the trace."""
    from mobilekit.errors import UsageError
    from mobilekit.meter.envelope import Span

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text)
    if match is None or not float(match[1]) < float(match[2]):
        raise UsageError(
            f"--zero {text!r} is not a part of a trace",
            fix="Give its start and end in seconds: --zero 0:5.",
        )
    return Span(float(match[1]), float(match[2]))
