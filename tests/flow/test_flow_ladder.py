"""Which way to cut the ranks of a step is taken, and how far a ladder is followed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest
from msgspec.structs import replace

from mobilekit.flow.ladder import count_weights, screen_ladder
from mobilekit.flow.layers_alone import evaluate_layers, ranks_to_try, untimed
from mobilekit.flow.reporter import Reporter
from mobilekit.model.ranks import Layer, make_ladder
from mobilekit.model.screening import Screen
from mobilekit.records.network import Compression

EXAMPLES = "e" * 64
LAYERS = tuple(Layer(path, 40, 40, tuple(0.9**index for index in range(40))) for path in ("a", "b"))
ALLOWED = 5.0


class Quiet:
    def note(self, _text: str) -> None:
        pass


class Judge:
    """A layer loses nothing down to a rank of its own, for each way to cut it, and all below."""

    def __init__(
        self,
        plain: dict[str, int],
        whitened: dict[str, int],
        lost: float = 40.0,
        whitened_lost: float | None = None,
    ) -> None:
        self._lost = {None: lost, EXAMPLES: lost if whitened_lost is None else whitened_lost}
        self._bears = {None: plain, EXAMPLES: whitened}
        self.asked: list[tuple[Compression, float]] = []

    def can_whiten(self, layers: Iterable[str]) -> bool:
        return all(layer in self._bears[EXAMPLES] for layer in layers)

    def loss_points(self, compression: Compression | None, most: float) -> float:
        if compression is None:
            return 0.0
        self.asked.append((compression, most))
        bears = self._bears[compression.whitened_by]
        lost = self._lost[compression.whitened_by]
        return lost * sum(cut.rank < bears[cut.layer] for cut in compression.ranks)

    def is_right(self, compression: Compression | None) -> tuple[bool, ...]:
        """Of a hundred examples."""
        lost = int(self.loss_points(compression, 100))
        return (True,) * (100 - lost) + (False,) * lost


def searched(judge: Judge, whitened_by: str | None = EXAMPLES):  # type: ignore[no-untyped-def]
    screen, quiet = cast(Screen, judge), cast(Reporter, Quiet())
    found = evaluate_layers(
        LAYERS, untimed(LAYERS), screen, ALLOWED, quiet, whitened_by=whitened_by
    )
    steps = screen_ladder(
        LAYERS, found, screen, ALLOWED, "frobenius", quiet, whitened_by=whitened_by
    )
    return found, steps


def test_a_step_is_whitened_only_where_that_is_righter() -> None:
    """Where both lose as much it is plain; every layer's ranks are the same either way."""
    _, steps = searched(Judge({"a": 12, "b": 12}, {"a": 6, "b": 6}))
    cut = [each for each in steps if each.compression is not None]
    for each in cut:
        assert each.compression is not None
        lowest = min(rank.rank for rank in each.compression.ranks)
        is_whitened = each.compression.whitened_by is not None
        assert is_whitened == (lowest < 12)
        assert each.loss_points == 0
        assert each.other_loss_points == (0 if lowest >= 12 else 80)
    assert {each.other_loss_points for each in cut} == {0.0, 80.0}


class GivesUp(Judge):
    """What loses more than is asked about is told to lose a point more than that."""

    def loss_points(self, compression: Compression | None, most: float) -> float:
        return min(super().loss_points(compression, most), most + 1)


def test_what_whitening_gains_is_told_of_all_examples() -> None:
    """And not of those after which the plain ranks were given up."""
    _, steps = searched(GivesUp({"a": 12, "b": 12}, {"a": 6, "b": 6}))
    whitened = [each for each in steps if each.compression and each.compression.whitened_by]
    assert {each.other_loss_points for each in whitened} == {80.0}


@pytest.mark.parametrize(("lost", "taken"), [(1, False), (2, False), (4, True)])
def test_what_is_righter_by_chance_is_not_whitened(lost: float, taken: bool) -> None:
    """Both layers lose one or two examples of a hundred, or four, and nothing whitened."""
    _, steps = searched(Judge({"a": 12, "b": 12}, {"a": 1, "b": 1}, lost))
    whitened = [
        each for each in steps if each.compression and each.compression.whitened_by is not None
    ]
    assert bool(whitened) == taken
    for each in whitened:
        assert each.compression is not None
        assert all(rank.rank < 12 for rank in each.compression.ranks)
    unsure = [each for each in steps if each not in whitened and each.other_loss_points == 0]
    assert any(each.loss_points > 0 for each in unsure) or taken


