"""Exporting below fp32: what gets smaller, how far outputs move, and what calibrates int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import Export, Known, WriteModel

from mobilekit.contract.outputs import check_outputs
from mobilekit.errors import ExportError, UsageError
from mobilekit.model import onnx, pt2e
from mobilekit.model.calibration import calibration_sha256, read_examples
from mobilekit.model.calibration_check import check_examples
from mobilekit.model.export import relative_tolerance
from mobilekit.model.graph import make_graph
from mobilekit.model.load import load_module
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import read_spec
from mobilekit.records.artifact import Artifact
from mobilekit.runner.engines import make_engine

NETWORK = '''"""A small network with every kind of layer that int8 treats in its own way."""

from torch import nn

INPUT_SHAPES = ((1, 3, 16, 16),)


def build():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.LocalResponseNorm(5),
        nn.Conv2d(16, 64, 3),
        nn.ReLU(),
        nn.AvgPool2d(3, 1, 1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 36, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
        nn.Softmax(1),
    )
'''
FORMATS = ("pte", "onnx", "tflite")


@pytest.fixture
def spec(write_model: WriteModel):
    return read_spec(write_model(NETWORK))


def run_on_host(artifact: Artifact, directory: Path) -> float:
    """The relative error of the artifact in the runner's engine."""

    def read(tensor):
        content = (directory / Path(tensor.path).name).read_bytes()
        return np.frombuffer(content, tensor.dtype).reshape(tensor.shape).copy()

    program = make_engine(artifact.file.format, 1).load(
        directory / Path(artifact.file.path).name, "forward"
    )
    program.set_inputs([read(tensor) for tensor in artifact.inputs])
    program.execute()
    references = [read(tensor) for tensor in artifact.reference_outputs]
    return check_outputs(program.outputs(), references, 1.0).max_relative_error


@pytest.mark.parametrize("artifact_format", FORMATS)
def test_int8_is_a_quarter_in_every_format(
    spec, export: Export, known: Known, tmp_path, artifact_format
) -> None:
    """The same inputs and outputs in float32; the outputs move a little, but they do move."""
    whole = known(spec, artifact_format)
    made, messages = export(spec, artifact_format, precision="int8")

    assert made.precision == "int8"
    assert (made.calibration.path, made.calibration.examples) == (None, 4)
    assert "Quantizing it with 4 examples" in messages
    assert made.file.size_bytes < 0.4 * whole.file.size_bytes  # A small file has much else in it.
    assert (made.inputs, made.reference_outputs) == (whole.inputs, whole.reference_outputs)
    assert 1e-4 < made.relative_error < made.relative_tolerance
    assert run_on_host(made, tmp_path / "cache") == pytest.approx(made.relative_error, abs=0.05)
    assert export(spec, artifact_format, precision="int8") == (made, [])


CLAMPED = '''"""Of each layer one channel lies far below what a ReLU6 leaves."""

import torch
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


class Clamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Linear(6, 6)
        self.offset = nn.Parameter(torch.zeros(6))

    def forward(self, image):
        hidden = nn.functional.relu6(self.first(image))
        hidden = nn.functional.relu6(self.second(hidden))
        return nn.functional.hardtanh(hidden + self.offset, 0.0, 6.0)


def build():
    network = Clamped()
    with torch.no_grad():
        network.second.bias.abs_()
        for channels in (network.first.bias, network.second.bias, network.offset):
            channels[0] = -500
    return network
'''


def test_int8_spans_what_a_relu6_leaves(write_model: WriteModel, export: Export, tmp_path) -> None:
    """Not what it clamps away, which takes a hundred times the range here."""
    artifact, _ = export(read_spec(write_model(CLAMPED)), precision="int8")
    assert artifact.delegation.portable_operators == 0
    assert run_on_host(artifact, tmp_path / "cache") < 0.05


@pytest.mark.parametrize("artifact_format", FORMATS)
def test_fp16_in_every_format(
    spec, export: Export, known: Known, tmp_path, artifact_format
) -> None:
    """Half the size where the runtime stores halves; inputs and outputs stay in float32."""
    whole = known(spec, artifact_format)
    made, _ = export(spec, artifact_format, precision="fp16")

    assert (made.precision, made.calibration) == ("fp16", None)
    assert made.file.size_bytes < 0.75 * whole.file.size_bytes
    assert (made.inputs, made.reference_outputs) == (whole.inputs, whole.reference_outputs)
    assert whole.relative_error < made.relative_error < made.relative_tolerance
    assert run_on_host(made, tmp_path / "cache") == pytest.approx(made.relative_error, abs=0.01)


