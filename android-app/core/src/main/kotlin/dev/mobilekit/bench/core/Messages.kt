package dev.mobilekit.bench.core

/** The messages are exchanged only between equals: no other version is taken. */
const val PROTOCOL_VERSION = 5L
const val MAX_REQUEST_BYTES = 1L shl 20

/** Of what is said for people, by Unicode's code points. */
const val MAX_TEXT_CHARACTERS = 4096
const val MAX_NAME_CHARACTERS = 256
const val MAX_PROCESSORS = 1024
const val MAX_TRACE_BYTES = 1L shl 28

/** Iterations of the memory phase. */
const val MEMORY_ITERATIONS = 3

/** Untimed iterations of the profile phase. */
const val PROFILE_WARMUPS = 3

const val SYNC_PULSES = 3
const val SYNC_PULSE_NS = 2_000_000_000L

/** How often the battery is read while a gate is closed. */
const val GATE_POLL_NS = 1_000_000_000L

// The names of the constants, in lower case, are those of the contract.

enum class Format { PTE, ONNX, TFLITE }

enum class DType(
    val sizeBytes: Int,
) {
    FLOAT32(4),
    INT64(8),
    INT32(4),
    UINT8(1),
    INT8(1),
    BOOL(1),
}

enum class Phase { VERIFY, CHOOSE, LOAD, WARMUP, ITERATE, CHECK, MEMORY, PROFILE, EVALUATE, ENERGY }

enum class WaitReason { UNPLUG, REST, TEMPERATURE }

enum class TraceKind { ETDUMP, ONNXRUNTIME }

/** A host makes [STOPPED] and [DISCONNECTED] itself; no companion does. */
enum class FailureCode {
    BAD_REQUEST,
    PROTOCOL_VERSION,
    FILE_MISSING,
    FILE_CORRUPT,
    WEIGHTS_MISMATCH,
    ENGINE_MISSING,
    LOAD_FAILED,
    INFERENCE_FAILED,
    OUT_OF_MEMORY,
    STORAGE_FULL,
    INTERRUPTED,
    STOPPED,
    DISCONNECTED,
    INTERNAL,
}

enum class MemoryStage { CLOSED, LOADED, INFERRED }

enum class WindowKind { IDLE, LOAD }

enum class BatterySource { GAUGE, SIMULATED }

// --- request ---

/** The program to run: `artifacts/<sha256>.<format>`. */
data class ArtifactFile(
    val sha256: String,
    val format: Format,
    val sizeBytes: Long,
    val method: String,
)

/** The weights of a program that has them not itself: `artifacts/<sha256>.ptd`. */
data class WeightsFile(
    val sha256: String,
    val sizeBytes: Long,
)

/** A tensor's bytes: `artifacts/<sha256>.bin`. */
data class TensorFile(
    val sha256: String,
    val dtype: DType,
    val shape: List<Long>,
)

/** When a series of latencies is warm: see [WarmupDetector]. */
data class WarmupRule(
    val windowIterations: Long,
    val tolerance: Double,
    val maxIterations: Long,
    val maxDurationNs: Long,
)

/** How warm the battery may be when the windows begin, and how long that is waited for. */
data class TemperatureGate(
    val maxDecicelsius: Long,
    val timeoutNs: Long,
)

/**
 * The energy phase: what is waited for before its windows, and the windows. A phone that is plugged
 * in is refused at once where `unplugTimeoutNs` is null.
 */
data class EnergyPlan(
    val blocks: Long,
    val idleNs: Long,
    val loadNs: Long,
    val samplePeriodNs: Long,
    val unplugTimeoutNs: Long?,
    val restNs: Long?,
    val temperatureGate: TemperatureGate?,
    val syncPattern: Boolean,
)

/** A part of the network that is a program of its own, of the whole's format. */
data class Segment(
    val artifact: ArtifactFile,
    val inputs: List<TensorFile>,
)

/** A method of the artifact that a run may be of in place of `artifact.method`. */
data class Candidate(
    val method: String,
    val referenceOutputs: List<TensorFile>,
)

/** Which method is run is found out here: the first of [candidates] whose median keeps to [budgetNs]. */
data class MethodChoice(
    val budgetNs: Long,
    val iterations: Long,
    val candidates: List<Candidate>,
)

/**
 * What a companion is to do. `threads` is null for as many as there are processors; `segments` are
 * timed in the profile phase in place of a trace; `evaluation` is the examples, stacked; what is null
 * of it, of `choice`, of `profileIterations` and of `energy` is not asked for. Without `weights` the
 * artifact has them itself.
 */
