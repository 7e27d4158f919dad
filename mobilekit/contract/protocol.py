"""The contract of host and companion: this docstring is its specification.

Three companions obey it: the Android app on a phone, the virtual phone's companion and this
computer's runner. Each takes a ``RunRequest`` and yields a ``RunResult``. ``tests/vectors``
holds valid and invalid messages, read by the tests of every implementation.

**Transport: files, not sockets.** Energy is measured with the cable out, so a run outlives its
connection. Everything lies below two roots:

``INPUT_ROOT`` (written by the host, readable by the app)::

    artifacts/<sha256>.<format>     the artifact; its name is its content, so that an unchanged
                                    one is never pushed again. It may be condensed
                                    (``mobilekit.contract.condensed``)
    artifacts/<sha256>.ptd          the weights of a ``.pte`` that has them not itself, in
                                    ExecuTorch's own format
    artifacts/<sha256>.bin          a tensor: its elements in C order, little-endian, no header
    runs/<run_id>/request.json      one RunRequest

``OUTPUT_ROOT`` (written by the app, readable by the host)::

    runs/<run_id>/progress.jsonl    one ProgressEvent a line, appended and synced; the first line,
                                    and no other, is a RunTaken
    runs/<run_id>/trace.bin         the engine's own trace of the ``profile`` phase
    runs/<run_id>/outputs.bin       the outputs of the ``evaluate`` phase
    runs/<run_id>/program.<format>  what a condensed artifact is expanded to, during the run alone
    runs/<run_id>/result.json       one RunResult, written aside, synced and renamed:
                                    its existence means that the run is over

A host reads ``progress.jsonl`` tolerantly in one way only: its last line may be cut off. A
companion whose process died leaves no result; the host then makes a ``RunFailure`` of the
progress that is there, with the code ``interrupted``, ``disconnected`` if it lost the phone or
cannot read what it gives, or ``stopped`` if a person ended the run.

**Start.** ``am start -n <ACTIVITY> --es run_id <run_id>[,<run_id>...]``. A run id matches
``[a-z0-9-]{1,64}``, so nothing needs quoting. The activity is guarded by
``android.permission.DUMP``.

**Queue.** A companion carries out one run at a time. It takes all runs of a start at once, in their
order, behind those that it has taken before: the first event of each, written at that moment, is
``RunTaken`` with the id of the process that carries the run. A run has begun once there is another
event. How a run ends is nothing to the next one. A run without a result whose process lives no
longer (``pidof <PACKAGE>`` does not name it) is over; if it had not begun it can be started again,
like one that was never started.

**Encoding.** UTF-8 JSON. Decoding is strict: an unknown, missing or ill-typed field is an error
that names it; an integer field takes no ``1.0``; ``null`` is taken only where a field is
documented to be absent sometimes. Every field is present in every message, once. A companion takes
exactly its own ``protocol_version``, and looks at it before any other field. No file of messages is
longer than ``MAX_FILE_BYTES``, and no request than ``MAX_REQUEST_BYTES``; no message is nested more
deeply than 32.

**Values.** The types below say which are taken: an integer is one of 64 bits; times, sizes and
counts are at least 0; what took place took at least 1 ns, be it a load, an iteration or a window;
a wait does not end before it starts; hashes and ids match their patterns; a text for people has at
most ``MAX_TEXT_CHARACTERS`` and a name at most ``MAX_NAME_CHARACTERS``, counted as Unicode's code
points. A value out of its range is an error like one of another type. Who sends a text therefore
cuts one that is longer, and says at its end how long it was (``tests/vectors/texts.json``).

**A run** goes through these phases, each announced by a ``PhaseStarted``:

1. ``verify``: the request is decoded, every file it names is there and hashes to its name, what
   condensed artifacts expand to hashes to what they say, and weights that lie apart have all that
   the artifact's method and every candidate read of them (``mobilekit.contract.apart``).
2. ``choose``, if asked for: which of the program's methods the run is of. Each candidate of the
   ``choice`` in turn is loaded as in ``load``, its inputs are bound, it runs until ``WarmupRule``
   holds and ``iterations`` times more, timed, and is closed (``MethodTried``). The first whose
   median is at most ``budget_ns`` takes the place of the artifact's method, with its own reference
   outputs, and no other is tried; where there is none such, the artifact's own method stays. The
   median of an even count is the mean of the middle two. Weights that lie apart are enough for
   every candidate.
3. ``load``: ``cold_loads`` times: the program is opened and its method loaded, timed as one
   interval, then closed (the last one is kept). A condensed one is expanded anew for each load,
   here and in every other phase, which is a part of the interval. Memory freed by a close is given
   back to the system first, where the platform can. Binding the inputs is outside of the interval.
4. ``warmup``: the inputs are bound, then iterations until ``WarmupRule`` holds.
5. ``iterate``: back-to-back iterations until ``min_iterations`` and ``min_duration_ns`` are both
   reached, or ``max_duration_ns``. Nothing is allocated, logged or written between them.
6. ``check``: the outputs of the first iteration of all, which are looked at before the second,
   because a network with a state yields others later, against the reference outputs:
   the largest absolute difference over all elements, relative to the largest absolute reference
   value, is at most ``relative_tolerance``.
7. ``memory``: with the program closed a reading (``closed``), load, bind the inputs, a reading
   (``loaded``), ``MEMORY_ITERATIONS`` iterations, a reading (``inferred``). Memory that was freed
   is given back to the system before each, where the platform can; the peaks hold it.
8. ``profile``, if asked for, in one of two ways. Either way the program is closed before it, and
   loaded again without tracing after it.

   a. Without ``segments`` the program is loaded anew with the engine's tracing on, runs
      ``PROFILE_WARMUPS`` times untimed and ``profile_iterations`` times timed, and the engine's
      trace of all of them, in its own format, is written to ``trace.bin`` (``TraceMade``). An
      engine that cannot trace gives its reason: ``ProfileRefused``.
   b. With ``segments`` each of them in turn is loaded with its own inputs, without tracing, runs
      ``PROFILE_WARMUPS`` times untimed and ``profile_iterations`` times timed
      (``SegmentMeasured``), and is closed before the next is loaded.

9. ``evaluate``, if asked for: each example in turn becomes the program's input, is executed once,
   timed, and its first output is appended to ``outputs.bin``, in C order, little-endian, without
   a header (``EvaluationMade``). Afterwards the program has its first inputs again.
10. ``energy``, if asked for. The order is:

   a. A phone that is plugged in is waited for until it is not, for ``unplug_timeout_ns`` at most
      (``WaitStarted``, ``WaitEnded`` with the reason ``unplug``); if it stays plugged in, or is not
      to be waited for, there is no energy: ``EnergyRefused``.
   b. It rests for ``rest_ns`` (reason ``rest``).
   c. If its battery is warmer than ``temperature_gate`` allows, it is waited for until it is not;
      the run goes on after the gate's time-out too, with ``passed`` false (reason
      ``temperature``).
   d. The synchronisation pattern, if asked for: ``SYNC_PULSES`` times ``SYNC_PULSE_NS`` of
      iterations and as long a pause. It is made again after the last window.
   e. Windows ``idle load idle load ... idle`` until ``blocks`` loads are complete; neighbouring
      blocks share the idle window between them. During a load window iterations run back to back;
      a window ends with the first iteration that ends after its duration. The battery is read
      every ``sample_period_ns`` and at both ends of a window, and a window's event is written when
      it is over. A window in which any sample is plugged spoils its block, which does not count:
      the windows begin again with an idle one, after step a.

   A phone that has power monitors is asked for their readings just before a window starts and
   just after it has ended, never while iterations run. What it gives goes into the window's
   ``rails`` with each reading's own time, which may lie before the window. A phone without
   monitors has none, and what it does not tell in time is left out; neither ends a run.
   The thermal state is read once, after a window has ended.

The battery and the thermal state are also read once at the end of ``verify`` and once after the
last phase.

**An answer.** A result answers its request, which the app sees to before it writes a success and a
host before it believes a result (``check_answer``; ``tests/vectors/answers``):

- Its ``run_id`` is the request's. A failure's phase is the last that was begun.
- Its phases are those that were asked for, each once, in the order above, and times do not go
  back: from phase to phase to ``ended_ns``, from window to window, in a window's samples, and in a
  pattern's edges.
- There is no more of anything than was asked for: loads, warm-up iterations, segments in their
  order, a trace or a refusal of it, examples, and nothing of a phase that was not asked for.
- The methods that were tried are the first candidates, in their order, and no other was tried after
  one that keeps to the budget.
- The battery and the thermal state were read twice at the most outside of windows, and there are
  two synchronisation patterns at the most.
- Iterations take no longer together than from the start of ``iterate`` to that of ``check``, and
  are fewer than ``min_iterations`` only if that is at least ``max_duration_ns``.
- There are iterations in a load window and none in an idle one, and samples in both.
- A trace, a segment, a method that was tried and an evaluation have as many latencies as were asked
  for.
- A success lacks nothing: companion, phases, a method that keeps to the budget or all that were to
  be tried, loads, warm-up, iterations, check, the three memory
  readings, trace or its refusal, segments, evaluation, as many load windows that were not spoiled
  as there are ``blocks`` or the refusal of energy, and its end.

**Failures.** However a run ends early, other than by the end of its process, a companion leaves a
``RunFailure`` with the phase and what was measured; only where that cannot be written, none. The
first of these that fits is its code:

- ``out_of_memory``, ``storage_full``: the system says so, wherever it happens.
- ``engine_missing``: there is no engine for the format, it cannot be made, or a native library or a
  package of it is not there, even if that shows only later.
- ``load_failed``: the engine throws anything while it loads a program, in any phase.
- ``inference_failed``: the engine throws anything while it binds inputs, executes, gives its
  outputs or writes its trace.
- ``bad_request``, ``protocol_version``, ``file_missing``, ``file_corrupt``, ``weights_mismatch``
  (there is less in the weights than is read of them): what ``verify`` finds.
- ``internal``: anything else, whatever it is.

``interrupted``, ``disconnected`` and ``stopped`` are said of runs that left no result.

**Clock.** ``at_ns``, ``started_ns`` and ``ended_ns`` are nanoseconds of a monotonic clock, zero at
the start of the run; on a phone one that counts while it sleeps (``elapsedRealtimeNanos``).

**Version history.** 1: first; 2: the code ``stopped``, ranges of values, and what an answer holds;
3: a run can choose its method by a budget; 4: a program's weights may lie in a file of their own;
5: texts, names and requests have a longest, and the code ``weights_mismatch``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from msgspec import Meta

from mobilekit.contract.codec import Record

PROTOCOL_VERSION = 5
PACKAGE = "dev.mobilekit.bench"
ACTIVITY = f"{PACKAGE}/.RunActivity"
INPUT_ROOT = "/data/local/tmp/mobilekit"
OUTPUT_ROOT = f"/sdcard/Android/data/{PACKAGE}/files"
OUTPUTS_NAME = "outputs.bin"
TRACE_NAME = "trace.bin"
EXPANDED_STEM = "program"
"""Of the file that a condensed artifact is expanded to."""
MAX_FILE_BYTES = 2**27
"""Of a file of messages."""
MAX_REQUEST_BYTES = 2**20
MAX_TEXT_CHARACTERS = 4096
"""Of what is said for people."""
MAX_NAME_CHARACTERS = 256
MAX_PROCESSORS = 1024
MAX_TRACE_BYTES = 2**28
MEMORY_ITERATIONS = 3
PROFILE_WARMUPS = 3
SYNC_PULSES = 3
SYNC_PULSE_NS = 2_000_000_000
GATE_POLL_NS = 1_000_000_000
"""How often the battery is read while a gate is closed."""
RUN_ID_PATTERN = r"[a-z0-9-]{1,64}"
METHOD_PATTERN = r"[A-Za-z0-9_]{1,64}"
SHA256_PATTERN = r"[0-9a-f]{64}"
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""Any that 64 bits hold, as every integer of a message is."""
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A time, a size or a number of things that may be none."""
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""A duration of something that took place, a size or a number of what there is."""
Ratio = Annotated[float, Meta(ge=0, le=1)]
Error = Annotated[float, Meta(ge=0)]
_WHOLE = r"^{}$(?!\n)"  # Before a line end at the end there is a `$` too.
RunId = Annotated[str, Meta(pattern=_WHOLE.format(RUN_ID_PATTERN))]
Sha256 = Annotated[str, Meta(pattern=_WHOLE.format(SHA256_PATTERN))]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)]
"""For people; ``cut_text`` makes one of any."""
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]
Method = Annotated[str, Meta(pattern=_WHOLE.format(METHOD_PATTERN))]
Format = Literal["pte", "onnx", "tflite"]
DType = Literal["float32", "int64", "int32", "uint8", "int8", "bool"]
Phase = Literal[
    "verify",
    "choose",
    "load",
    "warmup",
    "iterate",
    "check",
    "memory",
    "profile",
    "evaluate",
    "energy",
]
WaitReason = Literal["unplug", "rest", "temperature"]
TraceKind = Literal["etdump", "onnxruntime"]
MemoryStage = Literal["closed", "loaded", "inferred"]
FailureCode = Literal[
    "bad_request",
    "protocol_version",
    "file_missing",
    "file_corrupt",
    "weights_mismatch",
    "engine_missing",
    "load_failed",
    "inference_failed",
    "out_of_memory",
    "storage_full",
    "interrupted",
    "stopped",
    "disconnected",
    "internal",
]


