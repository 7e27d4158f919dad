"""What can be checked is checked before the long part."""

from contextlib import contextmanager

import numpy as np
import pytest
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.cli.options import DeviceOptions, NetworkOptions, RunOptions, deploy_options
from mobilekit.errors import DataError, ExportError, UsageError
from mobilekit.flow import evaluate as evaluation
from mobilekit.flow import profile as profiling


class TooLateError(Exception):
    """The long part has begun."""


@contextmanager
def prepare_at_length(*_arguments, **_settings):
    raise TooLateError
    yield


@pytest.fixture
def too_late(monkeypatch):
    monkeypatch.setattr(evaluation, "prepare", prepare_at_length)
    monkeypatch.setattr(profiling, "deploy", prepare_at_length)


def options(model, **settings):
    return deploy_options(model, DeviceOptions(device="pc"), RunOptions(**settings), energy=False)


@pytest.mark.parametrize(
    ("model", "files", "message"),
    [
        ("nin", None, "comes without examples"),
        ("svhn", {}, "does not say how a file becomes its input"),
        ("digits", {"inputs.npy": np.zeros((2, 1, 9, 9), "f4"), "labels.npy": [0, 1]}, "9, 9"),
        ("digits", {"inputs.npy": np.zeros((2, 1, 8, 8)), "labels.npy": [0, 1]}, "float64"),
        ("digits", {"inputs.npy": np.zeros((2, 1, 8, 8), "f4"), "labels.npy": [0]}, "1 labels"),
    ],
    ids=["none", "no PREPROCESSING", "shape", "type", "number"],
)
def test_examples_are_looked_at_before_the_export(too_late, tmp_path, model, files, message):
    """What the network cannot be evaluated with, an export does not change."""
    for name, content in (files or {}).items():
        np.save(tmp_path / name, content)
    with pytest.raises(DataError, match=message):
        evaluation.evaluate(options(model), None if files is None else tmp_path, None, None)


def test_sound_examples_pass(too_late):
    """Only then does the long part begin."""
    with pytest.raises(TooLateError):
        evaluation.evaluate(options("digits"), None, None, None)


def test_int8_without_a_tracer_cannot_be_cut(too_late):
    """A format that cannot trace needs segments, which int8 cannot be cut into."""
    with pytest.raises(ExportError, match="by segments"):
        profiling.profile(
            options("digits", format="tflite", precision="int8"),
            None,
            None,
            iterations=3,
            by_segments=None,
        )


def test_inputs_and_weights_are_looked_at_before_anything_else(tmp_path):
    """The command line alone tells that they are not there, of no shape, or of none."""
    for words, message in (
        (("--inputs", tmp_path / "x.npy"), "There is no file"),
        (("--input", "1x3y5"), "is not the shape of an input"),
        (("--weights", tmp_path / "w.pt"), "There is no weights file"),
        (("--apk", tmp_path / "x.apk"), "There is no such APK"),
    ):
        line = ["deploy", "digits", "--device", "pc", "--store", f"sqlite:///{tmp_path}/s.sqlite"]
        outcome = CliRunner().invoke(app, [*line, *map(str, words)])
        assert isinstance(outcome.exception, UsageError)
        assert message in outcome.exception.what


def test_given_inputs_are_options_of_every_command_that_takes_a_network():
    """In one and the same way."""
    from command_tree import COMMANDS

    networks = "deploy export describe models profile compare evaluate"
    commands = [f"mobilekit {name}" for name in networks.split()]
    for name in (*commands, "mobilekit energy measure", "mobilekit energy calibrate"):
        spellings = {word for option in COMMANDS[name].params for word in option.opts}
        assert {"--weights", "--input", "--inputs"} <= spellings, name
    assert NetworkOptions(input=["int64:1x8"]).given.kinds[0].text == "int64:1x8"
