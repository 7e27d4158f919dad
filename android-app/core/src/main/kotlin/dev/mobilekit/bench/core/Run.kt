package dev.mobilekit.bench.core

import java.io.File
import java.io.FileOutputStream
import java.io.RandomAccessFile
import java.security.MessageDigest

/** Says that the process [pid] carries the run [runId], which it does with [carryOutRun], now or later. */
fun takeRun(
    outputRoot: File,
    runId: String,
    pid: Long,
) {
    require(isRunId(runId)) { "'$runId' is not a run id" }
    RunDirectory(outputRoot, runId).use { it.take(pid) }
}

/**
 * Runs the request [runId] and leaves its result below [outputRoot].
 *
 * A run is done once: where its result is there already, that is returned; where an earlier process
 * died in the middle of it, the result says so and holds what that process measured. [show] is called
 * on this thread after each event is stored, between measurements and never within one.
 */
fun carryOutRun(
    inputRoot: File,
    outputRoot: File,
    runId: String,
    device: Device,
    show: (ProgressEvent) -> Unit,
): RunResult {
    require(isRunId(runId)) { "'$runId' is not a run id" }
    return RunDirectory(outputRoot, runId).use { directory ->
        directory.earlierResult() ?: Run(runId, InputFiles(inputRoot), device, directory, show).let { run ->
            when (val events = directory.earlierEvents()) {
                null -> {
                    directory.take(device.pid)
                    run.start()
                }

                else -> {
                    run.endInterrupted(events)
                }
            }
        }
    }
}