class ArtifactFile(Record, frozen=True):
    """The program to run: ``artifacts/<sha256>.<format>``."""

    sha256: Sha256
    format: Format
    size_bytes: Positive
    method: Method

    @property
    def path(self) -> str:
        """Relative to ``INPUT_ROOT``."""
        return f"artifacts/{self.sha256}.{self.format}"


class WeightsFile(Record, frozen=True):
    """The weights of a program that has them not itself: ``artifacts/<sha256>.ptd``."""

    sha256: Sha256
    size_bytes: Positive

    @property
    def path(self) -> str:
        """Relative to ``INPUT_ROOT``."""
        return f"artifacts/{self.sha256}.ptd"


class TensorFile(Record, frozen=True):
    """A tensor's bytes: ``artifacts/<sha256>.bin``."""

    sha256: Sha256
    dtype: DType
    shape: tuple[Positive, ...]

    @property
    def path(self) -> str:
        """Relative to ``INPUT_ROOT``."""
        return f"artifacts/{self.sha256}.bin"


File = ArtifactFile | WeightsFile | TensorFile
"""What lies in ``artifacts``."""


class WarmupRule(Record, frozen=True):
    """When a series of latencies is warm.

    It is once the median of its newest ``window_iterations`` is at least ``1 - tolerance`` times
    the median of the ``window_iterations`` before them, that is, once it has stopped getting
    faster. Warm-up ends unsettled at ``max_iterations`` or, checked after each iteration,
    ``max_duration_ns`` of summed latencies. The median of an even count is the mean of the
    middle two.
    """

    window_iterations: Positive
    tolerance: Ratio
    max_iterations: Positive
    max_duration_ns: Positive


