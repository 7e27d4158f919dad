"""How long a charge lasts, from an energy that was measured; nothing runs."""

from __future__ import annotations

from mobilekit.analysis.energy.usage import (
    LifeBasis,
    choose_life_basis,
    estimate_life,
    life_basis,
)
from mobilekit.errors import UsageError
from mobilekit.model.zoo import network_name
from mobilekit.records.energy import LifeEstimate
from mobilekit.records.network import Variant
from mobilekit.results.store import Store

IDLE_RELATIVE_UNCERTAINTY = 0.05
"""Of a measured idle power against the next day's: an assumption, with the gauge's gain in it."""


def estimate_life_of(
    model: str,
    variant: Variant | None,
    store: Store,
    *,
    every_s: float,
    idle_w: float | None,
    measurement_id: str | None,
    device: str | None,
) -> tuple[LifeBasis, LifeEstimate]:
    """From the named measurement, else from the newest one of the model, or of the model on that
    device, that tells its energy; ``idle_w`` is measured where it is ``None``.

    ``variant``: as a file changes the model, on any backend; ``None``: as no file does, in any
    precision.

    Raises ``UsageError`` where no energy was measured, and as ``estimate_life`` does.
    """
    basis = (
        choose_life_basis(store.energy_by_device(network_name(model)), device, variant)
        if measurement_id is None
        else life_basis(store.read(measurement_id))
    )
    if basis is None:
        changed = "" if variant is None else f" ({variant.text})"
        option = "" if variant is None else " --compressed FILE"
        raise UsageError(
            f"No energy of {model}{changed} has been measured; pilots and calibrations do not "
            "count",
            result=measurement_id or "-",
            device=device or "-",
            fix=f"`mobilekit energy {model} --device D{option}` measures it; a phone of whose "
            "battery the capacity is not known (CAPACITY-UNKNOWN) needs a device profile for it.",
        )
    estimate = estimate_life(
        basis.energy,
        basis.charge,
        every_s=every_s,
        idle_w=basis.energy.idle_w if idle_w is None else idle_w,
        idle_relative_uncertainty=IDLE_RELATIVE_UNCERTAINTY if idle_w is None else 0.0,
    )
    return basis, estimate
