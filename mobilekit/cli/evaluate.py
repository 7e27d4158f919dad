"""``evaluate``: the accuracy on labelled examples, measured where the network is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli.answer import tell
from mobilekit.cli.options import (
    ApkOption,
    CalibrationOption,
    DeviceOption,
    FormatOption,
    InstallOption,
    JsonFlag,
    ModelArgument,
    PrecisionOption,
    RequirePhoneFlag,
    StoreOption,
    StrictFlag,
    ThreadsOption,
    WeightsOption,
    wanted_of,
)
from mobilekit.records.network import Variant


def evaluate(
    model: ModelArgument,
    device: DeviceOption = "auto",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="A directory of labelled examples. [default: what comes with the model]",
            show_default=False,
        ),
    ] = None,
    weights: WeightsOption = None,
    threads: ThreadsOption = None,
    format: FormatOption = "auto",
    precision: PrecisionOption = "fp32",
    calibration: CalibrationOption = None,
    apk: ApkOption = None,
    install: InstallOption = True,
    require_phone: RequirePhoneFlag = False,
    strict: StrictFlag = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run labelled examples on a device; tell its accuracy, and PyTorch's beside it."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.flow import evaluate as evaluation
    from mobilekit.results.store import Store

    wanted = wanted_of(
        model,
        device,
        fast=True,
        rigorous=False,
        weights=weights,
        threads=threads,
        energy=False,
        format=format,
        variant=Variant(precision=precision),
        calibration=calibration,
        apk=apk,
        install=install,
        require_phone=require_phone,
    )
    opened = Store(store or places.default_store())
    with TerminalReporter() as reporter:
        measurement = evaluation.evaluate(wanted, data, opened, reporter)
    tell(measurement, as_json=as_json, strict=strict)
