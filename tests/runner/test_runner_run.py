"""The run loop on a fake engine and a fake clock: phases, limits, failures, what is kept."""

import hashlib
import itertools
import json
import os
import tracemalloc
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest
from examples import energy_plan
from fake_machine import BINDING_NS, MS, FakeClock, FakeEngine, FakeProgram, FakeStage, machine
from run_roots import RUN_ID, carry_out, put_tensor, write_request, written

from mobilekit.contract.answering import check_answer
from mobilekit.contract.checks import decode_events, decode_result
from mobilekit.contract.codec import decode, encode
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    ArtifactFile,
    Candidate,
    MethodChoice,
    RunFailure,
    RunRequest,
    RunSuccess,
    RunTaken,
    Segment,
    TemperatureGate,
    TensorFile,
    WeightsFile,
)
from mobilekit.contract.samples import collect_samples
from mobilekit.model.condense import condense
from mobilekit.runner.run import carry_out_run, take_run
from mobilekit.runner.timed_loop import iterate


def test_a_run_goes_through_its_phases_in_order(roots):
    """A sound run yields each phase's samples, in the contract's order."""
    root, _ = roots
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock, [30 * MS, 10 * MS])))

    samples = result.samples
    assert isinstance(result, RunSuccess)
    assert [phase.phase for phase in samples.phases] == [
        "verify",
        "load",
        "warmup",
        "iterate",
        "check",
        "memory",
    ]
    assert samples.load_ns == (50 * MS,) * 3
    assert samples.warmup_ns == (30 * MS, 10 * MS, 10 * MS, 10 * MS, 10 * MS)
    assert samples.warmup_settled
    assert samples.iteration_ns == (10 * MS,) * 20
    assert samples.output_check.matches
    assert [sample.stage for sample in samples.memory] == ["closed", "loaded", "inferred"]
    assert samples.ended_ns == clock.ns


def test_a_load_is_over_before_the_inputs_are_bound(roots):
    """What binding takes is neither in the loads nor in the warm-up's first iteration."""
    root, request = roots
    write_request(root, msgspec.structs.replace(request, cold_loads=1))
    clock = FakeClock()

    samples = carry_out(root, machine(clock, FakeEngine(clock))).samples

    started_ns = {start.phase: start.at_ns for start in samples.phases}
    assert samples.load_ns == (50 * MS,)
    assert started_ns["warmup"] - started_ns["load"] == 50 * MS
    assert set(samples.warmup_ns) == {10 * MS}
    assert started_ns["iterate"] - started_ns["warmup"] == BINDING_NS + sum(samples.warmup_ns)


class LeveledEngine(FakeEngine):
    """Each method takes another time."""

    def load(self, path, method, weights):
        self._latencies = ({"large": 30 * MS, "middle": 20 * MS}.get(method, 10 * MS),)
        return super().load(path, method, weights)


@pytest.mark.parametrize(
    ("budget_ms", "tried", "latency_ms", "matches"),
    [
        (30, ("large",), 30, False),
        (29, ("large", "middle"), 20, True),
        (19, ("large", "middle"), 10, True),
    ],
)
def test_the_first_method_that_keeps_to_the_budget_is_run(
    roots, budget_ms, tried, latency_ms, matches
):
    """And held against its own outputs; where none does, the artifact's own method is."""
    root, request = roots
    wrong = put_tensor(root, np.ones((1, 6), "<f4"))
    candidates = (
        Candidate(method="large", reference_outputs=(wrong,)),
        Candidate(method="middle", reference_outputs=request.reference_outputs),
    )
    choice = MethodChoice(budget_ns=budget_ms * MS, iterations=4, candidates=candidates)
    request = msgspec.structs.replace(request, choice=choice)
    write_request(root, request)
    clock = FakeClock()
    engine = LeveledEngine(clock)

    result = carry_out(root, machine(clock, engine))

    check_answer(request, result)
    samples = result.samples
    assert tuple(trial.method for trial in samples.trials) == tried
    assert all(len(trial.latency_ns) == 4 for trial in samples.trials)
    assert set(samples.iteration_ns) == {latency_ms * MS}
    assert samples.output_check.matches is matches
    assert not [program for program in engine.programs[:-1] if not program.closed]


