"""What comes after a run: fetch its files, find its doubts, store it, clear up."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.accuracy import classify
from mobilekit.analysis.findings import find_doubts
from mobilekit.analysis.layers.traces import parse_trace
from mobilekit.analysis.methods import find_run_artifact
from mobilekit.contract.codec import encode_pretty
from mobilekit.contract.outputs import map_tensor, tensor_bytes
from mobilekit.contract.protocol import (
    OUTPUTS_NAME,
    TRACE_NAME,
    File,
    RunFailure,
    RunResult,
    RunSuccess,
    TensorFile,
    Trace,
)
from mobilekit.contract.samples import cut_text, was_lost
from mobilekit.errors import (
    DeviceError,
    DisconnectedError,
    MobilekitError,
    PhoneError,
    ProtocolError,
    StoreError,
    UnsavedError,
)
from mobilekit.executor.base import Executor
from mobilekit.hashing import file_sha256
from mobilekit.model.artifact_cache import (
    read_operators,
)
from mobilekit.model.describe import read_description
from mobilekit.records.artifact import LARGEST_TOLERANCES
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
    executor: Executor,
    store: Store,
) -> Measurement:
    """Store what came of a run, and leave nothing of it on the device."""
    begun = replace(begun, artifact=find_run_artifact(begun, result.samples))
    classification = None
    if begun.examples is not None and isinstance(result, RunSuccess):
        try:
            classification = _classify(begun, begun.examples, result, executor)
        except MobilekitError as error:
            result = _incomplete(result, "evaluate", error)
    layer_trace = None
    if result.samples.trace is not None:
        try:
            layer_trace = _read_trace(begun, result.samples.trace, executor)
        except (DisconnectedError, DeviceError) as error:
            result = result if was_lost(result) else _incomplete(result, "profile", error)
        except MobilekitError as error:
            samples = replace(result.samples, profile_refusal=cut_text(error.what))
            result = replace(result, samples=samples)
    measurement = replace(
        begun, result=result, classification=classification, layer_trace=layer_trace
    )
    measurement = replace(measurement, findings=find_doubts(measurement))
    _save(measurement, store, stays=executor.outlives)
    if not was_lost(result):
        _clear_up(executor, measurement)
    return measurement


def _classify(
    begun: Measurement, examples: Examples, result: RunSuccess, executor: Executor
) -> Classification:
    """Read what the run's examples yielded; raises a ``MobilekitError``."""
    directory = places.artifacts_directory()
    evaluation = result.samples.evaluation
    expected = examples.reference_outputs
    if evaluation is None or math.prod(evaluation.outputs.shape) != math.prod(expected.shape):
        raise ProtocolError(
            "The companion did not give the network's outputs for every example",
            fix="Check that the companion app is of mobilekit's own version.",
        )
    _fetch_outputs(begun.id, evaluation.outputs, directory, executor)
    return classify(
        examples,
        map_tensor(directory, evaluation.outputs).reshape(expected.shape),
        map_tensor(directory, expected),
        LARGEST_TOLERANCES[begun.artifact.precision],
    )


def _fetch_outputs(run_id: str, outputs: TensorFile, directory: Path, executor: Executor) -> None:
    """Under its content's name only once it has that content: there may be such a file already."""
    fetched = directory / f"{run_id}.outputs"
    try:
        executor.fetch(run_id, OUTPUTS_NAME, fetched, limit_bytes=tensor_bytes(outputs))
        if file_sha256(fetched) != outputs.sha256:
            raise ProtocolError(
                "The outputs are not those that the companion told of", fix="Run it again."
            )
        fetched.replace(directory / Path(outputs.path).name)
    finally:
        fetched.unlink(missing_ok=True)


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
        message=cut_text(f"what the {phase} phase wrote could not be fetched: {error.what}"),
        samples=result.samples,
    )


def _read_trace(begun: Measurement, trace: Trace, executor: Executor) -> LayerTrace:
    """What the engine recorded, with what tells its layers."""
    directory = places.artifacts_directory()
    path = directory / trace.kept_name
    try:
        executor.fetch(begun.id, TRACE_NAME, path, limit_bytes=trace.size_bytes)
        operators = parse_trace(trace, path.read_bytes())
    finally:
        path.unlink(missing_ok=True)
    return LayerTrace(
        description=read_description(begun.artifact.model, cache_directory=directory),
        program=read_operators(begun.artifact, cache_directory=directory),
        operators=operators,
    )


def _save(measurement: Measurement, store: Store, *, stays: bool) -> None:
    """Store it; what the database does not take is kept in a file, or in the error itself.

    ``stays``: nothing is taken from its phone before it is stored.
    """
    try:
        store.save(measurement)
    except StoreError as error:
        document = encode_pretty(measurement)
        again = " `mobilekit collect` stores it from its phone, where it stays." if stays else ""
        try:
            path = _keep(measurement.id, document)
        except OSError as problem:
            raise UnsavedError(
                error.what,
                document=document,
                fix=f"The measurement is on standard output, as JSON.{again} {error.fix}",
                no_file_either=problem.strerror or problem,
                **error.facts,
            ) from None
        raise StoreError(
            error.what,
            fix=f"The measurement is kept as JSON.{again} {error.fix}",
            kept=path,
            **error.facts,
        ) from None


def _keep(measurement_id: str, document: bytes) -> Path:
    """The whole document in a file, or no file."""
    path = places.unsaved_directory() / f"{measurement_id}.json"
    aside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(document)
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    return path


def _clear_up(executor: Executor, measurement: Measurement) -> None:
    """Leave nothing of a stored run on the device, and no file that it found corrupt."""
    result, cut = measurement.result, measurement.cut
    corrupt: tuple[File, ...] = ()
    if isinstance(result, RunFailure) and result.code == "file_corrupt":
        weights = measurement.request.weights  # the largest level's where there is a choice
        corrupt = (
            *measurement.artifact.files,
            *(() if weights is None else (weights,)),
            *(cut.files if cut is not None else ()),
        )
    # All is stored: a phone that leaves now takes nothing with it.
    with suppress(DeviceError, DisconnectedError, PhoneError):
        executor.clean(measurement.id, corrupt)
