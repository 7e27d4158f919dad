"""Measure the few networks that tell most of all others on a phone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from mobilekit import places
from mobilekit.analysis.predict.informative import most_informative
from mobilekit.analysis.predict.latency import Predictor
from mobilekit.analysis.predict.own import OwnPhone, Wanted, expect_with_own
from mobilekit.analysis.predict.stored import latency_of, population_of
from mobilekit.analysis.predict.work import work_of
from mobilekit.errors import ExportError, UsageError
from mobilekit.executor.open import identify_device
from mobilekit.flow.deploy import deploy
from mobilekit.flow.own import OwnRunsOf, chip_of, of_population, own_latencies, predict_from_own
from mobilekit.flow.prepare import DeployOptions, open_device_of
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.shipped import load_predictor
from mobilekit.model.describe import find_description
from mobilekit.model.zoo import list_models
from mobilekit.phone.formats import choose_format
from mobilekit.records.device import DeviceInfo
from mobilekit.records.prediction import (
    CalibratedNetwork,
    NetworkWork,
    PredictionCalibration,
    Setting,
    Told,
)
from mobilekit.results.store import Store

BUDGET_S = 90.0
"""Of inferences, so that with pushing and loading it is less than two minutes on a phone."""
INFERENCES = 45
"""Of the fast preset: thirty, and what warms up before them."""
MOST_PARAMETERS = 30_000_000
"""A program of more than 120 MB takes longer to push than to measure."""
SLOWER = 4.0
"""By how much slower than the reference phone one is taken to be of which nothing is known."""
MS_PER_S = 1000


def calibrate(
    options: DeployOptions, networks: int, store: Store, reporter: Reporter
) -> PredictionCalibration:
    """Measure so many networks, by what they will tell of all packaged ones, in the fast preset
    without energy; each is stored as any measurement is.

    Networks that were measured there in that setting are not measured again. One that cannot be
    exported is left out. Raises a ``MobilekitError`` for what keeps a run from taking place, and
    ``UsageError`` where no network is left that would tell more.
    """
    with open_device_of(options, reporter) as opened:
        device = opened.state.info
        chosen = choose_format(options.format, device, opened.state.companion_formats)
    # The same one each time; that a virtual one stands in is said once.
    options = options._replace(device=identify_device(options.device).device)
    predictor, directory = load_predictor(), places.artifacts_directory()
    setting = Setting(format=chosen.format, precision=options.variant.precision)
    usable = _usable_networks(predictor, directory)
    runs = of_population(population_of(device), store.list_latencies(), device)
    wanted = _wanted(device, setting, options.threads, runs)
    picked = _pick(predictor, usable, wanted, networks, runs, directory)
    if not picked:
        raise UsageError(
            "No packaged network is left that would tell more of this phone in time",
            setting=setting.text,
            fix="All that are quick enough were measured: `mobilekit predict` uses them.",
        )
    threads = options.threads or runs.usual_threads(setting)
    before = _told(predictor, list(usable), wanted, runs, directory)
    started = time.monotonic()
    measured = []
    for name in picked:
        reporter.note(f"Measuring {name} on {device.name}")
        try:
            run = deploy(
                options._replace(model=name, format=setting.format, threads=threads),
                store,
                reporter,
            )
        except ExportError as error:
            reporter.note(f"{name} is left out: {error.what}")
            continue
        latency = latency_of(run)
        measured.append(
            CalibratedNetwork(
                network=name,
                measurement_id=run.id,
                p50_ns=None if latency is None else latency.p50_ns,
            )
        )
    duration_s = time.monotonic() - started
    runs = of_population(population_of(device), store.list_latencies(), device)
    wanted = _wanted(device, setting, options.threads, runs)
    return PredictionCalibration(
        device=device.name,
        serial=device.serial,
        setting=setting,
        threads=wanted.phone.threads,
        measured=tuple(measured),
        before=before,
        after=_told(predictor, list(usable), wanted, runs, directory),
        duration_s=duration_s,
        origin="simulated" if device.virtual else "measured",
    )


def _usable_networks(predictor: Predictor, directory: Path) -> dict[NetworkWork, int]:
    """Those with a name that are within what was fitted, each with its number of parameters."""
    found = {}
    for spec in list_models():
        description = find_description(spec, cache_directory=directory)
        if description is not None:
            work = work_of(spec.name, description)
            if predictor.is_within_fitted(work):
                found[work] = description.cost.parameters
    return found


def _wanted(device: DeviceInfo, setting: Setting, threads: int | None, runs: OwnRunsOf) -> Wanted:
    chip = chip_of(device)
    used = threads or runs.usual_threads(setting) or (chip.cores if chip else 1)
    return Wanted(OwnPhone(device.key, chip, used), setting)


def _pick(
    predictor: Predictor,
    usable: dict[NetworkWork, int],
    wanted: Wanted,
    count: int,
    runs: OwnRunsOf,
    directory: Path,
) -> list[str]:
    own = [
        each for each in own_latencies(runs, directory) if predictor.is_within_fitted(each.network)
    ]
    here = [each for each in own if (each.phone, each.setting) == (wanted.phone, wanted.setting)]
    works = list(usable)
    known = {each.network.layers for each in here}
    expected = expect_with_own(predictor, works, wanted, own)
    usual_s = [predictor.reference_ms(work) / MS_PER_S * SLOWER * INFERENCES for work in works]
    told, _ = predict_from_own(predictor, works, wanted, runs, directory)
    seconds = [
        float("inf")
        if usable[work] > MOST_PARAMETERS or work.layers in known
        else usual
        if each.latency_ms is None
        else each.latency_ms / MS_PER_S * INFERENCES
        for work, usual, each in zip(works, usual_s, told, strict=True)
    ]
    noise = predictor.model.sds.noise
    return [
        works[index].name for index in most_informative(expected, noise, seconds, count, BUDGET_S)
    ]


def _told(
    predictor: Predictor,
    works: Sequence[NetworkWork],
    wanted: Wanted,
    runs: OwnRunsOf,
    directory: Path,
) -> Told:
    """How many of these can be told, and how surely."""
    told, _ = predict_from_own(predictor, works, wanted, runs, directory)
    factors = [
        each.high_ms / each.latency_ms
        for each in told
        if each.latency_ms is not None and each.high_ms is not None
    ]
    return Told(
        networks=len(works),
        told=len(factors),
        median_factor=statistics.median(factors) if factors else None,
    )