def test_a_candidates_outputs_are_looked_for_before_anything_is_run(roots):
    root, request = roots
    gone = TensorFile(sha256="f" * 64, dtype="float32", shape=(1, 6))
    candidates = (Candidate(method="large", reference_outputs=(gone,)),)
    choice = MethodChoice(budget_ns=1, iterations=1, candidates=candidates)
    write_request(root, msgspec.structs.replace(request, choice=choice))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert (result.code, result.phase) == ("file_missing", "verify")


def test_the_files_hold_what_is_returned(roots):
    """result.json is the result, and progress.jsonl folds to the same samples."""
    root, _ = roots
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert decode_result((written(root) / "result.json").read_bytes()) == result
    events = decode_events((written(root) / "progress.jsonl").read_bytes())
    assert collect_samples(events) == result.samples
    assert sorted(path.name for path in written(root).iterdir()) == [
        "progress.jsonl",
        "result.json",
    ]


def test_a_run_is_taken_before_it_begins(roots):
    """The first event, and no other, names the process that carries the run."""
    root, _ = roots
    clock = FakeClock()
    journal = take_run(root / "out", RUN_ID)
    before = list(decode_events((written(root) / "progress.jsonl").read_bytes()))

    carry_out_run(root / "in", journal, lambda: nullcontext(machine(clock, FakeEngine(clock))))

    events = list(decode_events((written(root) / "progress.jsonl").read_bytes()))
    assert before == events[:1] == [RunTaken(pid=os.getpid())]
    assert sum(isinstance(event, RunTaken) for event in events) == 1


def test_the_machine_is_closed_before_the_result(roots):
    """Whoever sees the result can rely on what closing the machine left behind."""
    root, _ = roots
    clock = FakeClock()
    seen = []

    @contextmanager
    def open_machine():
        yield machine(clock, FakeEngine(clock))
        seen.append((written(root) / "result.json").exists())

    carry_out_run(root / "in", take_run(root / "out", RUN_ID), open_machine)

    assert seen == [False]


@pytest.mark.parametrize(
    ("min_iterations", "min_duration_ns", "max_duration_ns", "expected"),
    [
        pytest.param(10, 50 * MS, 10**12, 10, id="count reached last"),
        pytest.param(2, 100 * MS, 10**12, 10, id="duration reached last"),
        pytest.param(100, 20 * MS, 70 * MS, 7, id="ended by the limit"),
        pytest.param(2, 200 * MS, 70 * MS, 7, id="a limit below the duration"),
    ],
)
def test_iterations_end_when_count_and_duration_are_reached(
    min_iterations, min_duration_ns, max_duration_ns, expected
):
    """Both a count and a duration are asked for, and a limit ends it all the same."""
    clock = FakeClock()
    program = FakeProgram(clock, [10 * MS])

    latency_ns = iterate(
        program.execute,
        clock,
        min_iterations=min_iterations,
        min_duration_ns=min_duration_ns,
        max_duration_ns=max_duration_ns,
    )

    assert latency_ns == [10 * MS] * expected


def test_energy_windows_alternate_and_overlap_nothing(roots):
    """Two blocks are idle load idle load idle, each starting where the one before ended."""
    root, request = roots
    plan = energy_plan(blocks=2, idle_ns=100 * MS, load_ns=100 * MS, sample_period_ns=40 * MS)
    write_request(root, msgspec.structs.replace(request, energy=plan))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock), lambda *_: FakeStage(clock)))

    windows = result.samples.windows
    assert [window.kind for window in windows] == ["idle", "load", "idle", "load", "idle"]
    assert [window.iterations for window in windows] == [0, 12, 0, 12, 0]
    for before, after in itertools.pairwise(windows):
        assert before.ended_ns == after.started_ns
    for window in windows:
        assert window.battery[0].at_ns == window.started_ns
        assert window.battery[-1].at_ns == window.ended_ns


