"""Predictions of networks on phones that are not here."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mobilekit.analysis.predict.chips import parse_chip
from mobilekit.analysis.predict.latency import LatencyModel, Predictor, refuse_all
from mobilekit.contract.codec import decode
from mobilekit.errors import CannotTellError, DataError
from mobilekit.model.layer_table import read_known, read_layer_table
from mobilekit.phone.chips import find_chip, load_cores, named
from mobilekit.records.chip import Chip
from mobilekit.records.prediction import PredictedChip


def load_predictor() -> Predictor:
    """The shipped model, fitted beforehand."""
    data = files("mobilekit").joinpath("prediction", "latency.json").read_bytes()
    model: LatencyModel = decode(data, LatencyModel, source="latency.json")
    return Predictor(model)


def read_chip(text: str, *, dram_gbps: float | None = None) -> Chip:
    """A chip of the table by any of its names, or one that is described.

    Raises what ``parse_chip`` does.
    """
    known = find_chip(text)
    chip = parse_chip(known.clusters if known else text, load_cores(), dram_gbps=dram_gbps)
    return chip if known is None else named(chip, known, dram_gbps)


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
    networks = read_layer_table(layers)
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