class TemperatureGate(Record, frozen=True):
    """How warm the battery may be when the windows begin, and how long that is waited for."""

    max_decicelsius: Positive
    timeout_ns: Positive


class EnergyPlan(Record, frozen=True):
    """The energy phase: what is waited for before its windows, and the windows."""

    blocks: Positive
    idle_ns: Positive
    load_ns: Positive
    sample_period_ns: Positive
    unplug_timeout_ns: Positive | None
    """``None``: a phone that is plugged in is refused at once."""
    rest_ns: Positive | None
    temperature_gate: TemperatureGate | None
    sync_pattern: bool
    """Whether to make a pattern that an external meter's trace can be aligned with."""


class Segment(Record, frozen=True):
    """A part of the network that is a program of its own, of the whole's format."""

    artifact: ArtifactFile
    inputs: tuple[TensorFile, ...]


class Candidate(Record, frozen=True):
    """A method of the artifact that a run may be of in place of ``artifact.method``."""

    method: Method
    reference_outputs: tuple[TensorFile, ...]


class MethodChoice(Record, frozen=True):
    """The ``choose`` phase: which method is run is found out where it runs."""

    budget_ns: Positive
    """What an inference may take."""
    iterations: Positive
    """Of each method that is tried."""
    candidates: Annotated[tuple[Candidate, ...], Meta(min_length=1)]
    """The most wanted one first."""


