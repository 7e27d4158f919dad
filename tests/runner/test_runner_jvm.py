"""One request in two implementations of the contract: this computer's runner and the app's core."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from examples import energy_plan, run_request
from onnx import TensorProto, helper, numpy_helper

from mobilekit import places
from mobilekit.contract.checks import decode_events, decode_result
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import PROFILE_WARMUPS, ArtifactFile, RunSuccess, TensorFile
from mobilekit.contract.samples import collect_samples

pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="there is no java here"),
    pytest.mark.skipif(
        not places.built_jvm_companion().is_file(), reason="`make app` has not been run"
    ),
]
WEIGHTS = np.random.default_rng(0).normal(size=(6, 4)).astype("<f4")
EXAMPLES = np.random.default_rng(1).normal(size=(20, 1, 6)).astype("<f4")


def expected(inputs):
    return np.maximum(inputs @ WEIGHTS, 0)


@pytest.fixture
def input_root(tmp_path):
    """A request for everything that does not take a battery."""
    root = tmp_path / "in"
    (root / "artifacts").mkdir(parents=True)

    def put(data, suffix):
        sha256 = hashlib.sha256(data).hexdigest()
        (root / "artifacts" / f"{sha256}.{suffix}").write_bytes(data)
        return sha256

    def tensor(array):
        return TensorFile(sha256=put(array.tobytes(), "bin"), dtype="float32", shape=array.shape)

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    opsets = [helper.make_opsetid("", 13)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    request = run_request(
        run_id="both",
        artifact=ArtifactFile(
            sha256=put(data, "onnx"), format="onnx", size_bytes=len(data), method="forward"
        ),
        inputs=(tensor(EXAMPLES[0]),),
        reference_outputs=(tensor(expected(EXAMPLES[0])),),
        min_duration_ns=1,
        profile_iterations=7,
        evaluation=tensor(EXAMPLES),
        energy=energy_plan(),
    )
    (root / "runs" / "both").mkdir(parents=True)
    (root / "runs" / "both" / "request.json").write_bytes(encode(request))
    return root


def python_command(input_root, output_root):
    return [sys.executable, "-m", "mobilekit.runner", input_root, output_root, "both"]


def kotlin_command(input_root, output_root):
    roots = ["--input-root", input_root, "--output-root", output_root]
    return ["java", "-jar", places.built_jvm_companion(), *roots, "--run-id", "both"]


@pytest.mark.parametrize("command", [python_command, kotlin_command])
def test_both_trace_and_evaluate_alike(input_root, tmp_path, command):
    """The phases, the trace's kernels, the examples' outputs and the hashes are the contract's."""
    subprocess.run(command(input_root, tmp_path), check=True, timeout=60)

    directory = tmp_path / "runs" / "both"
    result = decode_result((directory / "result.json").read_bytes())
    assert isinstance(result, RunSuccess), result
    samples = result.samples
    progress = (directory / "progress.jsonl").read_bytes()
    assert collect_samples(decode_events(progress)) == samples
    phases = "verify load warmup iterate check memory profile evaluate energy"
    assert [phase.phase for phase in samples.phases] == phases.split()

    trace = (directory / "trace.bin").read_bytes()
    kernels = [event["name"] for event in json.loads(trace) if "_kernel_time" in event["name"]]
    assert samples.trace.kind == "onnxruntime"
    assert samples.trace.sha256 == hashlib.sha256(trace).hexdigest()
    assert samples.trace.size_bytes == len(trace)
    assert len(samples.trace.latency_ns) == 7
    assert len([name for name in kernels if "MatMul" in name]) == PROFILE_WARMUPS + 7

    data = (directory / "outputs.bin").read_bytes()
    outputs = samples.evaluation.outputs
    assert outputs.sha256 == hashlib.sha256(data).hexdigest()
    assert (outputs.dtype, outputs.shape) == ("float32", (20, 1, 4))
    found = np.frombuffer(data, "<f4").reshape(outputs.shape)
    np.testing.assert_allclose(found, expected(EXAMPLES), rtol=1e-4, atol=1e-5)
    assert len(samples.evaluation.latency_ns) == 20

    assert "no battery to read" in samples.energy_refusal
    assert (samples.waits, samples.sync_patterns, samples.windows) == ((), (), ())
