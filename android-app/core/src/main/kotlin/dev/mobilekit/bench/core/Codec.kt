package dev.mobilekit.bench.core

private val RUN_ID = Regex("[a-z0-9-]{1,64}")
private val SHA256 = Regex("[0-9a-f]{64}")
private val METHOD = Regex("[A-Za-z0-9_]{1,64}")

/** The request is of a version that this companion does not speak. */
class OtherVersionException(
    val version: String,
) : Exception("$.protocol_version: $version is not $PROTOCOL_VERSION")

/** Whether [text] may name a run: such an id needs no quoting in a shell or in a path. */
fun isRunId(text: String): Boolean = RUN_ID.matches(text)

/**
 * Decodes and checks one request.
 *
 * The version is looked at first: a request of another one says so, whatever else is in it.
 *
 * @throws OtherVersionException for another protocol version.
 * @throws ProtocolException naming the field for anything else that is not a request.
 */
fun decodeRequest(bytes: ByteArray): RunRequest {
    val json = parseJson(bytes)
    val version = (json as? Json.Object)?.fields?.get("protocol_version")
    if (version is Json.Number && version.literal != "$PROTOCOL_VERSION") {
        if (version.literal.toLongOrNull() != null) throw OtherVersionException(version.literal)
    }
    return json.decode("$") { readRequest() }
}

/** @throws ProtocolException naming the field for bytes that are not a result of this version. */
fun decodeResult(bytes: ByteArray): RunResult =
    parseJson(bytes).decode("$") {
        when (val type = string("type")) {
            "success" -> {
                RunSuccess(version("protocol_version"), matching("run_id", RUN_ID), record("samples") { readSamples() })
            }

            "failure" -> {
                RunFailure(
                    version("protocol_version"),
                    matching("run_id", RUN_ID),
                    enum("phase"),
                    enum("code"),
                    text("message"),
                    record("samples") { readSamples() },
                )
            }

            else -> {
                fail("type", "'$type' is not a result")
            }
        }
    }

/** @throws ProtocolException naming the field for a line that is not an event. */
fun decodeEvent(line: ByteArray): ProgressEvent =
    parseJson(line).decode("$") {
        when (val type = string("type")) {
            "taken" -> RunTaken(count("pid"))
            "companion" -> CompanionStarted(record("companion") { readCompanion() })
            "phase" -> PhaseStarted(enum("phase"), whole("at_ns"))
            "tried" -> MethodTried(record("trial") { readTrial() })
            "load" -> LoadMeasured(count("load_ns"))
            "warmup" -> WarmupMeasured(counts("latency_ns"), bool("settled"))
            "iterations" -> IterationsMeasured(counts("latency_ns"))
            "check" -> OutputsChecked(record("check") { readOutputCheck() })
            "memory" -> MemoryMeasured(record("sample") { readMemory() })
            "state" -> StateSampled(recordOrNull("battery") { readBattery() }, record("thermal") { readThermal() })
            "trace" -> TraceMade(record("trace") { readTrace() })
            "profile_refused" -> ProfileRefused(text("reason"))
            "segment" -> SegmentMeasured(record("latency") { readSegmentLatency() })
            "evaluation" -> EvaluationMade(record("evaluation") { readEvaluation() })
            "wait" -> WaitStarted(enum("reason"), whole("at_ns"))
            "waited" -> WaitEnded(record("wait") { readWait() })
            "sync" -> SyncPatternMade(record("pattern") { readSyncPattern() })
            "window" -> WindowMeasured(record("window") { readWindow() })
            "energy_refused" -> EnergyRefused(text("reason"))
            "end" -> RunEnded(whole("at_ns"))
            else -> fail("type", "'$type' is not an event")
        }
    }

/** One line of JSON, without a line end. */
fun encodeResult(result: RunResult): String =
    when (result) {
        is RunSuccess -> {
            obj(
                "type" to "success",
                "protocol_version" to result.protocolVersion,
                "run_id" to result.runId,
                "samples" to result.samples.toJson(),
            )
        }

        is RunFailure -> {
            obj(
                "type" to "failure",
                "protocol_version" to result.protocolVersion,
                "run_id" to result.runId,
                "phase" to result.phase,
                "code" to result.code,
                "message" to result.message,
                "samples" to result.samples.toJson(),
            )
        }
    }.encode()