class RunRequest(Record, frozen=True):
    """What a companion is to do."""

    protocol_version: int
    run_id: RunId
    artifact: ArtifactFile
    inputs: tuple[TensorFile, ...]
    reference_outputs: tuple[TensorFile, ...]
    relative_tolerance: Ratio
    choice: MethodChoice | None
    """``None``: no ``choose`` phase."""
    threads: Positive | None
    """``None``: as many as the companion has processors."""
    cold_loads: Positive
    warmup: WarmupRule
    min_iterations: Positive
    min_duration_ns: Positive
    max_duration_ns: Positive
    profile_iterations: Positive | None
    """``None``: no ``profile`` phase."""
    segments: tuple[Segment, ...]
    """What is timed in the ``profile`` phase in place of a trace; only where there is that phase.
    Empty: a trace is asked for."""
    evaluation: TensorFile | None
    """N examples stacked: ``inputs[0]`` with one more dimension before its own; only for a network
    with one input. ``None``: no ``evaluate`` phase."""
    energy: EnergyPlan | None
    weights: WeightsFile | None = None
    """Of the artifact, a ``.pte``; ``None``: it has them itself. The default is for what was stored
    before there was this field: no message goes without it."""


class BatterySample(Record, frozen=True):
    """One reading of the fuel gauge, as the phone gives it; ``None`` where it gives nothing.

    The units in the names are Android's documented ones. Some phones report ``current_now_ua``
    in milliamperes or with the opposite sign; a companion passes on what it reads, and the host
    decides.
    """

    at_ns: Whole
    charge_counter_uah: Integer | None
    current_now_ua: Integer | None
    energy_counter_nwh: Integer | None
    voltage_mv: Integer | None
    temperature_decicelsius: Integer | None
    level_percent: Integer | None
    plugged: bool


