"""``compress``: the network that keeps within a budget, and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mobilekit.cli.command import find_given
from mobilekit.cli.options import (
    ApkOption,
    CalibrationOption,
    DeviceOptions,
    GivenOptions,
    InstallOption,
    JsonFlag,
    ModelArgument,
    RequirePhoneFlag,
    StoreOption,
    ThreadsOption,
)
from mobilekit.cli.terminal import say
from mobilekit.contract.protocol import Format
from mobilekit.errors import UsageError
from mobilekit.formats import formats_text
from mobilekit.records.compression import Redundancy
from mobilekit.records.network import LEAST_LEVELS, MOST_LEVELS, StorageWay
from mobilekit.units import NS_PER_MS

J_PER_MJ = 1e-3
OF_RUNS = ("device", "apk", "install", "require_phone", "threads", "store")
"""Parameters that --levels, which runs nothing on a device and stores nothing, has no use for."""


def compress(
    context: typer.Context,
    model: ModelArgument,
    given: GivenOptions,
    device: Annotated[
        str, typer.Option("--device", "-d", help="Where it is measured: pc, or as for `deploy`.")
    ] = "pc",
    apk: ApkOption = None,
    install: InstallOption = True,
    require_phone: RequirePhoneFlag = False,
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
            help="The most that an inference may take, the median on the device.",
            show_default=False,
        ),
    ] = None,
    budget_mj: Annotated[
        float | None,
        typer.Option(
            "--budget-mj",
            help="The most energy that an inference may take, the whole phone's while it computes.",
            show_default=False,
        ),
    ] = None,
    max_accuracy_loss: Annotated[
        float | None,
        typer.Option(
            "--max-accuracy-loss",
            min=0,
            max=100,
            help="The most that may be lost, in points; alone it asks for the smallest network. "
            "[default: 1]",
            show_default=False,
        ),
    ] = None,
    storage: Annotated[
        Literal["shared", "pruned", "dictionary", "all"] | None,
        typer.Option(
            "--storage",
            help="Also look for a small way to store the weights, which are expanded before they "
            "are loaded: the file is smaller, what runs is not, and init takes longer.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="A directory of labelled examples. [default: what comes with the model, else "
            "agreement with the uncompressed network on generated inputs]",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(
            "--levels",
            min=LEAST_LEVELS,
            max=MOST_LEVELS,
            help="In place of a search: so many nested ranks in one program. `deploy --level` runs "
            "one of them; with auto, the device chooses it before it measures.",
            show_default=False,
        ),
    ] = None,
    apart: Annotated[
        bool,
        typer.Option(
            "--apart",
            help="With --levels: weights in a file beside the program (.ptd), one for each level, "
            "so that a device is sent only what its level needs.",
        ),
    ] = False,
    precision: Annotated[
        Literal["fp32", "int8"],
        typer.Option("--precision", help="Of --levels; a budget is sought in all."),
    ] = "fp32",
    calibration: CalibrationOption = None,
    format: Annotated[Format, typer.Option("--format", help=f"{formats_text()}.")] = "pte",
    threads: ThreadsOption = None,
    redundancy: Annotated[
        Redundancy,
        typer.Option(
            "--redundancy",
            help="By what layers are cut together: the error relative to each layer's own weights, "
            "or DeepX's root mean square, which is worse.",
        ),
    ] = "frobenius",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write what was chosen here, for --compressed of `deploy`."
        ),
    ] = None,
    as_json: JsonFlag = False,
    store: StoreOption = None,
) -> None:
    """Find the network that keeps within a size, a time or an energy and loses little accuracy."""
    from mobilekit import places
    from mobilekit.cli.failure import after_the_answer
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow import compress as flow
    from mobilekit.flow import levels as level_flow
    from mobilekit.flow.prepare import DeployOptions
    from mobilekit.model.zoo import find_model
    from mobilekit.records.compression import Budget
    from mobilekit.records.network import Variant
    from mobilekit.results.network_documents import (
        CompressDocument,
        LevelsDocument,
    )
    from mobilekit.results.output_file import check_writable, write_file
    from mobilekit.results.saved import CompressedDocument
    from mobilekit.results.store import Store
    from mobilekit.results.text.compress import render_choice, render_levels

    budgets = (("--budget-mb", budget_mb), ("--budget-ms", budget_ms), ("--budget-mj", budget_mj))
    for name, value in budgets:
        if value is not None and not 0 < value < 1e6:
            raise UsageError(f"{name} must be above 0 and below 1e6", fix=f"Correct {name}.")
    if levels is None and max_accuracy_loss is None and all(value is None for _, value in budgets):
        raise UsageError(
            "There is no budget",
            fix="Give --budget-mb, --budget-ms, --budget-mj or several, or --max-accuracy-loss "
            "alone for the smallest network that loses no more; or --levels.",
        )
    sought = (*(value for _, value in budgets), max_accuracy_loss, data, storage)
    if levels is not None and (
        redundancy != "frobenius" or any(each is not None for each in sought)
    ):
        raise UsageError(
            "--levels makes a network for every budget: it takes no budget, no --data, "
            "no --storage and no --redundancy",
            fix="`mobilekit deploy --level auto --budget-ms` chooses one of the levels, and "
            "`mobilekit tradeoff --data` tells the accuracy of each.",
        )
    given_for_runs = find_given(context, OF_RUNS)
    if levels is not None and given_for_runs:
        raise UsageError(
            "--levels runs nothing on a device and stores nothing: it takes no "
            f"{' and no '.join(given_for_runs)}",
            fix="Leave that out; `mobilekit tradeoff` measures the levels on a device.",
        )
    if levels is not None and format != "pte":
        raise UsageError(
            f"--levels is for .pte, whose methods share their weights, and --format {format} asks "
            "for another",
            fix="Leave --format out, or --levels.",
        )
    if levels is None and apart:
        raise UsageError(
            "--apart is of --levels: a network that is sought has its weights in its program",
            fix="Leave it out.",
        )
    if levels is None and precision != "fp32":
        raise UsageError(
            "--precision is of --levels: a budget is sought in all precisions",
            fix="Leave it out.",
        )
    if output is not None:
        check_writable(output)
    on = DeviceOptions(device=device, apk=apk, install=install, require_phone=require_phone)
    options = DeployOptions(
        model=model,
        given=given.given,
        device=on.device,
        preset="fast",
        threads=threads,
        energy=False,
        require_phone=on.require_phone,
        format=format,
        variant=Variant(precision=precision),
        seek_backend=False,
        calibration=calibration,
        apk=on.apk,
        install=on.install,
    )
    if levels is not None:
        with TerminalReporter() as reporter:
            made = level_flow.measure_levels(options, levels, reporter, apart=apart)
        spec = find_model(model, given.given)
        if as_json:
            say(encode_pretty(LevelsDocument(model=spec, levels=made)), nl=False)
        else:
            say(render_levels(spec, made, output, calibration))
        kept = CompressedDocument(
            model=spec.name,
            precision=precision,
            compression=None,
            ladder=made.ladder,
            apart=apart,
        )
        with after_the_answer():
            if output is not None:
                write_file(output, encode_pretty(kept))
        return
    budget = Budget(
        size_bytes=None if budget_mb is None else int(budget_mb * 1_000_000),
        latency_ns=None if budget_ms is None else int(budget_ms * NS_PER_MS),
        energy_j=None if budget_mj is None else budget_mj * J_PER_MJ,
        max_loss_points=1.0 if max_accuracy_loss is None else max_accuracy_loss,
    )
    ways: tuple[StorageWay, ...] = ("shared", "pruned", "dictionary")
    if storage != "all":
        ways = () if storage is None else (storage,)
    with TerminalReporter() as reporter:
        opened = Store(store or places.default_store())
        choice = flow.compress(
            options, budget, data, opened, reporter, redundancy=redundancy, ways=ways
        )
    spec = find_model(model, given.given)
    if as_json:
        say(encode_pretty(CompressDocument(model=spec, choice=choice)), nl=False)
    else:
        say(render_choice(spec, choice, output))
    if output is not None:
        variant = choice.chosen.variant
        chosen = CompressedDocument(
            model=spec.name,
            precision=variant.precision,
            compression=variant.compression,
            storage=variant.storage,
        )
        with after_the_answer():
            write_file(output, encode_pretty(chosen))