def measured_energy(root, request, make_stage, **plan):
    """The samples of a run with that energy plan, of windows of 100 ms."""
    values = {"idle_ns": 100 * MS, "load_ns": 100 * MS, "sample_period_ns": 40 * MS} | plan
    write_request(root, msgspec.structs.replace(request, energy=energy_plan(**values)))
    clock = FakeClock()

    def stage(_program, _latencies, at_ns):
        return make_stage(clock, at_ns)

    result = carry_out(root, machine(clock, FakeEngine(clock), stage))
    assert isinstance(result, RunSuccess)
    return result.samples


def test_plugging_in_refuses_the_rest(roots):
    """A window with the cable in at its end is the last one where no unplugging is waited for."""
    samples = measured_energy(
        *roots, lambda clock, at_ns: FakeStage(clock, (at_ns + 250 * MS, 10**15))
    )

    assert [window.kind for window in samples.windows] == ["idle", "load", "idle"]
    assert "plugged in" in samples.energy_refusal
    assert samples.waits == ()


def test_a_block_that_was_plugged_in_is_measured_again(roots):
    """The cable spoils its block, is waited for, and the blocks that were asked for get done."""
    samples = measured_energy(
        *roots,
        lambda clock, at_ns: FakeStage(clock, (at_ns + 250 * MS, at_ns + 5000 * MS)),
        blocks=2,
        unplug_timeout_ns=60_000 * MS,
    )

    kinds = [window.kind for window in samples.windows]
    plugged = [any(sample.plugged for sample in window.battery) for window in samples.windows]
    assert kinds == ["idle", "load", "idle", "idle", "load", "idle", "load", "idle"]
    assert plugged == [False, False, True] + 5 * [False]
    assert [(wait.reason, wait.passed) for wait in samples.waits] == [("unplug", True)]
    assert samples.energy_refusal is None


def test_a_cable_that_stays_in_refuses_energy(roots):
    """The wait for the cable ends, is told, and no window is begun."""
    samples = measured_energy(
        *roots, lambda clock, _: FakeStage(clock, (0, 10**15)), unplug_timeout_ns=3000 * MS
    )

    assert samples.windows == ()
    assert "plugged in" in samples.energy_refusal
    (wait,) = samples.waits
    assert (wait.reason, wait.passed, wait.ended_ns - wait.started_ns) == (
        "unplug",
        False,
        3000 * MS,
    )


@pytest.mark.parametrize(("warm_ns", "passed"), [(2500 * MS, True), (10**15, False)])
def test_windows_wait_for_rest_and_for_a_cool_battery(roots, warm_ns, passed):
    """Rest, then the temperature; a time-out of the gate is told, and the run goes on."""
    samples = measured_energy(
        *roots,
        lambda clock, at_ns: FakeStage(clock, warm_until_ns=at_ns + 1000 * MS + warm_ns),
        blocks=1,
        rest_ns=1000 * MS,
        temperature_gate=TemperatureGate(max_decicelsius=350, timeout_ns=5000 * MS),
    )

    rest, temperature = samples.waits
    assert (rest.reason, rest.passed, rest.ended_ns - rest.started_ns) == ("rest", True, 1000 * MS)
    assert (temperature.reason, temperature.passed) == ("temperature", passed)
    assert temperature.ended_ns - temperature.started_ns == (3000 * MS if passed else 5000 * MS)
    assert len(samples.windows) == 3


def test_a_cool_phone_waits_for_nothing(roots):
    """Gates that are open leave no trace."""
    samples = measured_energy(
        *roots,
        lambda clock, _: FakeStage(clock),
        blocks=1,
        unplug_timeout_ns=10**12,
        temperature_gate=TemperatureGate(max_decicelsius=350, timeout_ns=10**12),
    )

    assert samples.waits == ()


def test_the_synchronisation_pattern_is_made_before_and_after(roots):
    """Three pulses of two seconds at each end, whose edges are told."""
    samples = measured_energy(
        *roots, lambda clock, _: FakeStage(clock), blocks=1, sync_pattern=True
    )

    before, after = samples.sync_patterns
    assert before.edges_ns[-1] < samples.windows[0].started_ns
    assert after.edges_ns[0] >= samples.windows[-1].ended_ns
    for pattern in (before, after):
        widths = [end - start for start, end in itertools.pairwise(pattern.edges_ns)]
        assert widths == pytest.approx([2000 * MS] * 5, abs=5 * MS)


