"""The app's core with the app's engines and native libraries, on this computer."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from examples import run_request

from mobilekit import places
from mobilekit.contract.checks import decode_result
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import ArtifactFile, RunResult
from mobilekit.errors import UsageError
from mobilekit.records.artifact import Artifact
from mobilekit.runner.abi import this_abi
from mobilekit.virtual.companion_settings import check_companion, native_java


def _obstacle() -> str:
    try:
        check_companion("native")
    except UsageError as error:
        return f"{error}: {error.fix} It needs gcc: apt-get install gcc libc6-dev binutils"
    return ""


needs_native = pytest.mark.skipif(bool(_obstacle()), reason=_obstacle() or "not skipped")

SHIM = ("liblinker.so", "libc.so", "libm.so", "libdl.so", "liblog.so", "libandroid.so")


def built_libraries() -> Path:
    return places.built_native_libraries(this_abi())


def copy_libraries(directory: Path, *names: str) -> Path:
    """A directory of libraries with those of these names alone, to put others in."""
    directory.mkdir()
    for name in (*SHIM, *names):
        shutil.copy(built_libraries() / name, directory)
    return directory


def run_natively(
    directory: Path,
    made: Artifact,
    cache: Path,
    *,
    program: bytes | None = None,
    libraries: Path | None = None,
    **environment: str,
) -> RunResult:
    """The app's core on the artifact of that cache, or on another program in its place."""
    inputs, outputs, run_id = directory / "in", directory / "out", "native-1"
    (inputs / "artifacts").mkdir(parents=True)
    for tensor in (*made.inputs, *made.reference_outputs):
        shutil.copy(cache / Path(tensor.path).name, inputs / "artifacts")
    data = program or (cache / Path(made.file.path).name).read_bytes()
    file = ArtifactFile(
        sha256=hashlib.sha256(data).hexdigest(),
        format=made.file.format,
        size_bytes=len(data),
        method=made.file.method,
    )
    (inputs / file.path).write_bytes(data)
    request = run_request(
        run_id=run_id,
        artifact=file,
        inputs=made.inputs,
        reference_outputs=made.reference_outputs,
        relative_tolerance=made.relative_tolerance,
        min_duration_ns=1,
    )
    (inputs / "runs" / run_id).mkdir(parents=True)
    (inputs / "runs" / run_id / "request.json").write_bytes(encode(request))
    roots = ["--input-root", inputs, "--output-root", outputs]
    command = [
        *native_java(libraries or built_libraries(), directory / "crash.log"),
        *roots,
        "--run-id",
        run_id,
    ]
    subprocess.run(
        command, check=True, timeout=60, cwd=directory, env={**os.environ, **environment}
    )
    return decode_result((outputs / "runs" / run_id / "result.json").read_bytes())
