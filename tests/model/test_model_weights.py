"""Reading weights, from trusted and from hostile files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from model_files import WriteModel
from safetensors.torch import save_file
from torch import nn

from mobilekit.errors import WeightsError
from mobilekit.model.given import Given
from mobilekit.model.load import load_module
from mobilekit.model.weights import load_weights
from mobilekit.model.zoo import find_model


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("nesting", [(), ("state_dict",), ("model",), ("model", "state_dict")])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_state_dict_is_read_also_when_nested(
    tmp_path: Path, nesting: tuple[str, ...], suffix: str
) -> None:
    """Checkpoints keep their weights under one of a few customary names."""
    trained, fresh = network(), network()
    checkpoint: Any = trained.state_dict()
    for name in nesting:
        checkpoint = {name: checkpoint, "epoch": 3}
    torch.save(checkpoint, tmp_path / f"w{suffix}")
    load_weights(fresh, tmp_path / f"w{suffix}")
    assert torch.equal(trained[0].weight, fresh[0].weight)


def test_safetensors_are_read(tmp_path: Path) -> None:
    """The format that holds no code is taken."""
    trained, fresh = network(), network()
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    load_weights(fresh, tmp_path / "w.safetensors")
    assert torch.equal(trained[1].weight, fresh[1].weight)


def test_weights_reach_the_loaded_model(write_model: WriteModel, tmp_path: Path) -> None:
    """A model found with weights is loaded with them."""
    path = write_model()
    state = {
        name: tensor + 1 for name, tensor in load_module(find_model(str(path))).state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_module(find_model(str(path), Given(tmp_path / "w.safetensors")))
    assert torch.equal(state["0.bias"], loaded.state_dict()["0.bias"])


def test_every_disagreement_is_listed(tmp_path: Path) -> None:
    """Missing, unexpected and wrongly shaped entries are named, the rest is left out."""
    state = network().state_dict()
    del state["0.bias"]
    state["1.weight"] = torch.zeros(2, 3)
    state |= {f"extra{i}": torch.zeros(1) for i in range(8)}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        load_weights(network(), tmp_path / "w.pt")
    facts = caught.value.facts
    assert facts["missing"] == "0.bias"
    assert facts["wrong_shape"] == "1.weight (2, 3) instead of (1, 3)"
    assert facts["unexpected"] == "extra0, extra1, extra2, extra3, extra4 and 3 more"


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, how: str, nested: bool) -> None:
    """A hostile weights file is refused, and nothing of it runs."""
    trace, path = tmp_path / "ran", tmp_path / "evil.pt"
    state: Any = {**network().state_dict(), "0.bias": Malicious(trace)}
    content = {"state_dict": state} if nested else state
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(WeightsError, match="holds code"):
        load_weights(network(), path)
    assert not trace.exists()


def test_a_pickled_network_is_refused_with_advice(tmp_path: Path) -> None:
    """torch.save(network) is a common mistake; the error says what to save instead."""
    torch.save(network(), tmp_path / "whole.pt")
    with pytest.raises(WeightsError) as caught:
        load_weights(network(), tmp_path / "whole.pt")
    assert caught.value.facts["asks_for"] == "torch.nn.modules.container.Sequential"
    assert "state_dict()" in caught.value.fix


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", ["empty", "junk", "truncated"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, content: str) -> None:
    """Whatever a file holds, reading it ends in an error of ours."""
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(network().state_dict(), path)
    else:
        save_file(network().state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "junk": b"hello", "truncated": whole[: len(whole) // 2]}[content]
    )
    with pytest.raises(WeightsError, match=r"cannot be read as weights|holds code"):
        load_weights(network(), path)


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    """A bare tensor is not a set of weights."""
    torch.save(torch.zeros(3), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state_dict"):
        load_weights(network(), tmp_path / "w.pt")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    """The suffix chooses the reader."""
    (tmp_path / "w.bin").write_bytes(b"x")
    with pytest.raises(WeightsError, match="by its name"):
        load_weights(network(), tmp_path / "w.bin")
