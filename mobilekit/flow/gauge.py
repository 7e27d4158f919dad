"""What a run's readings tell of a phone's gauge, remembered."""

from __future__ import annotations

from mobilekit.analysis.energy.gauge import Overrides, characterize_gauge
from mobilekit.contract.protocol import (
    RunFailure,
)
from mobilekit.records.energy import (
    GaugeOutcome,
)
from mobilekit.records.measurement import (
    Measurement,
)
from mobilekit.results.store import Store


def learn_gauge(
    measurement: Measurement, store: Store, overrides: Overrides
) -> GaugeOutcome | None:
    """From a run that came to its end: half of one must not take the place of what a whole one
    found."""
    windows, profile = measurement.result.samples.windows, measurement.profile
    if not windows or profile is None or isinstance(measurement.result, RunFailure):
        return None
    found = characterize_gauge(
        windows,
        profile,
        device=measurement.device.gauge_key,
        run_id=measurement.id,
        measured_at=measurement.started_at,
        overrides=overrides,
    )
    store.save_gauge(found)
    return found
