"""What is predicted of a run before it takes place, so that predictions can be scored."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit import places
from mobilekit.analysis.predict.own import OwnPhone, Wanted
from mobilekit.analysis.predict.score import widening_for
from mobilekit.analysis.predict.stored import population_of, scored
from mobilekit.analysis.predict.work import work_of
from mobilekit.errors import MobilekitError
from mobilekit.flow.own import chip_of, of_population, predict_from_own
from mobilekit.flow.shipped import load_predictor
from mobilekit.model.describe import find_description
from mobilekit.records.artifact import Artifact
from mobilekit.records.device import DeviceInfo
from mobilekit.records.prediction import EarlierPrediction, Setting, StoredLatency
from mobilekit.units import NS_PER_MS


def foretell(
    device: DeviceInfo,
    artifact: Artifact,
    threads: int | None,
    latencies: Sequence[StoredLatency],
) -> EarlierPrediction | None:
    """The latency of a run that was prepared, from all that is stored but for runs of this very
    network here, in this setting.

    ``None`` where it cannot be told: it is of a GPU, nothing was measured in this setting, the
    network is outside of what was fitted, or something is wrong, because no run is to fail of its
    prediction.
    """
    if not artifact.model.variant.has_usual_backend:
        return None
    runs = of_population(population_of(device), latencies, device)
    setting = Setting(format=artifact.file.format, precision=artifact.precision)
    if not any(each.setting == setting for each in runs.latencies):
        return None
    directory = places.artifacts_directory()
    description = find_description(artifact.model, cache_directory=directory)
    chip = chip_of(device)
    used = threads or runs.usual_threads(setting) or (chip.cores if chip else None)
    if description is None or used is None:
        return None
    try:
        ((told,), _) = predict_from_own(
            load_predictor(),
            [work_of(artifact.model.name, description)],
            Wanted(OwnPhone(device.key, chip, used), setting),
            runs,
            directory,
            without_themselves=True,
        )
    except (MobilekitError, ValueError, ArithmeticError):  # numpy's errors are among these
        return None
    if told.latency_ms is None or told.low_ms is None or told.high_ms is None:
        return None
    return EarlierPrediction(
        latency_ns=told.latency_ms * NS_PER_MS,
        low_ns=told.low_ms * NS_PER_MS,
        high_ns=told.high_ms * NS_PER_MS,
        known=told.known,
        seen=told.seen,
        threads=used,
        widening=widening_for(told.known, scored(runs.latencies)),
    )
