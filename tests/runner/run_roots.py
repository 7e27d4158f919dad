"""The two roots of the contract, with a request for what the fake program computes."""

import hashlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from fake_machine import MS

from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    ArtifactFile,
    RunRequest,
    TensorFile,
    WarmupRule,
)
from mobilekit.runner.run import carry_out_run, take_run

RUN_ID = "test-run-1"


def make_roots(tmp_path) -> tuple[Path, RunRequest]:
    artifacts = tmp_path / "in/artifacts"
    artifacts.mkdir(parents=True)

    def put(data, suffix):
        sha256 = hashlib.sha256(data).hexdigest()
        (artifacts / f"{sha256}.{suffix}").write_bytes(data)
        return sha256

    values = np.arange(6, dtype="<f4").reshape(1, 6)
    program = b"a program"
    request = RunRequest(
        protocol_version=PROTOCOL_VERSION,
        run_id=RUN_ID,
        artifact=ArtifactFile(
            sha256=put(program, "pte"), format="pte", size_bytes=len(program), method="forward"
        ),
        inputs=(TensorFile(sha256=put(values.tobytes(), "bin"), dtype="float32", shape=(1, 6)),),
        reference_outputs=(
            TensorFile(sha256=put((2 * values).tobytes(), "bin"), dtype="float32", shape=(1, 6)),
        ),
        relative_tolerance=1e-3,
        choice=None,
        threads=1,
        cold_loads=3,
        warmup=WarmupRule(
            window_iterations=2, tolerance=0.05, max_iterations=20, max_duration_ns=10**12
        ),
        min_iterations=10,
        min_duration_ns=200 * MS,
        max_duration_ns=10**12,
        profile_iterations=None,
        segments=(),
        evaluation=None,
        energy=None,
        weights=None,
    )
    write_request(tmp_path, request)
    return tmp_path, request


def write_request(root, request):
    directory = root / "in/runs" / RUN_ID
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "request.json").write_bytes(encode(request))


def put_tensor(root, array) -> TensorFile:
    sha256 = hashlib.sha256(array.tobytes()).hexdigest()
    tensor = TensorFile(sha256=sha256, dtype=array.dtype.name, shape=array.shape)
    (root / "in" / tensor.path).write_bytes(array.tobytes())
    return tensor


def carry_out(root, machine):
    journal = take_run(root / "out", RUN_ID)
    return carry_out_run(root / "in", journal, lambda: nullcontext(machine))


def written(root) -> Path:
    return root / "out/runs" / RUN_ID
