"""Finding models and reading what they declare."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from model_files import SMALL, WriteModel

from mobilekit.errors import ModelFileError, UnknownModelError, WeightsError
from mobilekit.model.given import Given
from mobilekit.model.zoo import find_model, list_models, read_card, read_spec

BUILD = "\ndef build():\n    pass\n"
PACKAGED = sorted(path.stem for path in (Path(__file__).parents[2] / "models").glob("*.py"))


def test_lists_the_published_networks_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packaged networks are found from any working directory."""
    monkeypatch.chdir(tmp_path)
    assert [spec.name for spec in list_models()] == PACKAGED
    assert "nin" in PACKAGED


def test_reading_specs_imports_neither_torch_nor_numpy() -> None:
    """Names, shapes and hashes are known without the heavy stacks."""
    code = (
        "import sys; from mobilekit.model.zoo import list_models; list_models(); "
        "print({'torch', 'numpy', 'executorch'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_reads_a_file_without_running_it(write_model: WriteModel) -> None:
    """A file that could not even be imported still tells its shapes."""
    path = write_model("import no_such_module\nINPUT_SHAPES = [[1, 2], [3]]\n" + BUILD)
    spec = read_spec(path)
    assert spec.input_shapes == ((1, 2), (3,))
    assert spec.input_dtypes == ("float32", "float32")
    assert spec.title == "small"
    assert spec.weights_path is None


def test_title_defaults_to_the_first_line_of_the_docstring(write_model: WriteModel) -> None:
    """A user's own file needs no TITLE."""
    assert read_spec(write_model()).title == "A small network."


def test_declared_constants_are_read(write_model: WriteModel, tmp_path: Path) -> None:
    """Every constant of the convention arrives in the spec."""
    (tmp_path / "w.pt").write_bytes(b"weights")
    path = write_model(
        'TITLE: str = "T"\nSOURCE = ("a" "b")\nLICENSE = "L"\nWEIGHTS = "w.pt"\n'
        'INPUT_SHAPES = ((1, 2),)\nINPUT_DTYPES = ("int64",)\n' + BUILD
    )
    spec = read_spec(path)
    assert (spec.title, spec.source, spec.license) == ("T", "ab", "L")
    assert spec.input_dtypes == ("int64",)
    assert str(tmp_path / "w.pt") == spec.weights_path


def test_a_card_is_read(write_model: WriteModel) -> None:
    """What the file says of the network, and nothing where it says nothing."""
    path = write_model('TASK = "T"\nACCURACY = "90 %"\nNOTE = None\n' + SMALL)
    card = read_card(read_spec(path))
    assert (card.task, card.input) == ("T", None)
    assert (card.published_accuracy, card.note) == ("90 %", None)


def test_a_model_in_the_working_directory_takes_precedence(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """./models/nin.py is what the name nin means, and ./models/mine.py is listed."""
    own = write_model(name="models/nin.py")
    write_model(name="models/mine.py")
    write_model("this is no model at all", name="models/notes.py")
    monkeypatch.chdir(tmp_path)
    assert str(own) == find_model("nin").path
    listed = [spec.name for spec in list_models()]
    assert listed == sorted([*PACKAGED, "mine"])


def test_unknown_name_offers_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing mistake is answered by the name that was meant, and how to pass a file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownModelError) as caught:
        find_model("GoogleNt")
    assert "googlenet" in caught.value.fix
    assert "./mynet.py" in caught.value.fix
    assert caught.value.facts["known"] == ", ".join(PACKAGED)


def test_missing_file_is_named() -> None:
    """What ends in .py is a path."""
    with pytest.raises(UnknownModelError, match=r"no model file \./missing\.py"):
        find_model("./missing.py")


@pytest.mark.parametrize(
    ("source", "line", "problem"),
    [
        ("x = 1\ndef build(:\n", 2, "syntax error"),
        ("INPUT_SHAPES = ((1, 2),)\n", 1, "no build()"),
        ("def build():\n    pass\n", 1, "no INPUT_SHAPES"),
        ("\nINPUT_SHAPES = (1, 3, 8, 8)" + BUILD, 2, "one shape"),
        ("\nINPUT_SHAPES = ((1, 0),)" + BUILD, 2, "positive sizes"),
        ("\nINPUT_SHAPES = ((1, 2.0),)" + BUILD, 2, "positive sizes"),
        ("\nINPUT_SHAPES = ()" + BUILD, 2, "one shape"),
        ("\n\nINPUT_SHAPES = make()" + BUILD, 3, "must be a literal"),
        ('INPUT_SHAPES = ((1,),)\nINPUT_DTYPES = ("float",)' + BUILD, 2, "float32"),
        ('INPUT_SHAPES = ((1,),)\nINPUT_DTYPES = ("int8", "int8")' + BUILD, 2, "1 inputs"),
        ("INPUT_SHAPES = ((1,),)\nTITLE = 3" + BUILD, 2, "TITLE must be a string"),
        ("INPUT_SHAPES = ((1,),)\nACCURACY = 3" + BUILD, 2, "ACCURACY must be a string"),
        ("INPUT_SHAPES = ((1,),)\nWEIGHTS = 3" + BUILD, 2, "must be a string"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    write_model: WriteModel, source: str, line: int, problem: str
) -> None:
    """Whatever breaks the convention is named, with the file and the line."""
    path = write_model(source)
    with pytest.raises(ModelFileError) as caught:
        read_spec(path)
    assert problem in caught.value.what
    assert f"{path}:{line}" == caught.value.facts["at"]


def test_declared_weights_that_are_missing_are_refused(write_model: WriteModel) -> None:
    """A network is never silently measured untrained."""
    with pytest.raises(WeightsError, match=r"absent\.pt"):
        read_spec(write_model(SMALL + 'WEIGHTS = "absent.pt"\n'))


def test_given_weights_take_the_place_of_declared_ones(
    write_model: WriteModel, tmp_path: Path
) -> None:
    """--weights wins, even when the declared file is not there."""
    (tmp_path / "given.pt").write_bytes(b"g")
    path = write_model(SMALL + 'WEIGHTS = "absent.pt"\n')
    spec = find_model(str(path), Given(tmp_path / "given.pt"))
    assert str(tmp_path / "given.pt") == spec.weights_path


def test_a_copied_folder_has_the_same_content_hash(write_model: WriteModel, tmp_path: Path) -> None:
    """The hash is over content, not over where it lies."""
    path = write_model("import part\n" + SMALL, name="here/small.py")
    write_model("X = 1\n", name="here/part.py")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert read_spec(path).content_sha256 == (
        read_spec(tmp_path / "there" / "small.py").content_sha256
    )


@pytest.mark.parametrize(
    "changed", ["small.py", "part.py", "deeper.py", "pack/__init__.py", "pack/inner.py", "w.pt"]
)
def test_content_hash_sees_every_file_that_takes_part(
    write_model: WriteModel, tmp_path: Path, changed: str
) -> None:
    """The file, its local imports (nested, in packages, relative) and the weights all count."""
    path = write_model(
        SMALL + 'WEIGHTS = "w.pt"\n\ndef late():\n    from part import x\n    import pack\n'
    )
    write_model("import deeper\n", name="part.py")
    write_model("", name="deeper.py")
    write_model("from . import inner\n", name="pack/__init__.py")
    write_model("from .. import beyond\n", name="pack/inner.py")
    write_model("", name="unrelated.py")
    write_model("", name="w.pt")
    before = read_spec(path).content_sha256
    write_model("# changed\n", name="unrelated.py")
    assert before == read_spec(path).content_sha256
    with (tmp_path / changed).open("a") as file:
        file.write("# changed\n")
    assert before != read_spec(path).content_sha256