/** One line of JSON, without a line end. */
fun encodeEvent(event: ProgressEvent): String =
    when (event) {
        is RunTaken -> {
            obj("type" to "taken", "pid" to event.pid)
        }

        is CompanionStarted -> {
            obj("type" to "companion", "companion" to event.companion.toJson())
        }

        is PhaseStarted -> {
            obj("type" to "phase", "phase" to event.phase, "at_ns" to event.atNs)
        }

        is MethodTried -> {
            obj("type" to "tried", "trial" to event.trial.toJson())
        }

        is LoadMeasured -> {
            obj("type" to "load", "load_ns" to event.loadNs)
        }

        is WarmupMeasured -> {
            obj("type" to "warmup", "latency_ns" to event.latencyNs, "settled" to event.settled)
        }

        is IterationsMeasured -> {
            obj("type" to "iterations", "latency_ns" to event.latencyNs)
        }

        is OutputsChecked -> {
            obj("type" to "check", "check" to event.check.toJson())
        }

        is MemoryMeasured -> {
            obj("type" to "memory", "sample" to event.sample.toJson())
        }

        is StateSampled -> {
            obj("type" to "state", "battery" to event.battery?.toJson(), "thermal" to event.thermal.toJson())
        }

        is TraceMade -> {
            obj("type" to "trace", "trace" to event.trace.toJson())
        }

        is ProfileRefused -> {
            obj("type" to "profile_refused", "reason" to event.reason)
        }

        is SegmentMeasured -> {
            obj("type" to "segment", "latency" to event.latency.toJson())
        }

        is EvaluationMade -> {
            obj("type" to "evaluation", "evaluation" to event.evaluation.toJson())
        }

        is WaitStarted -> {
            obj("type" to "wait", "reason" to event.reason, "at_ns" to event.atNs)
        }

        is WaitEnded -> {
            obj("type" to "waited", "wait" to event.wait.toJson())
        }

        is SyncPatternMade -> {
            obj("type" to "sync", "pattern" to event.pattern.toJson())
        }

        is WindowMeasured -> {
            obj("type" to "window", "window" to event.window.toJson())
        }

        is EnergyRefused -> {
            obj("type" to "energy_refused", "reason" to event.reason)
        }

        is RunEnded -> {
            obj("type" to "end", "at_ns" to event.atNs)
        }
    }.encode()

/** One line of JSON, without a line end. */
fun encodeRequest(request: RunRequest): String =
    obj(
        "protocol_version" to request.protocolVersion,
        "run_id" to request.runId,
        "artifact" to request.artifact.toJson(),
        "inputs" to request.inputs.map { it.toJson() },
        "reference_outputs" to request.referenceOutputs.map { it.toJson() },
        "relative_tolerance" to request.relativeTolerance,
        "choice" to request.choice?.toJson(),
        "threads" to request.threads,
        "cold_loads" to request.coldLoads,
        "warmup" to request.warmup.toJson(),
        "min_iterations" to request.minIterations,
        "min_duration_ns" to request.minDurationNs,
        "max_duration_ns" to request.maxDurationNs,
        "profile_iterations" to request.profileIterations,
        "segments" to
            request.segments.map { segment ->
                obj("artifact" to segment.artifact.toJson(), "inputs" to segment.inputs.map { it.toJson() })
            },
        "evaluation" to request.evaluation?.toJson(),
        "energy" to request.energy?.toJson(),
        "weights" to request.weights?.let { obj("sha256" to it.sha256, "size_bytes" to it.sizeBytes) },
    ).encode()

// --- records from JSON ---

private fun Fields.readRequest() =
    RunRequest(
        protocolVersion = version("protocol_version"),
        runId = matching("run_id", RUN_ID),
        artifact = record("artifact") { readArtifactFile() },
        inputs = records("inputs") { readTensorFile() },
        referenceOutputs = records("reference_outputs") { readTensorFile() },
        relativeTolerance = ratio("relative_tolerance"),
        choice = recordOrNull("choice") { readChoice() },
        threads = countOrNull("threads"),
        coldLoads = count("cold_loads"),
        warmup = record("warmup") { readWarmupRule() },
        minIterations = count("min_iterations"),
        minDurationNs = count("min_duration_ns"),
        maxDurationNs = count("max_duration_ns"),
        profileIterations = countOrNull("profile_iterations"),
        segments =
            records("segments") {
                Segment(record("artifact") { readArtifactFile() }, records("inputs") { readTensorFile() })
            },
        evaluation = recordOrNull("evaluation") { readTensorFile() },
        energy = recordOrNull("energy") { readEnergyPlan() },
        weights = recordOrNull("weights") { WeightsFile(matching("sha256", SHA256), count("size_bytes")) },
    ).also { request ->
        if (request.weights != null && request.artifact.format != Format.PTE) {
            fail("weights", "its format has them itself")
        }
        evaluationProblem(request)?.let { fail("evaluation", it) }
        if (request.segments.isNotEmpty() && request.profileIterations == null) {
            fail("segments", "there is no profile phase to time them in")
        }
        request.segments.forEachIndexed { index, segment ->
            if (segment.artifact.format != request.artifact.format) {
                fail("segments[$index].artifact.format", "is not the network's")
            }
        }
    }

