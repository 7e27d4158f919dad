"""How an expected failure looks: one paragraph on stderr, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from mobilekit.cli.terminal import say
from mobilekit.errors import (
    DisconnectedError,
    MobilekitError,
    NothingFitsError,
    RunFailedError,
    UnreliableError,
)

if TYPE_CHECKING:
    from mobilekit.analysis.methods import Tried
    from mobilekit.records.measurement import Measurement


def show_failure(error: MobilekitError) -> None:
    typer.secho("Error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    say(str(error), err=True)


def exit_for(measurements: Sequence[Measurement], *, strict: bool = False) -> None:
    """End the program for runs that failed or, under ``strict``, are doubtful.

    What was asked for on stdout holds the failure already.
    """
    failures = [
        failure
        for measurement in measurements
        if (failure := _failure_of(measurement, strict=strict)) is not None
    ]
    for failure in failures:
        show_failure(failure)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def exit_with(error: MobilekitError) -> NoReturn:
    """End the program for a failure when stdout holds what was asked for already."""
    show_failure(error)
    raise typer.Exit(error.exit_code)


def exit_for_damage(damaged: Sequence[MobilekitError]) -> None:
    """End the program for what is stored and was left out of the answer, where there is any."""
    for error in damaged:
        show_failure(error)
    if damaged:
        raise typer.Exit(damaged[0].exit_code)


@contextmanager
def after_the_answer() -> Iterator[None]:
    """End the program for what fails when stdout holds what was asked for already."""
    try:
        yield
    except MobilekitError as error:
        exit_with(error)


def _nothing_kept(measurement: Measurement, tried: Sequence[Tried]) -> MobilekitError:
    """That no level keeps to the budget, and which comes nearest."""
    from mobilekit.units import format_duration

    choice = measurement.request.choice
    assert choice is not None
    nearest = min(tried, key=lambda each: each.p50_ns)
    return NothingFitsError(
        f"No level keeps to {format_duration(choice.budget_ns)} on {measurement.device.name}",
        nearest=nearest.artifact.model.variant.text,
        latency=format_duration(nearest.p50_ns),
        fix=f"What is told is of {measurement.artifact.model.variant.text}. Allow more time, or "
        "compress a smaller network.",
    )


def _failure_of(measurement: Measurement, *, strict: bool) -> MobilekitError | None:
    from mobilekit.analysis.methods import tried_methods
    from mobilekit.contract.protocol import RunFailure
    from mobilekit.contract.samples import was_lost

    result = measurement.result
    if isinstance(result, RunFailure):
        lost = was_lost(result)
        fix = f"What it measured is kept: `mobilekit results show {measurement.id}`."
        more = " Once the phone answers, `mobilekit collect` fetches the rest." if lost else ""
        return (DisconnectedError if lost else RunFailedError)(
            f"The run failed in its {result.phase} phase: {result.message}",
            fix=fix + more,
            code=result.code,
        )
    tried = list(tried_methods(measurement, result.samples))
    if tried and not any(each.keeps for each in tried):
        return _nothing_kept(measurement, tried)
    classification = measurement.classification
    if classification is not None and not classification.agreement.matches:
        return UnreliableError(
            "For the examples the device computes something other than PyTorch",
            fix="The finding EXAMPLES-DIFFER says by how much.",
        )
    doubts = [finding.id for finding in measurement.findings if finding.severity != "info"]
    if strict and doubts:
        return UnreliableError(
            "The figures are unreliable",
            findings=", ".join(doubts),
            fix="Each finding says what to do about it.",
        )
    return None
