package dev.mobilekit.bench.core

import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

/** Time that passes only when somebody spends it; periodic actions happen at their exact times. */
class FakeClock : Clock {
    private var nowNs = 0L
    private var nextNs = Long.MAX_VALUE
    private var periodNs = 0L
    private var action: () -> Unit = {}

    override fun nowNs(): Long = nowNs

    override fun tickNs(): Long = nowNs

    override fun sleepUntil(atNs: Long) = spend(maxOf(0, atNs - nowNs))

    override fun <T> whileEvery(
        periodNs: Long,
        action: () -> Unit,
        body: () -> T,
    ): T {
        this.periodNs = periodNs
        this.action = action
        nextNs = nowNs + periodNs
        return body().also { nextNs = Long.MAX_VALUE }
    }

    fun spend(durationNs: Long) {
        val endNs = nowNs + durationNs
        while (nextNs <= endNs) {
            nowNs = nextNs
            nextNs += periodNs
            action()
        }
        nowNs = endNs
    }
}

/** Multiplies its only input by two; each load, binding and inference takes the time it is given. */
class FakeEngine(
    private val clock: FakeClock,
    private val loadNs: Long = 50,
    private val bindNs: Long = 0,
    private val canTrace: Boolean = true,
    /** Is told of each call, and may throw what the call is to fail with. */
    private val before: (String) -> Unit = {},
    private val latencyNs: (Int) -> Long = { 10 },
) : Engine {
    override val name = "fake"
    override val version = "1.2.3"

    /** Programs that were loaded and not closed. */
    var open = 0
    var inferences = 0
    var onLoad: (File) -> Unit = {}
    var onWeights: (File?) -> Unit = {}
    var onInfer: (Int) -> Unit = {}
    var onOutput: (Tensor) -> Unit = {}
    var threads = 0

    /** The newest that was loaded. */
    var method = ""

    override fun load(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): TracedProgram {
        before("load")
        onWeights(weights)
        this.method = method
        return open(artifact, threads)
    }

    private fun open(
        artifact: File,
        threads: Int,
    ): TracedProgram {
        onLoad(artifact)
        if (artifact.readText() == "corrupt") throw IllegalArgumentException("no such opcode")
        clock.spend(loadNs)
        open++
        this.threads = threads
        return FakeProgram()
    }

    override fun loadTraced(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): TracedProgram {
        before("load_traced")
        if (!canTrace) throw TracingUnavailableException("built without tracing")
        return open(artifact, threads)
    }

    private inner class FakeProgram : TracedProgram {
        override val traceKind = TraceKind.ETDUMP
        private val inferencesBefore = inferences
        private lateinit var input: Tensor
        private val output = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN)

        override fun bind(inputs: List<Tensor>) {
            before("bind")
            clock.spend(bindNs)
            input = inputs.single()
        }

        override fun infer() {
            before("infer")
            onInfer(inferences)
            clock.spend(latencyNs(inferences++))
            for (index in 0..1) output.putFloat(4 * index, 2 * input[index].toFloat())
            onOutput(output())
        }

        override fun writeTrace(target: File) {
            before("write_trace")
            target.writeText("${inferences - inferencesBefore} inferences")
        }

        override fun outputs(): List<Tensor> {
            before("outputs")
            return listOf(output())
        }

        private fun output() = Tensor(DType.FLOAT32, listOf(2), output.duplicate())

        override fun close() {
            open--
        }
    }
}

class FakeBattery(
    private val clock: FakeClock,
    private val before: (String) -> Unit = {},
) : BatteryReader {
    override val source = BatterySource.GAUGE

    /** When the cable is in. */
    var pluggedNs = LongRange.EMPTY

    /** Until then it has 40 degrees. */
    var warmUntilNs = 0L
    var reads = 0

    override fun read(atNs: Long): BatterySample {
        before("read_battery")
        reads++
        val temperature = if (clock.nowNs() < warmUntilNs) 400L else 250L
        return BatterySample(atNs, 1000L - reads, -5, null, 3800, temperature, 50, clock.nowNs() in pluggedNs)
    }
}

object FakeMemory : MemoryReader {
    override fun release() = Unit

    override fun read(
        atNs: Long,
        stage: MemoryStage,
    ) = MemorySample(atNs, stage, 100, 200, 300)
}

