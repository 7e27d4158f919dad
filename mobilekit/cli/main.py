"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from mobilekit import __version__
from mobilekit.cli import energy, meter, results, virtual
from mobilekit.cli.compare import compare
from mobilekit.cli.deploy import deploy, export
from mobilekit.cli.evaluate import evaluate
from mobilekit.cli.failure import show_failure
from mobilekit.cli.layers import describe, profile
from mobilekit.cli.listing import devices, models
from mobilekit.errors import MobilekitError

app = typer.Typer(
    name="mobilekit",
    help="How fast is this trained network on this phone, and how many inferences does one "
    "battery charge buy?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(deploy)
app.command()(export)
app.command()(evaluate)
app.command()(describe)
app.command()(profile)
app.add_typer(energy.app, name="energy")
app.command()(energy.collect)
app.command()(compare)
app.command()(models)
app.command()(devices)
app.add_typer(meter.app, name="meter")
app.add_typer(results.app, name="results")
app.add_typer(virtual.app, name="virtual")


@app.callback()
def mobilekit(
    version: Annotated[
        bool | None, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = None,
) -> None:
    if version:
        typer.echo(f"mobilekit {__version__}")
        raise typer.Exit


def run() -> None:
    """The program: an expected failure is one paragraph and an exit code, never a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As an exception, so that what was started is stopped.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except MobilekitError as error:
        _end(error)
    except OSError as error:
        _end(
            MobilekitError(
                error.strerror or str(error),
                path=error.filename or "-",
                fix="Check that the disk has room and that the path may be written to.",
            )
        )


def _end(error: MobilekitError) -> None:
    if "--json" in sys.argv:
        import json

        failure = {"kind": error.kind, "what": error.what, "fix": error.fix} | error.facts
        typer.echo(json.dumps({"error": failure}))
    show_failure(error)
    sys.exit(error.exit_code)
