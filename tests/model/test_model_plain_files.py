"""Networks in files that were not written for mobilekit: ``FILE.py:NAME``, and ``init``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import strategies as st
from model_files import SMALL, WriteModel
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.errors import ExportError, ModelFileError, UsageError
from mobilekit.model.given import Given, InputKind, parse_input
from mobilekit.model.load import load_module
from mobilekit.model.reference import make_inputs, run_eager
from mobilekit.model.zoo import find_model, network_name

PLAIN = '''
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)

    def forward(self, x):
        return torch.relu(self.conv(x))


class Net(nn.Module):
    """A net of one block."""

    def __init__(self, width=4):
        super().__init__()
        self.block = Block(width)

    def forward(self, image, offset=None):
        return self.block(image)


def wide():
    return Net(8)


ready = Net(2)
'''
IMAGE = Given(kinds=(InputKind("float32", (1, 3, 8, 8)),))


@for_all(
    dtype=st.sampled_from(["float32", "int64", "uint8", "bool"]),
    shape=st.lists(st.integers(1, 10**6), min_size=1, max_size=6),
)
def test_an_input_is_read_as_it_is_written(dtype: str, shape: list[int]) -> None:
    """Whatever kind of input is said in the option's words is the kind that comes out."""
    kind = InputKind(dtype, tuple(shape))
    assert parse_input(kind.text) == kind
    assert parse_input(f"{dtype}:{'X'.join(map(str, shape))}") == kind


@for_all(st.text(max_size=12))
def test_no_other_text_is_an_input(text: str) -> None:
    """Anything else is a usage error that says how to write it."""
    with pytest.raises(UsageError, match="1x3x224x224"):
        parse_input(f"{text}y")


@pytest.mark.parametrize(
    ("name", "outputs"), [("Net", 4), ("wide", 8), ("ready", 2)], ids=["class", "function", "value"]
)
def test_a_class_a_function_and_a_network_are_taken(
    write_model: WriteModel, name: str, outputs: int
) -> None:
    """None of them needs a constant in the file; the name tells them apart."""
    spec = find_model(f"{write_model(PLAIN, 'plain.py')}:{name}", IMAGE)
    (output,) = run_eager(spec, load_module(spec), make_inputs(spec))
    assert output.shape == (1, outputs, 6, 6)
    assert spec.name == spec.label == f"plain.{name}" == network_name(f"plain.py:{name}")


def test_shape_type_and_name_are_of_the_content(write_model: WriteModel) -> None:
    """Each of them makes another artifact; the same again makes the same."""
    path = write_model(PLAIN + "INPUT_SHAPES = ((1, 3, 8, 8),)\ndef build():\n    return Net()\n")
    kinds = [(), (InputKind("float32", (2, 3, 8, 8)),), (InputKind("int64", (1, 3, 8, 8)),)]
    specs = [find_model(str(path), Given(kinds=each)) for each in kinds]
    specs += [find_model(f"{path}:{name}", IMAGE) for name in ("Net", "wide")]
    assert len({spec.content_sha256 for spec in specs}) == len(specs)
    assert specs[0] == find_model(str(path), IMAGE)
    assert specs[1].input_shapes == ((2, 3, 8, 8),)
    assert specs[0].title == "small"
    assert specs[3].title == "A net of one block."


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("", IMAGE, r"defines no build\(\).*networks: Net,.*:Net`, with `--input`.*mobilekit init"),
        (":Nett", IMAGE, "defines no Nett.*Did you mean Net"),
        (":Block", IMAGE, r"Block .* needs arguments .*width.*return Block\(width=\.\.\.\)"),
        (":Net", Given(), "does not say what Net takes.*--input"),
    ],
    ids=["no build", "misspelt", "arguments", "no input"],
)
def test_what_is_missing_is_said_with_the_line_that_helps(
    write_model: WriteModel, name: str, given: Given, message: str
) -> None:
    """Before anything is built: the file is only read."""
    with pytest.raises((ModelFileError, UsageError)) as caught:
        find_model(f"{write_model(PLAIN)}{name}", given)
    assert caught.match(message)


def test_arguments_of_what_is_imported_are_found_when_it_is_built(write_model: WriteModel) -> None:
    """The file does not tell them."""
    write_model(PLAIN, "part.py")
    spec = find_model(f"{write_model('from part import Block')}:Block", IMAGE)
    with pytest.raises(ModelFileError, match=r"needs arguments \(arguments: width"):
        load_module(spec)


@pytest.mark.parametrize(
    ("line", "init"),
    [
        ("from .blocks import Net", True),
        ("from .blocks import Net", False),
        ("from nets.blocks import Net", False),
        ("from blocks import Net", True),
        ("from ..parts import Net", False),
    ],
    ids=["package", "relative", "by name", "beside", "above"],
)
def test_a_file_in_a_package_finds_its_modules(
    write_model: WriteModel, line: str, init: bool
) -> None:
    """However it imports them; and a change of theirs is a change of its content."""
    other = write_model(PLAIN, "proj/parts.py" if ".." in line else "proj/nets/blocks.py")
    if init:
        write_model("", "proj/nets/__init__.py")
    path = write_model(f"{line}\n", "proj/nets/own.py")
    spec = find_model(f"{path}:Net", IMAGE)
    assert load_module(spec)(*make_inputs(spec)).shape == (1, 4, 6, 6)
    other.write_text(PLAIN + "\n")
    assert find_model(f"{path}:Net", IMAGE).content_sha256 != spec.content_sha256