@pytest.mark.parametrize("call", ["nn.LocalResponseNorm(5)(x)", "F.local_response_norm(x, 5)"])
def test_normalization_stays_in_float(write_model: WriteModel, call) -> None:
    """However it is called; every other operator's inputs and outputs are quantized."""
    source = NETWORK.split("def build")[0].replace("nn\n", "nn\nimport torch.nn.functional as F\n")
    source += f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.c(x)
        x = x + {call}
        return x + 1


def build():
    return Net()
"""
    spec = read_spec(write_model(source))
    module, inputs = load_module(spec), make_inputs(spec)

    quantized = pt2e.quantize(spec, make_graph(spec, module, inputs), [inputs])

    def read_by(operator):
        return [
            str(node.args[0])
            for node in quantized.graph.nodes
            if node.op == "call_function" and node.target is operator
        ]

    aten = torch.ops.aten
    inside = [*read_by(aten.slice.Tensor), *read_by(aten.sqrt.default)]
    assert len(inside) == 5 + 2
    assert not any("quantize" in name for name in inside)
    assert all("dequantize" in name for name in read_by(aten.add.Tensor)[-2:])


def test_calibration_examples_make_the_ranges(
    spec, export: Export, write_npy, tmp_path: Path
) -> None:
    """Small inputs need small ranges; the first example is what the program is checked with, and
    not calibrated with."""
    examples = write_npy("examples.npy", 0.01 * np.random.default_rng(7).random((6, 3, 16, 16)))

    made, messages = export(spec, "tflite", precision="int8", calibration=examples)

    assert (made.calibration.path, made.calibration.examples) == (str(examples), 5)
    assert "Quantizing it with 5 examples" in messages
    stored = np.fromfile(tmp_path / "cache" / Path(made.inputs[0].path).name, "<f4")
    assert np.array_equal(stored, np.load(examples)[0].reshape(-1))
    copied = write_npy("copied.npy", np.load(examples))
    again, messages = export(spec, "tflite", precision="int8", calibration=copied)
    assert (again.file, again.calibration.path, messages) == (made.file, str(copied), [])
    other = write_npy("examples.npy", np.load(examples) * 2)
    assert export(spec, "tflite", precision="int8", calibration=other)[0].file != made.file


@pytest.mark.parametrize(
    ("precision", "error", "tolerance"),
    [
        ("fp32", 1e-6, 1e-3),
        ("fp16", 1e-4, 0.01),
        ("int8", 0.02, 0.04),
        ("int8", 0.6, 0.9),
    ],
)
def test_a_device_may_lose_no_more_than_twice_what_was_lost(precision, error, tolerance) -> None:
    """Below fp32 the tolerance is the network's own; zeros never pass."""
    assert relative_tolerance(precision, error) == tolerance


