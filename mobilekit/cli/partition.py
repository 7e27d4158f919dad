"""``partition``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli.failure import after_the_answer
from mobilekit.cli.options import (
    DeviceOptions,
    FormatOptions,
    GivenOptions,
    JsonFlag,
    ModelArgument,
    StoreOption,
    deploy_options,
)
from mobilekit.cli.terminal import say


def partition(
    model: ModelArgument,
    on: DeviceOptions,
    network: GivenOptions,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            "--threads",
            min=1,
            help="A number of threads to plan for; again for each further one. [default: 1 and 2]",
            show_default=False,
        ),
    ] = None,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy/--no-energy",
            help="Measure what each backend draws where the device runs on its battery.",
        ),
    ] = True,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="Write the placement into this file (.json), for --placement of other commands.",
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Spread a network's layers over a device's processors, where that is faster."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow import partition as flow
    from mobilekit.results.network_documents import PartitionDocument
    from mobilekit.results.output_file import check_writable, write_file
    from mobilekit.results.saved import PlacementDocument
    from mobilekit.results.store import Store
    from mobilekit.results.text.partition import render_partition

    run = FormatOptions(**asdict(network), format="pte")
    options = deploy_options(model, on, run, energy=energy)
    opened = Store(store or places.default_store())
    if save is not None:
        check_writable(save)
    numbers = list(dict.fromkeys(threads or (1, 2)))
    with TerminalReporter() as reporter:
        measurement, found = flow.partition(options, numbers, opened, reporter)
    spec = measurement.artifact.model
    document = PartitionDocument(
        model=spec, device=measurement.device.name, virtual=measurement.virtual, partition=found
    )
    if as_json:
        say(encode_pretty(document), nl=False)
    else:
        say(render_partition(document))
    with after_the_answer():
        if save is not None:
            kept = PlacementDocument(model=spec.name, placement=found.placement)
            write_file(save, encode_pretty(kept))