private fun evaluationProblem(request: RunRequest): String? {
    val examples = request.evaluation ?: return null
    if (request.inputs.size != 1) return "a network with ${request.inputs.size} inputs cannot be evaluated"
    val expected = request.inputs[0]
    val alike = examples.dtype == expected.dtype && examples.shape.drop(1) == expected.shape
    return if (alike) null else "its examples are not like inputs[0]"
}

private fun Fields.readArtifactFile() =
    ArtifactFile(matching("sha256", SHA256), enum("format"), count("size_bytes"), matching("method", METHOD))

private fun Fields.readChoice() =
    MethodChoice(
        budgetNs = count("budget_ns"),
        iterations = count("iterations"),
        candidates =
            records("candidates") {
                Candidate(matching("method", METHOD), records("reference_outputs") { readTensorFile() })
            },
    ).also { if (it.candidates.isEmpty()) fail("candidates", "there are none") }

private fun Fields.readEnergyPlan() =
    EnergyPlan(
        blocks = count("blocks"),
        idleNs = count("idle_ns"),
        loadNs = count("load_ns"),
        samplePeriodNs = count("sample_period_ns"),
        unplugTimeoutNs = countOrNull("unplug_timeout_ns"),
        restNs = countOrNull("rest_ns"),
        temperatureGate =
            recordOrNull("temperature_gate") { TemperatureGate(count("max_decicelsius"), count("timeout_ns")) },
        syncPattern = bool("sync_pattern"),
    )

internal fun Fields.readWarmupRule() =
    WarmupRule(count("window_iterations"), ratio("tolerance"), count("max_iterations"), count("max_duration_ns"))

private fun Fields.readTensorFile() = TensorFile(matching("sha256", SHA256), enum("dtype"), counts("shape"))

private fun Fields.readCompanion() =
    CompanionInfo(
        name = name("name"),
        version = name("version"),
        engine = name("engine"),
        engineVersion = name("engine_version"),
        abi = name("abi"),
        threads = count("threads"),
        debuggable = bool("debuggable"),
        battery = orNull("battery") { enum("battery") },
    )

private fun Fields.readBattery() =
    BatterySample(
        atNs = whole("at_ns"),
        chargeCounterUah = longOrNull("charge_counter_uah"),
        currentNowUa = longOrNull("current_now_ua"),
        energyCounterNwh = longOrNull("energy_counter_nwh"),
        voltageMv = longOrNull("voltage_mv"),
        temperatureDecicelsius = longOrNull("temperature_decicelsius"),
        levelPercent = longOrNull("level_percent"),
        plugged = bool("plugged"),
    )

/** The battery sample that [json] is. */
fun decodeBattery(json: ByteArray): BatterySample = parseJson(json).decode("$") { readBattery() }

private fun Fields.readThermal() =
    ThermalSample(
        atNs = whole("at_ns"),
        status = orNull("status") { long("status").also { if (it !in 0L..6L) fail("status", "$it is not 0 to 6") } },
        headroom = orNull("headroom") { double("headroom") },
        cpuKhz = wholes("cpu_khz", MAX_PROCESSORS),
    )

private fun Fields.readMemory() =
    MemorySample(
        atNs = whole("at_ns"),
        stage = enum("stage"),
        pssBytes = wholeOrNull("pss_bytes"),
        rssBytes = wholeOrNull("rss_bytes"),
        peakRssBytes = wholeOrNull("peak_rss_bytes"),
    )

private fun Fields.readOutputCheck() =
    OutputCheck(bool("matches"), error("max_absolute_error"), error("max_relative_error"))

