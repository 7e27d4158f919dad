"""Comparisons as text, Markdown and CSV."""

import csv
import io

import msgspec
import pytest
from comparisons import compared, measured, nexus7, pc, pixel8
from examples import MS, device_info, run_request, samples, traced_run
from msgspec.structs import replace

from mobilekit.analysis.predict.energy import predict_network
from mobilekit.contract.protocol import PROTOCOL_VERSION, RunSuccess
from mobilekit.records.prediction import (
    Extrapolation,
    LatencyPrediction,
    PhoneBattery,
    PhonePower,
    PredictedDevice,
    Predictions,
)
from mobilekit.records.statistics import Interval
from mobilekit.results.compare_tables import comparison_table, numbers_table
from mobilekit.results.documents import make_comparison_document
from mobilekit.results.published import load_publication
from mobilekit.results.tables.cells import Absent, Number
from mobilekit.results.tables.csv import render_csv
from mobilekit.results.text.compare import (
    PREDICTED_HEADING,
    render_comparisons,
    render_comparisons_markdown,
)


def document(*comparisons, predicted=(), published=None):
    publication = load_publication(published) if published else None
    return make_comparison_document(
        (compared(*runs) for runs in comparisons), (), predicted, publication
    )


PHONE = PredictedDevice(
    device="nexus7",
    chip="4xKRAIT@1.51",
    threads=4,
    engine="ncnn",
    power=PhonePower(
        gross_w=4.0,
        gross_interval_w=Interval(low=2.0, high=8.0),
        marginal_w=3.0,
        marginal_interval_w=Interval(low=1.0, high=9.0),
        told_from="a test",
    ),
    battery=PhoneBattery(energy_j=54_000.0, relative_uncertainty=0.1, source="a test"),
)


def predicted_of(network, latency_ms, *reasons):
    """On a real Nexus 7, from half to double of it."""
    latency = LatencyPrediction(
        network=network,
        latency_ms=latency_ms,
        low_ms=latency_ms and latency_ms / 2,
        high_ms=latency_ms and latency_ms * 2,
        known=0,
        seen=True,
        reasons=reasons,
    )
    told = predict_network(latency, PHONE)
    return Predictions(devices=(PHONE,), predictions=(told,), past_errors=())


def virtual_nexus7():
    device = device_info(name="nexus7", virtual=True)
    return measured("on-nexus7", 1000, virtual=True, device=device)


@pytest.mark.parametrize("render", [render_comparisons, render_comparisons_markdown])
def test_what_is_predicted_stands_beside_what_was_measured(render):
    """In a table and a column of its own, beside the paper's of that very phone."""
    made = document((virtual_nexus7(), pc()), predicted=[predicted_of("nin", 500.0)])

    ours, beside = render(made).split(PREDICTED_HEADING)

    assert "(predicted)" not in ours
    (line,) = (each for each in beside.splitlines() if "latency" in each)
    cells = [cell for cell in line.replace("|", "  ").split("  ") if cell.strip()]
    assert [cell.strip() for cell in cells] == [
        "nin",
        "nexus7",
        "latency",
        "500 ms [250 ms, 1,000 ms] (predicted)",
        "1.00 s [1.00 s, 1.00 s]",
        "10.0 ms [10.0 ms, 10.0 ms]",
        "1.08 s",
    ]
    assert "Theirs: C. Fantozzi" in beside
    assert "Caffe" in beside


def test_the_other_side_may_be_the_virtual_one():
    made = document((pc(), virtual_nexus7()), predicted=[predicted_of("nin", 500.0)])

    beside = render_comparisons(made).split(PREDICTED_HEADING)[1]

    (line,) = (each for each in beside.splitlines() if "latency" in each)
    assert line.index("1.00 s [") < line.index("10.0 ms [")


def test_what_is_extrapolated_says_how_far():
    predicted = predicted_of("nin", 500.0)
    (nin,) = predicted.predictions
    beyond = Extrapolation(work="digging", share=0.6, fitted_share=0.4, widening=1.22)
    predicted = replace(predicted, predictions=(replace(nin, extrapolation=beyond),))
    made = document((virtual_nexus7(), pc()), predicted=[predicted])

    beside = render_comparisons(made).split(PREDICTED_HEADING)[1]

    assert (
        "nin on the real nexus7 is extrapolated: 60% of its time on the reference phone goes into "
        "digging, and at most 40% of that of any network that was measured; its interval is 1.22 "
        "times as wide for that"
    ) in beside


def test_what_cannot_be_predicted_says_why_beside_what_was_measured():
    made = document((virtual_nexus7(), pc()), predicted=[predicted_of("nin", None, "strange")])

    beside = render_comparisons(made).split(PREDICTED_HEADING)[1]

    assert beside.count("cannot tell") == 4
    assert "nin on the real nexus7 cannot be told: strange" in beside


def test_predicted_numbers_have_their_own_side_and_origin_in_csv():
    made = document((virtual_nexus7(), pc()), predicted=[predicted_of("nin", 500.0)])

    rows = [row for row in numbers(made) if row["origin"] == "predicted"]

    assert {row["side"] for row in rows} == {"predicted"}
    assert {row["figure"] for row in rows} == {
        "latency",
        "energy_gross",
        "energy_marginal",
        "charge",
    }
    (latency,) = (row for row in rows if row["figure"] == "latency")
    assert (float(latency["low"]), float(latency["high"])) == (250e6, 1000e6)


