"""A run from request to result, in the phases of the contract (``mobilekit.contract.protocol``)."""

from __future__ import annotations

import gc
import hashlib
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from mobilekit import __version__
from mobilekit.contract.apart import find_lack
from mobilekit.contract.codec import decode, encode
from mobilekit.contract.condensed import expand, read_head
from mobilekit.contract.outputs import Array, check_outputs
from mobilekit.contract.protocol import (
    EXPANDED_STEM,
    MEMORY_ITERATIONS,
    OUTPUTS_NAME,
    PROFILE_WARMUPS,
    PROTOCOL_VERSION,
    TRACE_NAME,
    ArtifactFile,
    Candidate,
    CompanionInfo,
    CompanionStarted,
    DType,
    EnergyPlan,
    EnergyRefused,
    Evaluation,
    EvaluationMade,
    IterationsMeasured,
    LoadMeasured,
    MemoryMeasured,
    MemoryStage,
    MethodChoice,
    MethodTrial,
    MethodTried,
    OutputCheck,
    OutputsChecked,
    Phase,
    PhaseStarted,
    ProfileRefused,
    RunEnded,
    RunRequest,
    RunResult,
    RunSuccess,
    RunTaken,
    Segment,
    SegmentLatency,
    SegmentMeasured,
    StateSampled,
    TensorFile,
    Trace,
    TraceMade,
    WarmupMeasured,
)
from mobilekit.contract.samples import cut_text
from mobilekit.errors import ProtocolError
from mobilekit.formats import FORMATS
from mobilekit.hashing import file_sha256
from mobilekit.runner.abi import this_abi
from mobilekit.runner.energy_phase import measure_energy
from mobilekit.runner.engine import Engine, Program, TracingUnavailableError
from mobilekit.runner.failures import RunStopped, engine_does, inferring, stopped_by
from mobilekit.runner.input_files import InputFiles
from mobilekit.runner.journal import Journal
from mobilekit.runner.machine import Machine, OpenMachine
from mobilekit.runner.readers import read_memory, read_thermal, release_freed_memory
from mobilekit.runner.timed_loop import UNLIMITED_NS, iterate
from mobilekit.runner.warmup import WarmupDetector


def take_run(output_root: Path, run_id: str) -> Journal:
    """Say that this process carries that run, which ``carry_out_run`` does, now or later.

    Raises ``ProtocolError`` for a ``run_id`` that is none.
    """
    journal = Journal(output_root, run_id)
    # What is wrong with the storage is the run's to tell: it writes there as well.
    with suppress(OSError):
        journal.append(RunTaken(pid=os.getpid()))
    return journal


def carry_out_run(input_root: Path, journal: Journal, open_machine: OpenMachine) -> RunResult:
    """Carry out the request of a run that was taken, and write its progress and its result.

    Whatever goes wrong becomes the ``RunFailure`` that is written and returned, also in opening
    and in closing the machine. Raises ``OSError`` only where the result cannot be written.
    """
    try:
        with open_machine() as machine:
            _Run(InputFiles(input_root), journal, machine).go()
        result: RunResult = RunSuccess(
            protocol_version=PROTOCOL_VERSION, run_id=journal.run_id, samples=journal.samples()
        )
    except Exception as error:
        stopped = stopped_by(error)
        if stopped.code == "internal":
            traceback.print_exception(error)
        result = journal.failure(stopped.code, str(stopped))
    journal.write_result(result)
    return result