/** One run: its phases in order, every measurement recorded as soon as it is made. */
internal class Run(
    private val runId: String,
    private val files: InputFiles,
    private val device: Device,
    private val record: RunRecord,
    private val show: (ProgressEvent) -> Unit,
) {
    private val clock = device.clock
    private val events = ArrayList<ProgressEvent>()
    private var phase = Phase.VERIFY
    private var plannedNs = UNPLANNED_NS
    private var request: RunRequest? = null

    fun start(): RunResult =
        finish(
            try {
                measure()
                RunSuccess(PROTOCOL_VERSION, runId, collectSamples(events)).also { checkAnswer(request!!, it) }
            } catch (problem: Throwable) {
                failure(stoppedBy(problem))
            },
        )

    fun endInterrupted(earlier: List<ProgressEvent>): RunResult {
        events += earlier
        phase = earlier.filterIsInstance<PhaseStarted>().lastOrNull()?.phase ?: Phase.VERIFY
        return finish(
            if (earlier.lastOrNull() is RunEnded) {
                RunSuccess(PROTOCOL_VERSION, runId, collectSamples(events))
            } else {
                failure(
                    RunStopped(
                        FailureCode.INTERRUPTED,
                        "the companion's process ended in the middle of this run",
                    ),
                )
            },
        )
    }

    private fun measure() {
        enter(Phase.VERIFY)
        var request = files.request(runId).also { this.request = it }
        plannedNs = request.plannedNs()
        files.verify(request)
        val segments = request.segments.map { programOf(it.artifact) }
        val artifact = programOf(request.artifact)
        val weights = request.weights?.let(files::weights)
        weights?.let { artifact.verifyWeights(request, it) }
        val inputs = request.inputs.map(files::tensor)
        val engine = engineFor(request.artifact.format)
        val threads = request.threads?.let { minOf(it, MAX_THREADS).toInt() } ?: device.processors
        tell(CompanionStarted(companionInfo(engine, threads)))
        sampleState()

        request.choice?.let { choice ->
            enter(Phase.CHOOSE)
            choose(engine, artifact, weights, threads, request, choice, inputs)?.let { request = request.of(it) }
        }
        Loader(engine, artifact, weights, request.artifact.method, threads).use { loader ->
            enter(Phase.LOAD)
            for (load in 1..request.coldLoads) tell(LoadMeasured(loader.load()))

            enter(Phase.WARMUP)
            loader.bind(inputs)
            val check = warmUp(loader.program, request)

            enter(Phase.ITERATE)
            iterate(loader.program, request)

            enter(Phase.CHECK)
            tell(OutputsChecked(check))

            enter(Phase.MEMORY)
            measureMemory(loader, inputs)

            request.profileIterations?.let { iterations ->
                enter(Phase.PROFILE)
                if (request.segments.isEmpty()) {
                    profile(loader, inputs, iterations)
                } else {
                    loader.close()
                    timeSegments(engine, threads, request.segments.zip(segments), iterations)
                }
                loader.load()
                loader.bind(inputs)
            }

            request.evaluation?.let { examples ->
                enter(Phase.EVALUATE)
                evaluate(loader, examples)
                loader.bind(inputs)
            }

            request.energy?.let { plan ->
                enter(Phase.ENERGY)
                measureEnergy(loader.program, plan)
            }
        }
        sampleState()
        tell(RunEnded(clock.nowNs()))
    }

    /** The first that keeps to the budget; null: the artifact's own method is run. */
    private fun choose(
        engine: Engine,
        artifact: ProgramFile,
        weights: File?,
        threads: Int,
        request: RunRequest,
        choice: MethodChoice,
        inputs: List<Tensor>,
    ): Candidate? =
        choice.candidates.find { candidate ->
            Loader(engine, artifact, weights, candidate.method, threads).use { loader ->
                val loadNs = loader.load()
                loader.bind(inputs)
                val detector = WarmupDetector(request.warmup)
                val one = LongArray(1)
                do inferring { timeInferences(loader.program, clock, one, 1, 0, 0) } while (!detector.add(one[0]))
                val latencyNs = timed(loader.program, choice.iterations, 0, Long.MAX_VALUE)
                val trial = MethodTrial(candidate.method, loadNs, latencyNs)
                tell(MethodTried(trial))
                trial.keepsTo(choice.budgetNs)
            }
        }

    /** Also compares the first iteration's outputs: where there is a state, later ones differ. */
    private fun warmUp(
        program: Program,
        request: RunRequest,
    ): OutputCheck {
        val reference = request.referenceOutputs.map(files::tensor)
        val detector = WarmupDetector(request.warmup)
        val latencyNs = ArrayList<Long>()
        val one = LongArray(1)
        var check: OutputCheck? = null
        do {
            inferring { timeInferences(program, clock, one, 1, 0, 0) }
            if (check == null) {
                check = checkOutputs(inferring { program.outputs() }, reference, request.relativeTolerance)
            }
            latencyNs += one[0]
        } while (!detector.add(one[0]))
        tell(WarmupMeasured(latencyNs, detector.settled))
        return checkNotNull(check)
    }

    private fun iterate(
        program: Program,
        request: RunRequest,
    ) = tell(
        IterationsMeasured(timed(program, request.minIterations, request.minDurationNs, request.maxDurationNs)),
    )

    /** The room for latencies is made before the loop; when it is used up, the loop is left to make more. */
    private fun timed(
        program: Program,
        minIterations: Long,
        minDurationNs: Long,
        maxDurationNs: Long,
    ): List<Long> {
        val latencyNs = ArrayList<Long>()
        var elapsedNs = 0L
        while (elapsedNs < maxDurationNs && (latencyNs.size < minIterations || elapsedNs < minDurationNs)) {
            val room = LongArray(ROOM)
            val count =
                inferring {
                    timeInferences(
                        program,
                        clock,
                        room,
                        minIterations - latencyNs.size,
                        minDurationNs - elapsedNs,
                        maxDurationNs - elapsedNs,
                    )
                }
            for (index in 0 until count) {
                latencyNs += room[index]
                elapsedNs += room[index]
            }
        }
        return latencyNs
    }

    private fun measureMemory(
        loader: Loader,
        inputs: List<Tensor>,
    ) {
        loader.close()
        device.memory.release()
        sampleMemory(MemoryStage.CLOSED)
        loader.load()
        loader.bind(inputs)
        sampleMemory(MemoryStage.LOADED)
        inferring { repeat(MEMORY_ITERATIONS) { loader.program.infer() } }
        sampleMemory(MemoryStage.INFERRED)
    }

    private fun profile(
        loader: Loader,
        inputs: List<Tensor>,
        iterations: Long,
    ) {
        try {
            val program = loader.loadTraced()
            loader.bind(inputs)
            val latencyNs = timedWarm(program, iterations)
            val target = record.file("trace.bin")
            inferring { program.writeTrace(target) }
            RandomAccessFile(target, "rw").use { it.fd.sync() }
            tell(TraceMade(Trace(program.traceKind, sha256(target), target.length(), latencyNs)))
        } catch (untraced: TracingUnavailableException) {
            tell(ProfileRefused(cutText(untraced.message)))
        }
    }

    private fun timeSegments(
        engine: Engine,
        threads: Int,
        segments: List<Pair<Segment, ProgramFile>>,
        iterations: Long,
    ) = segments.forEachIndexed { number, (segment, program) ->
        try {
            Loader(engine, program, null, segment.artifact.method, threads).use { loader ->
                loader.load()
                loader.bind(segment.inputs.map(files::tensor))
                val latencyNs = timedWarm(loader.program, iterations)
                tell(SegmentMeasured(SegmentLatency(number.toLong(), latencyNs)))
            }
        } catch (stopped: RunStopped) {
            throw RunStopped(stopped.code, "segments[$number]: ${stopped.message}")
        }
    }

    private fun timedWarm(
        program: Program,
        iterations: Long,
    ): List<Long> {
        inferring { repeat(PROFILE_WARMUPS) { program.infer() } }
        return timed(program, iterations, 0, Long.MAX_VALUE)
    }

    private fun evaluate(
        loader: Loader,
        examples: TensorFile,
    ) {
        val latencyNs = ArrayList<Long>()
        val one = LongArray(1)
        val digest = MessageDigest.getInstance("SHA-256")
        var output: Tensor? = null
        FileOutputStream(record.file("outputs.bin")).use { out ->
            files.forEachExample(examples) { example ->
                loader.bind(listOf(example))
                inferring { timeInferences(loader.program, clock, one, 1, 0, 0) }
                latencyNs += one[0]
                output =
                    inferring { loader.program.outputs()[0] }.also {
                        digest.update(it.data.duplicate())
                        out.channel.write(it.data.duplicate())
                    }
            }
            out.fd.sync()
        }
        val last = checkNotNull(output)
        val outputs = TensorFile(hex(digest), last.dtype, listOf(latencyNs.size.toLong()) + last.shape)
        tell(EvaluationMade(Evaluation(outputs, latencyNs)))
    }

    private fun measureEnergy(
        program: Program,
        plan: EnergyPlan,
    ) = when (val gauge = device.battery) {
        null -> tell(EnergyRefused("this companion has no battery to read"))
        else -> EnergyPhase(program, plan, device, gauge, ::tell).run()
    }

    private fun sampleMemory(stage: MemoryStage) = tell(MemoryMeasured(device.memory.read(clock.nowNs(), stage)))

    private fun sampleState() {
        val battery = device.battery?.read(clock.nowNs())
        tell(StateSampled(battery, device.thermal.read(clock.nowNs())))
    }

    private fun programOf(artifact: ArtifactFile) =
        ProgramFile(files.artifact(artifact), record.file("program.${artifact.format.name.lowercase()}"))

    private fun engineFor(format: Format): Engine =
        when (val choice = engineDoes(FailureCode.ENGINE_MISSING) { device.engines.choose(format) }) {
            is EngineChoice.Found -> choice.engine
            is EngineChoice.Missing -> throw RunStopped(FailureCode.ENGINE_MISSING, choice.reason)
        }

    private fun companionInfo(
        engine: Engine,
        threads: Int,
    ) = CompanionInfo(
        name = device.companion,
        version = device.version,
        engine = engine.name,
        engineVersion = engine.version,
        abi = device.abi,
        threads = threads.toLong(),
        debuggable = device.debuggable,
        battery = device.battery?.source,
    )

    private fun enter(next: Phase) {
        phase = next
        tell(PhaseStarted(next, clock.nowNs()))
    }

    private fun tell(event: ProgressEvent) {
        events += event
        record.append(event)
        show(event)
        device.sleepGuard?.stayAwake(plannedNs)
    }

    private fun finish(result: RunResult): RunResult =
        try {
            record.finish(result)
            result
        } catch (problem: Exception) {
            failure(stoppedBy(problem))
        } finally {
            device.sleepGuard?.maySleep()
        }

    private fun failure(stopped: RunStopped) =
        RunFailure(PROTOCOL_VERSION, runId, phase, stopped.code, cutText(stopped.message), collectSamples(events))

    /** The program of this run: at most one is loaded at a time. */
    private inner class Loader(
        private val engine: Engine,
        private val artifact: ProgramFile,
        private val weights: File?,
        private val method: String,
        private val threads: Int,
    ) : AutoCloseable {
        private var loaded: Program? = null

        val program: Program get() = checkNotNull(loaded)

        /** Loads anew and returns how long that took. */
        fun load(): Long {
            close()
            device.memory.release()
            return engineDoes(FailureCode.LOAD_FAILED) {
                val startNs = clock.tickNs()
                loaded = engine.load(artifact.ready(), method, threads, weights)
                clock.tickNs() - startNs
            }
        }

        /** @throws TracingUnavailableException as the engine says. */
        fun loadTraced(): TracedProgram {
            close()
            return engineDoes(FailureCode.LOAD_FAILED) {
                engine.loadTraced(artifact.ready(), method, threads, weights).also { loaded = it }
            }
        }

        fun bind(inputs: List<Tensor>) = engineDoes(FailureCode.INFERENCE_FAILED) { program.bind(inputs) }

        override fun close() {
            loaded?.close()
            loaded = null
            artifact.close()
        }
    }

    private companion object {
        const val ROOM = 1 shl 18
        const val MAX_THREADS = 1024L
    }
}