/** Fails as a full disk does, from the given number of events on. */
class FullDisk(
    private val record: RunRecord,
    private var room: Int,
) : RunRecord {
    override fun append(event: ProgressEvent) {
        if (room-- <= 0) throw IOException("write failed: ENOSPC (No space left on device)")
        record.append(event)
    }

    override fun finish(result: RunResult) = record.finish(result)

    override fun file(name: String) = record.file(name)
}

class Killed : Error()

/** Ends with its process, as it were, from the given number of events on. */
class KilledRecord(
    private val record: RunRecord,
    private var events: Int,
) : RunRecord {
    override fun append(event: ProgressEvent) {
        if (events-- <= 0) throw Killed()
        record.append(event)
    }

    override fun finish(result: RunResult) = throw Killed()

    override fun file(name: String) = record.file(name)
}

/** Remembers what it was told. */
class FakeSleepGuard : SleepGuard {
    /** From the last event on; null while the device may sleep. */
    var awakeForNs: Long? = null

    override fun stayAwake(durationNs: Long) {
        awakeForNs = durationNs
    }

    override fun maySleep() {
        awakeForNs = null
    }
}

/** The two roots of the contract, with a request that can be changed. */
class Roots(
    folder: File,
) {
    val input = File(folder, "in")
    val output = File(folder, "out")

    fun put(
        bytes: ByteArray,
        extension: String,
    ): String {
        val sha256 = sha256(bytes)
        File(input, "artifacts").mkdirs()
        File(input, "artifacts/$sha256.$extension").writeBytes(bytes)
        return sha256
    }

    fun put(
        values: FloatArray,
        vararg shape: Long,
    ): TensorFile {
        val bytes = ByteBuffer.allocate(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
        values.forEach(bytes::putFloat)
        return TensorFile(put(bytes.array(), "bin"), DType.FLOAT32, shape.toList())
    }

    fun put(request: RunRequest) {
        putRequest(request.runId, encodeRequest(request))
    }

    fun putRequest(
        runId: String,
        text: String,
    ) {
        File(input, "runs/$runId").mkdirs()
        File(input, "runs/$runId/request.json").writeText(text)
    }

    fun progress(runId: String) = File(output, "runs/$runId/progress.jsonl")

    fun written(
        runId: String,
        name: String,
    ) = File(output, "runs/$runId/$name")

    fun result(runId: String) = File(output, "runs/$runId/result.json")

    companion object {
        fun sha256(bytes: ByteArray): String =
            MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
    }
}

/** A request for an artifact that is there, small enough for tests. */
fun Roots.request(
    artifact: ByteArray = "program".toByteArray(),
    format: Format = Format.ONNX,
    input: TensorFile = put(floatArrayOf(1f, 2f), 2),
    output: TensorFile = put(floatArrayOf(2f, 4f), 2),
) = RunRequest(
    protocolVersion = PROTOCOL_VERSION,
    runId = "run-1",
    artifact = ArtifactFile(put(artifact, format.name.lowercase()), format, artifact.size.toLong(), "forward"),
    inputs = listOf(input),
    referenceOutputs = listOf(output),
    relativeTolerance = 1e-4,
    choice = null,
    threads = 1,
    coldLoads = 3,
    warmup = WarmupRule(2, 0.1, 20, 1_000_000_000),
    minIterations = 5,
    minDurationNs = 1,
    maxDurationNs = 10_000_000_000,
    profileIterations = null,
    segments = emptyList(),
    evaluation = null,
    energy = null,
    weights = null,
)

/** A part of the network with an input of its own. */
fun Roots.segment(
    artifact: String,
    vararg input: Float,
): Segment {
    val bytes = artifact.toByteArray()
    return Segment(
        ArtifactFile(put(bytes, "onnx"), Format.ONNX, bytes.size.toLong(), "forward"),
        listOf(put(input, input.size.toLong())),
    )
}

/** A plan that waits for nothing. */
fun energyPlan(
    blocks: Long = 1,
    idleNs: Long = 100,
    loadNs: Long = 55,
    samplePeriodNs: Long = 20,
) = EnergyPlan(blocks, idleNs, loadNs, samplePeriodNs, null, null, null, false)
