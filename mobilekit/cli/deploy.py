"""``deploy`` and ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mobilekit.cli.failure import show_failure
from mobilekit.cli.options import JsonFlag, StoreOption

if TYPE_CHECKING:
    from mobilekit.errors import MobilekitError
    from mobilekit.records import Measurement

ModelArgument = Annotated[
    str, typer.Argument(help="A name that `mobilekit models` lists, or a model file (./mynet.py).")
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="State dict to load: .pt, .pth or .safetensors."),
]


def deploy(
    model: ModelArgument,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            "-d",
            help="A serial, a profile's name (nexus7), auto, virtual:NAME, or pc.",
        ),
    ] = "auto",
    weights: WeightsOption = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="A quick look: at least 0.5 s and 30 iterations.")
    ] = False,
    rigorous: Annotated[
        bool,
        typer.Option("--rigorous", help="For publication: at least 60 s and 1,024 iterations."),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Threads. [default: all]", show_default=False),
    ] = None,
    energy: Annotated[
        bool, typer.Option("--energy/--no-energy", help="Measure energy where a battery pays.")
    ] = True,
    format: Annotated[
        Literal["auto", "pte", "onnx"],
        typer.Option(
            "--format", help="ExecuTorch's .pte, ONNX Runtime's .onnx, or what the device can run."
        ),
    ] = "auto",
    apk: Annotated[
        Path | None,
        typer.Option(
            "--apk",
            help="The companion app to install, where it is missing or of another version. "
            "[default: mobilekit's own, else the local build's]",
            show_default=False,
        ),
    ] = None,
    install: Annotated[
        bool,
        typer.Option("--install/--no-install", help="Install or update the companion app."),
    ] = True,
    require_phone: Annotated[
        bool,
        typer.Option(
            "--require-phone",
            envvar="MOBILEKIT_REQUIRE_PHONE",
            help="Refuse a virtual phone.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 5 when there is a warning or an error.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Export, push and run a network; tell what it costs."""
    from mobilekit import flow, places
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.codec import encode_pretty
    from mobilekit.errors import UsageError
    from mobilekit.results.document import make_document
    from mobilekit.results.render import render_measurement
    from mobilekit.results.store import Store

    if fast and rigorous:
        raise UsageError("--fast and --rigorous contradict each other", fix="Give one of them.")
    if apk is not None and not install:
        raise UsageError("--apk and --no-install contradict each other", fix="Give one of them.")
    wanted = flow.Wanted(
        model=model,
        device=device,
        weights=weights,
        preset="fast" if fast else "rigorous" if rigorous else "default",
        threads=threads,
        energy=energy,
        require_phone=require_phone,
        format=format,
        apk=apk,
        install=install,
    )
    opened = Store(store or places.store_url())
    with TerminalReporter() as reporter:
        measurement = flow.deploy(wanted, opened, reporter)
    answer = derive_answer(measurement)
    if as_json:
        typer.echo(encode_pretty(make_document(measurement, answer)), nl=False)
    else:
        typer.echo(render_measurement(measurement, answer))
    failure = _failure_of(measurement, strict=strict)
    if failure is not None:
        # The document on stdout, if one was asked for, holds the failure already.
        show_failure(failure)
        raise typer.Exit(failure.exit_code)


def _failure_of(measurement: Measurement, *, strict: bool) -> MobilekitError | None:
    from mobilekit.errors import DisconnectedError, RunFailedError, UnreliableError
    from mobilekit.protocol import RunFailure

    result = measurement.result
    if isinstance(result, RunFailure):
        kind = DisconnectedError if result.code == "disconnected" else RunFailedError
        return kind(
            f"The run failed in its {result.phase} phase: {result.message}",
            fix=f"What it measured is kept: `mobilekit results show {measurement.id}`.",
            code=result.code,
        )
    doubts = [finding.id for finding in measurement.findings if finding.severity != "info"]
    if strict and doubts:
        return UnreliableError(
            "The figures are unreliable",
            findings=", ".join(doubts),
            fix="Each finding says what to do about it.",
        )
    return None


def export(
    model: ModelArgument,
    weights: WeightsOption = None,
    format: Annotated[
        Literal["pte", "onnx"],
        typer.Option("--format", help="ExecuTorch's .pte, or ONNX Runtime's .onnx."),
    ] = "pte",
    as_json: JsonFlag = False,
) -> None:
    """Export a network to ExecuTorch or ONNX without running it."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.codec import encode_pretty
    from mobilekit.model.export import export_artifact
    from mobilekit.model.zoo import find_model
    from mobilekit.results.render import render_artifact

    directory = places.artifacts_directory()
    with TerminalReporter() as reporter:
        artifact = export_artifact(
            find_model(model, weights=weights),
            format,
            cache_directory=directory,
            on_progress=reporter.note,
        )
    if as_json:
        typer.echo(encode_pretty(artifact), nl=False)
    else:
        typer.echo(render_artifact(artifact, directory))
