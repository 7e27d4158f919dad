"""Turns a network into an artifact: a program, its inputs and the outputs to expect of it.

An artifact is cached by everything that it depends on, so that asking for it again costs neither
an export nor the import of torch. The cache directory holds ``<sha256>.<format>`` and
``<sha256>.bin``, named by their content, ``<...>.operators.json``, which says what layers the
program's operators are of, and the manifest ``<key>.json``, an ``Artifact``, written last. What
differs between formats lies in a module of each format's own: ``pte``, ``onnx``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import msgspec

import mobilekit
from mobilekit.codec import decode, encode_pretty
from mobilekit.errors import ExportError, ProtocolError
from mobilekit.model.files import (
    file_sha256,
    put_in_place,
    reporting_full_disk,
    write_whole,
    written_aside,
)
from mobilekit.protocol import ArtifactFile, DType, TensorFile
from mobilekit.records import Artifact, Delegation, ExportFormat, ModelSpec, ProgramOperator

if TYPE_CHECKING:
    from torch import Tensor, nn

EXPORT_VERSION = 2
"""Of what this module makes of a network; another number exports anew. History: 1: first; 2: the
program's operators and their layers are kept."""

PRECISION = "fp32"


class FormatFacts(NamedTuple):
    backend: str
    runtime: str
    tools: tuple[str, ...]
    """The packages whose versions an artifact depends on."""
    extra: str | None
    """Of mobilekit's optional dependencies, the ones that bring them; ``None``: none needed."""


FORMATS: dict[ExportFormat, FormatFacts] = {
    "pte": FormatFacts(
        "xnnpack", "ExecuTorch's runtime", ("torch", "torchvision", "executorch", "torchao"), None
    ),
    "onnx": FormatFacts(
        "onnxruntime",
        "ONNX Runtime",
        ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime"),
        "onnx",
    ),
}

RELATIVE_TOLERANCE = 1e-3
"""Of the largest absolute output. Kernels add the same float32 products in another order, which
moved the outputs of the networks of ``models`` by less than 5e-5: twenty times that leaves room
for deeper networks and other processors. Leaving a single ReLU or normalization out of one of
them moved the outputs by 1.3e-3 at least, so that this still notices it."""


