"""What is asked and foreseen, where it is left to the device which level is run."""

from contextlib import nullcontext

import pytest
from examples import artifact, device_info, measurement
from msgspec.structs import replace
from recordings import state_of

from mobilekit.cli.options import DeviceOptions, RunOptions, deploy_options
from mobilekit.contract.protocol import Candidate, MethodChoice
from mobilekit.executor.base import Opened
from mobilekit.executor.replay import ReplayExecutor
from mobilekit.flow import prepare as preparing
from mobilekit.flow.prepare import Prepared, make_request, prepare
from mobilekit.records.network import Compression, LayerRank, Level, ModelCost, Variant
from mobilekit.results.store import Store
from mobilekit.units import NS_PER_MS


def test_a_request_has_the_largest_tolerance_of_all_its_methods():
    """In int8 each has its own, and which one will hold is not known yet."""
    levels = [artifact(relative_tolerance=each) for each in (0.024, 0.01)]
    options = deploy_options("nin", DeviceOptions(device="pc"), RunOptions(), energy=False)
    candidate = Candidate(method="level_2", reference_outputs=levels[0].reference_outputs)
    choice = MethodChoice(budget_ns=1, iterations=30, candidates=(candidate,))
    state = state_of(measurement())
    prepared = Prepared(state, ReplayExecutor([]), levels[1], (), None, None, None)

    alone = make_request(options, prepared)
    chosen = make_request(options, prepared, choice=choice, candidates=tuple(levels))

    assert (alone.relative_tolerance, chosen.relative_tolerance) == (0.01, 0.024)


LADDER = tuple(Compression(ranks=(LayerRank(layer="conv1", rank=rank),)) for rank in (8, 16))


class Quiet:
    """Hears of a step, a note or a push, and says nothing."""

    def step(self, _name):
        pass

    def note(self, _text):
        pass

    def pushed(self, _done_bytes, _total_bytes):
        pass


@pytest.mark.parametrize(("budget_ns", "weights"), [(None, "3.9 KiB"), (NS_PER_MS, "11.7 KiB")])
def test_memory_is_foreseen_of_what_is_loaded_first(monkeypatch, tmp_path, budget_ns, weights):
    """Of the largest level where the device chooses, though the smallest is what is prepared."""
    state = state_of(measurement(device=device_info(available_bytes=0)))

    def export(spec, *_, **__):
        cost = ModelCost(parameters=1000 if spec.variant.level.number == 1 else 3000, macs=1)
        file = replace(artifact().file, size_bytes=10**6)
        return artifact(model=spec, cost=cost, file=file)

    monkeypatch.setattr(preparing, "export_artifact", export)
    monkeypatch.setattr(preparing, "find_lacking", lambda *_: None)
    opened = Opened(state, ReplayExecutor([]))
    monkeypatch.setattr(preparing, "open_device_of", lambda *_: nullcontext(opened))
    options = deploy_options("nin", DeviceOptions(device="pc"), RunOptions(), energy=False)
    level = Level(number=1, ladder=LADDER)
    options = options._replace(format="pte", variant=Variant(level=level), budget_ns=budget_ns)
    store = Store(f"sqlite:///{tmp_path / 'results.sqlite'}")

    with prepare(options, store, Quiet()) as prepared:
        assert prepared.artifact.model.variant.level.number == 1
        doubt = next(each for each in prepared.foreseen if each.id == "WILL-NOT-FIT")

    assert f"({weights} of weights" in doubt.summary