private fun Fields.readWindow() =
    Window(
        kind = enum("kind"),
        startedNs = whole("started_ns"),
        endedNs = whole("ended_ns"),
        iterations = whole("iterations"),
        battery = records("battery") { readBattery() },
        rails = records("rails") { RailSample(long("at_ns"), name("name"), whole("energy_uj")) },
        thermal = record("thermal") { readThermal() },
    ).also { if (it.endedNs <= it.startedNs) fail("ended_ns", "${it.endedNs} is not after the start") }

private fun Fields.readWait() =
    Wait(enum("reason"), whole("started_ns"), whole("ended_ns"), bool("passed"))
        .also { if (it.endedNs < it.startedNs) fail("ended_ns", "${it.endedNs} is before the start") }

private fun Fields.readSyncPattern() = SyncPattern(wholes("edges_ns", 2 * SYNC_PULSES))

private fun Fields.readTrace() =
    Trace(enum("kind"), matching("sha256", SHA256), count("size_bytes"), counts("latency_ns"))
        .also { if (it.sizeBytes > MAX_TRACE_BYTES) fail("size_bytes", "${it.sizeBytes} is too many") }

private fun Fields.readTrial() =
    MethodTrial(matching("method", METHOD), count("load_ns"), counts("latency_ns"))
        .also { if (it.latencyNs.isEmpty()) fail("latency_ns", "there are none") }

private fun Fields.readSegmentLatency() = SegmentLatency(whole("segment"), counts("latency_ns"))

private fun Fields.readEvaluation() =
    Evaluation(
        outputs = record("outputs") { readTensorFile() },
        latencyNs = counts("latency_ns"),
    )

private fun Fields.readSamples() =
    Samples(
        companion = recordOrNull("companion") { readCompanion() },
        phases = records("phases") { PhaseStart(enum("phase"), whole("at_ns")) },
        trials = records("trials") { readTrial() },
        loadNs = counts("load_ns"),
        warmupNs = counts("warmup_ns"),
        warmupSettled = bool("warmup_settled"),
        iterationNs = counts("iteration_ns"),
        outputCheck = recordOrNull("output_check") { readOutputCheck() },
        memory = records("memory") { readMemory() },
        battery = records("battery") { readBattery() },
        thermal = records("thermal") { readThermal() },
        trace = recordOrNull("trace") { readTrace() },
        profileRefusal = orNull("profile_refusal") { text("profile_refusal") },
        segments = records("segments") { readSegmentLatency() },
        evaluation = recordOrNull("evaluation") { readEvaluation() },
        waits = records("waits") { readWait() },
        syncPatterns = records("sync_patterns") { readSyncPattern() },
        windows = records("windows") { readWindow() },
        energyRefusal = orNull("energy_refusal") { text("energy_refusal") },
        endedNs = wholeOrNull("ended_ns"),
    )

// --- records to JSON ---

private fun ArtifactFile.toJson() =
    obj("sha256" to sha256, "format" to format, "size_bytes" to sizeBytes, "method" to method)

private fun TensorFile.toJson() = obj("sha256" to sha256, "dtype" to dtype, "shape" to shape)

private fun WarmupRule.toJson() =
    obj(
        "window_iterations" to windowIterations,
        "tolerance" to tolerance,
        "max_iterations" to maxIterations,
        "max_duration_ns" to maxDurationNs,
    )

private fun MethodChoice.toJson() =
    obj(
        "budget_ns" to budgetNs,
        "iterations" to iterations,
        "candidates" to
            candidates.map { candidate ->
                obj(
                    "method" to candidate.method,
                    "reference_outputs" to candidate.referenceOutputs.map { it.toJson() },
                )
            },
    )

private fun EnergyPlan.toJson() =
    obj(
        "blocks" to blocks,
        "idle_ns" to idleNs,
        "load_ns" to loadNs,
        "sample_period_ns" to samplePeriodNs,
        "unplug_timeout_ns" to unplugTimeoutNs,
        "rest_ns" to restNs,
        "temperature_gate" to
            temperatureGate?.let { obj("max_decicelsius" to it.maxDecicelsius, "timeout_ns" to it.timeoutNs) },
        "sync_pattern" to syncPattern,
    )

private fun CompanionInfo.toJson() =
    obj(
        "name" to name,
        "version" to version,
        "engine" to engine,
        "engine_version" to engineVersion,
        "abi" to abi,
        "threads" to threads,
        "debuggable" to debuggable,
        "battery" to battery,
    )

