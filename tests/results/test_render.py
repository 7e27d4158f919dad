from pathlib import Path

import msgspec
import pytest
from examples import MS, artifact, energy_estimate, measurement, run_request, samples

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.tradeoff import make_rungs
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    Candidate,
    MethodChoice,
    MethodTrial,
    RunSuccess,
)
from mobilekit.records.compression import Budget, Choice, Levels, Screened
from mobilekit.records.compression import Candidate as TriedNetwork
from mobilekit.records.network import Compression, LayerRank, Level, Variant
from mobilekit.records.statistics import Interval, Proportion
from mobilekit.results.listing import results_table
from mobilekit.results.network_documents import TradeoffDocument
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.compress import render_choice, render_levels
from mobilekit.results.text.measurement import render_measurement
from mobilekit.results.text.tradeoff import render_tradeoff


@pytest.mark.parametrize(("ratio", "shown"), [(1.05, False), (1.6, True)])
def test_a_mean_far_from_the_median_is_shown_beside_the_energy(ratio, shown):
    """The energy is for an inference of the mean time, and p50 may be another."""
    run = measurement()
    answer = derive_answer(run)
    seconds = ratio * answer.latency.p50_ns / 1e9
    answer = msgspec.structs.replace(
        answer,
        energy=energy_estimate(seconds_per_inference=seconds),
        energy_p50_ratio=ratio,
    )

    text = render_measurement(run, answer)

    assert ("1.60 times the p50" in text) is shown
    assert ("\n  mean " in text) is shown
    assert ("(at 1.60 x the p50)" in render_text(results_table([(run, answer)]))) is shown


LADDER = tuple(Compression(ranks=(LayerRank(layer="conv1", rank=rank),)) for rank in (8, 16))


def level(number):
    return artifact(Variant(level=Level(number=number, ladder=LADDER)))


@pytest.mark.parametrize(
    ("budget_ms", "row"),
    [
        (20, "level 1 chosen for 20.0 ms (level 2: p50 31.0 ms, level 1: p50 18.0 ms)"),
        (10, "NONE keeps to 10.0 ms (level 2: p50 31.0 ms, level 1: p50 18.0 ms)"),
    ],
)
def test_each_level_that_was_tried_is_told_with_its_time(budget_ms, row):
    candidates = (level(2), level(1))
    trials = tuple(
        MethodTrial(method=f"level_{number}", load_ns=MS, latency_ns=(ms * MS,) * 30)
        for number, ms in ((2, 31), (1, 18))
    )
    choice = MethodChoice(
        budget_ns=budget_ms * MS,
        iterations=30,
        candidates=tuple(
            Candidate(method=each.method, reference_outputs=candidates[0].reference_outputs)
            for each in trials
        ),
    )
    result = RunSuccess(
        protocol_version=PROTOCOL_VERSION, run_id="r", samples=samples(trials=trials)
    )
    run = measurement(
        artifact=candidates[1],
        candidates=candidates,
        request=run_request(choice=choice),
        result=result,
    )

    assert f"\n  choice    {row}\n" in render_measurement(run, derive_answer(run))


def test_levels_that_save_no_time_are_named_without_a_cause():
    """Both took as long as the uncompressed network; nothing measured why."""
    runs = [measurement(artifact=each) for each in (level(1), level(2), artifact())]
    document = TradeoffDocument(
        model="nin", device="nexus7", virtual=False, rungs=tuple(make_rungs(runs))
    )

    (verdict,) = (line for line in render_tradeoff(document).splitlines() if "verdict" in line)

    assert verdict == (
        "  verdict   the latency p50 of levels 1, 2 is not below the uncompressed network's"
    )


def test_levels_that_were_made_are_told_with_their_layers():
    made = level(2)
    levels = Levels(
        precision="fp32",
        ladder=LADDER,
        file=made.file,
        costs=(made.cost, made.cost),
        relative_errors=(1e-6, 1e-6),
        largest_alone_bytes=30,
        uncompressed_bytes=60,
        uncompressed_cost=made.cost,
    )

    lines = render_levels(made.model, levels, None, None).splitlines()

    assert lines[-2:] == [
        "  layers    conv1: in this order the ranks are told",
        "  accuracy  not measured: `mobilekit tradeoff` tells each level's",
    ]


@pytest.mark.parametrize("whitened_by", [None, "e" * 64])
def test_whitened_ranks_are_told_with_what_they_need(whitened_by):
    """In fp32 too, which takes no examples otherwise; the plain ones need none."""
    accuracy = Proportion(count=9, share=0.9, interval=Interval(low=0.6, high=1))
    compression = msgspec.structs.replace(LADDER[0], whitened_by=whitened_by)
    whole, chosen = (
        TriedNetwork(
            variant=variant,
            size_bytes=1000,
            latency_p50_ns=None,
            energy_j=None,
            accuracy=accuracy,
            loss_points=0,
        )
        for variant in (Variant(), Variant(compression=compression))
    )
    choice = Choice(
        budget=Budget(size_bytes=1000, latency_ns=None, energy_j=None, max_loss_points=1),
        device="pc",
        virtual=False,
        energy_origin="measured",
        judged_by="labels",
        examples=10,
        calibration="examples.npy",
        overlap=0,
        weights_are_drawn=False,
        uncompressed=whole,
        chosen=chosen,
        tried=(whole, chosen),
        layers=(),
        screened=(Screened(compression=compression, loss_points=0.0, other_loss_points=2.5),),
    )

    lines = render_choice(artifact().model, choice, Path("small.json")).splitlines()

    told = [
        "  whitened  by the inputs of examples.npy: loses 2.5 points less than without, in PyTorch"
    ]
    assert [each for each in lines if "whitened  " in each] == (told if whitened_by else [])
    more = " --calibration examples.npy" if whitened_by else ""
    assert lines[-1] == f"`mobilekit deploy nin --compressed small.json{more}` measures it."
