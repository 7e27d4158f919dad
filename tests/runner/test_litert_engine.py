"""LiteRT behind the engine's interface, on a file converted here."""

import sys

import numpy as np
import pytest
import torch
from examples import artifact

from mobilekit.model import tflite
from mobilekit.runner.engine import EngineError, TracingUnavailableError
from mobilekit.runner.engines import make_engine
from mobilekit.runner.host import installed_formats


class Network(torch.nn.Module):
    def forward(self, data, index):
        return data[0] * 10 + data[1], index + 1


DATA = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
INDEX = np.array([7, 8])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """``(10 * data[0] + data[1], index + 1)``."""
    inputs = (torch.from_numpy(DATA), torch.from_numpy(INDEX))
    exported = torch.export.export(Network(), inputs)
    path = tmp_path_factory.mktemp("litert") / "network.tflite"
    tflite.convert(artifact().model, exported, inputs).write(path)
    return path


def test_inputs_are_bound_by_position_and_stay(path):
    """Each keeps its type through many inferences; outputs stay after the program is closed."""
    engine = make_engine("tflite", 1)
    program = engine.load(path, "forward")
    program.set_inputs([DATA, INDEX])

    for _ in range(10):
        program.execute()
    first, second = program.outputs()
    program.close()

    assert (engine.name, engine.threads) == ("litert", 1)
    assert first.tolist() == [14, 25, 36]
    assert (second.tolist(), second.dtype) == ([8, 9], np.int64)


@pytest.mark.parametrize(
    "inputs",
    [[DATA], [DATA, INDEX, DATA], [DATA, INDEX.astype(np.float32)], [DATA[:1], INDEX]],
)
def test_inputs_that_do_not_fit_are_refused(path, inputs):
    """Too few, too many, of another type, or of another shape."""
    program = make_engine("tflite", 1).load(path, "forward")

    with pytest.raises(EngineError):
        program.set_inputs(inputs)


def test_other_inputs_can_be_bound(path):
    """As an evaluation does, example by example."""
    program = make_engine("tflite", 1).load(path, "forward")
    program.set_inputs([DATA, INDEX])
    program.execute()

    program.set_inputs([DATA + 1, INDEX])
    program.execute()

    assert program.outputs()[0].tolist() == [25, 36, 47]


def test_operators_cannot_be_timed(path):
    """The reason is said."""
    with pytest.raises(TracingUnavailableError, match="LiteRT"):
        make_engine("tflite", 1).load_traced(path, "forward")


def test_what_is_no_model_is_refused(tmp_path):
    """A damaged file is an engine's refusal."""
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"nonsense")

    with pytest.raises(EngineError, match="not a valid"):
        make_engine("tflite", 1).load(path, "forward")


def test_a_missing_package_is_named(monkeypatch):
    """Without LiteRT there is no engine, what installs it is said, and the format is not told."""
    assert installed_formats() == ("pte", "onnx", "tflite")
    monkeypatch.delitem(sys.modules, "mobilekit.runner.litert_engine", raising=False)
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(EngineError, match=r"mobilekit\[tflite\]"):
        make_engine("tflite", None)
    assert installed_formats() == ("pte", "onnx")
