"""Measure networks on two devices, one after the other, so that they can be set side by side."""

from __future__ import annotations

from typing import NamedTuple

from mobilekit.errors import ExportError, MobilekitError
from mobilekit.flow import Reporter, Wanted, deploy
from mobilekit.model.zoo import find_model
from mobilekit.records import Measurement
from mobilekit.results.store import Store


class Measured(NamedTuple):
    pairs: list[tuple[Measurement, Measurement]]
    """On the device, and on the one that it is compared against."""
    unmeasured: list[tuple[str, MobilekitError]]
    """Networks that came to no pair, and why."""


def measure_pairs(
    models: list[str],
    wanted: Wanted,
    against: str,
    store: Store,
    reporter: Reporter,
    *,
    traced_iterations: int | None,
) -> Measured:
    """Deploy each model as ``wanted`` says, and again to ``against``; every run is stored.

    An export that fails ends that network alone; anything else ends them all, and is raised where
    there is no pair yet. ``UnknownModelError`` comes before anything is measured.
    """
    for model in models:
        find_model(model, weights=wanted.weights)
    measured = Measured([], [])
    for model in models:
        try:
            first, second = (
                _deploy_one(
                    wanted._replace(model=model, device=device), store, reporter, traced_iterations
                )
                for device in (wanted.device, against)
            )
        except MobilekitError as error:
            # A device that is gone is gone for the other networks too.
            goes_on = isinstance(error, ExportError)
            if not goes_on and not measured.pairs:
                raise
            measured.unmeasured.append((model, error))
            if goes_on:
                continue
            break
        measured.pairs.append((first, second))
    return measured


def _deploy_one(
    wanted: Wanted, store: Store, reporter: Reporter, traced_iterations: int | None
) -> Measurement:
    reporter.note(f"{wanted.model} on {wanted.device}")
    return deploy(wanted, store, reporter, traced_iterations=traced_iterations)
