"""``evaluate``: the accuracy on labelled examples, measured where the network is to run."""

from __future__ import annotations

from mobilekit.cli.answer import tell
from mobilekit.cli.options import (
    DataOption,
    DeviceOptions,
    JsonOptions,
    ModelArgument,
    RunOptions,
    StoreOption,
    StrictFlag,
    deploy_options,
)


def evaluate(
    model: ModelArgument,
    on: DeviceOptions,
    run: RunOptions,
    output: JsonOptions,
    data: DataOption = None,
    strict: StrictFlag = False,
    store: StoreOption = None,
) -> None:
    """Run labelled examples on a device; tell its accuracy, and PyTorch's beside it."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.flow import evaluate as evaluation
    from mobilekit.results.store import Store

    options = deploy_options(model, on, run, energy=False, backend=run.backend)
    opened = Store(store or places.default_store())
    with TerminalReporter() as reporter:
        measurement = evaluation.evaluate(options, data, opened, reporter)
    tell(measurement, output=output, strict=strict, store=opened)
