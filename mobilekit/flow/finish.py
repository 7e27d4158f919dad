"""What comes after a run: fetch its files, find its doubts, store it, clear up."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Literal

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.accuracy import classify
from mobilekit.analysis.findings import find_doubts
from mobilekit.analysis.layers.traces import parse_trace
from mobilekit.contract.codec import encode_pretty
from mobilekit.contract.outputs import map_tensor
from mobilekit.contract.protocol import (
    RunFailure,
    RunResult,
    RunSuccess,
    Trace,
)
from mobilekit.contract.samples import was_lost
from mobilekit.errors import (
    DeviceError,
    DisconnectedError,
    MobilekitError,
    ProtocolError,
    StoreError,
)
from mobilekit.model.describe import read_description
from mobilekit.model.export import (
    read_operators,
)
from mobilekit.phone import runs as phone_runs
from mobilekit.phone.adb import Phone
from mobilekit.records.artifact import LARGEST_ERRORS
from mobilekit.records.measurement import (
    Classification,
    Examples,
    Measurement,
)
from mobilekit.records.profile import LayerTrace
from mobilekit.results.store import Store


def finish(
    begun: Measurement,
    result: RunResult,
    phone: Phone | None,
    store: Store,
) -> Measurement:
    """Store what came of a run, and leave nothing of it on the phone."""
    classification = None
    if begun.examples is not None and isinstance(result, RunSuccess):
        try:
            classification = _classify(begun, begun.examples, result, phone)
        except MobilekitError as error:
            result = _incomplete(result, "evaluate", error)
    layer_trace = None
    if result.samples.trace is not None:
        try:
            layer_trace = _read_trace(begun, result.samples.trace, phone)
        except (DisconnectedError, DeviceError) as error:
            result = result if was_lost(result) else _incomplete(result, "profile", error)
        except MobilekitError as error:
            samples = replace(result.samples, profile_refusal=error.what)
            result = replace(result, samples=samples)
    measurement = replace(
        begun, result=result, classification=classification, layer_trace=layer_trace
    )
    measurement = replace(measurement, findings=find_doubts(measurement))
    _save(measurement, store)
    if phone is not None and not was_lost(result):
        _clear_up(phone, measurement)
    return measurement


def _classify(
    begun: Measurement, examples: Examples, result: RunSuccess, phone: Phone | None
) -> Classification:
    """Read what the run's examples yielded, from the phone first; raises a ``MobilekitError``."""
    directory = places.artifacts_directory()
    evaluation = result.samples.evaluation
    expected = examples.reference_outputs
    if evaluation is None or math.prod(evaluation.outputs.shape) != math.prod(expected.shape):
        raise ProtocolError(
            "The companion did not give the network's outputs for every example",
            fix="Check that the companion app is of mobilekit's own version.",
        )
    if phone is not None:
        phone_runs.fetch_outputs(phone, begun.id, evaluation.outputs, directory)
    return classify(
        examples,
        map_tensor(directory, evaluation.outputs).reshape(expected.shape),
        map_tensor(directory, expected),
        LARGEST_ERRORS[begun.artifact.precision],
    )


def _incomplete(
    result: RunResult, phase: Literal["profile", "evaluate"], error: MobilekitError
) -> RunFailure:
    """A run of which a file cannot be had has failed, whatever else it measured; it is to be
    collected again where the phone left."""
    lost = isinstance(error, (DisconnectedError, DeviceError))
    return RunFailure(
        protocol_version=result.protocol_version,
        run_id=result.run_id,
        phase=phase,
        code="disconnected" if lost else "internal",
        message=f"what the {phase} phase wrote could not be fetched: {error.what}",
        samples=result.samples,
    )


def _read_trace(begun: Measurement, trace: Trace, phone: Phone | None) -> LayerTrace:
    """What the engine recorded, from the phone first, with what tells its layers."""
    directory = places.artifacts_directory()
    path = directory / trace.kept_name
    if phone is not None:
        phone_runs.fetch_trace(phone, begun.id, path)
    try:
        operators = parse_trace(trace, path.read_bytes())
    finally:
        path.unlink(missing_ok=True)
    return LayerTrace(
        description=read_description(begun.artifact.model, cache_directory=directory),
        program=read_operators(begun.artifact, cache_directory=directory),
        operators=operators,
    )


def _save(measurement: Measurement, store: Store) -> None:
    """Store it; what the database does not take is kept in a file that the error names."""
    try:
        store.save(measurement)
    except StoreError as error:
        path = places.unsaved_directory() / f"{measurement.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_pretty(measurement))
        raise StoreError(
            error.what,
            fix=f"The measurement is kept as JSON. {error.fix}",
            kept=path,
            **error.facts,
        ) from None


def _clear_up(phone: Phone, measurement: Measurement) -> None:
    """Leave nothing of a stored run on the phone, and no file that it found corrupt."""
    result = measurement.result
    # All is stored: a phone that leaves now takes nothing with it.
    with suppress(DeviceError, DisconnectedError):
        phone_runs.remove_run(phone, measurement.id)
        if isinstance(result, RunFailure) and result.code == "file_corrupt":
            cut = measurement.cut
            for file in (*measurement.artifact.files, *(cut.files if cut is not None else ())):
                phone_runs.forget_file(phone, file)
