"""Ranks judged in PyTorch: on the examples, found again, and the network left as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mobilekit.model import screening
from mobilekit.model.examples import count_overlap
from mobilekit.model.load import load_module
from mobilekit.model.screening import Screen
from mobilekit.model.zoo import read_spec
from mobilekit.records.network import Compression, LayerRank, ModelSpec

MODEL = """
import torch
from torch import nn

INPUT_SHAPES = ((1, 12),)


def build():
    first = nn.Linear(12, 12, bias=False)
    first.weight.data = torch.diag(torch.tensor([9.0] * 3 + [1.0] * 9))
    last = nn.Linear(12, 12, bias=False)
    last.weight.data = torch.eye(12)
    return nn.Sequential(first, last)
"""
"""It tells which of its inputs is the largest; at a rank of 3 it knows the first three alone."""


@pytest.fixture
def judged(tmp_path: Path) -> tuple[ModelSpec, Path]:
    path, data = tmp_path / "net.py", tmp_path / "data"
    path.write_text(MODEL)
    data.mkdir()
    np.save(data / "inputs.npy", np.eye(12, dtype=np.float32))
    np.save(data / "labels.npy", np.arange(12))
    return read_spec(path), data


def cut(rank: int) -> Compression:
    return Compression(ranks=(LayerRank(layer="0", rank=rank),))


def test_what_a_rank_loses_is_counted_and_kept(judged, tmp_path, monkeypatch):
    spec, data = judged
    module = load_module(spec)
    screen = Screen(spec, module, data, cache_directory=tmp_path / "cache")
    assert screen.loss_points(None) == 0
    assert screen.loss_points(cut(3)) == pytest.approx(75)
    assert torch.equal(module[0].weight, load_module(spec)[0].weight)

    monkeypatch.setattr(Screen, "_run", lambda *_: pytest.fail("It was judged before"))
    again = Screen(spec, module, data, cache_directory=tmp_path / "cache")
    assert again.loss_points(cut(3)) == pytest.approx(75)


def test_what_loses_too_much_is_given_up_and_counted_where_more_is_allowed(judged, tmp_path):
    """Nine of twelve examples are lost; with one allowed, the fourth to ninth are not looked at."""
    spec, data = judged
    screen = Screen(spec, load_module(spec), data, cache_directory=tmp_path / "cache")
    assert 10 < screen.loss_points(cut(3), 10) == pytest.approx(200 / 12)
    assert screen.loss_points(cut(3), 10) == pytest.approx(200 / 12)
    assert screen.loss_points(cut(3), 80) == pytest.approx(75)
    assert screen.loss_points(cut(3), 10) == pytest.approx(75)


def test_what_is_nearly_wrong_is_looked_at_first(judged, tmp_path, monkeypatch):
    """Wherever it lies among the examples: what loses it is given up at once."""
    spec, data = judged
    screen = Screen(spec, load_module(spec), data, cache_directory=tmp_path / "cache")
    run, runs = screening.run_eager, []
    monkeypatch.setattr(screening, "run_eager", lambda *each: runs.append(each) or run(*each))
    assert screen.loss_points(cut(3), 0) == pytest.approx(100 / 12)
    assert len(runs) == 1


def test_other_examples_are_judged_anew(judged, tmp_path):
    spec, data = judged
    module = load_module(spec)
    Screen(spec, module, data, cache_directory=tmp_path / "cache").loss_points(cut(3))
    np.save(data / "inputs.npy", np.eye(12, dtype=np.float32)[:3])
    np.save(data / "labels.npy", np.arange(3))
    fewer = Screen(spec, module, data, cache_directory=tmp_path / "cache")
    assert fewer.loss_points(cut(3)) == 0


def test_what_was_given_up_is_not_looked_at_again(judged, tmp_path, monkeypatch):
    """For the same bound; not before what may be lost is lost."""
    spec, data = judged
    lost = [
        Screen(spec, load_module(spec), data, cache_directory=tmp_path / "cache").loss_points(
            cut(3), 0
        )
    ]
    monkeypatch.setattr(Screen, "_run", lambda *_: pytest.fail("It was judged before"))
    again = Screen(spec, load_module(spec), data, cache_directory=tmp_path / "cache")
    lost.append(again.loss_points(cut(3), 0))
    assert lost == pytest.approx([100 / 12] * 2)


def test_examples_that_calibrate_as_well_are_counted(judged, tmp_path):
    spec, data = judged
    calibration = tmp_path / "calibration.npy"
    np.save(calibration, np.concatenate([np.eye(12)[4:6], np.ones((3, 12))]).astype(np.float32))
    assert count_overlap(spec, data, calibration) == 2


def test_which_examples_are_right_is_told_in_one_order_for_all(judged, tmp_path):
    """Of what was given up before, too, and not as far as it was followed then."""
    spec, data = judged
    screen = Screen(spec, load_module(spec), data, cache_directory=tmp_path / "cache")
    assert screen.loss_points(cut(3), 0) == pytest.approx(100 / 12)
    right = {rank: screen.is_right(cut(rank)) for rank in (3, 12)}
    assert [sum(each) for each in right.values()] == [3, 12]
    assert all(len(each) == 12 for each in right.values())
    assert screen.loss_points(cut(3)) == pytest.approx(75)
    assert screen.is_right(cut(3)) == right[3]


def test_what_was_followed_to_its_end_is_counted_without_another_run(judged, tmp_path, monkeypatch):
    """However it came to that, and by the next search too."""
    spec, data = judged
    module = load_module(spec)
    screen = Screen(spec, module, data, cache_directory=tmp_path / "cache")
    assert screen.loss_points(cut(3), 0) == pytest.approx(100 / 12)
    screen.is_right(cut(3))
    monkeypatch.setattr(Screen, "_run", lambda *_: pytest.fail("It was judged before"))
    assert screen.loss_points(cut(3)) == pytest.approx(75)
    again = Screen(spec, module, data, cache_directory=tmp_path / "cache")
    assert again.loss_points(cut(3)) == pytest.approx(75)


BRANCHING = MODEL.replace(
    "def build():",
    """class Either(nn.Module):
    def __init__(self, seldom, first, last):
        super().__init__()
        self.seldom, self.first, self.last = seldom, first, last

    def forward(self, inputs):
        return self.last(self.seldom(inputs) if inputs[0, 0] > 0.5 else self.first(inputs))


def build():""",
).replace("nn.Sequential(first, last)", "Either(nn.Linear(12, 12), first, last)")


def test_a_layer_that_no_calibration_example_reaches_is_known(judged, tmp_path):
    """One of the judged examples does; those that are weighed by do not."""
    _, data = judged
    path, calibration = tmp_path / "branching.py", tmp_path / "calibration.npy"
    path.write_text(BRANCHING)
    np.save(calibration, np.eye(12, dtype=np.float32)[1:])
    spec = read_spec(path)
    screen = Screen(spec, load_module(spec), data, cache_directory=tmp_path / "cache")
    screen.weigh(["seldom", "first", "last"], calibration)
    assert screen.can_whiten(["first", "last"])
    assert not screen.can_whiten(["first", "seldom"])
    ranks = (LayerRank(layer="first", rank=12),)
    assert screen.loss_points(Compression(ranks=ranks, whitened_by="e" * 64)) == 0


def test_the_whole_network_is_right_in_that_order_too(judged, tmp_path):
    spec, data = judged
    np.save(data / "labels.npy", [0, 2, *range(2, 12)])
    screen = Screen(spec, load_module(spec), data, cache_directory=tmp_path / "cache")
    assert screen.is_right(None) == screen.is_right(cut(12)) == (False, *(True,) * 11)