def numbers(made):
    """The lines of its CSV."""
    text = render_csv(numbers_table(made.comparisons, made.predicted, made.published))
    return list(csv.DictReader(io.StringIO(text)))


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


def test_a_run_that_could_not_tell_its_engine_and_threads():
    """It has them left out, in place of what a program calls nothing."""
    result = RunSuccess(
        protocol_version=PROTOCOL_VERSION, run_id="r", samples=samples(companion=None)
    )

    text = render_comparisons(document((nexus7(result=result), pc(result=result))))

    (line,) = [line for line in text.splitlines() if line.startswith("  run by")]
    assert line.split() == ["run", "by", ".pte,", "armeabi-v7a", ".pte,", "armeabi-v7a"]


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

    rows = numbers(document((virtual, pc()), published="fantozzi2016"))

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


# --- several sides -----------------------------------------------------------------------------


def test_three_devices_side_by_side():
    """A column for each and a ratio for each but the reference, in text, Markdown and CSV."""
    made = document((nexus7(), pixel8(), pc()), published="fantozzi2016")

    text, markdown = render_comparisons(made), render_comparisons_markdown(made)

    header = ["", "nexus7", "pixel8", "pc", "nexus7 / pc", "pixel8 / pc"]
    cells = table_cells(markdown[: markdown.index("### fantozzi2016")])
    assert cells[0] == header
    assert {len(row) for row in cells} == {len(header)}
    (latency,) = (row for row in cells if row[0] == "latency p50")
    assert [cell.split(" [")[0] for cell in latency[1:]] == [
        *("1.00 s", "100 ms", "10.0 ms"),
        *("100", "10.0"),
    ]
    assert all(cell in text for row in cells for cell in row)
    theirs = table_cells(markdown[markdown.index("### fantozzi2016") :])
    assert theirs[0][-5:] == [f"ours: {name}" for name in header[1:]]
    assert {len(row) for row in theirs} == {len(theirs[0])}
    lines = [row for row in numbers(made) if row["figure"] == "latency"]
    ours = [row for row in lines if row["side"] != "published"]
    assert [(row["side"], row["device"], row["measurement"]) for row in ours] == [
        ("device", "nexus7", "on-nexus7"),
        ("device", "pixel8", "on-pixel8"),
        ("against", "pc", "on-pc"),
        ("ratio", "nexus7/pc", "on-nexus7"),
        ("ratio", "pixel8/pc", "on-pixel8"),
    ]
    assert float(ours[-1]["value"]) == pytest.approx(10, rel=1e-3)


def test_one_refused_side_of_two():
    """Its column stays without figures, and what differs is said of it alone."""
    made = document((nexus7(request=run_request(min_iterations=30)), pixel8(), pc()))

    text = render_comparisons(made)

    table = comparison_table(made.comparisons[0])
    (latency,) = (row.cells for row in table.rows if row.cells[0] == "latency p50")
    assert [type(cell) for cell in latency[1:]] == [Absent, Number, Number, Absent, Number]
    assert text.count("Not comparable") == 1
    assert "[on-nexus7, on-pc]" in text
    assert {row["device"] for row in numbers(made)} == {"pixel8", "pc", "pixel8/pc"}


def test_what_differs_is_said_of_which_side():
    """With several sides the line names the one that it is about."""
    other = device_info(name="pixel8", abi="x86_64")
    text = render_comparisons(document((nexus7(), measured("b", 100, device=other), pc())))

    (line,) = (line for line in text.splitlines() if line.startswith("Differs"))
    assert line.startswith("Differs in abi, pixel8: x86_64 / armeabi-v7a")


def test_comparisons_of_unequal_numbers_of_sides_share_a_published_table():
    """The columns are named by what they are for, and a missing side is a dash."""
    made = document((nexus7(), pixel8(), pc()), (nexus7(), pc()), published="fantozzi2016")

    markdown = render_comparisons_markdown(made)

    header, *rows = table_cells(markdown[markdown.index("### fantozzi2016") :])
    assert header[-5:] == [
        "ours: device 1",
        "ours: device 2",
        "ours: against",
        "ours: ratio 1",
        "ours: ratio 2",
    ]
    latencies = [row for row in rows if row[1] == "latency"]
    assert [row[-4] == "-" for row in latencies] == [False, True]
    assert [row[-1] == "-" for row in latencies] == [False, True]


def test_layers_that_do_not_add_up_are_warned_of():
    """On the side where they do not, in text and in Markdown."""
    sound = traced_run("a", 10 * MS, 3 * MS)
    swollen = traced_run("b", 10 * MS, 10 * MS)
    made = document((sound, swollen))

    for text in (render_comparisons(made), render_comparisons_markdown(made)):
        (warning,) = [line for line in text.splitlines() if "layers differs by" in line]
        assert "+53.6%" in warning
        assert "`mobilekit results profile b`" in warning