# --- operators and examples --------------------------------------------------------------------


def test_a_profile_leaves_the_trace_and_its_cost(roots):
    """Traced iterations are counted apart from three untimed ones, and the file has its hash."""
    root, request = roots
    write_request(root, msgspec.structs.replace(request, profile_iterations=5))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    data = (written(root) / "trace.bin").read_bytes()
    trace = result.samples.trace
    assert data == b"8 iterations"
    assert trace.latency_ns == (10 * MS,) * 5
    assert (trace.sha256, trace.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_an_engine_that_cannot_trace_says_so(roots):
    """The run succeeds, with the reason in place of the trace."""
    root, request = roots
    write_request(root, msgspec.structs.replace(request, profile_iterations=5))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock, can_trace=False)))

    assert isinstance(result, RunSuccess)
    assert result.samples.trace is None
    assert result.samples.profile_refusal == "built without tracing"


def put_segments(root, *programs):
    """Parts of the network, each with an input of its own."""

    def put(data, suffix):
        sha256 = hashlib.sha256(data).hexdigest()
        (root / "in/artifacts" / f"{sha256}.{suffix}").write_bytes(data)
        return sha256

    return tuple(
        Segment(
            artifact=ArtifactFile(
                sha256=put(program, "pte"), format="pte", size_bytes=len(program), method="forward"
            ),
            inputs=(
                TensorFile(
                    sha256=put(np.full(2, number, "<f4").tobytes(), "bin"),
                    dtype="float32",
                    shape=(2,),
                ),
            ),
        )
        for number, program in enumerate(programs)
    )


def test_segments_are_timed_one_by_one_in_place_of_a_trace(roots):
    """Each with its own input, after three untimed iterations, and closed before the next."""
    root, request = roots
    segments = put_segments(root, b"first", b"second")
    write_request(root, msgspec.structs.replace(request, profile_iterations=5, segments=segments))
    clock = FakeClock()
    engine = FakeEngine(clock)

    result = carry_out(root, machine(clock, engine))

    assert isinstance(result, RunSuccess)
    assert [(each.segment, each.latency_ns) for each in result.samples.segments] == [
        (0, (10 * MS,) * 5),
        (1, (10 * MS,) * 5),
    ]
    first, second, whole = engine.programs[-3:]
    assert [program.executed for program in (first, second, whole)] == [8, 8, 0]
    assert (first.closed, second.closed) == (True, True)
    assert [program.outputs()[0].tolist() for program in (first, second)] == [[0, 0], [2, 2]]
    assert (result.samples.trace, result.samples.profile_refusal) == (None, None)


def test_a_segment_that_does_not_load_is_named(roots):
    """What was measured of those before it is kept."""
    root, request = roots
    segments = put_segments(root, b"first", b"corrupt")
    write_request(root, msgspec.structs.replace(request, profile_iterations=5, segments=segments))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert (result.phase, result.code) == ("profile", "load_failed")
    assert result.message == "segments[1]: not a program"
    assert [each.segment for each in result.samples.segments] == [0]


def test_a_segment_whose_file_is_missing_is_found_first(roots):
    """Before anything is measured."""
    root, request = roots
    segments = put_segments(root, b"first")
    (root / "in" / segments[0].artifact.path).unlink()
    write_request(root, msgspec.structs.replace(request, profile_iterations=5, segments=segments))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert (result.phase, result.code) == ("verify", "file_missing")


def test_every_example_is_evaluated(roots):
    """The outputs of all examples are written in order, timed, and hashed."""
    root, request = roots
    examples = np.arange(24, dtype="<f4").reshape(4, 1, 6)
    write_request(root, msgspec.structs.replace(request, evaluation=put_tensor(root, examples)))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    data = (written(root) / "outputs.bin").read_bytes()
    evaluation = result.samples.evaluation
    assert data == (2 * examples).tobytes()
    assert evaluation.outputs.sha256 == hashlib.sha256(data).hexdigest()
    assert evaluation.outputs.shape == (4, 1, 6)
    assert evaluation.latency_ns == (10 * MS,) * 4


