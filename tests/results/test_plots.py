"""What is drawn: titles, axes, series and the heights of bars, and into which file."""

from itertools import pairwise

import msgspec
import pytest
from comparisons import REFUSED, SOUND, compared, nexus7, pc, pixel8
from examples import MS, device_info, layer, measurement, traced_run
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from msgspec.structs import replace

from mobilekit.analysis.layers.profile import profile_of
from mobilekit.errors import UsageError
from mobilekit.records.prediction import NetworkPrediction, Predictions
from mobilekit.records.profile import LayerCost
from mobilekit.results.compare_plot import draw_comparisons
from mobilekit.results.layer_plot import draw_profile
from mobilekit.results.plot_file import check_plot_path, write_figure
from mobilekit.results.published import load_publication
from mobilekit.units import MIB, NS_PER_MS


def heights(axes):
    return [bar.get_height() for bar in axes.patches]


def labels(legend):
    return [text.get_text() for text in legend.get_texts()]


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def lengths_of_lines(axes):
    """Of the bars' error bars: where each begins and ends."""
    return [
        tuple(segment[:, 1])
        for container in axes.containers
        if isinstance(container, ErrorbarContainer)
        for lines in container.lines[2]
        for segment in lines.get_segments()
    ]


# --- comparisons -------------------------------------------------------------------------------


def test_a_comparison_is_a_panel_a_figure():
    """Each with its unit, a bar for each device as high as its figure, and their ratio above."""
    figure = draw_comparisons([SOUND, REFUSED])

    figures = {each.name: each for each in SOUND.figures}
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["init, p50", "latency, p50", "memory by inference, PSS"]
    for title, name, unit, size in (
        ("init, p50", "init", "ms", NS_PER_MS),
        ("latency, p50", "latency", "ms", NS_PER_MS),
        ("memory by inference, PSS", "inference_pss", "MiB", MIB),
    ):
        axes, each = panels[title], figures[name]
        (side,) = each.sides
        assert axes.get_ylabel() == unit
        assert heights(axes) == [side.quantity.value / size, each.against.value / size]
        assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == [
            "#333333",
            "#AAAAAA",
        ]
        assert names(axes.xaxis) == ["nin"]
        assert [text.get_text() for text in axes.texts] == [f"x {side.ratio.value:.3g}"]
    latency = figures["latency"]
    assert lengths_of_lines(panels["latency, p50"]) == [
        pytest.approx((each.interval.low / NS_PER_MS, each.interval.high / NS_PER_MS))
        for each in (latency.sides[0].quantity, latency.against)
    ]
    assert panels["latency, p50"].texts[0].get_text() == "x 100"
    assert [axes.get_yscale() for axes in panels.values()] == ["linear", "log", "linear"]
    assert labels(figure.legends[0]) == ["nexus7", "pc"]
    assert figure.get_suptitle() == "nexus7 against pc, with 95 % intervals where there are any"


def test_published_figures_stand_beside_ours():
    """A hatched bar for each platform of the paper, in our unit, where it has the figure."""
    figure = draw_comparisons([SOUND], load_publication("fantozzi2016"))

    panels = {axes.get_title(): axes for axes in figure.axes}
    latency = panels["latency, p50"]
    assert heights(latency)[2:] == pytest.approx([1079, 132])
    assert [bool(bar.get_hatch()) for bar in latency.patches] == [False, False, True, True]
    assert heights(panels["init, p50"])[2:] == pytest.approx([2067, 239])
    assert len(panels["memory by inference, PSS"].patches) == 2
    # Of energy, which was not measured here, the paper's alone.
    assert heights(panels["energy, gross"]) == pytest.approx([3.65])
    assert labels(figure.legends[0]) == [
        "nexus7",
        "pc",
        "fantozzi2016: nexus7",
        "fantozzi2016: pc",
    ]
    assert figure.get_suptitle().endswith("; published figures are of fantozzi2016")
    lefts = [bar.get_x() for bar in latency.patches]
    assert lefts == sorted(lefts)


def test_networks_stand_side_by_side():
    """A group of bars for each, in the order that they were given in."""
    nin = measurement().artifact
    renamed = msgspec.structs.replace(nin, model=msgspec.structs.replace(nin.model, name="alexnet"))
    other = compared(nexus7(300, artifact=renamed), pc(100, artifact=renamed))

    axes = next(
        axes
        for axes in draw_comparisons([other, SOUND]).axes
        if axes.get_title().startswith("latency")
    )

    assert names(axes.xaxis) == ["alexnet", "nin"]
    by_place = sorted((bar.get_x(), bar.get_height()) for bar in axes.patches)
    assert [height for _, height in by_place] == pytest.approx([300, 100, 1000, 10], rel=1e-3)
    assert [text.get_text() for text in axes.texts] == ["x 3", "x 100"]


