"""``check``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mobilekit.cli.options import (
    MODEL_HELP,
    DeviceOptions,
    JsonFlag,
    PresetOptions,
    RunOptions,
    StoreOption,
    deploy_options,
)
from mobilekit.errors import UsageError

if TYPE_CHECKING:
    from mobilekit.analysis.gate import Gate, GatedName
    from mobilekit.errors import MobilekitError


def check(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help=f"{MODEL_HELP} With --results, ids.", show_default=False
        ),
    ],
    on: DeviceOptions,
    run: RunOptions,
    length: PresetOptions,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            metavar="ID|FILE",
            help="A stored run, or a .json file that --save wrote. May be given several times.",
            show_default=False,
        ),
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(
            "--max-regression",
            help="By how much a figure may be worse: latency, init, energy, memory, size. "
            "[default: latency=5%,energy=10%,memory=10%]",
            show_default=False,
        ),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            min=1,
            max=1000,
            help="Runs to measure: how they differ is what is judged by.",
        ),
    ] = 5,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Write these runs into this .json file, a baseline for later."),
    ] = None,
    stored: Annotated[
        bool, typer.Option("--results", help="Judge stored runs in place of measuring.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Set runs against a baseline, and fail where a network got slower or hungrier.

    Exits with 0 where nothing regressed, 10 where a figure did, 5 where it cannot be told.
    """
    from mobilekit import places
    from mobilekit.analysis.gate import DEFAULT_LIMITS, judge
    from mobilekit.cli.failure import exit_with
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.cli.terminal import say, terminal_width
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow.check import find_baseline, measure_repeats, refuse_unlike
    from mobilekit.results.documents import CheckDocument
    from mobilekit.results.output_file import check_writable, write_file
    from mobilekit.results.saved import BaselineDocument
    from mobilekit.results.store import Store, open_to_read
    from mobilekit.results.text.check import render_check

    if not baseline and save is None:
        raise UsageError(
            "There is nothing to set the runs against",
            fix="Give --baseline ID or FILE, or --save FILE to make a baseline of these runs.",
        )
    if save is not None and save.suffix != ".json":
        raise UsageError("A baseline is a .json file", path=save, fix="Name it FILE.json.")
    if save is not None:
        if str(save) in (baseline or ()):
            raise UsageError(
                "--save would write over the baseline, whatever is found",
                file=save,
                fix="Give it another name, and take that as the baseline where nothing regressed.",
            )
        check_writable(save)
    if not stored and len(models) > 1:
        raise UsageError(
            "check measures one network at a time",
            models=", ".join(models),
            fix="Give one, or ids of stored runs with --results.",
        )
    limits = dict(DEFAULT_LIMITS) if max_regression is None else _parse_limits(max_regression)
    opened = open_to_read(store) if stored else Store(store or places.default_store())
    theirs = find_baseline(baseline or (), opened)
    # What is unlike within the baseline is so whatever is measured.
    refuse_unlike(theirs, one_network=True)
    if stored:
        ours = [opened.read(each) for each in models]
    else:
        options = deploy_options(
            models[0], on, run, length, energy="energy" in limits, backend=run.backend
        )
        with TerminalReporter() as reporter:
            ours = measure_repeats(options, repeat, opened, reporter)
    refuse_unlike(ours, one_network=True)
    refuse_unlike([*theirs, *ours], one_network=False)
    saved = BaselineDocument(measurements=tuple(ours))
    if save is not None:
        write_file(save, encode_pretty(saved))
    if not theirs:
        say(f"Baseline of {len(ours)} runs: {save}", err=True)
        if as_json:
            say(encode_pretty(saved), nl=False)
        return
    gate = judge(ours, theirs, limits, required=max_regression is not None)
    document = CheckDocument(
        model=ours[0].artifact.model.label,
        device=ours[0].device.name,
        virtual=ours[0].virtual,
        gate=gate,
    )
    if as_json:
        say(encode_pretty(document), nl=False)
    else:
        for line in render_check(document, terminal_width()).splitlines():
            say(line)
    if failure := _failure_of(gate):
        exit_with(failure)


def _failure_of(gate: Gate) -> MobilekitError | None:
    from mobilekit.errors import CannotTellError, RegressedError

    regressed = [each.name for each in gate.figures if each.verdict == "regressed"]
    if regressed:
        return RegressedError(
            f"Regressed: {', '.join(regressed)}",
            fix="`mobilekit compare --results ID ID` sets one of these runs beside the baseline's.",
        )
    if gate.verdict == "cannot tell":
        unknown = [each.name for each in gate.figures if each.verdict == "cannot tell"]
        return CannotTellError(
            f"It cannot be told whether these regressed: {', '.join(unknown) or 'any figure'}",
            fix="Measure more runs with --repeat, of the baseline too.",
        )
    return None


def _parse_limits(text: str) -> dict[GatedName, float]:
    """``latency=5%,energy=0.1``; raises ``UsageError`` for what is no such list."""
    from mobilekit.analysis.gate import GatedName

    known: dict[str, GatedName] = {name: name for name in get_args(GatedName)}
    limits: dict[GatedName, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            limit = float(value[:-1]) / 100 if value.endswith("%") else float(value)
        except ValueError:
            limit = math.nan
        if name not in known or name in limits or not 0 <= limit <= 10:
            raise UsageError(
                f"--max-regression {part.strip()!r} is no figure with a limit",
                fix=f"Give each of {', '.join(known)} at most once, as in latency=5%,energy=10%.",
            )
        limits[known[name]] = limit
    return limits