class ThermalSample(Record, frozen=True):
    """Thermal state: ``status`` is Android's 0 (none) to 6 (shutdown)."""

    at_ns: Whole
    status: Annotated[int, Meta(ge=0, le=6)] | None
    headroom: float | None
    """1.0 is the threshold of severe throttling; ``None`` below API 30 or where unsupported."""
    cpu_khz: Annotated[tuple[Whole, ...], Meta(max_length=MAX_PROCESSORS)]
    """Current frequency of each readable processor; empty where none is."""


class MemorySample(Record, frozen=True):
    """The companion's memory; ``None`` where the platform does not tell."""

    at_ns: Whole
    stage: MemoryStage
    pss_bytes: Whole | None
    rss_bytes: Whole | None
    peak_rss_bytes: Whole | None
    """The highest ``rss_bytes`` since the stage before."""


class OutputCheck(Record, frozen=True):
    """The first iteration's outputs against the reference."""

    matches: bool
    max_absolute_error: Error
    max_relative_error: Error
    """The largest absolute difference divided by the largest absolute reference value."""


class RailSample(Record, frozen=True):
    """One reading of one power monitor: what a part of the phone has consumed since boot.

    An ordinary caller is given readings that are up to 20 s old, and noisy; one that holds
    ``ACCESS_FINE_POWER_MONITORS``, at most 250 ms old. Hence the timestamp of its own.
    """

    at_ns: Integer
    """When the phone took the reading, not when it was asked; negative if before the run."""
    name: Name
    """As the phone calls the monitor."""
    energy_uj: Whole
    """Microjoules (Android's microwatt-seconds) since boot."""