def test_what_takes_microseconds_is_drawn_in_them():
    fast = compared(nexus7(latency_ms=0.05), pc(latency_ms=0.02))

    axes = next(
        axes for axes in draw_comparisons([fast]).axes if axes.get_title().startswith("latency")
    )

    assert axes.get_ylabel() == "us"
    assert heights(axes) == pytest.approx([51, 21], rel=1e-3)


def test_layers_are_stacked_by_type():
    """Two bars a network, each of which is whole."""
    made = compared(traced_run("a", 6 * MS, 2 * MS), traced_run("b", 1 * MS, 1 * MS))

    axes = next(
        axes
        for axes in draw_comparisons([made]).axes
        if axes.get_title() == "time by type of layer"
    )

    assert axes.get_ylabel() == "share of all layers' time (%)"
    assert labels(axes.get_legend()) == ["convolution", "feed-forward"]
    stacked = {}
    for bar in axes.patches:
        stacked.setdefault(round(bar.get_x(), 6), []).append((bar.get_y(), bar.get_height()))
    assert [*stacked.values()] == [
        [(0, pytest.approx(75)), (pytest.approx(75), pytest.approx(25))],
        [(0, pytest.approx(50)), (pytest.approx(50), pytest.approx(50))],
    ]


def test_each_of_several_sides_has_a_bar_and_its_ratio():
    """Over it, since there is no one ratio of the group; bars do not overlap or look alike."""
    figure = draw_comparisons([compared(nexus7(), pixel8(), pc())])

    axes = next(axes for axes in figure.axes if axes.get_title().startswith("latency"))
    assert heights(axes) == pytest.approx([1000, 100, 10], rel=1e-3)
    edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert all(left[1] < right[0] for left, right in pairwise(edges))
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3
    assert [text.get_text() for text in axes.texts] == ["x 100", "x 10"]
    for text, (left, right) in zip(axes.texts, edges, strict=False):
        assert left < text.xy[0] < right
    assert labels(figure.legends[0]) == ["nexus7", "pixel8", "pc"]
    assert figure.get_suptitle().startswith("nexus7, pixel8 against pc, with")


def test_the_reference_has_its_place_whatever_a_network_has_beside_it():
    """A network with a side less leaves a gap, and the colours mean the same in both groups."""
    figure = draw_comparisons([compared(nexus7(), pixel8(), pc()), compared(nexus7(), pc())])

    axes = next(axes for axes in figure.axes if axes.get_title().startswith("latency"))
    *_, third, fourth, fifth = axes.patches
    assert third.get_facecolor() == fifth.get_facecolor() != fourth.get_facecolor()
    assert fifth.get_x() - third.get_x() == pytest.approx(1)
    assert labels(figure.legends[0]) == ["device 1", "device 2", "against"]


def test_layers_of_several_sides_are_stacked_in_their_places():
    """From left to right, as the label below says; each bar is whole."""
    made = compared(
        traced_run("a", 30 * MS, 10 * MS, device=device_info(name="nexus7")),
        traced_run("b", 10 * MS, 30 * MS, device=device_info(name="pixel8")),
        traced_run("c", 20 * MS, 20 * MS, device=device_info(name="pc")),
    )

    axes = next(
        axes for axes in draw_comparisons([made]).axes if axes.get_title().startswith("time")
    )

    tops = {}
    for bar in axes.patches:
        place = round(bar.get_x(), 6)
        assert bar.get_y() == pytest.approx(tops.get(place, 0.0))
        tops[place] = bar.get_y() + bar.get_height()
    assert [*tops.values()] == pytest.approx([100, 100, 100])
    order, doubt = axes.get_xlabel().splitlines()
    assert order == "from the left: nexus7, pixel8, pc; by trace"
    assert doubt == "? the layers' sum misses the inference by 33% or more"
    assert [mark.get_text() for mark in axes.texts] == ["?"] * 3


def test_a_virtual_phones_plot_says_so():
    """In its title, and in its legend."""
    figure = draw_comparisons([compared(nexus7(virtual=True), pc())])

    assert labels(figure.legends[0]) == ["nexus7 (virtual)", "pc"]
    assert "\nvirtual: its times and memory are this computer" in figure.get_suptitle()


