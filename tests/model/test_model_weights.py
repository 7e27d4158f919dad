"""Reading weights, from trusted and from hostile files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
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
    with pytest.raises(
        WeightsError, match=r"cannot be read as weights|no file of weights|holds code"
    ):
        load_weights(network(), path)


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    """A bare tensor is not a set of weights."""
    torch.save(torch.zeros(3), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state_dict"):
        load_weights(network(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"<html>", "by its content.*b'<html>'"), (b"\x89HDF\r\n\x1a\n", "Keras"), (b"", "content")],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """By what it holds: its name tells nothing."""
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        load_weights(network(), tmp_path / "w.pth")


class Config:
    """A class of somebody's own, as checkpoints hold them."""

    def __init__(self) -> None:
        self.rate = 0.1


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()


TRAINED = network().state_dict()
OTHER = {name: tensor + 1 for name, tensor in TRAINED.items()}


def under(prefix: str, state: dict[str, torch.Tensor] = TRAINED) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "content",
    [
        {"net": under("module."), "acc": 0.5, "epoch": 3},
        {"model_ema": TRAINED},
        {"params": {"generator": under("_orig_mod.")}},
        {"state_dict": under("model.") | {"criterion.weight": torch.ones(5)}, "hyper": {"lr": 1}},
        {"state_dict": under("module._orig_mod.net.") | {"teacher.0.weight": torch.ones(9)}},
        under("") | {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)},
        under("") | {"loss_fn.weight": torch.zeros(1)},
        under("") | {"epoch": 3, "note": "best"},
        {"0._orig_mod.weight" if n == "0.weight" else n: t for n, t in TRAINED.items()},
        {"model": TRAINED, "ema": dict(TRAINED), "optimizer": {"state": {0: {"step": 1}}}},
        {"net": TRAINED, "config": Config(), "best": np.float64(0.5)},
    ],
    ids=lambda content: "-".join(content)[:40],
)
@pytest.mark.parametrize("name", ["w.ckpt", "w.bin", "w.pth.tar", "w"])
def test_weights_are_found_wherever_they_lie(tmp_path: Path, content: Any, name: str) -> None:
    """Under any key, behind any prefix, in a file of any name, beside what training leaves."""
    torch.save(content, tmp_path / name)
    fresh = network()
    load_weights(fresh, tmp_path / name)
    assert all(torch.equal(TRAINED[each], tensor) for each, tensor in fresh.state_dict().items())


def test_the_content_tells_safetensors_and_numpy_apart(tmp_path: Path) -> None:
    """Both go by other names, too."""
    save_file(TRAINED, tmp_path / "w.bin")
    np.savez(tmp_path / "w.npz", **{name: tensor.numpy() for name, tensor in TRAINED.items()})
    for name in ("w.bin", "w.npz"):
        fresh = network()
        load_weights(fresh, tmp_path / name)
        assert torch.equal(TRAINED["0.weight"], fresh.state_dict()["0.weight"])


def test_the_older_layout_of_torch_is_read(tmp_path: Path) -> None:
    """Before 1.6 torch.save wrote no zip archive."""
    torch.save({"net": TRAINED}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    fresh = network()
    load_weights(fresh, tmp_path / "w.pth")
    assert torch.equal(TRAINED["0.weight"], fresh.state_dict()["0.weight"])


def test_a_part_of_a_larger_network_is_not_taken_for_it(tmp_path: Path) -> None:
    """Layers that the network does not have are not left out, with or without a wrapper."""
    for prefix in ("", "module."):
        torch.save(under(prefix) | {f"{prefix}2.weight": torch.ones(1)}, tmp_path / "w.pt")
        with pytest.raises(WeightsError, match=r"unexpected: 2\.weight"):
            load_weights(network(), tmp_path / "w.pt")


def test_the_error_says_what_is_there_and_what_is_nearest(tmp_path: Path) -> None:
    """With what the nearest lacks, so that a person sees which file it is."""
    nearly = under("module.")
    del nearly["module.1.bias"]
    torch.save({"optimizer": {"x": torch.ones(1)}, "net": nearly, "epoch": 1}, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        load_weights(network(), tmp_path / "w.pt")
    assert caught.value.facts["nearest"] == "net, names beginning with module."
    assert caught.value.facts["missing"] == "1.bias"
    assert caught.value.facts["holds"] == "optimizer: 1 tensors, net: 3 tensors, epoch: int"


@pytest.mark.parametrize(
    "content",
    [{"model": TRAINED, "model_ema": OTHER}, under("net.") | under("net_ema.", OTHER)],
    ids=["keys", "prefixes"],
)
def test_of_several_weights_none_is_guessed(tmp_path: Path, content: Any) -> None:
    """The error's line takes one of them out."""
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="several weights") as caught:
        load_weights(network(), tmp_path / "w.pt")
    fresh = network()
    load_weights(fresh, run_the_line(caught.value, tmp_path))
    assert torch.equal(OTHER["0.weight"], fresh.state_dict()["0.weight"])


@pytest.mark.parametrize("content", [network(), {"model": network(), "epoch": 1}])
def test_a_pickled_networks_line_converts_it(tmp_path: Path, content: Any) -> None:
    """It runs the file's code where its owner trusts it, and never here."""
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="holds code: a pickled network") as caught:
        load_weights(network(), tmp_path / "w.pt")
    load_weights(network(), run_the_line(caught.value, tmp_path))


def run_the_line(error: WeightsError, directory: Path) -> Path:
    """The file that the line of an error's advice writes; run here, for a process takes long."""
    line = error.fix.split('python -c "')[1].split('"`')[0]
    before = Path.cwd()
    os.chdir(directory)
    try:
        exec(line)
    finally:
        os.chdir(before)
    (written,) = directory.glob("w_*.pth")
    return written


def test_no_line_for_a_shell_is_made_of_a_files_words(tmp_path: Path) -> None:
    """A key may hold anything, and the terminal shows none of it that is not printable."""
    evil = '"; touch /tmp/ran; \x1b[2J"'
    torch.save({evil: OTHER, "model": TRAINED, "also" + evil: TRAINED}, tmp_path / "w.pt")
    torch.save({evil: network()}, tmp_path / "whole.pt")
    for name in ("w.pt", "whole.pt"):
        with pytest.raises(WeightsError) as caught:
            load_weights(network(), tmp_path / name)
        assert "touch" not in caught.value.fix
        assert "\x1b" not in str(caught.value)


def test_a_shared_parameter_needs_one_of_its_names(tmp_path: Path) -> None:
    """safetensors keeps a tensor once."""
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    state = {**tied.state_dict(), "0.weight": torch.ones(2, 2)}
    del state["1.weight"]
    save_file(state, tmp_path / "w.safetensors")
    load_weights(tied, tmp_path / "w.safetensors")
    assert torch.equal(tied[1].weight, torch.ones(2, 2))
