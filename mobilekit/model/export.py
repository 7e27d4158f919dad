"""Turns a network into an artifact: a program, its inputs and the outputs to expect of it.

An artifact is cached by everything that it depends on, so that asking for it again costs neither
an export nor the import of torch. The cache directory holds ``<sha256>.<format>`` and
``<sha256>.bin``, named by their content, ``<...>.operators.json``, which says what layers the
program's operators are of, and the manifest ``<key>.json``, an ``Artifact``, written last; the
network's description is kept beside it. What differs between formats lies in a module of each
format's own: ``pte``, ``onnx``, ``tflite``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import msgspec

import mobilekit
from mobilekit.contract.codec import decode, encode_pretty
from mobilekit.contract.protocol import ArtifactFile, DType, Format, OutputCheck, TensorFile
from mobilekit.errors import ExportError, ProtocolError, UsageError
from mobilekit.formats import FORMATS, FormatFacts
from mobilekit.hashing import file_sha256
from mobilekit.model.calibration import calibration_sha256, read_examples
from mobilekit.model.describe import LAYERS_VERSION
from mobilekit.model.files import (
    put_in_place,
    reporting_full_disk,
    write_whole,
    written_aside,
)
from mobilekit.records.artifact import (
    LARGEST_ERRORS,
    Artifact,
    Calibration,
    Cut,
    Delegation,
    ProgramOperator,
    SegmentArtifact,
)
from mobilekit.records.network import ModelSpec, Precision, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mobilekit.model.segments import Segment

EXPORT_VERSION = 4
"""Of what this module makes of a network; another number exports anew. History: 1: first; 2: the
program's operators and their layers are kept, and an artifact tells its calibration and error; 3:
the network's description is kept; 4: the variant is told with the network."""

CUT_VERSION = 2
"""Of how a network is cut into segments. History: 1: first; 2: with a program for the call."""

GENERATED_EXAMPLES = 4
"""Besides the inputs that a program is checked with. They tell ranges of the right order and no
more, so that more of them would only take time."""


def relative_tolerance(precision: Precision, relative_error: float) -> float:
    """What a device may differ by, of a program that has ``relative_error`` where it was exported.

    Below fp32 twice that, and at least 0.01: other kernels round other values up, but lose no more.
    """
    if precision == "fp32":
        return LARGEST_ERRORS["fp32"]
    return min(max(2 * relative_error, 0.01), LARGEST_ERRORS[precision])


