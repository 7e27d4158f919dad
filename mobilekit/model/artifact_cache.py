"""The cache of exported networks: what an artifact depends on, and what is there already.

Its directory holds ``<sha256>.<format>``, ``.ptd`` and ``.bin``, named by their content,
``<...>.operators.json``, which says what layers the program's operators are of, and the manifest
``<key>.json``, an ``Artifact``, written last; the network's description is kept beside it. Reading
it imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from mobilekit.contract.protocol import ArtifactFile, DType, File, Format, TensorFile, WeightsFile
from mobilekit.errors import ExportError, ProtocolError
from mobilekit.formats import FORMATS, backend_of
from mobilekit.hashing import file_sha256
from mobilekit.model.calibration import calibration_sha256
from mobilekit.model.describe import LAYERS_VERSION
from mobilekit.model.files import read_record, write_whole
from mobilekit.records.artifact import Artifact, ProgramOperator
from mobilekit.records.network import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

EXPORT_VERSION = 12
"""Of what this module makes of a network; another number exports anew. History: 1: first; 2: the
program's operators and their layers are kept, and an artifact tells its calibration and error; 3:
the network's description is kept; 4: the variant is told with the network; 5: int8 is not
calibrated with the input that it is checked with, state is initialized, and inputs may be given; 6:
fp16 has the tolerance of kernels that add in half, and .onnx in fp16 keeps averages in float32 that
phones have no kernel for; 7: what is kept has its own hash; 8: programs for Vulkan have no texture
that is larger than what every phone's driver takes; 9: the hash of what is kept is of its name
too; 10: in int8 .pte what a ReLU6 clamps spans what that leaves; 11: activations of int8 .onnx are
unsigned."""


class Target(NamedTuple):
    """What an artifact is to be."""

    format: Format
    calibration: Path | None


class DamagedError(Exception):
    """A cached artifact is not what its manifest says."""


def cache_key(spec: ModelSpec, target: Target) -> str:
    """Everything that an artifact depends on, hashed."""
    facts = FORMATS[target.format]
    parts = [
        EXPORT_VERSION,
        LAYERS_VERSION,
        target.format,
        backend_of(spec.variant, target.format),
        spec.variant.key,
        target.calibration and calibration_sha256(target.calibration),
        spec.content_sha256,
        *(version_of(package) for package in facts.export_packages[spec.variant.precision]),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def version_of(package: str) -> str | None:
    """Without importing the package; ``None`` if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_cached(manifest: Path, directory: Path) -> Artifact:
    """Raises ``FileNotFoundError`` if there is no manifest, else ``DamagedError``."""
    try:
        artifact: Artifact = read_record(manifest, Artifact)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(f"its manifest cannot be read: {error.strerror}") from None
    except ProtocolError:
        raise DamagedError("its manifest is not what was written") from None
    check_files(artifact.kept, directory)
    try:
        read_operators(artifact, cache_directory=directory)
    except ExportError:
        raise DamagedError("the list of its operators is missing") from None
    return artifact


def check_files(files: Sequence[File], directory: Path) -> None:
    """Raises ``DamagedError``."""
    for file in files:
        path = directory / Path(file.path).name
        if not path.is_file():
            raise DamagedError(f"{path.name} is missing")
        if file_sha256(path) != file.sha256:
            raise DamagedError(f"{path.name} has other content than its name says")


def read_operators(artifact: Artifact, *, cache_directory: Path) -> tuple[ProgramOperator, ...]:
    """Every operator of an exported program with its layer, as the export left them.

    Raises ``ExportError`` where the cache has lost them.
    """
    path = operators_path(artifact.model, artifact.file, cache_directory)
    try:
        operators: tuple[ProgramOperator, ...] = read_record(path, tuple[ProgramOperator, ...])
    except (OSError, ProtocolError) as error:
        raise ExportError(
            f"The list of the program's operators is not in the cache: {error}",
            path=path,
            fix="`mobilekit export` with the same options makes it anew.",
        ) from None
    return operators


def operators_path(spec: ModelSpec, file: ArtifactFile, directory: Path) -> Path:
    """Networks of equal programs may name their layers otherwise."""
    level = spec.variant.level
    method = "" if level is None else f".{level.method}"
    return directory / f"{file.sha256}.{spec.content_sha256[:16]}{method}.operators.json"


def write_weights(data: bytes | None, directory: Path) -> WeightsFile | None:
    if data is None:
        return None
    file = WeightsFile(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    write_whole(directory / Path(file.path).name, data)
    return file


def write_tensor(tensor: Tensor, directory: Path) -> TensorFile:
    from mobilekit.model.reference import dtype_name, tensor_bytes

    data = tensor_bytes(tensor)
    file = TensorFile(
        sha256=hashlib.sha256(data).hexdigest(),
        dtype=cast(DType, dtype_name(tensor)),
        shape=tuple(tensor.shape),
    )
    write_whole(directory / Path(file.path).name, data)
    return file
