"""What is asked, where it is left to the device which level is run."""

from examples import artifact, measurement
from recordings import state_of

from mobilekit.cli.options import DeviceOptions, RunOptions, deploy_options
from mobilekit.contract.protocol import Candidate, MethodChoice
from mobilekit.executor.replay import ReplayExecutor
from mobilekit.flow.prepare import Prepared, make_request


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
