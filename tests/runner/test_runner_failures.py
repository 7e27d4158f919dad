"""However a run ends early: a result is left, with the code that the contract gives it."""

import errno
import json
import os
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest
from examples import energy_plan
from fake_machine import (
    MS,
    FakeClock,
    FakeEngine,
    FakeStage,
    battery_sample,
    machine,
)
from run_roots import RUN_ID, put_tensor, write_request, written

from mobilekit.contract.checks import decode_result
from mobilekit.contract.protocol import (
    Candidate,
    MethodChoice,
    PhaseStarted,
    RunFailure,
    RunSuccess,
)
from mobilekit.runner.engine import EngineError, TracingUnavailableError
from mobilekit.runner.journal import Journal
from mobilekit.runner.run import carry_out_run, take_run

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/failures.json").read_text())
FAILURES = {
    "refused": EngineError("not a program"),
    "unexpected": ValueError("no such opcode"),
    "assertion": AssertionError("a tensor without elements"),
    "io": OSError(errno.EIO, os.strerror(errno.EIO)),
    "library_missing": ImportError("libengine.so: cannot open shared object file"),
    "out_of_memory": MemoryError(),
    "storage_full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
}
CASES = [
    pytest.param(vector["call"], phase, failure, code, id=f"{vector['call']}-{phase}-{failure}")
    for vector in VECTORS
    for phase in vector["phases"]
    for failure, code in vector["codes"].items()
]


class Saboteur:
    """Throws at one call in one phase."""

    def __init__(self, call: str, phase: str, error: BaseException) -> None:
        self._call, self._phase, self._error = call, phase, error
        self.phase = ""

    def before(self, call: str) -> None:
        if (call, self.phase) == (self._call, self._phase):
            raise self._error


class WatchedJournal(Journal):
    """Tells the saboteur of the phases."""

    def __init__(self, root, saboteur):
        super().__init__(root / "out", RUN_ID)
        self._saboteur = saboteur

    def append(self, event):
        super().append(event)
        if isinstance(event, PhaseStarted):
            self._saboteur.phase = event.phase
            self._saboteur.before("record")


class ExecutingStage(FakeStage):
    """A stage whose iterations are the program's."""

    def __init__(self, clock, program, saboteur):
        super().__init__(clock)
        self._program, self._saboteur = program, saboteur

    def iterate_until(self, until_ns):
        self._program.execute()
        return super().iterate_until(until_ns)

    def read_battery(self):
        self._saboteur.before("read_battery")
        return super().read_battery()


@pytest.fixture
def every_phase(roots):
    """A request that goes through all phases there are, and calls all that there is to call."""
    root, request = roots
    request = msgspec.structs.replace(
        request,
        choice=MethodChoice(
            budget_ns=1, iterations=1, candidates=(Candidate(method="other", reference_outputs=()),)
        ),
        cold_loads=1,
        profile_iterations=1,
        evaluation=put_tensor(root, np.zeros((2, 1, 6), "<f4")),
        energy=energy_plan(blocks=1, idle_ns=MS, load_ns=MS, sample_period_ns=MS),
    )
    write_request(root, request)
    return root


def sabotaged(root, saboteur):
    clock = FakeClock()
    engine = FakeEngine(clock, before=saboteur.before)

    def make_engine(_format, _threads):
        saboteur.before("make_engine")
        return engine

    def read_battery(at_ns):
        saboteur.before("read_battery")
        return battery_sample(at_ns)

    around = machine(
        clock, engine, lambda program, *_: ExecutingStage(clock, program, saboteur)
    )._replace(make_engine=make_engine, read_battery=read_battery)
    return carry_out_run(root / "in", WatchedJournal(root, saboteur), lambda: nullcontext(around))


@pytest.mark.parametrize(("call", "phase", "failure", "code"), CASES)
def test_every_failure_leaves_its_result(every_phase, call, phase, failure, code):
    """Whatever is thrown, wherever: the shared vectors say what becomes of it."""
    result = sabotaged(every_phase, Saboteur(call, phase, FAILURES[failure]))

    assert isinstance(result, RunFailure)
    assert (result.phase, result.code) == (phase, code)
    assert result.message
    assert decode_result((written(every_phase) / "result.json").read_bytes()) == result


def test_without_a_failure_the_same_run_succeeds(every_phase):
    """What fails above fails for what was thrown."""
    assert isinstance(sabotaged(every_phase, Saboteur("none", "", ValueError())), RunSuccess)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3)])
def test_an_end_of_the_process_is_no_failure(every_phase, end):
    """Who ends the process gets it ended; what was measured is in the progress."""
    with pytest.raises(type(end)):
        sabotaged(every_phase, Saboteur("infer", "iterate", end))

    assert not (written(every_phase) / "result.json").exists()


@contextmanager
def machine_that_does_not_open():
    raise ValueError("the battery's state is damaged")
    yield


@contextmanager
def machine_that_does_not_close():
    clock = FakeClock()
    yield machine(clock, FakeEngine(clock))
    raise ValueError("the battery's state cannot be written")


@pytest.mark.parametrize(
    ("open_machine", "phase"),
    [(machine_that_does_not_open, "verify"), (machine_that_does_not_close, "memory")],
)
def test_a_machine_that_fails_leaves_a_result(roots, open_machine, phase, capfd):
    """Around the run too, and the process' log tells where."""
    root, _ = roots

    result = carry_out_run(root / "in", take_run(root / "out", RUN_ID), open_machine)

    assert (result.phase, result.code) == (phase, "internal")
    assert "ValueError: the battery's state" in result.message
    assert decode_result((written(root) / "result.json").read_bytes()) == result
    assert "Traceback" in capfd.readouterr().err


def test_a_message_without_a_utf8_form_is_told(every_phase):
    """A runtime's words may hold half of a character."""
    error = EngineError("no file \ud800\udc00.bin\udcff")

    result = sabotaged(every_phase, Saboteur("load", "load", error))

    assert decode_result((written(every_phase) / "result.json").read_bytes()) == result
    assert result.message == "no file \ufffd\ufffd.bin\ufffd"


def test_a_message_without_an_end_is_cut(every_phase):
    """So that its result, with all that was measured, is one that a host takes."""
    result = sabotaged(every_phase, Saboteur("infer", "iterate", EngineError("why " * 10_000)))

    assert decode_result((written(every_phase) / "result.json").read_bytes()) == result
    assert result.message.startswith("why why ")
    assert result.message.endswith(" ... (the beginning of 40000 characters)")
    assert result.samples.load_ns


def test_a_reason_without_an_end_is_cut(every_phase):
    """As a message is."""
    saboteur = Saboteur("load_traced", "profile", TracingUnavailableError("why " * 10_000))

    result = sabotaged(every_phase, saboteur)

    assert decode_result((written(every_phase) / "result.json").read_bytes()) == result
    assert result.samples.profile_refusal.endswith(" ... (the beginning of 40000 characters)")


def test_a_result_that_cannot_be_written_ends_the_process(roots):
    """There is nothing more to tell, and no half of a result."""
    root, _ = roots
    journal = take_run(root / "out", RUN_ID)
    (written(root) / "result.json.new").symlink_to("/dev/full")
    clock = FakeClock()

    with pytest.raises(OSError, match="No space left"):
        carry_out_run(root / "in", journal, lambda: nullcontext(machine(clock, FakeEngine(clock))))

    assert not (written(root) / "result.json").exists()