def test_too_far_from_fp32_is_refused(
    spec, export: Export, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Outputs that are all zero: the figures and a way out are told, and nothing is kept."""
    monkeypatch.setattr(onnx.Program, "run_once", lambda *_: (torch.zeros(1, 10),))

    with pytest.raises(ExportError, match="in int8 is too far from PyTorch in fp32") as caught:
        export(spec, "onnx", precision="int8")

    assert caught.value.facts["relative_error"] == "1"
    assert caught.value.facts["relative_tolerance"] == "0.9"
    assert "--calibration" in caught.value.fix
    assert list((tmp_path / "cache").iterdir()) == []


# --- the examples ------------------------------------------------------------------------------


@pytest.fixture
def write_npy(tmp_path: Path):
    def write(name: str, array) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.asarray(array, np.float32))
        return path

    return write


@pytest.fixture
def small_spec(write_model: WriteModel):
    return read_spec(write_model())


def test_a_stack_needs_no_batch_axis(small_spec, write_npy) -> None:
    """(N, 3, 8, 8) and (N, 1, 3, 8, 8) are the same examples of an input (1, 3, 8, 8)."""
    stack = np.random.default_rng(0).random((4, 3, 8, 8))

    plain = read_examples(write_npy("a.npy", stack), small_spec)
    batched = read_examples(write_npy("b.npy", stack[:, None]), small_spec)

    assert [array.shape for (array,) in plain] == [(1, 3, 8, 8)] * 4
    for (one,), (other,) in zip(plain, batched, strict=True):
        assert np.array_equal(one, other)


def test_a_directory_is_read_in_the_order_of_names(small_spec, write_npy, tmp_path) -> None:
    """One example a file, or several."""
    write_npy("data/b.npy", np.full((2, 3, 8, 8), 2))
    (tmp_path / "data/labels.txt").write_text("not for this")
    path = write_npy("data/a.npy", np.full((1, 3, 8, 8), 1)).parent

    examples = read_examples(path, small_spec)

    assert [array.flat[0] for (array,) in examples] == [1, 2, 2]


def test_several_inputs_have_a_file_each(write_model: WriteModel, write_npy) -> None:
    """Example k is at place k of every file."""
    spec = read_spec(write_model("INPUT_SHAPES = ((1, 2), (3,))\ndef build(): ...\n"))
    write_npy("data/1.npy", np.arange(6).reshape(2, 3))
    path = write_npy("data/0.npy", np.arange(4).reshape(2, 2)).parent

    examples = read_examples(path, spec)

    assert [[array.tolist() for array in example] for example in examples] == [
        [[[0, 1]], [0, 1, 2]],
        [[[2, 3]], [3, 4, 5]],
    ]
    write_npy("data/1.npy", np.arange(3).reshape(1, 3))
    with pytest.raises(UsageError, match="different numbers"):
        read_examples(path, spec)
    (path / "1.npy").unlink()
    with pytest.raises(UsageError, match="2 inputs, and there are 1 arrays"):
        read_examples(path, spec)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros((4, 3, 9, 9), np.float32), "holds no examples"),
        (np.zeros((4, 3, 8, 8), np.float64), "holds no examples"),
        (np.zeros((0, 3, 8, 8), np.float32), "holds no examples"),
        (np.full((4, 3, 8, 8), np.nan, np.float32), "not finite"),
        (np.zeros((1, 3, 8, 8), np.float32), "One example does not calibrate"),
        (np.array([{}]), "neither a .npy nor a .npz"),
        (b"nonsense", "neither a .npy nor a .npz"),
        (b"PK\x03\x04 cut off", "neither a .npy nor a .npz"),
        (b"", "neither a .npy nor a .npz"),
        (None, "no such calibration file"),
    ],
)
def test_what_is_no_example_is_refused(small_spec, tmp_path, content, said) -> None:
    """With the file, and with what was found and wanted; a pickle is never opened."""
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)

    with pytest.raises(UsageError, match=said) as caught:
        read_examples(path, small_spec)

    assert str(path) in caught.value.facts["path"]


def test_examples_of_another_type_are_told_so(small_spec, tmp_path) -> None:
    """With the shape that the file has, and how to convert it: stacked it is already."""
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((5, 1, *small_spec.input_shapes[0][1:])))
    stacked = np.load(path).shape

    with pytest.raises(UsageError) as caught:
        read_examples(path, small_spec)

    assert caught.value.facts["found"] == f"float64 {stacked}"
    assert "astype('float32')" in caught.value.fix
    np.save(path, np.zeros((5, 2), np.float32))
    with pytest.raises(UsageError, match="axis 0"):
        read_examples(path, small_spec)


@pytest.mark.parametrize(
    ("stack", "advised"),
    [
        pytest.param(np.zeros((4, 3, 8, 8), np.uint8), ["training did"], id="bytes"),
        pytest.param(
            np.zeros((4, 8, 8, 3), np.uint8), ["moveaxis", "training did"], id="channels last"
        ),
        pytest.param(np.full((4, 8, 8, 3), -1, np.float32), ["moveaxis"], id="and preprocessed"),
    ],
)
def test_pictures_are_not_merely_converted(small_spec, tmp_path, stack, advised) -> None:
    """A network that was given preprocessed pictures would get ranges of 0 to 255 by that."""
    path = tmp_path / "x.npy"
    np.save(path, stack)

    with pytest.raises(UsageError, match="holds no examples") as caught:
        read_examples(path, small_spec)

    assert all(word in caught.value.fix for word in advised)
    assert "Save it as" not in caught.value.fix
    assert ("training did" in caught.value.fix) == ("training did" in advised)


def test_arrays_of_an_npz(write_model: WriteModel, small_spec, tmp_path) -> None:
    """Of one input, examples one after the other; of several, one array for each."""
    path = tmp_path / "x.npz"
    two = read_spec(write_model("INPUT_SHAPES = ((1, 2), (3,))\ndef build(): ...\n", "two.py"))

    np.savez(path, np.zeros((2, 3, 8, 8), np.float32), np.ones((1, 3, 8, 8), np.float32))
    one_after_the_other = read_examples(path, small_spec)
    np.savez_compressed(
        path, b=np.zeros((2, 2), np.float32), a=np.arange(6, dtype=np.float32).reshape(2, 3)
    )
    side_by_side = read_examples(path, two)
    np.savez(path, np.array([{}]))

    assert [array.flat[0] for (array,) in one_after_the_other] == [0, 0, 1]
    assert [second.tolist() for _, second in side_by_side] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(UsageError, match=r"neither a \.npy nor a \.npz"):
        read_examples(path, small_spec)


# --- whether they are what the network was given -------------------------------------------------

NORMALIZED = '''"""A network whose first layer normalizes what a convolution makes of pictures."""

from torch import nn

INPUT_SHAPES = ((1, 3, 16, 16),)
DECLARATION


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), FIRST, nn.ReLU(), nn.Flatten(), nn.Linear(1568, 4))
'''


@pytest.fixture
def check(write_model: WriteModel):
    """Checks examples of a network whose normalization has seen ``seen``, if anything."""

    def run(values, *, first="nn.BatchNorm2d(8)", declaration="", seen=None) -> bool:
        source = NORMALIZED.replace("FIRST", first).replace("DECLARATION", declaration)
        spec = read_spec(write_model(source))
        module = load_module(spec)
        if seen is not None:
            module.train()
            module[1].momentum = None
            with torch.no_grad():
                module(torch.from_numpy(np.asarray(seen, np.float32)))
            module.eval()
        examples = [(torch.from_numpy(each[None]),) for each in np.asarray(values, np.float32)]
        return check_examples(spec, module, examples, Path("examples.npy"))

    return run


RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.standard_normal((8, 3, 16, 16))
BYTES = RANDOM.integers(0, 256, (8, 3, 16, 16))


@pytest.mark.parametrize(
    ("values", "network", "said"),
    [
        pytest.param(NORMAL, {}, None, id="untrained"),
        pytest.param(BYTES, {}, "given in training", id="bytes, untrained"),
        pytest.param(BYTES * 1.0, {"seen": NORMAL}, "given in training", id="bytes for normal"),
        pytest.param(NORMAL, {"seen": BYTES}, "given in training", id="normal for bytes"),
        pytest.param(BYTES / 255, {"seen": BYTES}, "given in training", id="0..1 for bytes"),
        pytest.param(BYTES, {"seen": BYTES}, None, id="bytes for bytes"),
        pytest.param(2 * NORMAL, {"seen": NORMAL}, None, id="another camera"),
        pytest.param(
            BYTES, {"declaration": "PREPROCESSING = 'imagenet'"}, "-2.12 to 2.64", id="declared"
        ),
        pytest.param(
            NORMAL.clip(-2, 2),
            {"declaration": "PREPROCESSING = 'caffe'", "first": "nn.ReLU()"},
            "-123 to 151",
            id="too narrow for what is declared",
        ),
        pytest.param(
            BYTES - 110.0,
            {"declaration": "PREPROCESSING = 'caffe'", "first": "nn.ReLU()"},
            None,
            id="as declared",
        ),
    ],
)
def test_examples_are_held_against_what_the_network_was_given(check, values, network, said) -> None:
    """By what it declares, and by what its first normalization has seen."""
    if said is None:
        assert not check(values, **network)
        return
    with pytest.raises(UsageError, match="calibration examples are not what") as caught:
        check(values, **network)
    assert said in str(caught.value)


def test_an_export_does_not_begin_with_other_inputs(
    write_model: WriteModel, export: Export, write_npy
) -> None:
    """They are refused before anything is traced."""
    source = NORMALIZED.replace("FIRST", "nn.BatchNorm2d(8)").replace("DECLARATION", "")

    with pytest.raises(UsageError, match="given in training"):
        export(
            read_spec(write_model(source)),
            precision="int8",
            calibration=write_npy("x.npy", BYTES),
        )


def test_bytes_of_which_nothing_is_known_are_doubted(check) -> None:
    """A network without a normalization tells nothing: they may be what it takes."""
    assert check(BYTES, first="nn.ReLU()")
    assert not check(BYTES / 255, first="nn.ReLU()")
    assert not check(BYTES > 128, first="nn.ReLU()")


def test_an_empty_directory_is_refused(tmp_path) -> None:
    """Before anything is imported or built."""
    with pytest.raises(UsageError, match=r"no \.npy or \.npz file"):
        calibration_sha256(tmp_path)


def test_calibration_is_for_int8(small_spec, export: Export, tmp_path) -> None:
    """Elsewhere it would be ignored, and is refused."""
    with pytest.raises(UsageError, match="--calibration is for int8"):
        export(small_spec, "pte", calibration=tmp_path)