def test_examples_need_the_memory_of_one(roots):
    """However many there are, they are read one at a time, and their outputs are not kept."""
    root, request = roots
    examples = np.zeros((64, 1, 1 << 18), "<f4")
    example_bytes = examples[0].nbytes
    request = msgspec.structs.replace(
        request,
        inputs=(put_tensor(root, examples[0]),),
        reference_outputs=(put_tensor(root, 2 * examples[0]),),
        evaluation=put_tensor(root, examples),
    )
    write_request(root, request)
    clock = FakeClock()

    tracemalloc.start()
    result = carry_out(root, machine(clock, FakeEngine(clock)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(result, RunSuccess)
    assert len(result.samples.evaluation.latency_ns) == 64
    assert 2 * example_bytes < peak_bytes < 16 * example_bytes


def test_examples_of_another_size_end_the_run_before_anything_is_measured(roots):
    """A file that holds fewer than it is said to is the request's mistake."""
    root, request = roots
    tensor = put_tensor(root, np.zeros((4, 1, 6), "<f4"))
    tensor = msgspec.structs.replace(tensor, shape=(5, 1, 6))
    write_request(root, msgspec.structs.replace(request, evaluation=tensor))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert (result.phase, result.code) == ("verify", "bad_request")
    assert "96 bytes" in result.message


def test_a_computer_without_battery_refuses_energy(roots):
    """Asked for energy, this computer says why it gives none, and the run succeeds."""
    root, request = roots
    plan = energy_plan(blocks=1, idle_ns=MS, load_ns=MS, sample_period_ns=MS)
    write_request(root, msgspec.structs.replace(request, energy=plan))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert isinstance(result, RunSuccess)
    assert "no battery" in result.samples.energy_refusal


def spoil_request(root, request, **fields):
    document = msgspec.json.decode(encode(request)) | fields
    (root / "in/runs" / RUN_ID / "request.json").write_bytes(encode(document))


def test_requests_that_cannot_be_carried_out_say_why(roots):
    """Version, field, id, format and file problems each have their code and name the culprit."""
    root, request = roots
    clock = FakeClock()
    artifact = root / "in" / request.artifact.path

    def outcome(engine=None):
        result = carry_out(root, machine(clock, engine or FakeEngine(clock)))
        assert isinstance(result, RunFailure)
        return result.code, result.message, result.phase

    spoil_request(root, request, protocol_version=99)
    assert outcome()[::2] == ("protocol_version", "verify")
    spoil_request(root, request, protocol_version=str(PROTOCOL_VERSION))
    assert outcome()[0] == "bad_request"
    assert "$.protocol_version" in outcome()[1]
    spoil_request(root, request, cold_loads="3")
    assert outcome()[0] == "bad_request"
    assert "cold_loads" in outcome()[1]
    spoil_request(root, request, run_id="another-run")
    assert outcome()[0] == "bad_request"
    write_request(
        root,
        msgspec.structs.replace(
            request, artifact=msgspec.structs.replace(request.artifact, format="tflite")
        ),
    )
    artifact.with_suffix(".tflite").write_bytes(artifact.read_bytes())
    assert outcome()[0] == "engine_missing"
    write_request(root, request)
    assert outcome(FakeEngine(clock, fail_load=True))[::2] == ("load_failed", "load")
    artifact.write_bytes(b"another program")
    assert outcome()[0] == "file_corrupt"
    artifact.unlink()
    assert outcome()[0] == "file_missing"
    (root / "in/runs" / RUN_ID / "request.json").unlink()
    assert outcome()[0] == "file_missing"


def condensed_artifact(root, request, program=b"a program", *, says=None):
    """The request for a condensed program; ``says`` is another one, which its head is of."""
    small = root / "small"
    condense(program, (), small)
    data = small.read_bytes()
    if says is not None:
        data = data.replace(hashlib.sha256(program).digest(), hashlib.sha256(says).digest())
    sha256 = hashlib.sha256(data).hexdigest()
    (root / f"in/artifacts/{sha256}.pte").write_bytes(data)
    artifact = ArtifactFile(sha256=sha256, format="pte", size_bytes=len(data), method="forward")
    request = msgspec.structs.replace(request, artifact=artifact)
    write_request(root, request)
    return request


def test_a_condensed_program_is_expanded_for_each_load(roots):
    """Within what is timed, in the run's own directory, of which nothing is left."""
    root, request = roots
    request = condensed_artifact(root, request)
    segment = Segment(artifact=request.artifact, inputs=request.inputs)
    request = msgspec.structs.replace(request, segments=(segment,), profile_iterations=2)
    write_request(root, request)
    clock = FakeClock()
    engine = FakeEngine(clock)
    load, loaded = engine.load, []

    def watched(path, method, weights):
        loaded.append((path.relative_to(root), path.read_bytes()))
        return load(path, method, weights)

    engine.load = watched
    result = carry_out(root, machine(clock, engine))

    assert isinstance(result, RunSuccess)
    where = Path("out/runs") / RUN_ID / "program.pte"
    assert loaded == [(where, b"a program")] * (3 + 1 + 1 + 1)
    assert not (root / where).exists()


def put_apart(root, request, case, **changes):
    """A request of the vectors' program and weights of that name, which lie there."""
    vectors = json.loads((Path(__file__).parents[1] / "vectors/apart.json").read_text())
    vector = next(each for each in vectors if each["name"] == case)
    program, data = (bytes.fromhex(vector[name]) for name in ("program", "weights"))
    artifact = ArtifactFile(
        sha256=hashlib.sha256(program).hexdigest(),
        format="pte",
        size_bytes=len(program),
        method=vector["methods"][0],
    )
    weights = WeightsFile(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    request = msgspec.structs.replace(request, artifact=artifact, weights=weights, **changes)
    (root / "in" / artifact.path).write_bytes(program)
    (root / "in" / weights.path).write_bytes(data)
    write_request(root, request)
    return request


def test_weights_apart_are_given_with_each_load_but_a_segments(roots):
    """Once they are verified like any file."""
    root, request = roots
    segment = Segment(artifact=request.artifact, inputs=request.inputs)
    request = put_apart(root, request, "enough", segments=(segment,), profile_iterations=2)
    weights = request.weights
    data = (root / "in" / weights.path).read_bytes()
    (root / "in" / weights.path).unlink()
    clock = FakeClock()
    engine = FakeEngine(clock)
    load, given = engine.load, []

    def watched(path, method, weights):
        given.append(weights and weights.relative_to(root))
        return load(path, method, weights)

    engine.load = watched
    where = root / "in" / weights.path
    for content, code in ((None, "file_missing"), (b"another", "file_corrupt")):
        if content is not None:
            where.write_bytes(content)
        failed = carry_out(root, machine(clock, engine))
        assert (failed.phase, failed.code) == ("verify", code)
        (root / "out/runs" / RUN_ID / "result.json").unlink()
    where.write_bytes(data)

    assert isinstance(carry_out(root, machine(clock, engine)), RunSuccess)
    apart = where.relative_to(root)
    assert given == [apart] * (3 + 1) + [None] + [apart]


CHOICE = MethodChoice(
    budget_ns=1,
    iterations=1,
    candidates=tuple(Candidate(method=f"level_{n}", reference_outputs=()) for n in (1, 2)),
)


@pytest.mark.parametrize(
    ("case", "choice", "code", "words"),
    [
        ("a-lower-levels", None, "weights_mismatch", "level_2 reads 16 bytes of the constant a"),
        ("enough", CHOICE, "weights_mismatch", "level_2 reads 16 bytes of the constant a"),
        ("none", None, "weights_mismatch", "level_1 reads the constant a, which"),
        ("weights-cut-off", None, "file_corrupt", "is no weights of ExecuTorch"),
    ],
)
def test_weights_that_lack_what_a_method_reads_are_never_loaded(roots, case, choice, code, words):
    """Of the artifact's method or of one that may be chosen: XNNPACK would read beyond them."""
    root, request = roots
    put_apart(root, request, case, choice=choice)
    clock = FakeClock()
    engine = FakeEngine(clock)
    engine.load = None

    result = carry_out(root, machine(clock, engine))

    assert (result.phase, result.code) == ("verify", code)
    assert words in result.message


@pytest.mark.parametrize(("case", "code"), [("enough", None), ("none", "weights_mismatch")])
def test_a_condensed_programs_weights_are_verified_too(roots, case, code):
    """Against what it expands to."""
    root, request = roots
    request = put_apart(root, request, case)
    program = (root / "in" / request.artifact.path).read_bytes()
    small = condensed_artifact(root, request, program=program).artifact
    artifact = msgspec.structs.replace(small, method=request.artifact.method)
    write_request(root, msgspec.structs.replace(request, artifact=artifact))
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert getattr(result, "code", None) == code


def test_a_condensed_program_that_is_not_what_it_says_is_corrupt(roots):
    """As is one that is cut off, in ``verify``, before any load."""
    root, request = roots
    clock = FakeClock()

    def outcome():
        result = carry_out(root, machine(clock, FakeEngine(clock)))
        return result.phase, result.code, result.message

    condensed_artifact(root, request, says=b"another")
    phase, code, message = outcome()
    assert (phase, code) == ("verify", "file_corrupt")
    assert "expands to" in message
    (root / "out/runs" / RUN_ID / "result.json").unlink()

    request = condensed_artifact(root, request, program=bytes(range(256)))
    path = root / "in" / request.artifact.path
    data = path.read_bytes()[:-30]
    sha256 = hashlib.sha256(data).hexdigest()
    path.with_name(f"{sha256}.pte").write_bytes(data)
    cut = msgspec.structs.replace(request.artifact, sha256=sha256, size_bytes=len(data))
    write_request(root, msgspec.structs.replace(request, artifact=cut))
    phase, code, message = outcome()
    assert (phase, code) == ("verify", "file_corrupt")
    assert "cut off" in message
    assert not list((root / "out/runs" / RUN_ID).glob("program*"))


def test_a_failure_keeps_what_was_measured(roots):
    """When the fiftieth inference fails, loads and warm-ups are in the failure's samples."""
    root, _ = roots
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock, fail_at=12)))

    assert isinstance(result, RunFailure)
    assert (result.phase, result.code) == ("iterate", "inference_failed")
    assert "0x12" in result.message
    assert len(result.samples.load_ns) == 3
    assert result.samples.warmup_ns == (10 * MS,) * 4
    assert result.samples.iteration_ns == ()
    assert decode_result((written(root) / "result.json").read_bytes()) == result


