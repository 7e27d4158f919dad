"""``partition`` as a person runs it, and the placements that other commands take."""

import json

import pytest
from native import needs_native

from mobilekit.contract.codec import decode
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.network import Placed
from mobilekit.results.documents import MeasurementDocument
from mobilekit.results.network_documents import PartitionDocument
from mobilekit.virtual.companion import CompanionProcess
from mobilekit.virtual.gpus import find_gpus

MODEL = '''
"""A chain of a large layer and two small ones."""

from torch import nn

INPUT_SHAPES = ((1, 600),)


def build():
    return nn.Sequential(nn.Linear(600, 400), nn.Linear(400, 20), nn.Softmax(1))
'''
QUICK = ("--fast", "--no-energy")


@pytest.fixture
def chain(model_directory):
    (model_directory / "chain.py").write_text(MODEL, encoding="utf-8")
    return "chain.py"


def partition_of(outcome):
    assert outcome.exit_code == 0, outcome.stderr
    return decode(outcome.stdout, PartitionDocument, source="stdout").partition


def check_partition(found):
    """The figures agree with each other, whatever they are on this computer now."""
    count = len(found.chart.segments)
    plan = found.plans[found.best]
    assert plan.predicted_ns == min(each.predicted_ns for each in found.plans)
    assert plan.predicted_ns <= plan.best_single_ns
    assert plan.best_single_ns <= plan.costs.usual_ns
    assert len(plan.assignment) == count
    assert found.trial == tuple(sorted(found.trial, key=lambda each: each.p50_ns))
    is_spread = len(set(plan.assignment)) > 1
    assert is_spread == any(each.name == "plan" for each in found.trial)
    assert is_spread == (found.check is not None)
    if found.adopted:
        assert found.trial[0].name == "plan"
        assert found.check.matches
        assert found.placement
    else:
        assert found.placement == ()
        assert "is kept" in found.verdict or "is best" in found.verdict


def test_a_network_is_planned_on_this_computer(cli, chain, tmp_path):
    """With portable kernels, and without Vulkan; what is kept is what is said."""
    saved = tmp_path / "plan.json"
    arguments = ("-d", "pc", "--threads", "1", "--save", str(saved))
    outcome = cli("partition", chain, *arguments, "--json")
    found = partition_of(outcome)

    check_partition(found)
    assert found.chart.segments == (("0",), ("1",), ("2",))
    assert [flow.consumers for flow in found.chart.flows] == [(1,), (2,)]
    assert set(found.left_out) == {"vulkan"}
    (costs,) = found.plans[0].costs.others
    assert costs.backend == "portable"
    # 240,000 MACs are not tried on loops of scalars.
    assert costs.extra_ns[0] is None
    assert None not in costs.extra_ns[1:]
    assert found.powers == ()
    assert {each.name for each in found.trial} >= {"xnnpack"}
    purposes = {each["purpose"] for each in cli("results", "list", "--json").document["results"]}
    assert purposes == {"partition"}
    assert json.loads(saved.read_text())["schema"] == "mobilekit.placement/1"
    shown = cli("deploy", chain, "-d", "pc", "--placement", str(saved), *QUICK, "--json")
    variant = decode(shown.stdout, MeasurementDocument, source="stdout").measurement.artifact.model
    assert variant.variant.placement == found.placement


def test_a_placement_is_deployed(cli, chain, tmp_path):
    saved = tmp_path / "plan.json"
    placement = [{"backend": "portable", "layers": ["1"]}]
    saved.write_text(
        json.dumps({"schema": "mobilekit.placement/1", "model": "chain", "placement": placement})
    )
    outcome = cli("deploy", chain, "-d", "pc", "--placement", str(saved), *QUICK, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    measurement = decode(outcome.stdout, MeasurementDocument, source="stdout").measurement

    assert measurement.artifact.backend == "xnnpack+portable"
    assert measurement.artifact.model.variant.placement == (
        Placed(backend="portable", layers=("1",)),
    )
    assert "-placed-" in measurement.id
    assert measurement.result.samples.output_check.matches
    assert set(measurement.artifact.delegation.portable_operator_counts) == {
        "aten::addmm",
        "aten::permute_copy",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "That is no placement"),
        ('{"schema": "mobilekit.placement/1", "model": "a"}', "placement"),
        (
            '{"schema": "mobilekit.placement/1", "model": "chain", "placement": '
            '[{"backend": "portable", "layers": ["1", "1"]}]}',
            "twice",
        ),
        (
            '{"schema": "mobilekit.placement/1", "model": "chain", "placement": '
            '[{"backend": "npu", "layers": ["1"]}]}',
            "That is no placement",
        ),
        (
            '{"schema": "mobilekit.placement/1", "model": "other", "placement": '
            '[{"backend": "portable", "layers": ["1"]}]}',
            "plan.json was made for other, and this is chain",
        ),
    ],
)
def test_what_is_no_placement_is_refused(cli, chain, tmp_path, content, words):
    saved = tmp_path / "plan.json"
    saved.write_text(content)
    outcome = cli("deploy", chain, "-d", "pc", "--placement", str(saved))
    assert outcome.exit_code == 2
    assert words in " ".join(outcome.stderr.split())
    assert "--save" in outcome.stderr or "Use it with other" in outcome.stderr


def test_a_placement_that_is_not_there_is_refused(cli, chain):
    outcome = cli("deploy", chain, "-d", "pc", "--placement", "nowhere.json")
    assert outcome.exit_code == 2
    assert "The placement cannot be read" in outcome.stderr


@pytest.mark.soak
def test_a_phone_tells_what_each_backend_draws(cli, chain, bench_phone):
    """And what a segment takes of it there, which sums up to an inference's."""
    arguments = ("-d", bench_phone.serial, "--threads", "1")
    found = partition_of(cli("partition", chain, *arguments, "--json", timeout=600))
    assert [each.backend for each in found.powers] == ["xnnpack", "portable"]
    for each in found.powers:
        assert each.origin == "simulated"
        assert 0.1 < each.power_w < 20
        assert each.inference_j > 0
    shown = cli("partition", chain, *arguments, timeout=600)
    assert "xnnpack energy" in shown.stdout
    assert "uJ an inference, simulated" in shown.stdout


@needs_native
@pytest.mark.soak
def test_a_network_is_planned_over_the_gpu(cli, chain, make_bench_phone, tmp_path):
    """In the phone's own library; a program that alternates computes what PyTorch does."""
    if not find_gpus():
        pytest.skip("this computer has no Vulkan")
    phone = make_bench_phone(
        load_profiles()["pixel6a"], lambda directory: CompanionProcess(directory, "native")
    )
    found = partition_of(
        cli("partition", chain, "-d", phone.serial, "--threads", "1", "--json", timeout=600)
    )
    check_partition(found)
    assert found.left_out == {}
    assert [each.backend for each in found.plans[0].costs.others] == ["vulkan", "portable"]
    assert {each.name for each in found.trial} >= {"xnnpack"}

    saved = tmp_path / "plan.json"
    placement = [{"backend": "vulkan", "layers": ["0", "2"]}]
    saved.write_text(
        json.dumps({"schema": "mobilekit.placement/1", "model": "chain", "placement": placement})
    )
    alternating = cli(
        "deploy", chain, "-d", phone.serial, "--placement", str(saved), *QUICK, "--json"
    )
    assert alternating.exit_code == 0, alternating.stderr
    measurement = decode(alternating.stdout, MeasurementDocument, source="stdout").measurement
    check = measurement.result.samples.output_check
    assert measurement.artifact.backend == "xnnpack+vulkan"
    assert check.matches
    assert check.max_relative_error < 1e-4