data class RunRequest(
    val protocolVersion: Long,
    val runId: String,
    val artifact: ArtifactFile,
    val inputs: List<TensorFile>,
    val referenceOutputs: List<TensorFile>,
    val relativeTolerance: Double,
    val choice: MethodChoice?,
    val threads: Long?,
    val coldLoads: Long,
    val warmup: WarmupRule,
    val minIterations: Long,
    val minDurationNs: Long,
    val maxDurationNs: Long,
    val profileIterations: Long?,
    val segments: List<Segment>,
    val evaluation: TensorFile?,
    val energy: EnergyPlan?,
    val weights: WeightsFile?,
)

// --- samples ---

/** One reading of the fuel gauge as the phone gives it; null where it gives nothing. */
data class BatterySample(
    val atNs: Long,
    val chargeCounterUah: Long?,
    val currentNowUa: Long?,
    val energyCounterNwh: Long?,
    val voltageMv: Long?,
    val temperatureDecicelsius: Long?,
    val levelPercent: Long?,
    val plugged: Boolean,
)

/** `status` is Android's 0 (none) to 6 (shutdown); `headroom` 1.0 is severe throttling. */
data class ThermalSample(
    val atNs: Long,
    val status: Long?,
    val headroom: Double?,
    val cpuKhz: List<Long>,
)

/** `peakRssBytes` is the highest resident size since the stage before. */
data class MemorySample(
    val atNs: Long,
    val stage: MemoryStage,
    val pssBytes: Long?,
    val rssBytes: Long?,
    val peakRssBytes: Long?,
)

/** The first iteration's outputs against the reference. */
data class OutputCheck(
    val matches: Boolean,
    val maxAbsoluteError: Double,
    val maxRelativeError: Double,
)

/** One reading of one power monitor, at the time of the reading itself: microjoules since boot. */
data class RailSample(
    val atNs: Long,
    val name: String,
    val energyUj: Long,
)

/** One idle or load window of the energy phase with the battery's samples in it. */
data class Window(
    val kind: WindowKind,
    val startedNs: Long,
    val endedNs: Long,
    val iterations: Long,
    val battery: List<BatterySample>,
    val rails: List<RailSample>,
    val thermal: ThermalSample,
)

/** What the energy phase waited for; not passed when its time ran out. */
data class Wait(
    val reason: WaitReason,
    val startedNs: Long,
    val endedNs: Long,
    val passed: Boolean,
)

/** Pulses of load: the times at which it went on, off, on, off, ... */
data class SyncPattern(
    val edgesNs: List<Long>,
)

/** `trace.bin`: the engine's own trace, and the latency of each timed iteration in it. */
data class Trace(
    val kind: TraceKind,
    val sha256: String,
    val sizeBytes: Long,
    val latencyNs: List<Long>,
)

/** A candidate that was tried: each timed iteration in time order. */
data class MethodTrial(
    val method: String,
    val loadNs: Long,
    val latencyNs: List<Long>,
) {
    /** Whether the median is within it. */
    fun keepsTo(budgetNs: Long): Boolean {
        val ordered = latencyNs.sorted()
        val middle = (ordered.size - 1) / 2
        return ordered[middle].toBigInteger() + ordered[ordered.size - 1 - middle].toBigInteger() <=
            budgetNs.toBigInteger().shiftLeft(1)
    }
}

/** One of the request's segments, by its place there: each timed iteration in time order. */
data class SegmentLatency(
    val segment: Long,
    val latencyNs: List<Long>,
)

/** `outputs.bin`: the first output for each example, stacked. */
data class Evaluation(
    val outputs: TensorFile,
    val latencyNs: List<Long>,
)

/** Who ran the request. */
data class CompanionInfo(
    val name: String,
    val version: String,
    val engine: String,
    val engineVersion: String,
    val abi: String,
    val threads: Long,
    val debuggable: Boolean,
    val battery: BatterySource?,
)

data class PhaseStart(
    val phase: Phase,
    val atNs: Long,
)

// --- progress ---

/** One line of `progress.jsonl`. */
sealed interface ProgressEvent

/** Before the run begins, which may be hours later: the process that is to carry it out. */
data class RunTaken(
    val pid: Long,
) : ProgressEvent

data class CompanionStarted(
    val companion: CompanionInfo,
) : ProgressEvent

data class PhaseStarted(
    val phase: Phase,
    val atNs: Long,
) : ProgressEvent

data class MethodTried(
    val trial: MethodTrial,
) : ProgressEvent

data class LoadMeasured(
    val loadNs: Long,
) : ProgressEvent

/** All warm-up iterations in time order; not settled when a limit ended them. */
data class WarmupMeasured(
    val latencyNs: List<Long>,
    val settled: Boolean,
) : ProgressEvent

/** All measured iterations in time order. */
data class IterationsMeasured(
    val latencyNs: List<Long>,
) : ProgressEvent

data class OutputsChecked(
    val check: OutputCheck,
) : ProgressEvent

data class MemoryMeasured(
    val sample: MemorySample,
) : ProgressEvent