def test_given_inputs_are_what_it_runs_on(write_model: WriteModel, tmp_path: Path) -> None:
    """They tell shapes and types too, and their content is the network's."""
    path = f"{write_model(PLAIN)}:Net"
    image = np.random.default_rng(3).standard_normal((1, 3, 9, 9)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    spec = find_model(path, Given(inputs=tmp_path / "image.npy"))
    assert spec.input_shapes == ((1, 3, 9, 9),)
    assert np.array_equal(make_inputs(spec)[0].numpy(), image)
    np.save(tmp_path / "image.npy", image + 1)
    other = find_model(path, Given(inputs=tmp_path / "image.npy"))
    assert other.content_sha256 != spec.content_sha256


def test_several_inputs_are_taken_in_their_order(write_model: WriteModel, tmp_path: Path) -> None:
    """An ``.npz`` with an array for each, under whatever names."""
    ids, mask = np.arange(6).reshape(1, 6), np.ones((1, 6), bool)
    np.savez(tmp_path / "both.npz", ids=ids, mask=mask)
    spec = find_model(f"{write_model(PLAIN)}:Net", Given(inputs=tmp_path / "both.npz"))
    assert spec.input_dtypes == ("int64", "bool")
    assert [each.tolist() for each in make_inputs(spec)] == [ids.tolist(), mask.tolist()]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 3, 8, 8)), "of float64.*astype.'float32'"),
        (np.zeros((2, 3, 8, 8), np.float32), "found: 2x3x8x8, wanted: 1x3x8x8.*--input 2x3x8x8"),
        (np.full((1, 3, 8, 8), np.nan, np.float32), "not finite"),
        (None, "holds no arrays"),
    ],
    ids=["type", "shape", "nan", "text"],
)
def test_inputs_that_do_not_fit_are_refused_at_once(
    write_model: WriteModel, tmp_path: Path, array: np.ndarray | None, message: str
) -> None:
    """With what is there, what is wanted and what to do."""
    if array is None:
        (tmp_path / "x.npy").write_text("1, 2")
    else:
        np.save(tmp_path / "x.npy", array)
    with pytest.raises(UsageError) as caught:
        find_model(str(write_model()), Given(inputs=tmp_path / "x.npy"))
    assert caught.match(message)


def test_a_size_that_nothing_holds_is_refused(write_model: WriteModel, tmp_path: Path) -> None:
    """A header can say any."""
    np.save(tmp_path / "x.npy", np.zeros((11, 3, 8, 8), np.float32))
    header = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(header.replace(b"(11, ", b"(%d, " % 10**20))
    with pytest.raises(UsageError, match="holds no arrays"):
        find_model(str(write_model()), Given(inputs=tmp_path / "x.npy"))


def test_a_wrong_shape_is_said_to_be_one(write_model: WriteModel) -> None:
    """What forward() raises is not left alone."""
    kinds = (InputKind("float32", (1, 4, 8, 8)),)
    spec = find_model(f"{write_model(PLAIN)}:Net", Given(kinds=kinds))
    with pytest.raises(ExportError, match="--input"):
        run_eager(spec, load_module(spec), make_inputs(spec))


def run(*words: object) -> str:
    outcome = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.output


def test_init_writes_a_model_file(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deployed as it is, and never written over."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path))
    plain = write_model(PLAIN, "plain.py")
    said = run("init", plain, "--input", "1x3x8x8")
    made = find_model(str(tmp_path / "plain_model.py"))
    assert str(tmp_path / "plain_model.py") in said
    assert (made.input_shapes, made.title) == (((1, 3, 8, 8),), "A net of one block.")
    assert load_module(made)(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)
    with pytest.raises(UsageError, match="is there already"):
        run("init", plain)


def test_init_leaves_open_what_it_cannot_know(write_model: WriteModel, tmp_path: Path) -> None:
    """The values of arguments, which are asked for until they are there, and the shapes."""
    said = run("init", f"{write_model(PLAIN, 'plain.py')}:Block")
    written = tmp_path / "plain_model.py"
    assert "INPUT_SHAPES are a guess" in said
    assert "in place of ... for width" in said
    with pytest.raises(ModelFileError, match=r"gives \.\.\. for width"):
        find_model(str(written))
    written.write_text(written.read_text().replace("...", "5"))
    assert load_module(find_model(str(written))).conv.out_channels == 5


def test_models_shows_the_card_of_a_class(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command takes it in the same way; this one needs no device."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path))
    path = write_model(PLAIN, "plain.py")
    shown = run("models", f"{path}:Net", "--input", "1x3x8x8")
    assert "plain.Net · A net of one block." in shown
    assert "112 parameters" in shown
    small = write_model(SMALL)
    with pytest.raises(UsageError, match="are for one network"):
        run("models", "--input", "1x3x8x8")
    assert "2x3x8x8" in run("models", small, "--input", "2x3x8x8")
