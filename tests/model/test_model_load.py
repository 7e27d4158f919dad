"""Running a model file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from model_files import SMALL, WriteModel

from mobilekit.errors import ModelFileError
from mobilekit.model.load import load_module
from mobilekit.model.zoo import read_spec

HEADER = "INPUT_SHAPES = ((1, 2),)\n"


def test_an_untrained_network_is_the_same_every_time(write_model: WriteModel) -> None:
    """Initial weights do not depend on what ran before."""
    spec = read_spec(write_model())
    first = load_module(spec).state_dict()
    torch.rand(7)
    second = load_module(spec).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_callers_generator_is_left_alone(write_model: WriteModel) -> None:
    """Loading a model does not reseed the program."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_module(read_spec(write_model()))
    assert torch.equal(expected, torch.rand(3))


def test_the_network_is_in_evaluation_mode(write_model: WriteModel) -> None:
    """Dropout and batch normalization behave as in inference."""
    assert not load_module(read_spec(write_model())).training


def test_siblings_are_importable_and_do_not_leak(write_model: WriteModel, tmp_path: Path) -> None:
    """Two folders may hold different modules of one name."""
    source = HEADER + "from torch import nn\nfrom width import W\ndef build():\n"
    source += "    from width import W as same\n    return nn.Linear(2, W + same)\n"
    widths = []
    for folder, width in (("a", 3), ("b", 4)):
        write_model(f"W = {width}\n", name=f"{folder}/width.py")
        module = load_module(read_spec(write_model(source, name=f"{folder}/net.py")))
        widths.append(module.out_features)
    assert widths == [6, 8]
    assert "width" not in sys.modules
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("    x = 1\n    return x / 0\n", 4, "ZeroDivisionError: division by zero"),
        ("    import not_installed_anywhere\n", 3, "not_installed_anywhere"),
        ("    raise SystemExit(3)\n", 3, "SystemExit: 3"),
        ("    from torch import nn\n    return nn.Linear(2, 'x')\n", 4, "TypeError"),
    ],
)
def test_a_failing_build_is_reported_with_its_line(
    write_model: WriteModel, body: str, line: int, said: str
) -> None:
    """The error names the user's own failing statement, not torch's."""
    path = write_model(HEADER + "def build():\n" + body)
    with pytest.raises(ModelFileError) as caught:
        load_module(read_spec(path))
    assert said in caught.value.what
    assert f"{path}:{line}" == caught.value.facts["at"]


def test_a_failing_sibling_is_reported_with_its_line(write_model: WriteModel) -> None:
    """The failing statement may lie in a module beside the file."""
    sibling = write_model("\n\nundefined_name\n", name="part.py")
    with pytest.raises(ModelFileError) as caught:
        load_module(read_spec(write_model("import part\n" + SMALL)))
    assert f"{sibling}:3" == caught.value.facts["at"]


def test_build_must_return_a_module(write_model: WriteModel) -> None:
    """A builder that forgets its return is told so."""
    with pytest.raises(ModelFileError, match="returned a NoneType"):
        load_module(read_spec(write_model(HEADER + "def build():\n    pass\n")))


def test_what_build_prints_is_dropped(
    write_model: WriteModel, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard output is for results."""
    load_module(read_spec(write_model(SMALL.replace("():\n", "():\n    print('chatter')\n"))))
    assert capfd.readouterr().out == ""
