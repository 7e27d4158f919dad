"""``deploy`` and ``export``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from mobilekit.cli.answer import tell
from mobilekit.cli.options import (
    MODEL_HELP,
    BackendOption,
    DevicesOptions,
    JsonFlag,
    JsonOptions,
    ModelArgument,
    NetworkOptions,
    PresetOptions,
    RunOptions,
    StoreOption,
    StrictFlag,
    check_level_choice,
    deploy_options,
)
from mobilekit.cli.terminal import say
from mobilekit.contract.protocol import Format
from mobilekit.errors import UsageError
from mobilekit.formats import formats_text
from mobilekit.records.network import with_backend


def deploy(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)
    ],
    on: DevicesOptions,
    run: RunOptions,
    length: PresetOptions,
    output: JsonOptions,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy/--no-energy", help="Measure energy where the device runs on its battery."
        ),
    ] = True,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            "--budget-ms",
            help="With --level auto: the most that an inference may take, the median on the "
            "device.",
            show_default=False,
        ),
    ] = None,
    strict: StrictFlag = False,
    store: StoreOption = None,
) -> None:
    """Export, push and run a network; tell what it costs.

    With several networks or devices it is a campaign: `mobilekit docs campaigns`.
    """
    if len(models) > 1 or len(on.devices) > 1:
        _refuse_of_one({"--budget-ms": budget_ms}, models, on)
        _deploy_many(models, on, run, length, output, energy=energy, strict=strict, store=store)
        return
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.flow import deploy as flow
    from mobilekit.results.store import Store

    options = deploy_options(
        models[0],
        on.first,
        run,
        length,
        energy=energy,
        backend=run.backend,
        budget_ms=budget_ms,
    )
    opened = Store(store or places.default_store())
    with TerminalReporter() as reporter:
        measurement = flow.deploy(options, opened, reporter)
    tell(measurement, output=output, strict=strict, store=opened)


def _deploy_many(
    models: list[str],
    on: DevicesOptions,
    run: RunOptions,
    length: PresetOptions,
    output: JsonOptions,
    *,
    energy: bool,
    strict: bool,
    store: str | None,
) -> None:
    """The campaign of each model on each device, once."""
    import secrets
    from pathlib import Path

    from mobilekit.campaign.file import path_of
    from mobilekit.cli.campaign import run_plan
    from mobilekit.records.campaign import CampaignPlan, Gates

    of_one = {
        "--weights": run.weights,
        "--input": run.input,
        "--inputs": run.inputs,
        "--calibration": run.calibration,
        "--level auto": run.chooses_level,
        "--apk": on.apk,
        "--no-install": not on.install or None,
        "--require-phone": on.require_phone or None,
        "--strict": strict or None,
        "--summary": output.summary or None,
        "--backend auto": run.backend == "auto" or None,
    }
    _refuse_of_one(of_one, models, on)
    for what, given in (("model", models), ("device", on.devices)):
        if len(set(given)) < len(given):
            raise UsageError(
                f"A {what} is given twice", given=", ".join(given), fix="Name each once."
            )
    plan = CampaignPlan(
        name="deploy",
        models=tuple(models),
        model_paths=tuple(path_of(model, Path.cwd()) for model in models),
        devices=tuple(on.devices),
        formats=(run.format,),
        precisions=(run.precision,),
        backends=("xnnpack" if run.backend == "auto" else run.backend,),
        threads=(run.threads,),
        repeats=1,
        preset=length.preset,
        energy="on-battery" if energy else "none",
        gates=Gates(),
        seed=secrets.randbelow(2**31),
        changed=tuple(run.variant_of(model, models) for model in models)
        if run.placement or run.compressed or run.level
        else (),
    )
    run_plan(plan, store, as_json=output.as_json)


def _refuse_of_one(given: Mapping[str, object], models: list[str], on: DevicesOptions) -> None:
    """Raises ``UsageError`` for an option that a campaign would leave out without a word."""
    for name, value in given.items():
        if value:
            raise UsageError(
                f"{name} is for one network on one device",
                models=", ".join(models),
                devices=", ".join(on.devices),
                fix="Measure them in commands of their own.",
            )


def export(
    model: ModelArgument,
    network: NetworkOptions,
    format: Annotated[
        Format,
        typer.Option("--format", help=f"{formats_text()}."),
    ] = "pte",
    backend: BackendOption = "xnnpack",
    as_json: JsonFlag = False,
) -> None:
    """Export a network to ExecuTorch, ONNX or LiteRT without running it."""
    from mobilekit import places
    from mobilekit.analysis.findings import not_on_phones
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.model.export import export_artifact
    from mobilekit.model.packed import find_lacking
    from mobilekit.model.zoo import find_model, with_variant
    from mobilekit.results.network_documents import ArtifactDocument
    from mobilekit.results.text.measurement import render_findings
    from mobilekit.results.text.model import render_artifact

    if backend == "auto":
        raise UsageError(
            "--backend auto measures both backends, and an export runs none",
            fix="Give xnnpack or vulkan; `mobilekit deploy --backend auto` tells which is faster.",
        )
    check_level_choice(network)
    directory = places.artifacts_directory()
    with TerminalReporter() as reporter:
        variant = with_backend(network.variant_of(model), backend)
        artifact = export_artifact(
            with_variant(find_model(model, network.given), variant, network.calibration),
            format,
            calibration=network.calibration,
            cache_directory=directory,
            on_progress=reporter.note,
        )
        lacking = find_lacking(
            artifact.program, (*artifact.inputs, *artifact.reference_outputs), directory
        )
        if lacking is not None:
            for line in render_findings([not_on_phones(lacking.text, lacking.advice)]):
                reporter.note(line)
    if as_json:
        say(encode_pretty(ArtifactDocument(artifact=artifact)), nl=False)
    else:
        say(render_artifact(artifact, directory))