class Window(Record, frozen=True):
    """One idle or load window of the energy phase with the battery's samples in it."""

    kind: Literal["idle", "load"]
    started_ns: Whole
    ended_ns: Whole
    iterations: Whole
    battery: tuple[BatterySample, ...]
    rails: tuple[RailSample, ...]
    """Readings of the power monitors taken at both ends, in time order; empty where the phone
    has none. A reading that was still the newest at the end is there twice.
    """
    thermal: ThermalSample
    """After its end."""

    def __post_init__(self) -> None:
        if self.ended_ns <= self.started_ns:
            raise ValueError(f"ended_ns: {self.ended_ns} is not after the start")


class Wait(Record, frozen=True):
    """What the energy phase waited for."""

    reason: WaitReason
    started_ns: Whole
    ended_ns: Whole
    passed: bool
    """False when its time ran out."""

    def __post_init__(self) -> None:
        if self.ended_ns < self.started_ns:
            raise ValueError(f"ended_ns: {self.ended_ns} is before the start")


class SyncPattern(Record, frozen=True):
    """``SYNC_PULSES`` pulses of load: the times at which it went on, off, on, off, ..."""

    edges_ns: Annotated[tuple[Whole, ...], Meta(max_length=2 * SYNC_PULSES)]


class Trace(Record, frozen=True):
    """``trace.bin``: the engine's own trace of ``PROFILE_WARMUPS`` and the timed iterations."""

    kind: TraceKind
    sha256: Sha256
    size_bytes: Annotated[int, Meta(ge=1, le=MAX_TRACE_BYTES)]
    latency_ns: tuple[Positive, ...]
    """Of each timed iteration: what tracing costs shows against the plain ones."""

    @property
    def kept_name(self) -> str:
        """Of the file that a host keeps it in."""
        return f"{self.sha256}.trace"


class MethodTrial(Record, frozen=True):
    """A candidate that was tried: each timed iteration in time order."""

    method: Method
    load_ns: Positive
    latency_ns: Annotated[tuple[Positive, ...], Meta(min_length=1)]

    def keeps_to(self, budget_ns: int) -> bool:
        """Whether the median is within it."""
        return self._twice_p50_ns <= 2 * budget_ns

    @property
    def p50_ns(self) -> float:
        return self._twice_p50_ns / 2

    @property
    def _twice_p50_ns(self) -> int:
        """The median of an even count is the mean of the middle two."""
        ordered = sorted(self.latency_ns)
        middle = (len(ordered) - 1) // 2
        return ordered[middle] + ordered[-1 - middle]


class SegmentLatency(Record, frozen=True):
    """One of the request's segments: each timed iteration in time order."""

    segment: Whole
    """Its place in the request's ``segments``, from 0."""
    latency_ns: tuple[Positive, ...]


class Evaluation(Record, frozen=True):
    """``outputs.bin``: the first output for each example, stacked."""

    outputs: TensorFile
    latency_ns: tuple[Positive, ...]


class CompanionInfo(Record, frozen=True):
    """Who ran the request."""

    name: Name
    version: Name
    engine: Name
    engine_version: Name
    abi: Name
    threads: Positive
    debuggable: bool
    battery: Literal["gauge", "simulated"] | None
    """Where battery samples come from; ``simulated`` also means a simulated clock in ``energy``."""


class RunTaken(Record, frozen=True, tag_field="type", tag="taken"):
    """Before the run begins, which may be hours later: who is to carry it out."""

    pid: Positive
    """Of the companion's process, as ``pidof`` tells it."""


class CompanionStarted(Record, frozen=True, tag_field="type", tag="companion"):
    """Once the engine is there, in ``verify``."""

    companion: CompanionInfo


class PhaseStarted(Record, frozen=True, tag_field="type", tag="phase"):
    phase: Phase
    at_ns: Whole


class LoadMeasured(Record, frozen=True, tag_field="type", tag="load"):
    load_ns: Positive


class WarmupMeasured(Record, frozen=True, tag_field="type", tag="warmup"):
    """All warm-up iterations in time order; ``settled`` is false when a limit ended them."""

    latency_ns: tuple[Positive, ...]
    settled: bool


