"""Comparisons as text, Markdown and CSV."""

import csv
import io

import msgspec
import pytest
from comparisons import nexus7, pc
from examples import MS, run_request, traced_run

from mobilekit.analysis.compare.comparison import compare
from mobilekit.results.compare_document import make_comparison_document, render_comparison_csv
from mobilekit.results.compare_render import render_comparisons, render_comparisons_markdown
from mobilekit.results.published import load_publication


def document(*pairs, published=None):
    publication = load_publication(published) if published else None
    return make_comparison_document((compare(*pair) for pair in pairs), (), publication)


def table_cells(markdown):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith("|") and not line.startswith("| ---")
    ]


def test_text_puts_devices_side_by_side():
    """The devices head the columns, and a row has both figures with their ratio."""
    heading, header, *rows = render_comparisons(document((nexus7(), pc()))).splitlines()

    assert heading.startswith("nin · fp32 · 7,595,176 parameters")
    assert header.split() == ["nexus7", "pc", "nexus7", "/", "pc"]
    (latency,) = [row for row in rows if row.startswith("  latency")]
    assert "1.00 s [" in latency
    assert "10.0 ms [" in latency
    assert latency.endswith("100 [100, 100]")
    assert any(row.startswith("  saved") and "on-nexus7" in row for row in rows)


def test_a_refusal_says_what_differs():
    """In place of figures: what differs, how, and which measurements they are."""
    text = render_comparisons(document((nexus7(request=run_request(min_iterations=30)), pc())))

    assert "Not comparable: preset (" in text
    assert "[on-nexus7, on-pc]" in text
    assert "latency" not in text


def test_markdown_is_a_table():
    """Every row has as many cells as the header, and the figures are those of the text."""
    cells = table_cells(render_comparisons_markdown(document((nexus7(), pc()))))

    assert {len(row) for row in cells} == {4}
    assert cells[0] == ["", "nexus7", "pc", "nexus7 / pc"]
    assert [row[0] for row in cells[1:3]] == ["init p50", "latency p50"]


def test_theirs_and_ours_stand_apart():
    """The paper's columns on the left, ours on the right, each with a ratio of its own."""
    markdown = render_comparisons_markdown(document((nexus7(), pc()), published="fantozzi2016"))

    cells = table_cells(markdown[markdown.index("### fantozzi2016") :])
    assert cells[0][2:] == [
        "theirs: nexus7",
        "theirs: pc",
        "theirs: nexus7 / pc",
        "ours: nexus7",
        "ours: pc",
        "ours: nexus7 / pc",
    ]
    rows = {row[1]: row[2:] for row in cells[1:]}
    assert list(rows) == [
        "model size",
        "init",
        "latency",
        "energy/inference",
        "inferences/charge",
    ]
    assert rows["latency"][:3] == ["1.08 s", "132 ms", "8.17"]
    assert rows["latency"][5].startswith("100 [")
    assert rows["energy/inference"] == ["3.65 J", "-", "-", "-", "-", "-"]
    assert "Caffe, float32" in markdown
    assert "another year, framework and computer" in markdown


def test_a_network_that_is_not_in_the_paper_says_so():
    """It has a row, and nothing is made up for it."""
    other = msgspec.structs.replace(nexus7().artifact.model, name="squeezenet")
    artifact = msgspec.structs.replace(nexus7().artifact, model=other)

    text = render_comparisons(
        document((nexus7(artifact=artifact), pc(artifact=artifact)), published="fantozzi2016")
    )

    assert "squeezenet  not in it" in text


def test_lane_has_a_column_for_each_platform():
    """Its five platforms have no ratio of two; a dash is what the paper does not have."""
    other = msgspec.structs.replace(nexus7().artifact.model, name="alexnet")
    artifact = msgspec.structs.replace(nexus7().artifact, model=other)

    markdown = render_comparisons_markdown(
        document((nexus7(artifact=artifact), pc(artifact=artifact)), published="lane2015")
    )

    cells = table_cells(markdown[markdown.index("### lane2015") :])
    latency = dict(zip(cells[0], cells[1], strict=True))
    assert latency["theirs: tegra_gpu"] == "49.1 ms"
    assert latency["theirs: snapdragon_dsp"] == "-"
    assert latency["ours: nexus7"].startswith("1.00 s")


def test_csv_has_a_number_a_line():
    """Each with where it is from; a virtual phone's times are not called measured."""
    virtual = nexus7(virtual=True)

    rows = list(
        csv.DictReader(
            io.StringIO(render_comparison_csv(document((virtual, pc()), published="fantozzi2016")))
        )
    )

    latency = {row["side"]: row for row in rows if row["figure"] == "latency"}
    assert float(latency["device"]["value"]) == pytest.approx(1000e6, rel=1e-3)
    assert latency["device"]["unit"] == "ns"
    assert latency["device"]["measurement"] == "on-nexus7"
    assert latency["device"]["origin"] == latency["ratio"]["origin"] == "virtual"
    assert latency["against"]["origin"] == "measured"
    ratio = latency["ratio"]
    assert float(ratio["low"]) <= float(ratio["value"]) <= float(ratio["high"])
    published = [row for row in rows if row["side"] == "published"]
    assert {row["origin"] for row in published} == {"fantozzi2016"}
    assert {row["model"] for row in published} == {"nin"}


def test_layers_that_do_not_add_up_are_warned_of():
    """On the side where they do not, in text and in Markdown."""
    sound = traced_run("a", 10 * MS, 3 * MS)
    swollen = traced_run("b", 10 * MS, 10 * MS)
    compared = document((sound, swollen))

    for text in (render_comparisons(compared), render_comparisons_markdown(compared)):
        (warning,) = [line for line in text.splitlines() if "layers differs by" in line]
        assert "+53.6%" in warning
        assert "`mobilekit results profile b`" in warning
