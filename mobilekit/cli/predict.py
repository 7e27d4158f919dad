"""``predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.cli.failure import exit_with
from mobilekit.cli.options import (
    CompressedOption,
    GivenOptions,
    JsonFlag,
    LevelOption,
    NetworkOptions,
    StoreOption,
    check_level_choice,
)
from mobilekit.cli.predict_own import calibrate_phone, tell_scores
from mobilekit.contract.protocol import Format
from mobilekit.errors import UsageError
from mobilekit.records.network import Precision

if TYPE_CHECKING:
    from mobilekit.records.prediction import NetworkPrediction


def predict(
    network: GivenOptions,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            "--chip",
            metavar="PHONE",
            help="A phone that you have measured, by serial or name; a profile's name (nexus7); "
            "the phone's SoC, SM8350 or snapdragon 888; or its processors, the fastest first: "
            "4xA76@2.4,4xA55@1.8. Again for each further phone.",
            show_default=False,
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks, by a name that `mobilekit models` lists or by a file.",
            show_default=False,
        ),
    ] = None,
    compressed: CompressedOption = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="The examples that --compressed is whitened by.",
            show_default=False,
        ),
    ] = None,
    level: LevelOption = None,
    layers_csv: Annotated[
        Path | None,
        typer.Option(
            "--layers-csv",
            help="The networks, in place of names: a table with a row for each layer, as "
            "`mobilekit docs predicting` describes it.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            help="How many threads, on the fastest cores. [default: all]",
            show_default=False,
        ),
    ] = None,
    dram_gbps: Annotated[
        float | None,
        typer.Option(
            "--dram-gbps",
            help="What its memory moves, in 10^9 bytes a second. [default: as a chip like it]",
            show_default=False,
        ),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            "--known",
            help="What was measured on that phone with so many threads: a table of network,ms. "
            "[default: your own runs in the store]",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Tell each layer's part of the latency too.")
    ] = False,
    fits: Annotated[
        str | None,
        typer.Option(
            "--fits",
            metavar="BOUNDS",
            help='Tell whether they keep within these, and exit by it: "latency<100ms, '
            'energy<50mJ, charge>10000"; also memory and marginal.',
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="What runs them: learned from your own runs. [default: as most of those there]",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            "--precision",
            help="In what they compute: learned from your own runs. [default: as most of those]",
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Measure instead, on that phone, the packaged networks that tell most of others.",
        ),
    ] = False,
    networks: Annotated[
        int | None,
        typer.Option(
            "--networks",
            min=1,
            max=5,
            help="How many --calibrate measures. [default: 3]",
            show_default=False,
        ),
    ] = None,
    score: Annotated[
        bool,
        typer.Option(
            "--score", help="Tell instead how far predictions of your own runs were right."
        ),
    ] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Predict what networks need on phones that are not here: latency, memory, energy, charge."""
    from mobilekit.cli.quick_numpy import import_numpy_without_threads

    import_numpy_without_threads()
    from mobilekit import places
    from mobilekit.cli.terminal import say, terminal_width
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import CannotTellError
    from mobilekit.flow.predict import PhoneOptions, predict_models, predict_table
    from mobilekit.model.given import NOTHING

    given = network.given
    if networks is not None and not calibrate:
        raise UsageError("--networks is of --calibrate", fix="Give both, or leave it out.")
    if calibrate:
        is_asked = any(each is not None for each in (layers_csv, known, fits, dram_gbps))
        of_network = (compressed, calibration, level)
        is_asked = is_asked or any(each is not None for each in of_network)
        if models or score or layers or given != NOTHING or is_asked:
            raise UsageError(
                "--calibrate measures networks of its own choice, and predicts none",
                fix="Give it with --device, --networks, --threads, --format and --precision.",
            )
        if devices is None or len(devices) != 1:
            raise UsageError(
                "--calibrate is of one phone", fix="Name it with --device, or `--device auto`."
            )
        calibrate_phone(
            devices[0],
            networks or 3,
            threads=threads,
            format=format,
            precision=precision,
            store=store,
            as_json=as_json,
        )
        return
    if score:
        options_of_predictions = (layers_csv, known, fits, dram_gbps, threads, format, precision)
        of_network = (compressed, calibration, level)
        is_asked = any(each is not None for each in (*options_of_predictions, *of_network))
        if models or devices or layers or given != NOTHING or is_asked:
            raise UsageError(
                "--score is of all predictions that were stored, and predicts none",
                fix="Give it alone, or with --store and --json.",
            )
        tell_scores(store, as_json=as_json)
        return
    if not devices:
        raise UsageError(
            "No phone is named that is to be predicted",
            fix="Name one with --device: a profile, a SoC, or a phone that you have measured.",
        )
    if (layers_csv is None) == (not models):
        raise UsageError(
            "Either networks or a table of their layers is predicted",
            fix="Name networks, as in `mobilekit predict alexnet --device nexus7`, or "
            "give --layers-csv FILE.",
        )
    if (given != NOTHING or compressed is not None) and (models is None or len(models) != 1):
        raise UsageError(
            "--weights, --input, --inputs and --compressed are for one network",
            fix="Predict the others in commands of their own.",
        )
    changed = NetworkOptions(compressed=compressed, level=level)
    check_level_choice(changed)
    variant = changed.variant_of("" if models is None else models[0])
    if calibration is not None and variant.whitened_by is None:
        raise UsageError(
            "--calibration is of a --compressed that is whitened: nothing else of what is "
            "predicted depends on examples",
            fix="Leave it out.",
        )
    if compressed is not None and precision not in (None, variant.precision):
        raise UsageError(
            f"--precision {precision} contradicts --compressed, which is for {variant.precision}",
            file=compressed,
            fix="Leave --precision out.",
        )
    # In fp32 the shipped model tells a phone of which nothing was measured.
    if variant.precision != "fp32":
        precision = variant.precision
    options = PhoneOptions(
        threads=threads,
        dram_gbps=dram_gbps,
        known=known,
        layers=layers,
        fits=fits,
        format=format,
        precision=precision,
        file_precision=None if compressed is None else variant.precision,
    )
    if layers_csv is not None:
        predicted = predict_table(
            layers_csv,
            devices,
            options,
            cache_directory=places.artifacts_directory(),
            store=store,
        )
    else:
        from mobilekit.cli.noting import noting

        with noting() as note:
            predicted = predict_models(
                models or (),
                devices,
                options,
                given=given,
                variant=variant,
                calibration=calibration,
                cache_directory=places.artifacts_directory(),
                store=store,
                on_progress=note,
            )
    if as_json:
        from mobilekit.results.prediction_documents import make_predictions_document

        say(encode_pretty(make_predictions_document(predicted)), nl=False)
    else:
        from mobilekit.results.text.prediction import render_predictions

        say(render_predictions(predicted, terminal_width()))
    if fits is not None:
        _exit_by_fits(predicted.predictions)
    elif all(each.latency_ms is None for each in predicted.predictions):
        exit_with(
            CannotTellError(
                "None of these can be predicted",
                fix="Each says why, and what to measure.",
            )
        )


def _exit_by_fits(predictions: Sequence[NetworkPrediction]) -> None:
    """No goes before unknown, and both before yes."""
    from mobilekit.errors import CannotTellError, DoesNotFitError

    verdicts = {each.fits.verdict for each in predictions if each.fits is not None}
    if "no" in verdicts:
        exit_with(
            DoesNotFitError(
                "Not all keep within the bounds",
                fix="The figures and their intervals say by how much.",
            )
        )
    if "unknown" in verdicts:
        exit_with(
            CannotTellError(
                "Whether all keep within the bounds cannot be told",
                fix="Measure one network on the phone, which narrows every interval.",
            )
        )