class IterationsMeasured(Record, frozen=True, tag_field="type", tag="iterations"):
    """All measured iterations in time order."""

    latency_ns: tuple[Positive, ...]


class OutputsChecked(Record, frozen=True, tag_field="type", tag="check"):
    check: OutputCheck


class MemoryMeasured(Record, frozen=True, tag_field="type", tag="memory"):
    sample: MemorySample


class StateSampled(Record, frozen=True, tag_field="type", tag="state"):
    """Battery (``None`` on a computer) and thermal state, before ``load`` and at the end."""

    battery: BatterySample | None
    thermal: ThermalSample


class TraceMade(Record, frozen=True, tag_field="type", tag="trace"):
    trace: Trace


class ProfileRefused(Record, frozen=True, tag_field="type", tag="profile_refused"):
    """No trace, and why: for people."""

    reason: Text


class MethodTried(Record, frozen=True, tag_field="type", tag="tried"):
    trial: MethodTrial


class SegmentMeasured(Record, frozen=True, tag_field="type", tag="segment"):
    latency: SegmentLatency


class EvaluationMade(Record, frozen=True, tag_field="type", tag="evaluation"):
    evaluation: Evaluation


class WaitStarted(Record, frozen=True, tag_field="type", tag="wait"):
    reason: WaitReason
    at_ns: Whole


class WaitEnded(Record, frozen=True, tag_field="type", tag="waited"):
    wait: Wait


class SyncPatternMade(Record, frozen=True, tag_field="type", tag="sync"):
    pattern: SyncPattern


class WindowMeasured(Record, frozen=True, tag_field="type", tag="window"):
    window: Window


class EnergyRefused(Record, frozen=True, tag_field="type", tag="energy_refused"):
    """No (further) windows, and why: for people."""

    reason: Text


class RunEnded(Record, frozen=True, tag_field="type", tag="end"):
    """The last event of a run that succeeded."""

    at_ns: Whole


ProgressEvent = Union[
    RunTaken,
    CompanionStarted,
    PhaseStarted,
    MethodTried,
    LoadMeasured,
    WarmupMeasured,
    IterationsMeasured,
    OutputsChecked,
    MemoryMeasured,
    StateSampled,
    TraceMade,
    ProfileRefused,
    SegmentMeasured,
    EvaluationMade,
    WaitStarted,
    WaitEnded,
    SyncPatternMade,
    WindowMeasured,
    EnergyRefused,
    RunEnded,
]


class PhaseStart(Record, frozen=True):
    phase: Phase
    at_ns: Whole


class Samples(Record, frozen=True):
    """Everything that a run measured, in time order: the fold of its progress events, of which
    ``RunTaken`` leaves no trace."""

    companion: CompanionInfo | None
    """``None`` when the run failed before it said who it is."""
    phases: tuple[PhaseStart, ...]
    trials: tuple[MethodTrial, ...]
    load_ns: tuple[Positive, ...]
    warmup_ns: tuple[Positive, ...]
    warmup_settled: bool
    iteration_ns: tuple[Positive, ...]
    output_check: OutputCheck | None
    memory: tuple[MemorySample, ...]
    battery: tuple[BatterySample, ...]
    thermal: tuple[ThermalSample, ...]
    trace: Trace | None
    profile_refusal: Text | None
    segments: tuple[SegmentLatency, ...]
    evaluation: Evaluation | None
    waits: tuple[Wait, ...]
    sync_patterns: tuple[SyncPattern, ...]
    windows: tuple[Window, ...]
    energy_refusal: Text | None
    ended_ns: Whole | None
    """``None`` when the run did not reach its end."""


class RunSuccess(Record, frozen=True, tag_field="type", tag="success"):
    protocol_version: int
    run_id: RunId
    samples: Samples


class RunFailure(Record, frozen=True, tag_field="type", tag="failure"):
    """Why a run ended early; ``samples`` holds what was measured before."""

    protocol_version: int
    run_id: RunId
    phase: Phase
    code: FailureCode
    message: Text
    samples: Samples


RunResult = Union[RunSuccess, RunFailure]
