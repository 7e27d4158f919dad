"""Weights that take little room: what is stored, and that it comes back byte for byte."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.contract.condensed import expand, read_head
from mobilekit.errors import UsageError
from mobilekit.model.condense import condense
from mobilekit.model.storage import (
    _pursue,
    find_dictionary,
    find_forms,
    fold,
    prune,
    share_values,
    store,
    sums_of_atoms,
)
from mobilekit.model.storage_ladders import storage_ladders
from mobilekit.model.variants import apply_variant
from mobilekit.records.network import Dictionary, Pruned, SharedValues, Variant

Random = np.random.Generator


def weights(random: Random, *shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_draws_the_same(random: Random, turn: int) -> None:
    """What came before it, and in which order, is another worker's in each run."""
    assert np.array_equal(
        random.integers(0, 99, turn), np.random.default_rng(5).integers(0, 99, turn)
    )
    assert torch.equal(
        torch.randn(turn), torch.randn(turn, generator=torch.Generator().manual_seed(0))
    )


def test_planted_values_are_found_again(random: Random) -> None:
    """Also where there are few of one of them, and where the weights are one value alone."""
    planted = np.array([-1, -0.5, 0.25, 2], np.float32)
    given = planted[random.choice(4, (30, 20), p=[0.5, 0.3, 0.19, 0.01])]
    assert np.array_equal(share_values(given, 4), given)
    near = (given + random.normal(size=given.shape) / 1000).astype(np.float32)
    assert np.abs(share_values(near, 6) - near).max() < 0.01
    assert np.array_equal(share_values(np.full((3, 3), 2.5, np.float32), 8), np.full((3, 3), 2.5))


def test_more_values_are_nearer(random: Random) -> None:
    given = weights(random, 64, 50)
    errors = [np.square(share_values(given, count) - given).sum() for count in (2, 3, 4, 8, 16, 64)]
    assert errors == sorted(errors, reverse=True)
    # Of a normal distribution the best quantizer of 4 levels has 0.1175 of the variance (Max 1960).
    assert errors[2] / np.square(given).sum() == pytest.approx(0.1175, rel=0.05)


def test_the_smallest_are_pruned(random: Random) -> None:
    given = weights(random, 40, 25)
    left = prune(given, 70)
    assert (left == 0).sum() == 700
    assert np.abs(given[left == 0]).max() <= np.abs(given[left != 0]).min()


def dictionary_error(matrix: np.ndarray, count: int, each: int) -> float:
    made = find_dictionary(matrix, count, each)
    assert made.codes.shape == made.indices.shape == (matrix.shape[1], each)
    again = sums_of_atoms(made.scale, made.atoms, made.indices, made.codes)
    return float(np.linalg.norm(again - matrix) / np.linalg.norm(matrix))


def test_a_planted_dictionary_is_recovered(random: Random) -> None:
    """Columns along eight directions, up to what rounding to int8 leaves."""
    atoms = np.linalg.qr(random.normal(size=(32, 8)))[0]
    matrix = atoms[:, random.integers(0, 8, 200)] * random.uniform(1, 2, 200)
    assert dictionary_error(matrix, 8, 1) < 0.02
    assert dictionary_error(matrix, 4, 1) > 0.3


def test_more_codes_and_more_atoms_are_nearer(random: Random) -> None:
    matrix = weights(random, 16, 90).astype(np.float64)
    by_codes = [dictionary_error(matrix, 16, each) for each in (1, 2, 4, 8, 16)]
    assert by_codes == sorted(by_codes, reverse=True)
    assert by_codes[-1] < 0.02
    by_atoms = [dictionary_error(matrix, count, 2) for count in (4, 8, 16, 32)]
    assert by_atoms == sorted(by_atoms, reverse=True)


def test_a_large_layer_is_looked_at_in_pieces(random: Random) -> None:
    """Its columns' products with all atoms would take 41 MB, four times over."""
    matrix = weights(random, 32, 20_000).astype(np.float64)
    tracemalloc.start()
    try:
        indices, codes = _pursue(matrix[:, :256], matrix, 3)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert indices.shape == codes.shape == (20_000, 3)
    assert most < 80e6


