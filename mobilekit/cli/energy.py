"""``energy`` and ``collect``: runs that are meant to go on without a cable."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mobilekit.cli.failure import exit_for
from mobilekit.cli.options import (
    ApkOption,
    DeviceOption,
    FastFlag,
    FormatOption,
    InstallOption,
    JsonFlag,
    RequirePhoneFlag,
    RigorousFlag,
    StoreOption,
    StrictFlag,
    ThreadsOption,
    wanted_of,
)

if TYPE_CHECKING:
    from mobilekit.records import PlannedEnergy


class _ModelsOrCommand(TyperGroup):
    """A group whose first argument may be a model as well as a command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            args = ["measure", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Options may come before the models: the group has none of its own but --help.
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["measure", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ModelsOrCommand,
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="MODEL... | COMMAND [OPTIONS]",
    help="Joules per inference and inferences per charge: `mobilekit energy MODEL --device D`.",
)


@app.command()
def measure(
    models: Annotated[list[str], typer.Argument(help="Names or model files, as for `deploy`.")],
    device: DeviceOption = "auto",
    target_error: Annotated[
        str | None,
        typer.Option(
            "--target-error",
            help="Half-width that the marginal energy's interval may get from the gauge: 2%. "
            "[default: the preset's]",
            show_default=False,
        ),
    ] = None,
    fast: FastFlag = False,
    rigorous: RigorousFlag = False,
    threads: ThreadsOption = None,
    format: FormatOption = "auto",
    sync_pattern: Annotated[
        bool,
        typer.Option(
            "--sync-pattern", help="Make a load pattern that an external meter's trace shows."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking.")] = False,
    apk: ApkOption = None,
    install: InstallOption = True,
    require_phone: RequirePhoneFlag = False,
    strict: StrictFlag = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure energy with the cable out; several models in random order."""
    from mobilekit import flow, places
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.codec import encode_pretty
    from mobilekit.results.document import make_document
    from mobilekit.results.render import render_measurement
    from mobilekit.results.store import Store

    opened = Store(store or places.store_url())
    measurements = []
    for model in random.sample(models, len(models)):
        wanted = wanted_of(
            model,
            device,
            fast=fast,
            rigorous=rigorous,
            threads=threads,
            format=format,
            apk=apk,
            install=install,
            require_phone=require_phone,
        )
        with TerminalReporter() as reporter:

            def confirm(planned: PlannedEnergy, *, simulated: bool) -> None:
                reporter.planned_energy(planned, simulated=simulated)
                if not simulated and not yes:
                    reporter.pause()
                    _ask()

            measurement = flow.measure_energy(
                wanted,
                opened,
                reporter,
                target_error=_ratio_of(target_error),
                sync_pattern=sync_pattern,
                confirm=confirm,
            )
        measurements.append(measurement)
        if not as_json:
            typer.echo(render_measurement(measurement, derive_answer(measurement)))
    if as_json:
        documents = [make_document(item, derive_answer(item)) for item in measurements]
        typer.echo(encode_pretty(documents), nl=False)
    exit_for(measurements, strict=strict)


def _ask() -> None:
    from mobilekit.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            "Nobody is there to confirm the plan", fix="Give --yes to start without asking."
        )
    typer.confirm("Start?", default=True, abort=True, err=True)


def _ratio_of(text: str | None) -> float | None:
    """``2%`` and ``0.02`` alike."""
    from mobilekit.errors import UsageError

    if text is None:
        return None
    number, percent, _ = text.strip().partition("%")
    try:
        ratio = float(number) / (100 if percent else 1)
    except ValueError:
        ratio = 0.0
    if not 0.001 <= ratio <= 0.5:
        raise UsageError(
            f"--target-error {text} is not a share between 0.1% and 50%",
            fix="Write it as 2% or 0.02.",
        )
    return ratio


def collect(
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow runs that still go on to their end.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option("--forget", metavar="ID", help="Give up a run whose phone never comes back."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Fetch the results of runs that were left on their phones."""
    from mobilekit import flow, places
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.codec import encode_pretty
    from mobilekit.results.document import make_collection, make_document
    from mobilekit.results.render import render_measurement, render_waiting
    from mobilekit.results.store import Store

    opened = Store(store or places.store_url())
    if forget is not None:
        opened.forget_pending(forget)
        return
    with TerminalReporter() as reporter:
        collection = flow.collect(opened, reporter, wait=wait)
    answered = [(item, derive_answer(item)) for item in collection.collected]
    if as_json:
        documents = [make_document(*pair) for pair in answered]
        typer.echo(encode_pretty(make_collection(documents, collection.waiting)), nl=False)
    else:
        for pair in answered:
            typer.echo(render_measurement(*pair))
        typer.echo(render_waiting(collection.waiting))
    exit_for(collection.collected)
