"""``energy``: runs that are meant to go on without a cable."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mobilekit.cli.command import Commands
from mobilekit.cli.failure import exit_for, exit_with
from mobilekit.cli.group import Group
from mobilekit.cli.life import life
from mobilekit.cli.options import (
    DeviceOptions,
    GivenOptions,
    JsonFlag,
    JsonOptions,
    PresetOptions,
    RunOptions,
    StoreOption,
    StrictFlag,
    deploy_options,
    refuse_shared_weights,
)
from mobilekit.cli.terminal import say
from mobilekit.errors import UsageError

if TYPE_CHECKING:
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.flow.energy import Confirmation
    from mobilekit.records.measurement import Measurement

YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Start without asking.")]


class _ModelsOrCommand(Group):
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

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        if incomplete.startswith("-"):
            return self.commands["measure"].shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


app = Commands(
    cls=_ModelsOrCommand,
    rich_markup_mode=None,
    subcommand_metavar="MODEL... | COMMAND [OPTIONS]",
    help="Joules per inference and inferences per charge: `mobilekit energy MODEL --device D`.",
)


@app.command()
def measure(
    models: Annotated[list[str], typer.Argument(help="Names or model files, as for `deploy`.")],
    on: DeviceOptions,
    run: RunOptions,
    length: PresetOptions,
    output: JsonOptions,
    target_error: Annotated[
        str | None,
        typer.Option(
            "--target-error",
            help="How precisely to measure the marginal energy: half of its interval's width, 2%. "
            "[default: the preset's]",
            show_default=False,
        ),
    ] = None,
    sync_pattern: Annotated[
        bool,
        typer.Option(
            "--sync-pattern",
            help="Make load patterns by which an external meter's trace is matched to the run.",
        ),
    ] = False,
    yes: YesFlag = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every term of the energy's uncertainty.")
    ] = False,
    strict: StrictFlag = False,
    store: StoreOption = None,
) -> None:
    """Measure energy with the cable out: of several models in random order, with one pull of it."""
    import random

    from mobilekit import places
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.analysis.energy.usage import PUBLISHED_UPLOADS, describe_use
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow import energy as energy_runs
    from mobilekit.flow.predict import predict_real
    from mobilekit.results.documents import (
        EnergyDocument,
        make_measurement_document,
        make_summaries_document,
    )
    from mobilekit.results.store import Store
    from mobilekit.results.text.energy import render_budget, render_use
    from mobilekit.results.text.measurement import render_measurement

    refuse_shared_weights(models, run.weights)
    opened = Store(store or places.default_store())
    measurements: list[Measurement] = []
    order = random.sample(models, len(models))
    options = [
        deploy_options(model, on, run, length, backend=run.backend, among=models) for model in order
    ]

    def show(measurement: Measurement) -> None:
        measurements.append(measurement)
        if output.as_json:
            return
        reporter.pause()
        answer = derive_answer(measurement)
        say(render_measurement(measurement, answer, predict_real(measurement, opened)))
        energy, charge = answer.energy, answer.charge
        if energy is not None and charge is not None:
            uploads = (measurement.profile and measurement.profile.uploads) or PUBLISHED_UPLOADS
            use = describe_use(energy, charge, uploads)
            say(render_use(use, charge.origin))
        if explain and energy is not None:
            say(render_budget(energy))

    with TerminalReporter() as reporter:
        stopped = energy_runs.measure_energy(
            options,
            opened,
            reporter,
            target_error=_ratio_of(target_error),
            sync_pattern=sync_pattern,
            confirm=_confirming(reporter, yes=yes),
            on_measured=show,
        )
    answered = [(item, derive_answer(item)) for item in measurements]
    if output.summary:
        say(encode_pretty(make_summaries_document(answered)), nl=False)
    elif output.as_json:
        documents = (
            make_measurement_document(*pair, predict_real(pair[0], opened)) for pair in answered
        )
        say(encode_pretty(EnergyDocument(measurements=tuple(documents))), nl=False)
    if stopped is not None:
        exit_with(stopped)
    exit_for(measurements, strict=strict)


@app.command()
def calibrate(
    on: DeviceOptions,
    network: GivenOptions,
    model: Annotated[
        str, typer.Option("--model", help="The network that makes the load, as for `deploy`.")
    ] = "squeezenet",
    current_unit: Annotated[
        Literal["uA", "mA"] | None,
        typer.Option(
            "--current-unit",
            help="Take this for the current's unit, whatever the evidence says.",
            show_default=False,
        ),
    ] = None,
    current_sign: Annotated[
        Literal["negative", "positive"] | None,
        typer.Option(
            "--discharge",
            help="Take this for the current's sign while discharging, whatever the evidence says.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Literal["charge_counter", "current_now", "energy_counter", "power_rails"] | None,
        typer.Option(
            "--source", help="Trust this source, whatever the evidence says.", show_default=False
        ),
    ] = None,
    measured: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Measure again, or only apply the options above to the last calibration.",
        ),
    ] = True,
    yes: YesFlag = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Find out what a phone's fuel gauge can tell: once for each phone; later runs use it."""
    from mobilekit import places
    from mobilekit.analysis.energy.gauge import Overrides
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import UnreliableError
    from mobilekit.flow import energy as energy_runs
    from mobilekit.records.energy import GaugeRefusal
    from mobilekit.results.documents import GaugeDocument
    from mobilekit.results.store import Store
    from mobilekit.results.text.energy import render_gauge

    overrides = Overrides(
        current_scale=None if current_unit is None else 1 if current_unit == "uA" else 1000,
        current_sign=None if current_sign is None else 1 if current_sign == "negative" else -1,
        source=source,
    )
    options = deploy_options(model, on, RunOptions(**asdict(network)))
    opened = Store(store or places.default_store())
    with TerminalReporter() as reporter:
        if measured:
            measurement, found = energy_runs.calibrate_gauge(
                options, opened, reporter, overrides, confirm=_confirming(reporter, yes=yes)
            )
        else:
            measurement, found = (
                None,
                energy_runs.override_gauge(options, opened, reporter, overrides),
            )
    if found is not None:
        if as_json:
            say(encode_pretty(GaugeDocument(found=found)), nl=False)
        else:
            say(render_gauge(found))
    if measurement is not None:
        exit_for([measurement])
    if found is None:
        raise UnreliableError(
            "The run showed nothing about the gauge",
            fix="See what it did measure: `mobilekit results show last`.",
        )
    if isinstance(found, GaugeRefusal):
        failure = UnreliableError(
            f"This gauge cannot be trusted: {found.reason}",
            device=found.device,
            fix="Measure with an external meter (`mobilekit docs meter`), or set --source "
            "yourself.",
        )
        # What was found, on stdout, says so already.
        exit_with(failure)


app.command()(life)


def _confirming(reporter: TerminalReporter, *, yes: bool) -> Confirmation:
    from mobilekit.flow.energy import Confirmation

    def check() -> None:
        if not yes and not sys.stdin.isatty():
            raise UsageError(
                "There is no terminal on which to confirm the plan",
                fix="Give --yes to start without asking.",
            )

    def ask() -> None:
        if not yes:
            reporter.pause()
            _ask()

    return Confirmation(check, ask)


def _ask() -> None:
    from mobilekit.errors import StoppedError

    try:
        wanted = typer.confirm("Start?", default=True, err=True)
    except typer.Abort:
        raise StoppedError(
            "Interrupted from the keyboard",
            fix="Nothing was started. `mobilekit results list` shows a pilot run's latency.",
        ) from None
    if not wanted:
        raise typer.Abort


def _ratio_of(text: str | None) -> float | None:
    """``2%`` and ``0.02`` alike."""
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
