"""The four published networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_files import Export

from mobilekit.model.load import load_module
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import find_model
from mobilekit.outputs import check_outputs


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without models of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("nin", 7_595_176, 1.100),
        ("alexnet", 60_965_224, 0.724),
        ("googlenet", 6_998_552, 1.583),
        ("squeezenet", 1_248_424, 0.819),
    ],
)
def test_exports_whole_with_the_published_counts(
    name: str, parameters: int, gmacs: float, export: Export
) -> None:
    """Parameters and multiply-accumulates are the literature's; nothing is left undelegated."""
    artifact, _ = export(find_model(name))
    assert parameters == artifact.cost.parameters
    assert gmacs == round(artifact.cost.macs / 1e9, 3)
    assert artifact.delegation.portable_operator_counts == {}
    assert artifact.delegation.mac_fraction == 1.0


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("name", ["nin", "alexnet", "googlenet", "squeezenet"])
def test_an_untrained_output_depends_on_the_input(name: str) -> None:
    """Far beyond the tolerance, so that comparing outputs means something."""
    spec = find_model(name)
    module = load_module(spec)
    (first,) = make_inputs(spec)
    with torch.no_grad():
        outputs = module(first), module(first.flip(-1))
    first_output, second_output = (output.numpy() for output in outputs)
    assert check_outputs([first_output], [second_output], 0).max_relative_error > 0.1
    assert outputs[0].sum().item() == pytest.approx(1, abs=1e-4)
