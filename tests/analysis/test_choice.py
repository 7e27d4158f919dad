"""The choice among networks that were tried: a tighter budget never gives more."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mobilekit.analysis.choice import choose, foresee_share, keeps, nearest
from mobilekit.records.compression import Budget, Candidate, CutLayer, TriedRank
from mobilekit.records.network import Compression, LayerRank, Variant


def candidate(number, size, latency=None, energy=None, loss=0.0, *, cut=True):
    compression = Compression(ranks=(LayerRank(layer=f"{number}", rank=1),)) if cut else None
    return Candidate(
        variant=Variant(
            compression=compression, precision="fp32" if cut else ("int8", "fp16")[number % 2]
        ),
        size_bytes=size,
        latency_p50_ns=latency,
        energy_j=energy,
        accuracy=None,
        loss_points=loss,
    )


def budget(size=None, latency=None, energy=None, loss=1.0):
    return Budget(size_bytes=size, latency_ns=latency, energy_j=energy, max_loss_points=loss)


FIGURES = st.integers(1, 12)
"""Few values, so that networks are often equal in one."""
TRIED = st.lists(
    st.tuples(
        FIGURES,
        st.one_of(st.none(), FIGURES.map(float)),
        st.one_of(st.none(), FIGURES.map(float)),
        st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 0.3, 0.9, 1.0, 5.0])),
        st.booleans(),
    ),
    max_size=9,
).map(lambda rows: [candidate(n, *row[:4], cut=row[4]) for n, row in enumerate(rows)])
BOUND = st.one_of(st.none(), st.tuples(FIGURES, FIGURES).map(sorted))


@given(TRIED, BOUND, BOUND, BOUND)
def test_a_tighter_budget_never_gives_a_larger_or_a_slower_network(tried, size, latency, energy):
    """Of the same bounds, each at most as large: not larger whatever was tightened, and not slower,
    or hungrier, where that was."""
    bounds = (size, latency, energy)
    tight, loose = (
        budget(*(None if each is None else each[which] for each in bounds)) for which in (0, 1)
    )
    less, more = choose(tried, tight), choose(tried, loose)
    if not loose.has_costs:
        assert less == more
        return
    assert less is None or more is not None
    for found, bound in ((less, tight), (more, loose)):
        assert found is None or keeps(found, bound)
    if less is None:
        assert not any(keeps(each, tight) for each in tried)
        return
    assert less.size_bytes <= more.size_bytes
    for name, index in (("latency_p50_ns", 1), ("energy_j", 2)):
        others = [each for n, each in enumerate(bounds) if n != index]
        alone = bounds[index] is not None and all(e is None or e[0] == e[1] for e in others)
        if alone:
            assert getattr(less, name) <= getattr(more, name)


def test_the_largest_that_keeps_all_is_chosen():
    tried = [candidate(1, 9, 9.0), candidate(2, 5, 5.0), candidate(3, 3, 6.0, loss=2.0)]
    assert choose(tried, budget(size=8)).size_bytes == 5
    assert choose(tried, budget(size=8, latency=4)) is None
    assert choose(tried, budget(size=9, latency=5)).size_bytes == 5
    assert choose(tried, budget(size=4)) is None


def test_a_whole_network_is_taken_before_a_cut_one_that_is_larger():
    whole, cut = candidate(2, 4, 4.0, loss=0.9, cut=False), candidate(1, 6, 3.0, loss=0.1)
    assert choose([whole, cut], budget(size=8)) == whole
    assert choose([whole, cut], budget(size=8, latency=9)) == cut  # which is faster
    lossy = replace(whole, loss_points=3.0)
    assert choose([lossy, cut], budget(size=8)) == cut


def test_where_accuracy_alone_is_bounded_the_smallest_is_chosen():
    tried = [candidate(1, 9), candidate(2, 5, loss=0.9), candidate(3, 3, loss=1.1)]
    assert choose(tried, budget()).size_bytes == 5
    assert choose([], budget()) is None


def test_the_nearest_misses_least():
    tried = [candidate(1, 9, 9.0), candidate(2, 5, 4.0, loss=1.5), candidate(3, 3, 6.0, loss=9.0)]
    found, missed = nearest(tried, budget(size=5, latency=5))
    assert (found.size_bytes, missed) == (5, ("accuracy",))
    unjudged = candidate(4, 6, 4.0, loss=None)
    found, missed = nearest([candidate(1, 9), unjudged], budget(size=5, latency=5))
    assert (found, missed) == (unjudged, ("size",))
    assert nearest([], budget()) is None


def test_a_tighter_time_does_not_lead_to_a_larger_network():
    """So the larger, faster one is the answer from the start, though it loses more."""
    small, fast = candidate(1, 5, 5.0), candidate(3, 8, 3.0, loss=0.9)
    found = [choose([small, fast], budget(latency=each)) for each in (6, 4)]
    assert found == [fast, fast]


def timed_layer(name, whole_ns, **by_rank):
    return CutLayer(
        layer=name,
        whole_latency_ns=whole_ns,
        tried=tuple(
            TriedRank(rank=int(rank[1:]), latency_ns=ns, loss_points=None)
            for rank, ns in by_rank.items()
        ),
        least_rank=1,
        most_rank=40,
        why_whole=None,
    )


def test_what_a_cut_network_takes_is_foreseen_from_its_layers():
    """At a tried rank, between two, and below all: of 1,000 what both layers save is gone."""
    layers = (timed_layer("a", 400.0, r40=300.0, r20=200.0), timed_layer("b", 100.0, r10=50.0))

    def share(**ranks):
        cut = tuple(LayerRank(layer=name, rank=rank) for name, rank in ranks.items())
        return foresee_share(layers, Compression(ranks=cut), 1000.0)

    assert share(a=40) == 0.9
    assert share(a=30) == 0.85
    assert share(a=10) == 0.7
    assert share(a=40, b=10) == 0.85


def test_layers_that_were_not_timed_foresee_nothing():
    layers = (timed_layer("a", None),)
    cut = Compression(ranks=(LayerRank(layer="a", rank=3),))
    assert foresee_share(layers, cut, 1000.0) == 1.0
