"""What the text of a profile says of its sum."""

import pytest
from examples import MS, layer, measurement, traced_run
from msgspec.structs import replace

from mobilekit.analysis.layers.profile import profile_of
from mobilekit.contract.codec import encode_pretty
from mobilekit.records.profile import LayerCost, LayerProfile
from mobilekit.results.documents import make_profile_document
from mobilekit.results.text.layers import render_profile


def render(by, sum_ns, fastest_difference):
    """A profile of one layer, whose plain inference took 1 ms."""
    is_trace = by == "trace"
    cost = LayerCost(
        layer=layer("conv"),
        operators=(),
        p50_ns=sum_ns,
        share=1.0,
        fate="measured",
        folded_into=(),
    )
    profile = LayerProfile(
        by=by,
        iterations=3,
        layers=(cost,),
        types=(),
        operators_ns=sum_ns,
        outside_ns=0.0,
        traced_p50_ns=sum_ns if is_trace else None,
        plain_p50_ns=1e6,
        fastest_difference=fastest_difference,
        problems=(),
    )
    return render_profile(measurement(), profile, show_all=True)


@pytest.mark.parametrize(
    ("by", "sum_ns", "fastest_difference", "words"),
    [
        ("trace", 1.09e6, 0.2, None),
        ("trace", 1.11e6, 0.11, "may not be those of an inference without tracing"),
        ("trace", 0.89e6, -0.11, "may not be those of an inference without tracing"),
        ("trace", 1.11e6, 0.09, "other work ran on the device"),
        ("segments", 1.09e6, 0.2, None),
        ("segments", 1.11e6, 0.11, "may not be those of the whole network"),
    ],
)
def test_a_sum_that_is_off_is_warned_of(by, sum_ns, fastest_difference, words):
    """Beyond 10 %, with the cause that the fastest inferences tell."""
    text = render(by, sum_ns, fastest_difference)

    assert ("Warning: the sum differs by more than 10%" in text) == (words is not None)
    assert words is None or words in text


def test_the_sum_can_be_reckoned_up():
    """What differs from the plain inference stands there, and is what the parts come to."""
    text = render("segments", 0.9e6, 0.0)

    assert "the sum of both, 900 us, differs by -10.0%" in text


@pytest.mark.parametrize("by", ["trace", "segments"])
@pytest.mark.parametrize(
    ("plain_ms", "is_marked"), [(5, True), (7, False), (11, False), (13, True)]
)
def test_shares_are_marked_where_the_sum_misses_by_a_third(by, plain_ms, is_marked):
    """Of each layer and of each type, in text and in the document; the mark is explained."""
    run = traced_run("a", 6 * MS, 2 * MS, iteration_ns=(plain_ms * MS,) * 3)
    profile = profile_of(run)
    assert profile.misses == is_marked
    rendered = render_profile(run, replace(profile, by=by), show_all=True)
    document = encode_pretty(make_profile_document(run, profile)).decode()

    for name in ("convolution", "feed-forward"):
        rows = [line for line in rendered.splitlines() if name in line.split("  ")[0:4]]
        assert rows
        assert all(("%?" in row) == is_marked for row in rows)
    assert ("? the layers' sum differs by" in rendered) == is_marked
    assert ('"share_in_doubt": true' in document) == is_marked
    assert ('"share_in_doubt": false' in document) != is_marked
