"""An external meter's trace: read it, hold it against the run that it is of, and store both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from mobilekit.flow.ids import make_id
from mobilekit.meter.columns import FileOptions
from mobilekit.meter.estimate import compare_with_gauge
from mobilekit.meter.importing import Imported, TraceOptions, import_trace
from mobilekit.meter.windows import read_run
from mobilekit.phone.device import profile_named
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.energy import GaugeGain
from mobilekit.records.measurement import Measurement
from mobilekit.records.meter import MeterResult
from mobilekit.results.store import Store


def import_meter_trace(
    path: Path,
    file_options: FileOptions,
    options: TraceOptions,
    *,
    device: str | None,
    run: Measurement | None,
    store: Store,
    on_bytes: Callable[[int, int], None],
) -> tuple[MeterResult, Imported]:
    """Stored, with what it says of the gauge of the phone that made ``run``.

    ``device`` is the name of the profile whose battery is meant, in place of the run's own. Raises
    as ``import_trace`` does, and ``UsageError`` for a profile that there is not.
    """
    profile = profile_named(device, load_profiles()) if device is not None else None
    if run is not None:
        options = options._replace(run=read_run(run))
        profile = profile or run.profile
    imported = import_trace(path, file_options, options, on_bytes=on_bytes)
    imported_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    comparison = None
    if run is not None:
        comparison = compare_with_gauge(
            imported.estimate, imported.trace, run, measured_at=imported_at
        )
        if isinstance(comparison, GaugeGain):
            store.save_gain(comparison)
    result = MeterResult(
        id=make_id(f"meter-{path.stem}"),
        imported_at=imported_at,
        trace=imported.trace,
        estimate=imported.estimate,
        model=run.artifact.model.label if run is not None else None,
        run_id=run.id if run is not None else None,
        profile=profile,
        gain=comparison if isinstance(comparison, GaugeGain) else None,
        gain_refusal=comparison if isinstance(comparison, str) else None,
    )
    store.save_meter(result)
    return result, imported