def test_what_is_predicted_stands_beside_and_is_marked():
    """A dashed bar with its own interval, of the real phone; what cannot be told has none."""
    told = NetworkPrediction(
        network="nin",
        latency_ms=30.0,
        low_ms=20.0,
        high_ms=45.0,
        known=0,
        seen=False,
        reasons=(),
        device="nexus7",
        energy=None,
        charge=None,
        untold=(),
    )
    untold = replace(told, device="pixel8", latency_ms=None, low_ms=None, high_ms=None)
    predicted = [
        Predictions(devices=(), predictions=(each,), past_errors=()) for each in (told, untold)
    ]

    figure = draw_comparisons([compared(nexus7(virtual=True), pc())], None, predicted)

    latency = next(axes for axes in figure.axes if axes.get_title() == "latency, p50")
    *measured, dashed = latency.patches
    assert (dashed.get_height(), dashed.get_linestyle()) == (30.0, "--")
    assert all(bar.get_linestyle() != "--" for bar in measured)
    assert lengths_of_lines(latency)[-1] == pytest.approx((20.0, 45.0))
    assert labels(figure.legends[0]) == ["nexus7 (virtual)", "pc", "predicted: nexus7 [90 %]"]
    assert "what is predicted is dashed" in figure.get_suptitle()
    others = [axes for axes in figure.axes if axes is not latency]
    assert not any(bar.get_linestyle() == "--" for axes in others for bar in axes.patches)


def test_nothing_to_draw_is_an_error():
    """Where every pair is refused there is no empty picture."""
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_comparisons([REFUSED])


# --- profiles ----------------------------------------------------------------------------------


def test_a_profile_is_drawn_by_type_and_by_layer():
    """One bar of all types, whole with what is outside them; and a bar for each layer."""
    run = traced_run("a", 6 * MS, 2 * MS, iteration_ns=(9 * MS,) * 3)
    profile = profile_of(run)

    figure = draw_profile(run, profile)

    by_type, by_layer = figure.axes
    widths = [bar.get_width() for bar in by_type.patches]
    lefts = [bar.get_x() for bar in by_type.patches]
    assert widths == pytest.approx([6, 2, profile.outside_ns / NS_PER_MS])
    assert lefts == pytest.approx([0, 6, 8])
    assert by_type.get_xlabel() == "time of one inference by type of layer (ms)"
    (plain,) = by_type.lines
    assert set(plain.get_xdata()) == {profile.plain_p50_ns / NS_PER_MS}
    assert sorted(labels(figure.legends[0])) == [
        "convolution 75.0%",
        "feed-forward 25.0%",
        "outside operators",
        "plain p50",
    ]
    assert "nin" in figure.legends[0].get_title().get_text()
    assert names(by_layer.yaxis) == ["0", "1"]
    assert [bar.get_width() for bar in by_layer.patches] == pytest.approx([6, 2])
    assert by_layer.yaxis_inverted()
    assert "time of a layer in one inference (ms), median of 3" in by_layer.get_xlabel()
    for bar, same in zip(by_type.patches, by_layer.patches, strict=False):
        assert bar.get_facecolor() == same.get_facecolor()


def test_shares_of_a_sum_that_misses_the_inference_are_marked():
    """In the legend that tells them, and below the bar; what does not miss it is not marked."""
    missing, fitting = (
        draw_profile(run, profile_of(run))
        for run in (
            traced_run("a", 6 * MS, 2 * MS, iteration_ns=(5 * MS,) * 3),
            traced_run("a", 6 * MS, 2 * MS, iteration_ns=(7 * MS,) * 3),
        )
    )

    assert {"convolution 75.0%?", "feed-forward 25.0%?"} < set(labels(missing.legends[0]))
    assert "? the layers' sum differs by +60% from" in missing.axes[0].get_xlabel()
    assert "convolution 75.0%" in labels(fitting.legends[0])
    assert "?" not in fitting.axes[0].get_xlabel()


def test_a_layer_without_a_time_of_its_own_has_no_bar():
    """And a network of microseconds is drawn in them."""
    run = traced_run("a", 600, 200)
    profile = profile_of(run)
    folded = LayerCost(
        layer=layer("2"),
        operators=(),
        p50_ns=None,
        share=None,
        fate="folded",
        folded_into=("1",),
    )
    more = msgspec.structs.replace(profile, layers=(*profile.layers, folded))

    _, by_layer = draw_profile(run, more).axes

    assert names(by_layer.yaxis) == ["0", "1"]
    assert [bar.get_width() for bar in by_layer.patches] == pytest.approx([0.6, 0.2])
    assert "(us)" in by_layer.get_xlabel()


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "beginning"),
    [("png", b"\x89PNG\r\n\x1a\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-"), ("PNG", b"\x89PNG")],
)
def test_the_suffix_decides_what_is_written(tmp_path, suffix, beginning):
    """One file of that kind, and nothing beside it."""
    figure = Figure()
    figure.add_subplot().bar([0], [1])
    path = tmp_path / f"plot.{suffix}"
    check_plot_path(path)

    write_figure(figure, path)

    assert path.read_bytes().startswith(beginning)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("name", ["plot.doc", "plot", "missing/plot.png"])
def test_a_plot_that_cannot_be_written_is_told_beforehand(tmp_path, name):
    """A wrong suffix or directory is found before anything is measured."""
    with pytest.raises(UsageError):
        check_plot_path(tmp_path / name)