def test_wrong_outputs_are_told_apart(roots):
    """A program that computes something else succeeds with a check that does not match."""
    root, request = roots
    wrong = msgspec.structs.replace(request, reference_outputs=request.inputs)
    write_request(root, wrong)
    clock = FakeClock()

    result = carry_out(root, machine(clock, FakeEngine(clock)))

    assert isinstance(result, RunSuccess)
    assert not result.samples.output_check.matches
    assert result.samples.output_check.max_relative_error == pytest.approx(1.0)


def test_progress_is_read_without_its_cut_off_line(roots):
    """A progress file cut anywhere folds to what its complete lines say."""
    root, _ = roots
    clock = FakeClock()
    result = carry_out(root, machine(clock, FakeEngine(clock)))
    data = (written(root) / "progress.jsonl").read_bytes()
    line_ends = [index + 1 for index, byte in enumerate(data) if byte == ord("\n")]

    for length in range(len(data) + 1):
        events = list(decode_events(data[:length]))
        assert len(events) == sum(end <= length for end in line_ends)
    assert collect_samples(decode_events(data)) == result.samples


def test_a_request_decodes_to_itself(roots):
    """Encoding and strict decoding give the same request back."""
    _, request = roots

    assert decode(encode(request), RunRequest, source="test") == request