class _Run:
    """One run under way: the phases share its clock, journal and program."""

    def __init__(self, files: InputFiles, journal: Journal, machine: Machine) -> None:
        self._files = files
        self._journal = journal
        self._machine = machine
        self._started_ns = machine.clock_ns()
        self._condensed: set[str] = set()
        """The hashes of artifacts that are expanded before they are loaded."""
        self._weights: Path | None = None
        """Of the whole network's program; a segment has its own in itself."""

    def go(self) -> None:
        self._enter("verify")
        request = self._files.request(self._journal.run_id)
        try:
            self._go_through(request)
        finally:
            for each in FORMATS:
                self._expanded(each).unlink(missing_ok=True)

    def _go_through(self, request: RunRequest) -> None:
        path = self._verify_program(request.artifact)
        if request.weights is not None:
            self._weights = self._files.verified(request.weights)
            _verify_weights(path, request, self._weights)
        inputs = [self._files.tensor(tensor) for tensor in request.inputs]
        references = [self._files.tensor(tensor) for tensor in request.reference_outputs]
        if request.evaluation is not None:
            self._files.verify_tensor(request.evaluation)
        for segment in request.segments:
            self._verify_program(segment.artifact)
            for tensor in segment.inputs:
                self._files.verify_tensor(tensor)
        for candidate in request.choice.candidates if request.choice is not None else ():
            for tensor in candidate.reference_outputs:
                self._files.verify_tensor(tensor)
        engine = self._start_engine(request)
        self._sample_state()

        if request.choice is not None:
            self._enter("choose")
            chosen = self._choose(engine, request, request.choice, inputs)
            if chosen is not None:
                artifact = replace(request.artifact, method=chosen.method)
                request = replace(request, artifact=artifact)
                references = [self._files.tensor(tensor) for tensor in chosen.reference_outputs]
        self._enter("load")
        program = self._measure_loads(engine, request)
        self._enter("warmup")
        _bind(program, inputs)
        check = self._warm_up(program, request, references)
        self._enter("iterate")
        latency_ns = self._iterate(program, request)
        self._enter("check")
        self._journal.append(OutputsChecked(check=check))
        self._enter("memory")
        program = self._measure_memory(program, engine, request.artifact, inputs)
        if request.profile_iterations is not None:
            self._enter("profile")
            program.close()
            if request.segments:
                self._time_segments(engine, request.segments, request.profile_iterations)
            else:
                self._profile(engine, request.artifact, inputs, request.profile_iterations)
            program = self._load(engine, request.artifact, self._weights)
            _bind(program, inputs)
        if request.evaluation is not None:
            self._enter("evaluate")
            self._evaluate(program, request.evaluation)
            _bind(program, inputs)
        if request.energy is not None:
            self._enter("energy")
            self._measure_energy(request.energy, program, latency_ns)
        self._sample_state()
        self._journal.append(RunEnded(at_ns=self._now_ns()))

    def _now_ns(self) -> int:
        return self._machine.clock_ns() - self._started_ns

    def _enter(self, phase: Phase) -> None:
        self._journal.append(PhaseStarted(phase=phase, at_ns=self._now_ns()))

    def _start_engine(self, request: RunRequest) -> Engine:
        with engine_does("engine_missing"):
            engine = self._machine.make_engine(request.artifact.format, request.threads)
        self._journal.append(
            CompanionStarted(
                companion=CompanionInfo(
                    name=self._machine.name,
                    version=__version__,
                    engine=engine.name,
                    engine_version=engine.version,
                    abi=this_abi(),
                    threads=engine.threads,
                    debuggable=False,
                    battery=self._machine.battery,
                )
            )
        )
        return engine

    def _sample_state(self) -> None:
        at_ns = self._now_ns()
        read_battery = self._machine.read_battery
        self._journal.append(
            StateSampled(
                battery=read_battery(at_ns) if read_battery else None,
                thermal=read_thermal(at_ns),
            )
        )

    def _load(self, engine: Engine, artifact: ArtifactFile, weights: Path | None) -> Program:
        with engine_does("load_failed"):
            return engine.load(self._program(artifact), artifact.method, weights)

    def _verify_program(self, artifact: ArtifactFile) -> Path:
        """Where it lies as an engine takes it, until the next one is verified."""
        path, aside = self._files.verified(artifact), self._expanded(artifact.format)
        try:
            head = read_head(path)
            if head is None:
                return path
            expand(path, aside)
        except ProtocolError as error:
            raise RunStopped("file_corrupt", f"{artifact.path}: {error.what}") from None
        found = file_sha256(aside)
        if found != head.program_sha256:
            raise RunStopped(
                "file_corrupt", f"{artifact.path} expands to what has the SHA-256 {found}"
            )
        self._condensed.add(artifact.sha256)
        return aside

    def _program(self, artifact: ArtifactFile) -> Path:
        """The program's file; that of a condensed one is made anew, which is a part of its load."""
        path, aside = self._files.path(artifact), self._expanded(artifact.format)
        if artifact.sha256 not in self._condensed:
            return path
        # Not written over: an engine may still have it mapped.
        aside.unlink(missing_ok=True)
        expand(path, aside)
        return aside

    def _expanded(self, artifact_format: str) -> Path:
        return self._journal.directory / f"{EXPANDED_STEM}.{artifact_format}"

    # --- time

    def _choose(
        self,
        engine: Engine,
        request: RunRequest,
        choice: MethodChoice,
        inputs: Sequence[Array],
    ) -> Candidate | None:
        """The first that keeps to the budget; ``None``: the artifact's own method is run."""
        for candidate in choice.candidates:
            artifact = replace(request.artifact, method=candidate.method)
            program, load_ns = self._load_timed(engine, artifact)
            _bind(program, inputs)
            detector = WarmupDetector(request.warmup)
            clock_ns = self._machine.clock_ns
            with inferring():
                while detector.needs_another():
                    started_ns = clock_ns()
                    program.execute()
                    detector.add(clock_ns() - started_ns)
            latency_ns = self._time(program, choice.iterations)
            program.close()
            trial = MethodTrial(
                method=candidate.method, load_ns=load_ns, latency_ns=tuple(latency_ns)
            )
            self._journal.append(MethodTried(trial=trial))
            if trial.keeps_to(choice.budget_ns):
                return candidate
        return None

    def _load_timed(self, engine: Engine, artifact: ArtifactFile) -> tuple[Program, int]:
        clock_ns = self._machine.clock_ns
        release_freed_memory()
        with engine_does("load_failed"):
            started_ns = clock_ns()
            program = engine.load(self._program(artifact), artifact.method, self._weights)
            return program, clock_ns() - started_ns

    def _measure_loads(self, engine: Engine, request: RunRequest) -> Program:
        program: Program | None = None
        for _ in range(request.cold_loads):
            if program is not None:
                program.close()
            program, load_ns = self._load_timed(engine, request.artifact)
            self._journal.append(LoadMeasured(load_ns=load_ns))
        assert program is not None, "decode_request lets no request with fewer than 1 load through"
        return program

    def _warm_up(
        self, program: Program, request: RunRequest, references: Sequence[Array]
    ) -> OutputCheck:
        """Also compares the first outputs, because a network with a state yields others later."""
        detector = WarmupDetector(request.warmup)
        clock_ns = self._machine.clock_ns
        execute = program.execute
        with inferring():
            while detector.needs_another():
                started_ns = clock_ns()
                execute()
                latency_ns = clock_ns() - started_ns
                if not detector.latency_ns:
                    outputs = program.outputs()
                    check = check_outputs(outputs, references, request.relative_tolerance)
                detector.add(latency_ns)
        self._journal.append(
            WarmupMeasured(latency_ns=detector.latency_ns, settled=detector.settled)
        )
        return check

    def _iterate(self, program: Program, request: RunRequest) -> list[int]:
        with inferring():
            latency_ns = iterate(
                program.execute,
                self._machine.clock_ns,
                min_iterations=request.min_iterations,
                min_duration_ns=request.min_duration_ns,
                max_duration_ns=request.max_duration_ns,
            )
        self._journal.append(IterationsMeasured(latency_ns=tuple(latency_ns)))
        return latency_ns

    # --- operators, segments, examples

    def _profile(
        self,
        engine: Engine,
        artifact: ArtifactFile,
        inputs: Sequence[Array],
        iterations: int,
    ) -> None:
        try:
            with engine_does("load_failed"):
                program = engine.load_traced(
                    self._program(artifact), artifact.method, self._weights
                )
        except TracingUnavailableError as error:
            self._journal.append(ProfileRefused(reason=cut_text(str(error))))
            return
        _bind(program, inputs)
        latency_ns = self._time_warm(program, iterations)
        target = self._journal.directory / TRACE_NAME
        with inferring():
            program.write_trace(target)
        trace = Trace(
            kind=program.trace_kind,
            sha256=file_sha256(target),
            size_bytes=target.stat().st_size,
            latency_ns=tuple(latency_ns),
        )
        self._journal.append(TraceMade(trace=trace))

    def _time_segments(self, engine: Engine, segments: Sequence[Segment], iterations: int) -> None:
        for number, segment in enumerate(segments):
            inputs = [self._files.tensor(tensor) for tensor in segment.inputs]
            try:
                program = self._load(engine, segment.artifact, None)
                _bind(program, inputs)
                latency_ns = self._time_warm(program, iterations)
            except RunStopped as error:
                raise RunStopped(error.code, f"segments[{number}]: {error}") from None
            program.close()
            latency = SegmentLatency(segment=number, latency_ns=tuple(latency_ns))
            self._journal.append(SegmentMeasured(latency=latency))

    def _time_warm(self, program: Program, iterations: int) -> list[int]:
        """Of so many iterations after ``PROFILE_WARMUPS`` untimed ones."""
        with inferring():
            for _ in range(PROFILE_WARMUPS):
                program.execute()
        return self._time(program, iterations)

    def _time(self, program: Program, iterations: int) -> list[int]:
        with inferring():
            return iterate(
                program.execute,
                self._machine.clock_ns,
                min_iterations=iterations,
                min_duration_ns=0,
                max_duration_ns=UNLIMITED_NS,
            )

    def _evaluate(self, program: Program, examples: TensorFile) -> None:
        clock_ns = self._machine.clock_ns
        latency_ns = []
        digest = hashlib.sha256()
        with (self._journal.directory / OUTPUTS_NAME).open("wb") as file:
            for example in self._files.examples(examples):
                with inferring():
                    program.set_inputs([example])
                    started_ns = clock_ns()
                    program.execute()
                    latency_ns.append(clock_ns() - started_ns)
                    output = program.outputs()[0]
                data = np.ascontiguousarray(output, output.dtype.newbyteorder("<")).tobytes()
                digest.update(data)
                file.write(data)
        outputs = TensorFile(
            sha256=digest.hexdigest(),
            dtype=_contract_dtype(output),
            shape=(len(latency_ns), *output.shape),
        )
        evaluation = Evaluation(outputs=outputs, latency_ns=tuple(latency_ns))
        self._journal.append(EvaluationMade(evaluation=evaluation))

    # --- memory and energy

    def _measure_memory(
        self,
        program: Program,
        engine: Engine,
        artifact: ArtifactFile,
        inputs: Sequence[Array],
    ) -> Program:
        program.close()
        gc.collect()
        read_memory(self._now_ns(), "closed")  # The first reading only resets the peak.
        self._append_memory("closed")
        program = self._load(engine, artifact, self._weights)
        _bind(program, inputs)
        self._append_memory("loaded")
        with inferring():
            for _ in range(MEMORY_ITERATIONS):
                program.execute()
        self._append_memory("inferred")
        return program

    def _append_memory(self, stage: MemoryStage) -> None:
        self._journal.append(MemoryMeasured(sample=read_memory(self._now_ns(), stage)))

    def _measure_energy(
        self, plan: EnergyPlan, program: Program, latency_ns: Sequence[int]
    ) -> None:
        make_stage = self._machine.make_energy_stage
        if make_stage is None:
            self._journal.append(EnergyRefused(reason="this computer has no battery to read"))
            return
        stage = make_stage(program, latency_ns, self._now_ns())
        for event in measure_energy(plan, stage):
            self._journal.append(event)


def _bind(program: Program, inputs: Sequence[Array]) -> None:
    with inferring():
        program.set_inputs(inputs)


def _contract_dtype(array: Array) -> DType:
    name: DType = decode(encode(array.dtype.name), DType, source="an output's type")
    return name


def _verify_weights(program: Path, request: RunRequest, weights: Path) -> None:
    """That they have all that the request's methods read of them."""
    candidates = request.choice.candidates if request.choice is not None else ()
    methods = [request.artifact.method, *(each.method for each in candidates)]
    try:
        lack = find_lack(program, methods, weights)
    except ProtocolError as error:
        raise RunStopped("file_corrupt", error.what) from None
    if lack is not None:
        raise RunStopped("weights_mismatch", lack)