def test_a_dictionary_says_which_layer_it_is_at() -> None:
    notes: list[str] = []
    network = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 20))
    store(network, Dictionary(atoms_percent=25, codes=2), notes.append)
    assert [note.split(" layer ")[1] for note in notes] == ["0 (1 of 2)", "2 (2 of 2)"]


@pytest.mark.parametrize(
    ("storage", "share"),
    [
        (SharedValues(values=16), 0.14),
        (Pruned(percent=80), 0.27),
        (Dictionary(atoms_percent=25, codes=3), 0.1),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (2, 3, 1, 0)])
def test_a_program_is_small_and_comes_back(
    random: Random, tmp_path: Path, storage: object, share: float, order: tuple[int, ...]
) -> None:
    """However the exporter has ordered the axes, and whatever else is in the file; a dictionary
    needs the outputs to be rows."""
    torch.manual_seed(1)
    network = store(nn.Sequential(nn.Conv2d(32, 64, 3), nn.Conv2d(64, 24, 3)), storage)  # type: ignore[arg-type]
    forms = find_forms(network)
    noise = random.bytes(501)
    program = noise + b"".join(form.weights.transpose(order).tobytes() + noise for form in forms)
    small, again = tmp_path / "small", tmp_path / "again"
    assert condense(program, forms, small) == ()
    expand(small, again)
    assert again.read_bytes() == program
    head = read_head(small)
    assert head is not None
    assert head.program_bytes == len(program)
    if order[0] == 0 or not isinstance(storage, Dictionary):
        assert small.stat().st_size < share * len(program)


def test_weights_that_the_program_lacks_are_told(random: Random, tmp_path: Path) -> None:
    network = store(nn.Sequential(nn.Linear(40, 30)), SharedValues(values=4))
    program = random.bytes(9000)
    assert condense(program, find_forms(network), tmp_path / "small") == ("0",)
    expand(tmp_path / "small", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == program


def test_equal_layers_are_both_stored(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(40, 30))
    network[2].weight.data.copy_(network[0].weight)
    forms = find_forms(store(network, SharedValues(values=4)))
    program = b"".join(form.weights.tobytes() for form in forms)
    assert condense(program, forms, tmp_path / "small") == ()
    assert (tmp_path / "small").stat().st_size < len(program) / 8


class Branches(nn.Module):
    """One normalization that alone reads its convolution, and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 16, 3, bias=False), nn.Conv2d(16, 16, 3)
        self.alone, self.beside = nn.BatchNorm2d(16), nn.BatchNorm2d(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(torch.relu(self.alone(self.first(x))))
        return x + self.beside(x)


def test_normalization_is_folded_where_that_changes_nothing() -> None:
    network = Branches()
    for each in (network.alone, network.beside):
        each.running_mean.normal_()
        each.running_var.uniform_(0.5, 2)
        each.weight.data.uniform_(0.5, 2)
    network.eval().requires_grad_(False)
    inputs = torch.randn(2, 8, 9, 9)
    before = network(inputs)
    fold(network)
    assert isinstance(network.alone, nn.Identity)
    assert isinstance(network.beside, nn.BatchNorm2d)
    assert torch.allclose(network(inputs), before, atol=1e-5)


def test_small_and_shared_layers_stay() -> None:
    """A layer of few weights, and one whose weights another has."""
    tied = nn.Linear(30, 30)
    other = nn.Linear(30, 30)
    other.weight = tied.weight
    network = nn.Sequential(nn.Linear(5, 30), tied, other, nn.Linear(30, 20))
    before = [layer.weight.clone() for layer in network]
    apply_variant(network, Variant(storage=SharedValues(values=2)))
    same = [torch.equal(layer.weight, old) for layer, old in zip(network, before, strict=True)]
    assert same == [True, True, True, False]
    assert len(network[3].weight.unique()) == 2


def test_a_network_without_such_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="No layer"):
        store(nn.Sequential(nn.ReLU()), Pruned(percent=50))


def test_ladders_go_down() -> None:
    """Each step is another network, and its text and key tell it from every other."""
    ladders = storage_ladders(("shared", "pruned", "dictionary"), (None,))
    assert len(ladders) == 4
    steps = [step for ladder in ladders for step in ladder]
    assert len({step.key for step in steps}) == len({step.text for step in steps}) == len(steps)