private fun BatterySample.toJson() =
    obj(
        "at_ns" to atNs,
        "charge_counter_uah" to chargeCounterUah,
        "current_now_ua" to currentNowUa,
        "energy_counter_nwh" to energyCounterNwh,
        "voltage_mv" to voltageMv,
        "temperature_decicelsius" to temperatureDecicelsius,
        "level_percent" to levelPercent,
        "plugged" to plugged,
    )

private fun ThermalSample.toJson() =
    obj(
        "at_ns" to atNs,
        "status" to status,
        "headroom" to headroom,
        "cpu_khz" to cpuKhz,
    )

private fun MemorySample.toJson() =
    obj(
        "at_ns" to atNs,
        "stage" to stage,
        "pss_bytes" to pssBytes,
        "rss_bytes" to rssBytes,
        "peak_rss_bytes" to peakRssBytes,
    )

private fun OutputCheck.toJson() =
    obj(
        "matches" to matches,
        "max_absolute_error" to maxAbsoluteError,
        "max_relative_error" to maxRelativeError,
    )

private fun Window.toJson() =
    obj(
        "kind" to kind,
        "started_ns" to startedNs,
        "ended_ns" to endedNs,
        "iterations" to iterations,
        "battery" to battery.map { it.toJson() },
        "rails" to rails.map { obj("at_ns" to it.atNs, "name" to it.name, "energy_uj" to it.energyUj) },
        "thermal" to thermal.toJson(),
    )

private fun Wait.toJson() =
    obj("reason" to reason, "started_ns" to startedNs, "ended_ns" to endedNs, "passed" to passed)

private fun SyncPattern.toJson() = obj("edges_ns" to edgesNs)

private fun Trace.toJson() =
    obj("kind" to kind, "sha256" to sha256, "size_bytes" to sizeBytes, "latency_ns" to latencyNs)

private fun MethodTrial.toJson() = obj("method" to method, "load_ns" to loadNs, "latency_ns" to latencyNs)

private fun SegmentLatency.toJson() = obj("segment" to segment, "latency_ns" to latencyNs)

private fun Evaluation.toJson() = obj("outputs" to outputs.toJson(), "latency_ns" to latencyNs)

private fun Samples.toJson() =
    obj(
        "companion" to companion?.toJson(),
        "phases" to phases.map { obj("phase" to it.phase, "at_ns" to it.atNs) },
        "trials" to trials.map { it.toJson() },
        "load_ns" to loadNs,
        "warmup_ns" to warmupNs,
        "warmup_settled" to warmupSettled,
        "iteration_ns" to iterationNs,
        "output_check" to outputCheck?.toJson(),
        "memory" to memory.map { it.toJson() },
        "battery" to battery.map { it.toJson() },
        "thermal" to thermal.map { it.toJson() },
        "trace" to trace?.toJson(),
        "profile_refusal" to profileRefusal,
        "segments" to segments.map { it.toJson() },
        "evaluation" to evaluation?.toJson(),
        "waits" to waits.map { it.toJson() },
        "sync_patterns" to syncPatterns.map { it.toJson() },
        "windows" to windows.map { it.toJson() },
        "energy_refusal" to energyRefusal,
        "ended_ns" to endedNs,
    )

private fun obj(vararg fields: Pair<String, Any?>): Json =
    Json.Object(
        fields.associate { (name, value) ->
            name to
                jsonOf(value)
        },
    )

private fun jsonOf(value: Any?): Json =
    when (value) {
        null -> Json.Null
        is Json -> value
        is String -> Json.Text(value)
        is Long -> Json.Number(value.toString())
        is Double -> Json.Number(value.toString().also { require(value.isFinite()) { "JSON has no $it" } })
        is Boolean -> Json.Bool(value)
        is Enum<*> -> Json.Text(value.name.lowercase())
        is List<*> -> Json.Array(value.map(::jsonOf))
        else -> error("no JSON for ${value.javaClass}")
    }

// --- fields ---

internal fun <T> Json.decode(
    path: String,
    read: Fields.() -> T,
): T {
    val fields = Fields(path, (this as? Json.Object)?.fields ?: throw ProtocolException(path, "expected an object"))
    return fields.read().also { fields.refuseUnknown() }
}