def export_artifact(
    spec: ModelSpec,
    artifact_format: Format = "pte",
    *,
    calibration: Path | None = None,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Artifact:
    """The network's artifact in a format, from the cache or exported now.

    ``calibration`` is the examples' ``.npy`` file or the directory of such, for int8; without it
    ranges are those of generated inputs. The first example takes the place of the generated
    inputs then, which may lie far outside the range that the program is made for.

    ``on_progress`` is told each stage as it begins. A cached artifact whose files are not what
    its manifest says is exported anew.

    Raises ``ModelFileError``, ``WeightsError``, ``ExportError``, or ``UsageError`` for
    calibration examples that do not fit.
    """
    if calibration is not None and spec.variant.precision != "int8":
        raise UsageError(
            f"--calibration is for int8, and this is {spec.variant.precision}",
            fix="Add --precision int8, or leave --calibration out.",
        )
    target = _Target(artifact_format, calibration)
    manifest = cache_directory / f"{_cache_key(spec, target)}.json"
    try:
        cached = _read_cached(manifest, cache_directory)
        # The same content may be asked for under other names.
        examples = cached.calibration.examples if cached.calibration else 0
        return msgspec.structs.replace(
            cached, model=spec, calibration=_calibration(spec, target, examples)
        )
    except FileNotFoundError:
        pass
    except _DamagedError as damage:
        on_progress(f"The cached artifact is damaged ({damage}): exporting it anew")
    artifact = _export(spec, target, cache_directory, on_progress)
    with reporting_full_disk(cache_directory):
        write_whole(manifest, encode_pretty(artifact))
    return artifact


def read_operators(artifact: Artifact, *, cache_directory: Path) -> tuple[ProgramOperator, ...]:
    """Every operator of an exported program with its layer, as the export left them.

    Raises ``ExportError`` where the cache has lost them.
    """
    path = _operators_path(artifact.model, artifact.file, cache_directory)
    try:
        operators: tuple[ProgramOperator, ...] = decode(
            path.read_bytes(), tuple[ProgramOperator, ...], source=path.name
        )
    except (OSError, ProtocolError) as error:
        raise ExportError(
            f"What the program's operators are is not in the cache: {error}",
            path=path,
            fix="`mobilekit export` with the same options makes it anew.",
        ) from None
    return operators


def export_segments(
    spec: ModelSpec,
    artifact_format: Format,
    *,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Cut:
    """The network's segments, each exported by itself, from the cache or exported now.

    Their inputs are the values that the network's own inputs give rise to in eager PyTorch.

    Raises ``ExportError``, also for int8 and for a segment that cannot be exported or yields
    something else than PyTorch does.
    """
    check_can_be_cut(spec.variant)
    target = _Target(artifact_format, None)
    manifest = cache_directory / f"{_cache_key(spec, target)}.segments{CUT_VERSION}.json"
    try:
        found: Cut = decode(manifest.read_bytes(), Cut, source=manifest.name)
        _check_files(found.files, cache_directory)
    except (OSError, ProtocolError, _DamagedError):
        found = _export_segments(spec, target, cache_directory, on_progress)
        with reporting_full_disk(cache_directory):
            write_whole(manifest, encode_pretty(found))
    return found


def check_can_be_cut(variant: Variant) -> None:
    """Raises ``ExportError`` for int8."""
    if variant.precision == "int8":
        raise ExportError(
            "An int8 network cannot be measured by segments: each segment would convert all that "
            "it reads and yields from float32 and back, which the whole network does not",
            fix="Profile it with --precision fp32 or fp16, or with an engine that traces its "
            "operators: --format onnx, or pte where that engine has its tracer.",
        )


class _Target(NamedTuple):
    """What an artifact is to be."""

    format: Format
    calibration: Path | None


# --- the cache ---------------------------------------------------------------------------------


class _DamagedError(Exception):
    """A cached artifact is not what its manifest says."""


def _cache_key(spec: ModelSpec, target: _Target) -> str:
    """Everything that an artifact depends on, hashed."""
    facts = FORMATS[target.format]
    parts = [
        EXPORT_VERSION,
        LAYERS_VERSION,
        target.format,
        facts.backend,
        spec.variant.key,
        target.calibration and calibration_sha256(target.calibration),
        spec.content_sha256,
        *(_version_of(package) for package in facts.export_packages[spec.variant.precision]),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _version_of(package: str) -> str | None:
    """Without importing the package; ``None`` if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read_cached(manifest: Path, directory: Path) -> Artifact:
    """Raises ``FileNotFoundError`` if there is no manifest, else ``_DamagedError``."""
    try:
        artifact: Artifact = decode(manifest.read_bytes(), Artifact, source=manifest.name)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _DamagedError(f"its manifest cannot be read: {error.strerror}") from None
    except ProtocolError:
        raise _DamagedError("its manifest does not parse") from None
    _check_files(artifact.files, directory)
    try:
        read_operators(artifact, cache_directory=directory)
    except ExportError:
        raise _DamagedError("what its operators are is missing") from None
    return artifact


def _check_files(files: Sequence[ArtifactFile | TensorFile], directory: Path) -> None:
    """Raises ``_DamagedError``."""
    for file in files:
        path = directory / Path(file.path).name
        if not path.is_file():
            raise _DamagedError(f"{path.name} is missing")
        if file_sha256(path) != file.sha256:
            raise _DamagedError(f"{path.name} has other content than its name says")


def _operators_path(spec: ModelSpec, file: ArtifactFile, directory: Path) -> Path:
    """Networks of equal programs may name their layers otherwise."""
    return directory / f"{file.sha256}.{spec.content_sha256[:16]}.operators.json"


# --- exporting ---------------------------------------------------------------------------------


class _Program(Protocol):
    """A program of any format, ready to be written."""

    @property
    def operators(self) -> tuple[ProgramOperator, ...]: ...

    def write(self, path: Path) -> None: ...

    def run_once(
        self, spec: ModelSpec, path: Path, inputs: Sequence[Tensor]
    ) -> tuple[Tensor, ...]: ...

    def delegation(self, total_macs: int) -> Delegation: ...


def _export(
    spec: ModelSpec,
    target: _Target,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Artifact:
    started_ns = time.perf_counter_ns()
    facts = FORMATS[target.format]
    packages = facts.export_packages[spec.variant.precision]
    _check_packages(facts, packages)
    with reporting_full_disk(cache_directory):  # before the work, not after it
        cache_directory.mkdir(parents=True, exist_ok=True)
    on_progress("Importing PyTorch")
    from mobilekit.model import describe, load, reference

    on_progress(f"Building {spec.name}")
    module = load.load_module(spec)
    examples = _make_examples(spec, target)
    inputs = examples[0]
    on_progress("Computing the reference outputs in PyTorch")
    references = reference.run_eager(spec, module, inputs)
    cost = describe.count_cost(module, inputs)
    program = _make_program(spec, target, module, examples, on_progress)
    on_progress("Writing the program")
    with reporting_full_disk(cache_directory):
        on_progress(f"Checking its outputs in {facts.engine}")
        file, check = _write_program(spec, target, program, inputs, references, cache_directory)
        write_whole(_operators_path(spec, file, cache_directory), encode_pretty(program.operators))
        input_files = tuple(_write_tensor(tensor, cache_directory) for tensor in inputs)
        reference_files = tuple(_write_tensor(tensor, cache_directory) for tensor in references)
    on_progress("Counting its layers")
    with suppress(ExportError):
        # A deploy looks at them without torch; what cannot be described runs all the same.
        describe.read_description(spec, cache_directory=cache_directory, module=module)
    versions = {package: _version_of(package) for package in packages}
    return Artifact(
        model=spec,
        cost=cost,
        file=file,
        backend=facts.backend,
        calibration=_calibration(spec, target, len(examples)),
        delegation=program.delegation(cost.macs),
        inputs=input_files,
        reference_outputs=reference_files,
        relative_tolerance=relative_tolerance(spec.variant.precision, check.max_relative_error),
        relative_error=check.max_relative_error,
        tool_versions={name: number for name, number in versions.items() if number is not None}
        | {"mobilekit": mobilekit.__version__},
        export_ns=time.perf_counter_ns() - started_ns,
    )


def _export_segments(
    spec: ModelSpec,
    target: _Target,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Cut:
    facts = FORMATS[target.format]
    _check_packages(facts, facts.export_packages[spec.variant.precision])
    with reporting_full_disk(cache_directory):
        cache_directory.mkdir(parents=True, exist_ok=True)
    on_progress("Importing PyTorch")
    from mobilekit.model import describe, load, reference, segments
    from mobilekit.model.trace import trace

    on_progress(f"Cutting {spec.name} into segments")
    description = describe.read_description(spec, cache_directory=cache_directory)
    module = load.load_module(spec)
    inputs = reference.make_inputs(spec)
    exported = trace(spec, module, inputs)
    parts = segments.cut(spec, exported, description, inputs, target.format)
    on_progress(f"Exporting its {len(parts)} segments one by one")
    *made, call = (
        _export_part(spec, target, part, cache_directory) for part in (*parts, segments.make_call())
    )
    return Cut(description=description, segments=tuple(made), call=call)


def _export_part(
    spec: ModelSpec, target: _Target, part: Segment, cache_directory: Path
) -> SegmentArtifact:
    what = f"segment {part.layers[0]}" if part.layers else "call"
    # Only its name, for what errors say.
    own = msgspec.structs.replace(spec, name=f"{spec.name}'s {what}")
    program = _make_program(own, target, part.module, [part.inputs], lambda _: None, is_part=True)
    with reporting_full_disk(cache_directory):
        file, check = _write_program(
            own, target, program, part.inputs, part.outputs, cache_directory
        )
        return SegmentArtifact(
            layers=part.layers,
            file=file,
            inputs=tuple(_write_tensor(one, cache_directory) for one in part.inputs),
            relative_error=check.max_relative_error,
        )


def _write_program(
    spec: ModelSpec,
    target: _Target,
    program: _Program,
    inputs: Sequence[Tensor],
    references: Sequence[Tensor],
    cache_directory: Path,
) -> tuple[ArtifactFile, OutputCheck]:
    """Write a program under its content's hash, once its outputs have been checked."""
    from mobilekit.model.trace import METHOD

    with written_aside(cache_directory) as aside:
        program.write(aside)
        check = _check(spec, target, program.run_once(spec, aside, inputs), references)
        file = ArtifactFile(
            sha256=file_sha256(aside),
            format=target.format,
            size_bytes=aside.stat().st_size,
            method=METHOD,
        )
        put_in_place(aside, cache_directory / Path(file.path).name)
    return file, check


def _calibration(spec: ModelSpec, target: _Target, examples: int) -> Calibration | None:
    if spec.variant.precision != "int8":
        return None
    path = None if target.calibration is None else str(target.calibration.resolve())
    return Calibration(path=path, examples=examples)


def _check_packages(facts: FormatFacts, packages: Sequence[str]) -> None:
    """Before the import of torch, which takes seconds."""
    missing = [package for package in packages if find_spec(package) is None]
    if facts.extra is not None and missing:
        raise ExportError(
            f"Exporting for {facts.engine} needs packages that are not installed",
            missing=", ".join(missing),
            fix=f"pip install 'mobilekit[{facts.extra}]'",
        )


def _make_examples(spec: ModelSpec, target: _Target) -> list[tuple[Tensor, ...]]:
    """Inputs to check with, and after them what else there is to calibrate with."""
    from mobilekit.model import reference

    if target.calibration is not None:
        import torch

        return [
            tuple(torch.from_numpy(array) for array in example)
            for example in read_examples(target.calibration, spec)
        ]
    count = 1 + GENERATED_EXAMPLES if spec.variant.precision == "int8" else 1
    return [reference.make_inputs(spec, seed) for seed in range(count)]


def _make_program(
    spec: ModelSpec,
    target: _Target,
    module: nn.Module,
    examples: Sequence[Sequence[Tensor]],
    on_progress: Callable[[str], None],
    *,
    is_part: bool = False,
) -> _Program:
    """``examples`` are inputs, of which the first is traced with and int8 calibrated with all.

    ``module`` is the whole network, or a part of it.
    """
    from mobilekit.model.trace import trace

    inputs = examples[0]
    precision = spec.variant.precision
    quantizing = f"Quantizing it with {len(examples)} examples"
    if target.format == "pte" and precision == "fp16":
        from mobilekit.model.pt2e import Halved

        module = Halved(module)
    on_progress("Tracing the network")
    exported = trace(spec, module, inputs)
    if target.format == "pte":
        from mobilekit.model import pt2e, pte

        if precision == "int8":
            on_progress(quantizing)
            exported = pt2e.quantize(spec, exported, examples)
        on_progress("Lowering it to XNNPACK")
        return pte.lower(spec, exported)
    if target.format == "onnx":
        from mobilekit.model import onnx

        on_progress("Translating it to ONNX")
        as_it_is = not is_part and onnx.is_onnx_file(spec)
        translated = onnx.take_over(spec) if as_it_is else onnx.translate(spec, exported)
        if precision == "int8":
            on_progress(quantizing)
            return onnx.quantize(spec, translated, examples)
        return onnx.halve(spec, translated) if precision == "fp16" else translated
    from mobilekit.model import tflite

    on_progress("Converting it to LiteRT's format")
    converted = tflite.convert(spec, exported, inputs)
    if precision == "int8":
        on_progress(quantizing)
        return tflite.quantize(spec, converted, examples)
    return tflite.halve(spec, converted) if precision == "fp16" else converted


def _check(
    spec: ModelSpec,
    target: _Target,
    outputs: Sequence[Tensor],
    references: Sequence[Tensor],
) -> OutputCheck:
    from mobilekit.contract.outputs import check_outputs

    precision = spec.variant.precision
    tolerance = LARGEST_ERRORS[precision]
    check = check_outputs(
        [tensor.numpy() for tensor in outputs],
        [tensor.numpy() for tensor in references],
        tolerance,
    )
    if not check.matches:
        raise ExportError(
            f"The exported {spec.name} computes something else than PyTorch does"
            if precision == "fp32"
            else f"{spec.name} in {precision} is too far from PyTorch in fp32",
            fix=_fix_of_difference(precision, target),
            relative_error=f"{check.max_relative_error:.3g}",
            relative_tolerance=tolerance,
            model=spec.path,
        )
    return check


def _fix_of_difference(precision: Precision, target: _Target) -> str:
    if precision == "fp32":
        return (
            "The lowering of some operator is wrong: halve the network until it agrees, and "
            f"report that operator to the makers of {FORMATS[target.format].engine}."
        )
    if precision == "int8" and target.calibration is None:
        return (
            "Give examples of its real inputs with --calibration, or use --precision fp32: not "
            "every network bears int8."
        )
    return "Use --precision fp32: not every network bears less."


def _write_tensor(tensor: Tensor, directory: Path) -> TensorFile:
    from mobilekit.model.reference import dtype_name, tensor_bytes

    data = tensor_bytes(tensor)
    file = TensorFile(
        sha256=hashlib.sha256(data).hexdigest(),
        dtype=cast(DType, dtype_name(tensor)),
        shape=tuple(tensor.shape),
    )
    write_whole(directory / Path(file.path).name, data)
    return file