/** The request as it would be of that method from the start. */
private fun RunRequest.of(chosen: Candidate) =
    copy(artifact = artifact.copy(method = chosen.method), referenceOutputs = chosen.referenceOutputs)

/**
 * How long the run takes at the very most between two of its events, and as a whole where nothing
 * has to be measured again: what sets itself no limit is taken to need [UNPLANNED_NS] in all, and
 * [UNPLANNED_STEP_NS] for each time that it is done.
 */
internal fun RunRequest.plannedNs(): Long {
    val profiled = maxOf(segments.size, 1).toDouble() * (profileIterations ?: 0)
    val tried = choice?.candidates?.size ?: 0
    val steps = coldLoads + profiled + (evaluation?.shape?.first() ?: 0) + tried * (choice?.iterations ?: 0).toDouble()
    val limitedNs = (tried + 1.0) * warmup.maxDurationNs + maxDurationNs + (energy?.plannedNs() ?: 0.0)
    return (UNPLANNED_NS + steps * UNPLANNED_STEP_NS + limitedNs).toLong()
}

private fun EnergyPlan.plannedNs(): Double {
    val waitsNs = (unplugTimeoutNs ?: 0).toDouble() + (restNs ?: 0) + (temperatureGate?.timeoutNs ?: 0)
    val patternsNs = if (syncPattern) 4.0 * SYNC_PULSES * SYNC_PULSE_NS else 0.0
    return waitsNs + patternsNs + (blocks + 1.0) * idleNs + blocks.toDouble() * loadNs
}

private const val UNPLANNED_NS = 3_600_000_000_000L
private const val UNPLANNED_STEP_NS = 10_000_000_000L
