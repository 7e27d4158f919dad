"""Predictions of networks on phones that are not here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from mobilekit.analysis.predict.chips import parse_chip
from mobilekit.analysis.predict.latency import LatencyModel, Predictor, refuse_all
from mobilekit.analysis.predict.work import work_of
from mobilekit.contract.codec import decode
from mobilekit.errors import CannotTellError, DataError, UsageError
from mobilekit.model.describe import read_description
from mobilekit.model.given import NOTHING, Given
from mobilekit.model.layer_table import read_known, read_layer_table
from mobilekit.model.zoo import find_model
from mobilekit.phone.chips import find_chip, load_cores, named
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.chip import Chip
from mobilekit.records.prediction import NetworkWork, PredictedChip


def load_predictor() -> Predictor:
    """The shipped model, fitted beforehand."""
    data = files("mobilekit").joinpath("prediction", "latency.json").read_bytes()
    model: LatencyModel = decode(data, LatencyModel, source="latency.json")
    return Predictor(model)


def read_chip(text: str, *, dram_gbps: float | None = None) -> Chip:
    """The chip of a profile, one of the table by any of its names, or one that is described.

    Raises what ``parse_chip`` and ``load_profiles`` do, and ``UsageError`` for a profile whose
    chip is not in the table, or is one of several.
    """
    profile = load_profiles().get(text)
    known = find_chip(profile.hardware.soc if profile else text)
    if profile is not None and known is None:
        raise UsageError(
            f"The profile {text} does not tell one chip",
            soc=profile.hardware.soc,
            fix="Name the SoC, SM8350, or the cores, 4xA76@2.4,4xA55@1.8, in its place.",
        )
    chip = parse_chip(known.clusters if known else text, load_cores(), dram_gbps=dram_gbps)
    return chip if known is None else named(chip, known, dram_gbps)


def predict_models(
    models: Sequence[str],
    chip: str,
    *,
    given: Given = NOTHING,
    threads: int | None = None,
    dram_gbps: float | None = None,
    known: Path | None = None,
    cache_directory: Path,
    on_progress: Callable[[str], None] = lambda _: None,
) -> PredictedChip:
    """The latency of networks by name or file, as ``predict_table`` has it.

    ``on_progress`` hears of what takes seconds: a network that has not been described before is
    built and traced. Raises what ``predict_table``, ``find_model`` and ``read_description`` do.
    """
    specs = [find_model(model, given) for model in dict.fromkeys(models)]
    networks = [
        work_of(
            spec.name,
            read_description(spec, cache_directory=cache_directory, on_progress=on_progress),
        )
        for spec in specs
    ]
    return _predict(networks, chip, threads=threads, dram_gbps=dram_gbps, known=known)


def predict_table(
    layers: Path,
    chip: str,
    *,
    threads: int | None = None,
    dram_gbps: float | None = None,
    known: Path | None = None,
) -> PredictedChip:
    """The latency of every network of a table of layers, on a chip that is described.

    ``threads``: as many as the chip has cores, unless they are told. A core that is not known
    refuses every network.

    Raises ``DataError`` for a table that cannot be read, and ``UsageError`` for a chip, threads or
    known latencies that make no sense.
    """
    return _predict(
        read_layer_table(layers), chip, threads=threads, dram_gbps=dram_gbps, known=known
    )


def _predict(
    networks: Sequence[NetworkWork],
    chip: str,
    *,
    threads: int | None,
    dram_gbps: float | None,
    known: Path | None,
) -> PredictedChip:
    told = read_known(known) if known is not None else ()
    if known is not None and not told:
        raise DataError("No latency is known there", path=known, fix="Leave --known out.")
    predictor = load_predictor()
    try:
        described = read_chip(chip, dram_gbps=dram_gbps)
    except CannotTellError as error:
        return PredictedChip(
            chip=chip,
            threads=threads,
            engine=predictor.model.engine,
            predictions=refuse_all(networks, len(told), str(error).removesuffix(".")),
            past_errors=(),
        )
    used = described.cores if threads is None else threads
    predictions = predictor.predict(networks, described, used, told)
    kinds = {(each.known, each.seen) for each in predictions if each.latency_ms is not None}
    return PredictedChip(
        chip=described.text,
        threads=used,
        engine=predictor.model.engine,
        predictions=predictions,
        past_errors=tuple(
            predictor.past_error(count, seen=seen) for count, seen in sorted(kinds, reverse=True)
        ),
    )
