"""``compress``: the network that keeps within a budget, and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli.options import (
    CalibrationOption,
    GivenOptions,
    JsonFlag,
    ModelArgument,
    StoreOption,
    ThreadsOption,
)
from mobilekit.cli.terminal import say
from mobilekit.contract.protocol import Format
from mobilekit.errors import UsageError
from mobilekit.formats import formats_text
from mobilekit.units import NS_PER_MS


def compress(
    model: ModelArgument,
    given: GivenOptions,
    budget_mb: Annotated[
        float | None,
        typer.Option(
            "--budget-mb",
            help="The most that the exported program may have, in 1,000,000 bytes.",
            show_default=False,
        ),
    ] = None,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            "--budget-ms",
            help="The most that an inference may take, the median measured on this computer.",
            show_default=False,
        ),
    ] = None,
    max_accuracy_loss: Annotated[
        float,
        typer.Option(
            "--max-accuracy-loss", min=0, max=100, help="The most that may be lost, in points."
        ),
    ] = 1.0,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="A directory of labelled examples. [default: what comes with the model, else "
            "agreement with the uncompressed network on generated inputs]",
            show_default=False,
        ),
    ] = None,
    calibration: CalibrationOption = None,
    format: Annotated[Format, typer.Option("--format", help=f"{formats_text()}.")] = "pte",
    threads: ThreadsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write what was chosen here, for --compressed of `deploy`."
        ),
    ] = None,
    as_json: JsonFlag = False,
    store: StoreOption = None,
) -> None:
    """Find the network that keeps within a size or a time and loses little accuracy."""
    from mobilekit import places
    from mobilekit.cli.failure import after_the_answer
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow import compress as flow
    from mobilekit.flow.prepare import DeployOptions
    from mobilekit.model.zoo import find_model
    from mobilekit.records.compression import Budget
    from mobilekit.records.network import Variant
    from mobilekit.results.documents import CompressDocument
    from mobilekit.results.output_file import check_writable, write_file
    from mobilekit.results.saved import CompressedDocument
    from mobilekit.results.store import Store
    from mobilekit.results.text.compress import render_choice

    for name, value in (("--budget-mb", budget_mb), ("--budget-ms", budget_ms)):
        if value is not None and not 0 < value < 1e6:
            raise UsageError(f"{name} must be above 0 and below 1e6", fix=f"Correct {name}.")
    if budget_mb is None and budget_ms is None:
        raise UsageError("There is no budget", fix="Give --budget-mb, --budget-ms or both.")
    if output is not None:
        check_writable(output)
    options = DeployOptions(
        model=model,
        given=given.given,
        device="pc",
        preset="fast",
        threads=threads,
        energy=False,
        require_phone=False,
        format=format,
        variant=Variant(),
        seek_backend=False,
        calibration=calibration,
        apk=None,
        install=False,
    )
    budget = Budget(
        size_bytes=None if budget_mb is None else int(budget_mb * 1_000_000),
        latency_ns=None if budget_ms is None else int(budget_ms * NS_PER_MS),
        max_loss_points=max_accuracy_loss,
    )
    with TerminalReporter() as reporter:
        opened = Store(store or places.default_store())
        choice = flow.compress(options, budget, data, opened, reporter)
    spec = find_model(model, given.given)
    if as_json:
        say(encode_pretty(CompressDocument(model=spec, choice=choice)), nl=False)
    else:
        say(render_choice(spec, choice, output))
    if output is not None:
        variant = choice.chosen.variant
        chosen = CompressedDocument(
            model=spec.name, precision=variant.precision, compression=variant.compression
        )
        with after_the_answer():
            write_file(output, encode_pretty(chosen))
