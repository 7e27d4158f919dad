"""Searches for one budget after the other, of one network on one device."""

import tempfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekit.analysis.choice import choose
from mobilekit.cli.options import DeviceOptions, RunOptions, deploy_options
from mobilekit.flow import compress
from mobilekit.model.kept_lines import KeptLines
from mobilekit.model.ranks import Layer
from mobilekit.records.compression import Budget, CutLayer, Screened, TriedRank
from mobilekit.records.network import Compression, LayerRank, Variant
from mobilekit.records.statistics import Interval, Proportion

EXAMPLES = 100
LAYER = Layer("0", 100, 100, (1.0,) * 100)
STEPS = tuple(
    Screened(compression=Compression(ranks=(LayerRank(layer="0", rank=rank),)), loss_points=0)
    for rank in (40, 30, 20, 10)
)
VARIANTS = tuple(
    Variant(precision=precision, compression=cut)
    for cut in (None, *(step.compression for step in STEPS))
    for precision in compress.PRECISIONS
)
WHOLE_WEIGHTS = 20_000
OPTIONS = deploy_options("m", DeviceOptions(device="pc"), RunOptions(format="pte"), energy=False)


class Quiet:
    def note(self, _text):
        pass


class Costs(NamedTuple):
    """Of a network on the simulated device."""

    latency_ns: int
    right: int


def exported(options, *_, **__):
    """A program of as many bytes as were foreseen of it."""
    variant = options.variant
    weights = WHOLE_WEIGHTS
    if variant.compression is not None:
        weights += LAYER.weights_at(variant.compression.ranks[0].rank) - LAYER.weights
    size_bytes = compress.WEIGHT_BYTES[variant.precision] * weights
    file = SimpleNamespace(sha256=variant.key)
    return SimpleNamespace(size_bytes=size_bytes, file=file, variant=variant)


def measured(options, *_, **__):
    return SimpleNamespace(artifact=exported(options))


class Device:
    """Is searched, each time anew, with what searches keep in ``cache``."""

    def __init__(self, costs, foreseen_ns, cache):
        self._costs = costs
        self._cut = CutLayer(
            layer="0",
            whole_latency_ns=foreseen_ns[-1],
            tried=tuple(
                TriedRank(rank=rank, latency_ns=taken_ns, loss_points=None)
                for rank, taken_ns in zip((10, 40), foreseen_ns, strict=False)
            ),
            least_rank=1,
            most_rank=49,
            why_whole=None,
        )
        self._cache = cache

    def _answer(self, measurement):
        costs = self._costs[measurement.artifact.variant.key]
        share = costs.right / EXAMPLES
        right = Proportion(count=costs.right, share=share, interval=Interval(low=0, high=1))
        return SimpleNamespace(
            latency=SimpleNamespace(p50_ns=costs.latency_ns),
            energy=None,
            accuracy=SimpleNamespace(device=SimpleNamespace(top1=right), examples=EXAMPLES),
        )

    def find(self, latency_ns):
        budget = Budget(size_bytes=None, latency_ns=latency_ns, energy_j=None, max_loss_points=5)
        kept = KeptLines(self._cache, "candidates", [], compress._KeptCandidate)
        search = compress._Search(OPTIONS, budget, None, None, Quiet(), kept, {}, set())
        with (
            mock.patch.object(compress, "find_network", lambda options: options),
            mock.patch.object(compress, "export_network", lambda options, *_: exported(options)),
            mock.patch.object(compress, "deploy", measured),
            mock.patch.object(compress, "evaluate", measured),
            mock.patch.object(compress, "_sound", lambda measurement: measurement),
            mock.patch.object(compress, "derive_answer", self._answer),
        ):
            uncompressed, _ = search.evaluate(Variant(), None)
            coming = search.foresee([LAYER], STEPS, uncompressed)
            search.recall((), STEPS, uncompressed)
            search.look_through(coming, [self._cut], uncompressed)
        return choose(tuple(search.tried.values()), budget)


costs = st.builds(Costs, latency_ns=st.integers(1, 40), right=st.integers(85, 100))


@settings(max_examples=100)
@given(
    st.lists(costs, min_size=len(VARIANTS), max_size=len(VARIANTS)),
    st.lists(st.integers(1, 40), min_size=3, max_size=3).map(sorted),
    st.lists(st.integers(1, 40), min_size=2, max_size=4),
)
def test_a_tighter_budget_gives_nothing_larger_or_slower(told, foreseen_ns, budgets_ns):
    """Whatever is foreseen, and in whatever order they are asked for: than the answer to a looser
    one just before, and among all of them once each has been asked."""
    by_key = {variant.key: each for variant, each in zip(VARIANTS, told, strict=True)}
    with tempfile.TemporaryDirectory() as cache:
        device = Device(by_key, foreseen_ns, Path(cache))
        first = [(budget_ns, device.find(budget_ns)) for budget_ns in budgets_ns]
        again = [(budget_ns, device.find(budget_ns)) for budget_ns in budgets_ns]
    ordered = [
        *pairwise(first),
        *((loose, tight) for loose in again for tight in again),
    ]
    for (loose_ns, loose), (tight_ns, tight) in ordered:
        if tight_ns <= loose_ns and tight is not None:
            assert loose is not None
            assert tight.size_bytes <= loose.size_bytes
            assert tight.latency_p50_ns <= loose.latency_p50_ns
