"""An external meter's trace: read it, hold it against the run that it is of, and keep the gain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from mobilekit.analysis.energy.charge import estimate_charge
from mobilekit.meter.columns import FileOptions
from mobilekit.meter.document import MeterDocument, make_meter_document
from mobilekit.meter.estimate import compare_with_gauge
from mobilekit.meter.importing import Imported, TraceOptions, import_trace
from mobilekit.meter.windows import read_run
from mobilekit.phone.device import profile_named
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.energy import GaugeGain
from mobilekit.records.measurement import Measurement
from mobilekit.results.store import Store


class RunOfTrace(NamedTuple):
    """The stored run that a trace was recorded of."""

    measurement: Measurement
    store: Store
    """Keeps what the trace says of the phone's gauge."""


def import_meter_trace(
    path: Path,
    file_options: FileOptions,
    options: TraceOptions,
    *,
    device: str | None,
    run: RunOfTrace | None,
    on_bytes: Callable[[int, int], None],
) -> tuple[MeterDocument, Imported]:
    """``device`` is the name of the profile whose battery is meant, in place of the run's own.

    Raises as ``import_trace`` does, and ``UsageError`` for a profile that there is not.
    """
    profile = profile_named(device, load_profiles()) if device is not None else None
    if run is not None:
        options = options._replace(run=read_run(run.measurement))
        profile = profile or run.measurement.profile
    imported = import_trace(path, file_options, options, on_bytes=on_bytes)
    comparison = None
    if run is not None:
        comparison = compare_with_gauge(
            imported.estimate,
            imported.trace,
            run.measurement,
            measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        if isinstance(comparison, GaugeGain):
            run.store.save_gain(comparison)
    document = make_meter_document(
        imported.trace,
        imported.estimate,
        profile.name if profile is not None else None,
        estimate_charge(imported.estimate, profile) if profile is not None else None,
        comparison,
    )
    return document, imported