data class StateSampled(
    val battery: BatterySample?,
    val thermal: ThermalSample,
) : ProgressEvent

data class TraceMade(
    val trace: Trace,
) : ProgressEvent

/** No trace, and why: for people. */
data class ProfileRefused(
    val reason: String,
) : ProgressEvent

data class SegmentMeasured(
    val latency: SegmentLatency,
) : ProgressEvent

data class EvaluationMade(
    val evaluation: Evaluation,
) : ProgressEvent

data class WaitStarted(
    val reason: WaitReason,
    val atNs: Long,
) : ProgressEvent

data class WaitEnded(
    val wait: Wait,
) : ProgressEvent

data class SyncPatternMade(
    val pattern: SyncPattern,
) : ProgressEvent

data class WindowMeasured(
    val window: Window,
) : ProgressEvent

/** No (further) windows, and why: for people. */
data class EnergyRefused(
    val reason: String,
) : ProgressEvent

/** The last event of a run that succeeded. */
data class RunEnded(
    val atNs: Long,
) : ProgressEvent

// --- result ---

/** Everything that a run measured, in time order: the fold of its progress events. */
data class Samples(
    val companion: CompanionInfo?,
    val phases: List<PhaseStart>,
    val trials: List<MethodTrial>,
    val loadNs: List<Long>,
    val warmupNs: List<Long>,
    val warmupSettled: Boolean,
    val iterationNs: List<Long>,
    val outputCheck: OutputCheck?,
    val memory: List<MemorySample>,
    val battery: List<BatterySample>,
    val thermal: List<ThermalSample>,
    val trace: Trace?,
    val profileRefusal: String?,
    val segments: List<SegmentLatency>,
    val evaluation: Evaluation?,
    val waits: List<Wait>,
    val syncPatterns: List<SyncPattern>,
    val windows: List<Window>,
    val energyRefusal: String?,
    val endedNs: Long?,
)

sealed interface RunResult {
    val runId: String
    val samples: Samples
}

data class RunSuccess(
    val protocolVersion: Long,
    override val runId: String,
    override val samples: Samples,
) : RunResult

/** Why a run ended early; `samples` holds what was measured before. */
data class RunFailure(
    val protocolVersion: Long,
    override val runId: String,
    val phase: Phase,
    val code: FailureCode,
    val message: String,
    override val samples: Samples,
) : RunResult

/** As much of the beginning of [text] as a message takes, and then how many characters there were. */
fun cutText(text: String): String {
    val characters = text.codePointCount(0, text.length)
    if (characters <= MAX_TEXT_CHARACTERS) return text
    val ending = " ... (the beginning of $characters characters)"
    return text.substring(0, text.offsetByCodePoints(0, MAX_TEXT_CHARACTERS - ending.length)) + ending
}

/** As much of the beginning of [text] as a name takes. */
fun cutName(text: String): String =
    if (text.codePointCount(0, text.length) <= MAX_NAME_CHARACTERS) {
        text
    } else {
        text.substring(0, text.offsetByCodePoints(0, MAX_NAME_CHARACTERS))
    }

/** Folds progress events; any prefix of a run's events is taken. */
fun collectSamples(events: List<ProgressEvent>): Samples =
    Samples(
        companion = events.last<CompanionStarted>()?.companion,
        phases = events.all<PhaseStarted>().map { PhaseStart(it.phase, it.atNs) },
        trials = events.all<MethodTried>().map { it.trial },
        loadNs = events.all<LoadMeasured>().map { it.loadNs },
        warmupNs = events.last<WarmupMeasured>()?.latencyNs.orEmpty(),
        warmupSettled = events.last<WarmupMeasured>()?.settled ?: false,
        iterationNs = events.last<IterationsMeasured>()?.latencyNs.orEmpty(),
        outputCheck = events.last<OutputsChecked>()?.check,
        memory = events.all<MemoryMeasured>().map { it.sample },
        battery = events.all<StateSampled>().mapNotNull { it.battery },
        thermal = events.all<StateSampled>().map { it.thermal },
        trace = events.last<TraceMade>()?.trace,
        profileRefusal = events.last<ProfileRefused>()?.reason,
        segments = events.all<SegmentMeasured>().map { it.latency },
        evaluation = events.last<EvaluationMade>()?.evaluation,
        waits = events.all<WaitEnded>().map { it.wait },
        syncPatterns = events.all<SyncPatternMade>().map { it.pattern },
        windows = events.all<WindowMeasured>().map { it.window },
        energyRefusal = events.last<EnergyRefused>()?.reason,
        endedNs = events.last<RunEnded>()?.atNs,
    )

private inline fun <reified E : ProgressEvent> List<ProgressEvent>.all(): List<E> = filterIsInstance<E>()

private inline fun <reified E : ProgressEvent> List<ProgressEvent>.last(): E? = all<E>().lastOrNull()