/** The fields of one object; each read is strict, and whatever is left unread is unknown. */
internal class Fields(
    private val path: String,
    private val fields: Map<String, Json>,
) {
    private val seen = HashSet<String>()

    fun long(name: String): Long = integer(name, field(name), "$path.$name")

    fun longOrNull(name: String): Long? = orNull(name) { long(name) }

    fun longs(name: String): List<Long> =
        array(name).mapIndexed { index, item -> integer(name, item, "$path.$name[$index]") }

    /** At least 0. */
    fun whole(name: String): Long = long(name).also { requireWhole(it, "$path.$name") }

    fun wholeOrNull(name: String): Long? = orNull(name) { whole(name) }

    fun wholes(
        name: String,
        most: Int,
    ): List<Long> =
        longs(name)
            .onEachIndexed { index, value -> requireWhole(value, "$path.$name[$index]") }
            .also { if (it.size > most) fail(name, "${it.size} are more than $most") }

    /** At least 1. */
    fun count(name: String): Long = long(name).also { requireCount(it, "$path.$name") }

    fun countOrNull(name: String): Long? = orNull(name) { count(name) }

    fun counts(name: String): List<Long> =
        longs(name).onEachIndexed { index, value -> requireCount(value, "$path.$name[$index]") }

    fun version(name: String): Long =
        long(name).also { if (it != PROTOCOL_VERSION) fail(name, "$it is not $PROTOCOL_VERSION") }

    fun double(name: String): Double {
        val number = (field(name) as? Json.Number)?.literal?.toDouble() ?: fail(name, "expected a number")
        return if (number.isFinite()) number else fail(name, "number out of range")
    }

    /** At least 0. */
    fun error(name: String): Double = double(name).also { if (it < 0) fail(name, "$it is negative") }

    /** In 0 to 1. */
    fun ratio(name: String): Double =
        double(name).also {
            if (it !in
                0.0..1.0
            ) {
                fail(name, "$it is not between 0 and 1")
            }
        }

    fun bool(name: String): Boolean = (field(name) as? Json.Bool)?.value ?: fail(name, "expected true or false")

    fun string(name: String): String = (field(name) as? Json.Text)?.value ?: fail(name, "expected a text")

    /** For people. */
    fun text(name: String): String = bounded(name, MAX_TEXT_CHARACTERS)

    fun name(name: String): String = bounded(name, MAX_NAME_CHARACTERS)

    private fun bounded(
        name: String,
        mostCharacters: Int,
    ): String =
        string(name).also {
            val characters = it.codePointCount(0, it.length)
            if (characters > mostCharacters) fail(name, "$characters characters are more than $mostCharacters")
        }

    fun matching(
        name: String,
        pattern: Regex,
    ): String = string(name).also { if (!pattern.matches(it)) fail(name, "'$it' does not match $pattern") }

    inline fun <reified E : Enum<E>> enum(name: String): E {
        val word = string(name)
        return enumValues<E>().find { it.name.lowercase() == word } ?: fail(name, "'$word' is not one of its values")
    }

    fun <T> record(
        name: String,
        read: Fields.() -> T,
    ): T = field(name).decode("$path.$name", read)

    fun <T> recordOrNull(
        name: String,
        read: Fields.() -> T,
    ): T? = orNull(name) { record(name, read) }

    fun <T> records(
        name: String,
        read: Fields.() -> T,
    ): List<T> = array(name).mapIndexed { index, item -> item.decode("$path.$name[$index]", read) }

    fun <T> orNull(
        name: String,
        read: () -> T,
    ): T? = if (field(name) == Json.Null) null else read()

    fun fail(
        name: String,
        problem: String,
    ): Nothing = throw ProtocolException("$path.$name", problem)

    fun refuseUnknown() {
        (fields.keys - seen).firstOrNull()?.let { fail(it, "unknown") }
    }

    private fun field(name: String): Json {
        seen += name
        return fields[name] ?: fail(name, "missing")
    }

    private fun array(name: String): List<Json> = (field(name) as? Json.Array)?.items ?: fail(name, "expected an array")

    private fun integer(
        name: String,
        value: Json,
        at: String,
    ): Long {
        val literal = (value as? Json.Number)?.literal ?: throw ProtocolException(at, "expected an integer")
        return literal.toLongOrNull() ?: throw ProtocolException(at, "expected an integer, got $literal")
    }

    private fun requireWhole(
        value: Long,
        at: String,
    ) {
        if (value < 0) throw ProtocolException(at, "$value is not in [0, 2^63)")
    }

    private fun requireCount(
        value: Long,
        at: String,
    ) {
        if (value < 1) throw ProtocolException(at, "$value is not in [1, 2^63)")
    }
}
