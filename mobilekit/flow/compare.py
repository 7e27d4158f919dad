"""Measure networks on two devices, or with two backends on one, one after the other, so that they
can be set side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mobilekit.analysis.compare.comparison import MeasuredSide, compare
from mobilekit.analysis.compare.records import Comparison
from mobilekit.analysis.layers.profile import why_by_segments
from mobilekit.contract.protocol import RunSuccess
from mobilekit.errors import (
    ExportError,
    MobilekitError,
    StoppedError,
    UnsavedError,
    UsageError,
)
from mobilekit.flow.deploy import Iterations, deploy, with_found_backend
from mobilekit.flow.predict import predict_each
from mobilekit.flow.prepare import DeployOptions, check_device, find_network
from mobilekit.flow.profile import profile
from mobilekit.flow.reporter import Reporter
from mobilekit.records.measurement import Measurement
from mobilekit.records.prediction import Predictions
from mobilekit.results.store import Store


class Pair(NamedTuple):
    """On the device, and on the one, or with the backend, that it is compared against."""

    device: Measurement
    against: Measurement
    layers: tuple[Measurement, Measurement] | None
    """Runs of their own on both, by segments, where a trace of one of them would not do."""


class Measured(NamedTuple):
    pairs: list[Pair]
    unmeasured: list[tuple[str, MobilekitError]]
    """Networks that came to no pair, and why."""


def measure_pairs(
    sides: Sequence[tuple[DeployOptions, DeployOptions]],
    store: Store,
    reporter: Reporter,
    *,
    traced_iterations: Iterations | None,
) -> Measured:
    """Deploy each network on both of its sides; every run is stored.

    The two sides are alike but for their device and backend, and all first ones have one device, as
    all second ones do.

    An export that fails ends that network alone; anything else ends them all, and is raised where
    there is no pair yet. What can be known of the networks and of the second device comes before
    anything is measured.
    """
    for both in sides:
        for each in both:
            find_network(each)
    check_device(sides[0][1], reporter)
    measured = Measured([], [])
    for both in sides:
        try:
            pair = _measure_pair(both, store, reporter, traced_iterations)
        except MobilekitError as error:
            # A device that is gone is gone for the other networks too.
            goes_on = isinstance(error, ExportError)
            # One that could not be saved holds its measurement.
            if isinstance(error, UnsavedError) or (not goes_on and not measured.pairs):
                raise
            measured.unmeasured.append((both[0].model, error))
            if goes_on:
                continue
            break
        measured.pairs.append(pair)
    return measured


def _measure_pair(
    both: tuple[DeployOptions, DeployOptions],
    store: Store,
    reporter: Reporter,
    traced_iterations: Iterations | None,
) -> Pair:
    both = (
        with_found_backend(both[0], store, reporter),
        with_found_backend(both[1], store, reporter),
    )
    first, second = (_deploy_one(each, store, reporter, traced_iterations) for each in both)
    if traced_iterations is None:
        return Pair(first, second, None)
    reasons = [reason for run in (first, second) if (reason := why_by_segments(run)) is not None]
    if not reasons:
        return Pair(first, second, None)
    reporter.note(reasons[0])
    try:
        one, other = (
            profile(each, store, reporter, iterations=traced_iterations, by_segments=True)
            for each in both
        )
    except (StoppedError, UnsavedError):
        raise
    except MobilekitError as error:
        # What there is of the pair is worth more than its layers.
        reporter.note(f"The layers could not be measured by segments: {error.what}")
        return Pair(first, second, None)
    are_whole = all(isinstance(run.result, RunSuccess) for run in (one, other))
    return Pair(first, second, (one, other) if are_whole else None)


def _deploy_one(
    options: DeployOptions, store: Store, reporter: Reporter, traced_iterations: Iterations | None
) -> Measurement:
    backend = options.variant.backend
    reporter.note(
        f"{options.model} on {options.device}{f', with {backend}' if backend is not None else ''}"
    )
    return deploy(options, store, reporter, traced_iterations=traced_iterations)


def read_pairs(ids: list[str], store: Store) -> Measured:
    """Stored measurements, each first one on the device and each second one to compare against."""
    if len(ids) % 2:
        raise UsageError(
            f"--results takes ids in pairs, and there are {len(ids)}",
            fix="`mobilekit results list` shows all ids.",
        )
    found = [store.read(each) for each in ids]
    return Measured([Pair(*pair, None) for pair in zip(found[::2], found[1::2], strict=True)], [])


def predict_pairs(pairs: list[Pair], store: Store) -> list[Predictions]:
    return predict_each((run for pair in pairs for run in (pair.device, pair.against)), store)


def compare_pair(pair: Pair) -> Comparison:
    layers = pair.layers or (None, None)
    device, against = (
        MeasuredSide(*each) for each in zip((pair.device, pair.against), layers, strict=True)
    )
    return compare([device], against)
