"""What a search does with a network that cannot be made or run."""

import time

import pytest
from msgspec.structs import replace

from mobilekit.cli.options import DeviceOptions, RunOptions, deploy_options
from mobilekit.errors import ExportError, RunFailedError, UsageError
from mobilekit.flow import compress, layers_alone
from mobilekit.flow.layers_alone import KeptTimes, time_layers
from mobilekit.model.kept_lines import KeptLines
from mobilekit.model.ranks import Layer
from mobilekit.records.compression import Budget, Candidate, CutLayer, Screened, TriedRank
from mobilekit.records.network import Compression, LayerRank, SharedValues, Variant
from mobilekit.records.statistics import Interval, Proportion

STORED = [Variant(storage=SharedValues(values=count)) for count in (16, 8)]
EXAMPLES = "e" * 64
BUDGET = Budget(size_bytes=1000, latency_ns=None, energy_j=None, max_loss_points=5)


class Notes:
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def candidate(variant):
    return Candidate(
        variant=variant,
        size_bytes=100,
        latency_p50_ns=None,
        energy_j=None,
        accuracy=None,
        loss_points=None,
    )


def search_whose_try_raises(monkeypatch, error):
    """One that has found the whole network already."""

    def fail(self, variant):
        raise error("It cannot be", fix="Do not.")

    monkeypatch.setattr(compress._Search, "_try", fail)
    whole = candidate(Variant())
    return compress._Search(
        None, BUDGET, None, None, Notes(), None, {whole.variant.key: whole}, set()
    )


@pytest.mark.parametrize("error", [ExportError, RunFailedError, UsageError])
def test_what_cannot_be_stored_ends_its_ladder_alone(monkeypatch, error):
    """What was found stands, and no precision is left out for it."""
    search = search_whose_try_raises(monkeypatch, error)
    (whole,) = search.tried.values()

    search.follow(STORED, whole)

    assert list(search.tried.values()) == [whole]
    assert search.left_out == set()
    (note,) = search.reporter.texts
    assert note.startswith(STORED[0].text)
    assert "It cannot be" in note


def test_a_precision_that_cannot_be_exported_is_left_out(monkeypatch):
    search = search_whose_try_raises(monkeypatch, ExportError)
    (whole,) = search.tried.values()

    search.consider(Variant(precision="int8"), whole)

    assert search.left_out == {"int8"}
    assert search.is_hopeless(Variant(precision="int8"), 1)
    assert not search.is_hopeless(Variant(), 1)


def cut_to(rank, whitened_by=None):
    return Compression(ranks=(LayerRank(layer="0", rank=rank),), whitened_by=whitened_by)


def recalled(monkeypatch, tmp_path, measured, screened):
    """Of what was ``measured``, (compression, hours ago, accuracy), what a search considers."""
    considered = []
    monkeypatch.setattr(
        compress._Search, "consider", lambda self, variant, whole: considered.append(variant)
    )
    kept = KeptLines(tmp_path, "candidates", [], compress._KeptCandidate)
    for compression, hours_ago, found in measured:
        variant = Variant(compression=compression)
        kept.add(
            variant.key,
            compress._KeptCandidate(
                measured_at_s=time.time() - hours_ago * 3600,
                sha256="0" * 64,
                examples=10,
                candidate=replace(candidate(variant), accuracy=found),
            ),
        )
    search = compress._Search(None, BUDGET, None, None, Notes(), kept, {}, set())
    steps = [Screened(compression=each, loss_points=0) for each in screened]
    search.recall((), steps, candidate(Variant()))
    return [variant.compression for variant in considered]


ACCURACY = Proportion(count=9, share=0.9, interval=Interval(low=0.6, high=1))


def test_only_what_was_measured_today_is_recalled(monkeypatch, tmp_path):
    """The device may have changed since; and what another budget left unfinished tells nothing."""
    measured = [(cut_to(10), 1, ACCURACY), (cut_to(20), 25, ACCURACY), (cut_to(30), 1, None)]

    assert recalled(monkeypatch, tmp_path, measured, []) == [cut_to(10)]