@pytest.mark.parametrize(("lost", "taken"), [(0, True), (2, False)])
def test_what_may_lose_too_much_is_not_whitened(lost: float, taken: bool) -> None:
    """Both layers lose none of a hundred examples whitened, or two, and forty plainly. Four are
    less than the seven that a step may lose, and not surely."""
    _, steps = searched(Judge({"a": 12, "b": 12}, {"a": 12, "b": 12}, 40, lost))
    assert taken == any(each.compression and each.compression.whitened_by for each in steps)


def test_whitening_that_is_worse_changes_nothing() -> None:
    plain, whitened = {"a": 6, "b": 6}, {"a": 12, "b": 30}
    found, steps = searched(Judge(plain, whitened))
    without, as_before = searched(Judge(plain, whitened), None)
    assert [each.compression for each in steps] == [each.compression for each in as_before]
    assert [each.loss_points for each in steps] == [each.loss_points for each in as_before]
    assert [each.least_rank for each in found] == [each.least_rank for each in without]
    assert all(each.other_loss_points is None for each in as_before)


def test_what_no_example_reaches_is_cut_plainly() -> None:
    """Alone and together with a layer that they reach: the other one alone may be whitened."""
    judge = Judge({"a": 12, "b": 12}, {"a": 6})
    found, steps = searched(judge)
    by_layer = {each.layer: each for each in found}
    assert by_layer["a"].least_plain_rank is not None
    assert by_layer["b"].least_plain_rank is None
    assert all(each.whitened_loss_points is None for each in by_layer["b"].tried)
    for each in steps:
        cut = () if each.compression is None else each.compression.ranks
        is_whitened = each.compression is not None and each.compression.whitened_by is not None
        assert not (is_whitened and "b" in {rank.layer for rank in cut})
    assert {rank.layer for each, _ in judge.asked if each.whitened_by for rank in each.ranks} == {
        "a"
    }


def test_what_is_worse_than_the_plain_is_not_followed_to_its_end() -> None:
    judge = Judge({"a": 6, "b": 6}, {"a": 30, "b": 30})
    searched(judge)
    bounds = {most for each, most in judge.asked if each.whitened_by is not None}
    assert 0.0 in bounds


def test_a_layer_that_bears_a_rank_whitened_alone_goes_down_to_it() -> None:
    """And the ladder of those that it bears either way stays: no step is lost."""
    plain, whitened = {"a": 18, "b": 2}, {"a": 2, "b": 18}
    found, steps = searched(Judge(plain, whitened))
    by_layer = {each.layer: each for each in found}
    ranks = ranks_to_try(LAYERS[0])
    assert ranks == (14, 10, 5, 2)
    assert [by_layer[path].least_plain_rank for path in "ab"] == [20, 1]
    assert [by_layer[path].least_rank for path in "ab"] == [1, 1]
    assert all(each.why_whole is None for each in found)
    without, as_before = searched(Judge(plain, whitened), None)
    assert [each.why_whole for each in without] == ["loses", None]
    known = {each.compression and replace(each.compression, whitened_by=None) for each in steps}
    assert {each.compression for each in as_before} <= known
    assert known - {each.compression for each in as_before}
    weights = [count_weights(LAYERS, each.compression) for each in steps]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == sum(each.weights for each in LAYERS)


@pytest.mark.parametrize("whitened_by", [None, EXAMPLES])
def test_a_ladder_ends_where_it_is_hopeless(whitened_by: str | None) -> None:
    """Two steps that lose far more than allowed, one after the other, are the last."""
    never = dict.fromkeys("ab", 100)
    judge = Judge(never, never)
    quiet = cast(Reporter, Quiet())
    steps = screen_ladder(
        LAYERS,
        untimed(LAYERS),
        cast(Screen, judge),
        ALLOWED,
        "frobenius",
        quiet,
        whitened_by=whitened_by,
    )
    assert [each.compression for each in steps] == list(make_ladder(LAYERS)[:3])