def export_artifact(
    spec: ModelSpec,
    artifact_format: ExportFormat = "pte",
    *,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Artifact:
    """The network's artifact in a format, from the cache or exported now.

    ``on_progress`` is told each stage as it begins. A cached artifact whose files are not what
    its manifest says is exported anew.

    Raises ``ModelFileError``, ``WeightsError`` or ``ExportError``.
    """
    manifest = cache_directory / f"{_cache_key(spec, artifact_format)}.json"
    try:
        cached = _read_cached(manifest, cache_directory)
        # The same content may be asked for under another name.
        return msgspec.structs.replace(cached, model=spec)
    except FileNotFoundError:
        pass
    except _DamagedError as damage:
        on_progress(f"The cached artifact is damaged ({damage}): exporting it anew")
    artifact = _export(spec, artifact_format, cache_directory, on_progress)
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


# --- the cache ---------------------------------------------------------------------------------


class _DamagedError(Exception):
    """A cached artifact is not what its manifest says."""


def _cache_key(spec: ModelSpec, artifact_format: ExportFormat) -> str:
    """Everything that an artifact depends on, hashed."""
    facts = FORMATS[artifact_format]
    parts = [
        EXPORT_VERSION,
        artifact_format,
        facts.backend,
        PRECISION,
        spec.content_sha256,
        *(_version_of(package) for package in facts.tools),
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
    for file in artifact.files:
        path = directory / Path(file.path).name
        if not path.is_file():
            raise _DamagedError(f"{path.name} is missing")
        if file_sha256(path) != file.sha256:
            raise _DamagedError(f"{path.name} has other content than its name says")
    try:
        read_operators(artifact, cache_directory=directory)
    except ExportError:
        raise _DamagedError("what its operators are is missing") from None
    return artifact


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
    artifact_format: ExportFormat,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Artifact:
    started_ns = time.perf_counter_ns()
    facts = FORMATS[artifact_format]
    _check_tools(facts)
    with reporting_full_disk(cache_directory):  # before the work, not after it
        cache_directory.mkdir(parents=True, exist_ok=True)
    on_progress("Importing PyTorch")
    from mobilekit.model import describe, load, reference
    from mobilekit.model.trace import METHOD

    on_progress(f"Building {spec.name}")
    module = load.load_module(spec)
    inputs = reference.make_inputs(spec)
    on_progress("Computing the reference outputs in PyTorch")
    references = reference.run_eager(spec, module, inputs)
    cost = describe.count_cost(module, inputs)
    program = _make_program(spec, artifact_format, module, inputs, on_progress)
    on_progress("Writing the program")
    with reporting_full_disk(cache_directory), written_aside(cache_directory) as aside:
        program.write(aside)
        on_progress(f"Checking its outputs in {facts.runtime}")
        outputs = program.run_once(spec, aside, inputs)
        _check(spec, facts, outputs, references)
        file = ArtifactFile(
            sha256=file_sha256(aside),
            format=artifact_format,
            size_bytes=aside.stat().st_size,
            method=METHOD,
        )
        put_in_place(aside, cache_directory / Path(file.path).name)
        write_whole(_operators_path(spec, file, cache_directory), encode_pretty(program.operators))
        input_files = tuple(_write_tensor(tensor, cache_directory) for tensor in inputs)
        reference_files = tuple(_write_tensor(tensor, cache_directory) for tensor in references)
    versions = {package: _version_of(package) for package in facts.tools}
    return Artifact(
        model=spec,
        cost=cost,
        file=file,
        backend=facts.backend,
        precision=PRECISION,
        delegation=program.delegation(cost.macs),
        inputs=input_files,
        reference_outputs=reference_files,
        relative_tolerance=RELATIVE_TOLERANCE,
        tool_versions={name: number for name, number in versions.items() if number is not None}
        | {"mobilekit": mobilekit.__version__},
        export_ns=time.perf_counter_ns() - started_ns,
    )


def _check_tools(facts: FormatFacts) -> None:
    """Before the import of torch, which takes seconds."""
    missing = [package for package in facts.tools if find_spec(package) is None]
    if facts.extra is not None and missing:
        raise ExportError(
            f"Exporting for {facts.runtime} needs packages that are not installed",
            missing=", ".join(missing),
            fix=f"pip install 'mobilekit[{facts.extra}]'",
        )


def _make_program(
    spec: ModelSpec,
    artifact_format: ExportFormat,
    module: nn.Module,
    inputs: Sequence[Tensor],
    on_progress: Callable[[str], None],
) -> _Program:
    from mobilekit.model.trace import trace

    on_progress("Tracing the network")
    exported = trace(spec, module, inputs)
    if artifact_format == "onnx":
        from mobilekit.model import onnx

        on_progress("Translating it to ONNX")
        return onnx.translate(spec, exported)
    from mobilekit.model import pte

    on_progress("Lowering it to XNNPACK")
    return pte.lower(spec, exported)


def _check(
    spec: ModelSpec,
    facts: FormatFacts,
    outputs: Sequence[Tensor],
    references: Sequence[Tensor],
) -> None:
    from mobilekit.outputs import check_outputs

    check = check_outputs(
        [tensor.numpy() for tensor in outputs],
        [tensor.numpy() for tensor in references],
        RELATIVE_TOLERANCE,
    )
    if not check.matches:
        raise ExportError(
            f"The exported {spec.name} computes something else than PyTorch does",
            fix="The lowering of some operator is wrong: halve the network until it agrees, "
            f"and report that operator to the makers of {facts.runtime}.",
            relative_error=f"{check.max_relative_error:.3g}",
            relative_tolerance=RELATIVE_TOLERANCE,
            model=spec.path,
        )


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
