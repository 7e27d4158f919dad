"""``deploy`` and ``export``."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli.answer import tell
from mobilekit.cli.options import (
    BackendOption,
    DeviceOptions,
    JsonFlag,
    JsonOptions,
    ModelArgument,
    NetworkOptions,
    PresetOptions,
    RunOptions,
    StoreOption,
    StrictFlag,
    deploy_options,
)
from mobilekit.cli.terminal import say
from mobilekit.contract.protocol import Format
from mobilekit.errors import UsageError
from mobilekit.formats import formats_text
from mobilekit.records.network import with_backend


def deploy(
    model: ModelArgument,
    on: DeviceOptions,
    run: RunOptions,
    length: PresetOptions,
    output: JsonOptions,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy/--no-energy", help="Measure energy where the device runs on its battery."
        ),
    ] = True,
    strict: StrictFlag = False,
    store: StoreOption = None,
) -> None:
    """Export, push and run a network; tell what it costs."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.flow import deploy as flow
    from mobilekit.results.store import Store

    options = deploy_options(model, on, run, length, energy=energy, backend=run.backend)
    opened = Store(store or places.default_store())
    with TerminalReporter() as reporter:
        measurement = flow.deploy(options, opened, reporter)
    tell(measurement, output=output, strict=strict, store=opened)


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
    from mobilekit.results.documents import ArtifactDocument
    from mobilekit.results.text.measurement import render_findings
    from mobilekit.results.text.model import render_artifact

    if backend == "auto":
        raise UsageError(
            "--backend auto measures both backends, and an export runs none",
            fix="Give xnnpack or vulkan; `mobilekit deploy --backend auto` tells which is faster.",
        )
    directory = places.artifacts_directory()
    with TerminalReporter() as reporter:
        artifact = export_artifact(
            with_variant(find_model(model, network.given), with_backend(network.variant, backend)),
            format,
            calibration=network.calibration,
            cache_directory=directory,
            on_progress=reporter.note,
        )
        lacking = find_lacking(
            artifact.file, (*artifact.inputs, *artifact.reference_outputs), directory
        )
        if lacking is not None:
            for line in render_findings([not_on_phones(lacking.text, lacking.advice)]):
                reporter.note(line)
    if as_json:
        say(encode_pretty(ArtifactDocument(artifact=artifact)), nl=False)
    else:
        say(render_artifact(artifact, directory))