def test_ranks_that_only_another_search_whitens_are_not_recalled(monkeypatch, tmp_path):
    """It allowed more loss, and this one has found the same ranks right enough unwhitened alone."""
    here, there, plain = cut_to(20, EXAMPLES), cut_to(10, EXAMPLES), cut_to(5)
    measured = [(each, 1, ACCURACY) for each in (here, there, plain)]
    screened = [None, here, cut_to(10)]

    assert recalled(monkeypatch, tmp_path, measured, screened) == [here, plain]


CUT_LAYER = CutLayer(
    layer="0",
    whole_latency_ns=800.0,
    tried=(TriedRank(rank=10, latency_ns=400.0, loss_points=None),),
    least_rank=1,
    most_rank=10,
    why_whole=None,
)


@pytest.mark.parametrize(("latency_ns", "too_slow"), [(400, True), (600, False)])
def test_a_step_that_misses_the_time_by_far_is_not_tried(latency_ns, too_slow):
    """What its layer saves alone leaves 600 ns of 1,000 in fp32, and 300 of 500 in int8."""
    whole = {
        each.variant.key: each
        for precision, ns in (("fp32", 1000), ("int8", 500))
        for each in [replace(candidate(Variant(precision=precision)), latency_p50_ns=ns)]
    }
    budget = Budget(size_bytes=None, latency_ns=latency_ns, energy_j=None, max_loss_points=5)
    search = compress._Search(None, budget, None, None, Notes(), None, whole, set())
    cut = Compression(ranks=(LayerRank(layer="0", rank=10),))

    assert search.is_too_slow(Variant(compression=cut), [CUT_LAYER]) == too_slow
    assert not search.is_too_slow(Variant(precision="int8", compression=cut), [CUT_LAYER])
    # Nothing is known of the whole network in fp16, and whole networks are always tried.
    assert not search.is_too_slow(Variant(precision="fp16", compression=cut), [CUT_LAYER])
    assert not search.is_too_slow(Variant(), [CUT_LAYER])


class PreparedError(Exception):
    pass


def test_layers_are_timed_in_fp32_without_calibration_and_once_a_day(monkeypatch, tmp_path):
    """Whatever the search calibrates int8 with; what is a day old is measured anew."""
    options = deploy_options(
        "m", DeviceOptions(device="pc"), RunOptions(format="pte"), energy=False
    )
    options = options._replace(
        variant=Variant(precision="int8"), calibration=tmp_path / "calibration.npy"
    )
    asked = []

    def prepare(options, store, reporter):
        asked.append(options)
        raise PreparedError

    monkeypatch.setattr(layers_alone, "prepare", prepare)
    kept = KeptLines(tmp_path, "layers", [], KeptTimes)
    layers = [Layer("0", 30, 20, (1.0,) * 20)]

    with pytest.raises(PreparedError):
        time_layers(options, layers, kept, None, Notes())
    assert (asked[0].variant, asked[0].calibration) == (Variant(), None)

    key = repr({"0": layers_alone.ranks_to_try(layers[0])})
    kept.add(key, KeptTimes(measured_at_s=time.time() - 60, layers=(CUT_LAYER,)))
    assert time_layers(options, layers, kept, None, Notes()) == (CUT_LAYER,)

    for hours_ago in (25, -1):  # The latter by a clock that has been set since.
        at_s = time.time() - hours_ago * 3600
        kept.add(key, KeptTimes(measured_at_s=at_s, layers=(CUT_LAYER,)))
        with pytest.raises(PreparedError):
            time_layers(options, layers, kept, None, Notes())


@pytest.mark.parametrize("overlap", [0, 1])
def test_examples_that_judge_whiten_nothing(tmp_path, overlap):
    """What a network is made from tells nothing of how good it is."""
    options = deploy_options(
        "m", DeviceOptions(device="pc"), RunOptions(format="pte"), energy=False
    )._replace(calibration=tmp_path)
    notes = Notes()
    found = compress._whitening_examples(options, overlap, notes)
    assert found == (None if overlap else tmp_path)
    assert len(notes.texts) == overlap
