"""A partition whose runs for energy break off: its times are there, and the verdict by them."""

import pytest
from examples import battery_status, energy_estimate, energy_plan, measured, run_request
from msgspec.structs import replace

from mobilekit.cli.options import DeviceOptions, RunOptions, deploy_options
from mobilekit.contract.samples import interrupted
from mobilekit.errors import DisconnectedError, StoppedError
from mobilekit.flow import partition
from mobilekit.records.partition import Candidate, Chart, Costs, Partition, PartitionPlan
from mobilekit.results.network_documents import PartitionDocument
from mobilekit.results.text.partition import render_partition

CHART = Chart(segments=(("0",), ("1",)), flows=())
PLAN = PartitionPlan(
    threads=1,
    costs=Costs(usual_ns=100.0, usual_segments_ns=(50.0, 50.0), others=(), largest_residual_ns=0.0),
    assignment=("xnnpack", "xnnpack"),
    predicted_ns=100.0,
    best_single="xnnpack",
    best_single_ns=100.0,
)
OPTIONS = deploy_options("m", DeviceOptions(device="d"), RunOptions(format="pte"))


class Silent:
    def note(self, text):
        pass


def powers_of(monkeypatch, outcomes):
    """Of backends whose runs end so: a measurement, or an error that is raised."""
    ends = iter(outcomes.values())

    def deploy(options, store, reporter, *, purpose):
        assert (options.threads, purpose) == (1, "partition")
        end = next(ends)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(partition, "deploy", deploy)
    return partition._measure_powers(OPTIONS, CHART, PLAN, tuple(outcomes), None, Silent())


def test_what_breaks_off_is_unknown_with_the_reason_and_the_rest_is_told(monkeypatch):
    good = measured("good", energy_wanted=True)
    derive = partition.derive_answer
    monkeypatch.setattr(
        partition,
        "derive_answer",
        lambda each: (
            replace(derive(each), energy=energy_estimate()) if each is good else derive(each)
        ),
    )
    died = measured("died", result=interrupted("died", [], "the process died"))
    charged = measured(
        "charged", energy_wanted=True, battery_before=battery_status(plugged=("usb",))
    )
    refused = measured(
        "refused",
        energy_wanted=True,
        request=run_request(energy=energy_plan()),
        energy_refusal="the cable was put in",
    )
    away = DisconnectedError("The phone went away", fix="Attach it.")

    powers, unknown, runs = powers_of(
        monkeypatch,
        {"xnnpack": good, "vulkan": died, "portable": away, "a": charged, "b": refused},
    )

    assert [each.backend for each in powers] == ["xnnpack"]
    assert list(unknown) == ["vulkan", "portable", "a", "b"]
    assert unknown["vulkan"] == "its run failed: the process died"
    assert unknown["portable"] == "The phone went away"
    assert "on a cable" in unknown["a"]
    assert "the cable was put in" in unknown["b"]
    assert [each.id for each in runs] == ["good", "died", "charged", "refused"]


def test_what_a_person_stops_is_stopped(monkeypatch):
    with pytest.raises(StoppedError):
        powers_of(monkeypatch, {"xnnpack": StoppedError("Interrupted", fix="-")})


def test_the_verdict_is_told_with_what_is_unknown():
    found = Partition(
        chart=CHART,
        backends=("xnnpack",),
        left_out={},
        plans=(PLAN,),
        best=0,
        trial=(Candidate(name="xnnpack", threads=1, round_p50_ns=(100.0,), p50_ns=100.0),),
        check=None,
        adopted=False,
        verdict="xnnpack alone with 1 thread is best",
        placement=(),
        powers=(),
        powers_unknown={"xnnpack": "The phone went away"},
        runs=("run-1",),
    )
    run = measured("run-1")
    text = render_partition(
        PartitionDocument(model=run.artifact.model, device="nexus7", virtual=False, partition=found)
    )
    assert "  xnnpack    draws an unknown power: The phone went away\n" in text
    assert text.endswith("Verdict: xnnpack alone with 1 thread is best.")
