package dev.mobilekit.bench.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.nio.file.Files

class RunTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val clock = FakeClock()
    private val battery = FakeBattery(clock)
    private val sleepGuard = FakeSleepGuard()
    private var rails: RailReader? = null
    private var engine = FakeEngine(clock)
    private val roots by lazy { Roots(folder.root) }
    private val shown = ArrayList<ProgressEvent>()

    private fun device() =
        Device(
            companion = "test",
            version = "9",
            abi = "x86_64",
            pid = PID,
            processors = 7,
            debuggable = false,
            engines = {
                if (it == Format.TFLITE) EngineChoice.Missing("none for TFLITE") else EngineChoice.Found(engine)
            },
            clock = clock,
            battery = battery,
            rails = rails,
            memory = FakeMemory,
            thermal = { ThermalSample(it, 0, null, listOf(1000)) },
            sleepGuard = sleepGuard,
        )

    private fun run(
        request: RunRequest = roots.request(),
        device: Device = device(),
    ): RunResult {
        roots.put(request)
        return carryOutRun(roots.input, roots.output, request.runId, device) { shown += it }
    }

    private fun assertFails(
        code: FailureCode,
        phase: Phase,
        words: String,
        result: RunResult,
    ): RunFailure {
        result as RunFailure
        assertEquals(result.message, code to phase, result.code to result.phase)
        assertTrue(result.message, words in result.message)
        assertEquals(result, decodeResult(roots.result(result.runId).readBytes()))
        assertEquals("programs left open", 0, engine.open)
        return result
    }

    @Test
    fun `a run goes through its phases and keeps every sample in time order`() {
        engine =
            FakeEngine(clock) { inference -> listOf(40L, 20, 10, 10, 10, 10, 11, 12, 13, 14, 15)[minOf(inference, 10)] }

        val result = run() as RunSuccess

        assertEquals("run-1", result.runId)
        assertEquals(
            CompanionInfo("test", "9", "fake", "1.2.3", "x86_64", 1, false, BatterySource.GAUGE),
            result.samples.companion,
        )
        assertEquals(
            listOf(Phase.VERIFY, Phase.LOAD, Phase.WARMUP, Phase.ITERATE, Phase.CHECK, Phase.MEMORY),
            result.samples.phases.map { it.phase },
        )
        assertEquals(listOf(0L, 0, 150, 250, 315, 315), result.samples.phases.map { it.atNs })
        assertEquals(listOf(50L, 50, 50), result.samples.loadNs)
        assertEquals(listOf(40L, 20, 10, 10, 10, 10), result.samples.warmupNs)
        assertTrue(result.samples.warmupSettled)
        assertEquals(listOf(11L, 12, 13, 14, 15), result.samples.iterationNs)
        assertEquals(OutputCheck(true, 0.0, 0.0), result.samples.outputCheck)
        assertEquals(
            listOf(MemoryStage.CLOSED, MemoryStage.LOADED, MemoryStage.INFERRED),
            result.samples.memory.map { it.stage },
        )
        assertEquals(2, result.samples.battery.size)
        assertEquals(2, result.samples.thermal.size)
        assertEquals(clock.nowNs(), result.samples.endedNs)
        assertEquals(0, engine.open)
        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
        assertEquals(listOf(RunTaken(PID)) + shown, eventsOf("run-1"))
        assertEquals(result.samples, collectSamples(shown))
    }

    private val condensed = Vectors.condensed().first { it.name == "plain" }.bytes

    @Test
    fun `a condensed program is expanded for each load`() {
        val loaded = ArrayList<Pair<String, String>>()
        engine.onLoad = { loaded += it.relativeTo(folder.root).path to it.readText() }
        val part = ArtifactFile(roots.put(condensed, "onnx"), Format.ONNX, condensed.size.toLong(), "forward")
        val segment = roots.segment("a part", 1f, 2f).copy(artifact = part)
        val request = roots.request(condensed).copy(segments = listOf(segment), profileIterations = 2)

        assertTrue(run(request) is RunSuccess)

        val where = "out/runs/run-1/program.onnx"
        assertEquals(List(3 + 1 + 1 + 1) { where to "no weights".repeat(3) }, loaded)
        assertFalse(File(folder.root, where).exists())
    }

    @Test
    fun `a condensed program that is not what it says is corrupt`() {
        val other = condensed.copyOf().also { it[16] = (it[16] + 1).toByte() }
        val cut = condensed.copyOf(condensed.size - 2)

        assertFails(FailureCode.FILE_CORRUPT, Phase.VERIFY, "expands to", run(roots.request(other)))
        val second = roots.request(cut).copy(runId = "run-2")
        assertFails(FailureCode.FILE_CORRUPT, Phase.VERIFY, "cut off", run(second))
        assertFalse(File(folder.root, "out/runs/run-1/program.onnx").exists())
    }

    @Test
    fun `weights apart are verified and given with each load`() {
        val request = requestApart("enough")
        val weights = checkNotNull(request.weights)
        val file = roots.input.resolve("artifacts/${weights.sha256}.ptd")
        val given = ArrayList<File?>()
        engine.onWeights = { given += it }

        assertTrue(run(request) is RunSuccess)
        assertEquals(List(3 + 1) { file }, given)

        file.writeText("another")
        assertFails(FailureCode.FILE_CORRUPT, Phase.VERIFY, weights.sha256, run(request.copy(runId = "run-2")))
        file.delete()
        assertFails(FailureCode.FILE_MISSING, Phase.VERIFY, weights.sha256, run(request.copy(runId = "run-3")))
    }

    /** Of the vectors' program and weights of that name. */
    private fun requestApart(case: String): RunRequest {
        val vector = Vectors.apart().first { it.name == case }
        val weights = WeightsFile(roots.put(vector.weights, "ptd"), vector.weights.size.toLong())
        val request = roots.request(vector.program, Format.PTE).copy(weights = weights)
        return request.copy(artifact = request.artifact.copy(method = vector.methods[0]))
    }

    @Test
    fun `weights that lack what a method reads are never loaded`() {
        engine.onLoad = { throw AssertionError("it was loaded") }
        val choice = MethodChoice(1, 1, listOf("level_1", "level_2").map { Candidate(it, emptyList()) })
        val requests =
            listOf(
                requestApart("a-lower-levels") to "level_2 reads 16 bytes of the constant a",
                requestApart("enough").copy(choice = choice) to "level_2 reads 16 bytes of the constant a",
                requestApart("none") to "level_1 reads the constant a, which",
            )
        requests.forEachIndexed { number, (request, words) ->
            val result = run(request.copy(runId = "run-$number"))
            assertFails(FailureCode.WEIGHTS_MISMATCH, Phase.VERIFY, words, result)
        }
        val cutOff = run(requestApart("weights-cut-off").copy(runId = "run-9"))
        assertFails(FailureCode.FILE_CORRUPT, Phase.VERIFY, "no weights of ExecuTorch", cutOff)
    }

    @Test
    fun `a load is over before the inputs are bound`() {
        engine = FakeEngine(clock, bindNs = 7)

        val samples = run(roots.request().copy(coldLoads = 1)).samples

        val startedNs = samples.phases.associate { it.phase to it.atNs }
        assertEquals(listOf(50L), samples.loadNs)
        assertEquals(50L, startedNs.getValue(Phase.WARMUP) - startedNs.getValue(Phase.LOAD))
        assertEquals(setOf(10L), samples.warmupNs.toSet())
        assertEquals(
            7 + samples.warmupNs.sum(),
            startedNs.getValue(Phase.ITERATE) - startedNs.getValue(Phase.WARMUP),
        )
    }

    private fun choosing(budgetNs: Long) =
        roots.request().let { request ->
            val large = Candidate("large", listOf(roots.put(floatArrayOf(5f, 5f), 2)))
            val middle = Candidate("middle", request.referenceOutputs)
            request.copy(choice = MethodChoice(budgetNs, 4, listOf(large, middle)))
        }

    /** Each method takes another time. */
    private fun levels() = FakeEngine(clock) { mapOf("large" to 30L, "middle" to 20L)[engine.method] ?: 10L }

    @Test
    fun `the first method that keeps to the budget is run`() {
        engine = levels()

        val samples = (run(choosing(20)) as RunSuccess).samples

        assertEquals(
            listOf(MethodTrial("large", 50, List(4) { 30L }), MethodTrial("middle", 50, List(4) { 20L })),
            samples.trials,
        )
        assertEquals(setOf(20L), samples.iterationNs.toSet())
        assertTrue(samples.outputCheck!!.matches)
        assertEquals(0, engine.open)
    }

    @Test
    fun `a chosen method is held against its own outputs, and no other is tried`() {
        engine = levels()

        val samples = (run(choosing(30)) as RunSuccess).samples

        assertEquals(listOf("large"), samples.trials.map { it.method })
        assertFalse(samples.outputCheck!!.matches)
    }

    @Test
    fun `where none keeps to the budget the artifact's own method is run`() {
        engine = levels()

        val samples = (run(choosing(19)) as RunSuccess).samples

        assertEquals(2, samples.trials.size)
        assertEquals(setOf(10L), samples.iterationNs.toSet())
        assertTrue(samples.outputCheck!!.matches)
    }

    @Test
    fun `a candidate's outputs are looked for before anything is run`() {
        val gone = TensorFile("f".repeat(64), DType.FLOAT32, listOf(2))
        val choice = MethodChoice(1, 1, listOf(Candidate("large", listOf(gone))))

        val result = run(roots.request().copy(choice = choice))

        assertFails(FailureCode.FILE_MISSING, Phase.VERIFY, gone.sha256, result)
    }

    @Test
    fun `threads are the processors where none are asked for`() {
        run(roots.request().copy(threads = null))

        assertEquals(7, engine.threads)
    }

    @Test
    fun `iterations go on until both minima are reached`() {
        val result = run(roots.request().copy(minIterations = 2, minDurationNs = 95))

        assertEquals(10, result.samples.iterationNs.size)
    }

    @Test
    fun `iterations end at the largest duration`() {
        val result = run(roots.request().copy(minIterations = 1_000_000, maxDurationNs = 40))

        assertEquals(4, result.samples.iterationNs.size)
    }

    @Test
    fun `more iterations than there is room for are all kept`() {
        val result = run(roots.request().copy(minIterations = 300_000))

        assertEquals(300_000, result.samples.iterationNs.size)
    }

    @Test
    fun `outputs that differ are a success that says so`() {
        val result = run(roots.request(output = roots.put(floatArrayOf(2f, 5f), 2))) as RunSuccess

        assertEquals(OutputCheck(false, 1.0, 0.2), result.samples.outputCheck)
    }

    @Test
    fun `energy windows alternate and hold the samples of their time`() {
        val plan = energyPlan(blocks = 2)

        val result = run(roots.request().copy(energy = plan)) as RunSuccess

        val windows = result.samples.windows
        assertEquals("IDLE LOAD IDLE LOAD IDLE", windows.joinToString(" ") { it.kind.name })
        assertEquals(listOf(0L, 6, 0, 6, 0), windows.map { it.iterations })
        assertEquals(listOf(100L, 60, 100, 60, 100), windows.map { it.endedNs - it.startedNs })
        assertEquals(listOf(0L, 20, 40, 60, 80, 100, 100), windows[0].battery.map { it.atNs - windows[0].startedNs })
        assertEquals(listOf(0L, 20, 40, 60, 60), windows[1].battery.map { it.atNs - windows[1].startedNs })
        assertNull(result.samples.energyRefusal)
    }

    @Test
    fun `the rails are read at both ends of a window and come back exactly`() {
        val read = ArrayList<List<RailSample>>()
        val askedNs = ArrayList<Long>()
        val inferences = ArrayList<Int>()
        rails =
            RailReader {
                askedNs += clock.nowNs()
                inferences += engine.inferences
                // Each meter has its own delay; the later one comes first.
                val atNs = clock.nowNs() - 400
                listOf(RailSample(atNs + 7, "GPU", 3_000_000_000L + read.size), RailSample(atNs, "modem: \"5G\"", 0))
                    .also { read += it }
            }

        val result = run(roots.request().copy(energy = energyPlan())) as RunSuccess

        val windows = result.samples.windows
        assertEquals(windows.flatMap { listOf(it.startedNs, it.endedNs) }, askedNs)
        assertEquals(listOf(0L, 6, 0), inferences.chunked(2).map { (before, after) -> (after - before).toLong() })
        assertEquals(
            read.chunked(2).map { (before, after) -> before.reversed() + after.reversed() },
            windows.map { it.rails },
        )
        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
    }

    @Test
    fun `a device without rails leaves them empty`() {
        val plan = energyPlan()
        for (none in listOf(null, RailReader { emptyList() })) {
            rails = none

            val result = run(roots.request().copy(runId = "run-${none == null}", energy = plan)) as RunSuccess

            assertEquals(listOf(0, 0, 0), result.samples.windows.map { it.rails.size })
        }
    }

    @Test
    fun `each window has the thermal state after it`() {
        val result = measureEnergy(energyPlan())

        assertEquals(result.samples.windows.map { it.endedNs }, result.samples.windows.map { it.thermal.atNs })
    }

    /** A run with that plan; [prepare] is told when its energy phase will start. */
    private fun measureEnergy(
        plan: EnergyPlan,
        runId: String = "run-1",
        prepare: (startNs: Long) -> Unit = {},
    ): RunSuccess {
        engine.onInfer = { if (it == BEFORE_ENERGY - 1) prepare(clock.nowNs() + 10) }
        return run(roots.request().copy(runId = runId, energy = plan)) as RunSuccess
    }

    @Test
    fun `plugging in refuses the rest where no unplugging is waited for`() {
        val result =
            measureEnergy(energyPlan(blocks = 5, idleNs = 1000, loadNs = 1000, samplePeriodNs = 500)) {
                battery.pluggedNs = it + 2500..Long.MAX_VALUE
            }

        assertEquals("IDLE LOAD IDLE", result.samples.windows.joinToString(" ") { it.kind.name })
        assertTrue(result.samples.energyRefusal.orEmpty(), "plugged in" in result.samples.energyRefusal.orEmpty())
        assertEquals(emptyList<Wait>(), result.samples.waits)
    }

    @Test
    fun `a block that was plugged in is measured again`() {
        val result =
            measureEnergy(energyPlan(blocks = 2).copy(unplugTimeoutNs = 60 * SECOND_NS)) {
                battery.pluggedNs = it + 170..it + 5 * SECOND_NS
            }

        val windows = result.samples.windows
        assertEquals("IDLE LOAD IDLE IDLE LOAD IDLE LOAD IDLE", windows.joinToString(" ") { it.kind.name })
        assertEquals(
            listOf(false, false, true) + List(5) { false },
            windows.map { window -> window.battery.any { it.plugged } },
        )
        assertEquals(listOf(WaitReason.UNPLUG to true), result.samples.waits.map { it.reason to it.passed })
        assertNull(result.samples.energyRefusal)
        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
    }

    @Test
    fun `a cable that was in for one sample only spoils its block`() {
        val result =
            measureEnergy(energyPlan()) { battery.pluggedNs = it + 130..it + 150 }

        assertEquals("IDLE LOAD IDLE LOAD IDLE", result.samples.windows.joinToString(" ") { it.kind.name })
        assertEquals(
            listOf(false, true, false, false, false),
            result.samples.windows.map { window -> window.battery.any { it.plugged } },
        )
    }

    @Test
    fun `a phone on the cable refuses energy at once`() {
        battery.pluggedNs = 0..Long.MAX_VALUE

        val result = run(roots.request().copy(energy = energyPlan(idleNs = 1 shl 30)))

        assertEquals(emptyList<Window>(), result.samples.windows)
        assertTrue("plugged in" in result.samples.energyRefusal.orEmpty())
        assertTrue(clock.nowNs() < 1 shl 30)
    }

    @Test
    fun `a cable that stays in is waited for and refuses energy`() {
        battery.pluggedNs = 0..Long.MAX_VALUE

        val result = measureEnergy(energyPlan().copy(unplugTimeoutNs = 3 * SECOND_NS + 7))

        val wait = result.samples.waits.single()
        assertEquals(WaitReason.UNPLUG to false, wait.reason to wait.passed)
        assertEquals(3 * SECOND_NS + 7, wait.endedNs - wait.startedNs)
        assertEquals(emptyList<Window>(), result.samples.windows)
        assertTrue("plugged in" in result.samples.energyRefusal.orEmpty())
    }

    @Test
    fun `a wait without an end is one that the cable ends`() {
        val result =
            measureEnergy(energyPlan().copy(unplugTimeoutNs = Long.MAX_VALUE)) {
                battery.pluggedNs = it..it + SECOND_NS
            }

        assertTrue(
            result.samples.waits
                .single()
                .passed,
        )
        assertEquals(3, result.samples.windows.size)
    }

    @Test
    fun `windows wait for rest and then for a cool battery or the gate's time-out`() {
        for ((warmNs, passed) in listOf(2 * SECOND_NS + 1 to true, 1_000 * SECOND_NS to false)) {
            engine = FakeEngine(clock)
            val gate = TemperatureGate(350, 5 * SECOND_NS)

            val result =
                measureEnergy(energyPlan().copy(restNs = SECOND_NS, temperatureGate = gate), "run-$passed") {
                    battery.warmUntilNs = it + SECOND_NS + warmNs
                }

            val (rest, temperature) = result.samples.waits
            assertEquals(WaitReason.REST to true, rest.reason to rest.passed)
            assertEquals(SECOND_NS, rest.endedNs - rest.startedNs)
            assertEquals(WaitReason.TEMPERATURE to passed, temperature.reason to temperature.passed)
            assertEquals(if (passed) 3 * SECOND_NS else 5 * SECOND_NS, temperature.endedNs - temperature.startedNs)
            assertEquals(3, result.samples.windows.size)
        }
    }

    @Test
    fun `gates that are open leave no trace`() {
        val gate = TemperatureGate(250, 1_000 * SECOND_NS)

        val result = measureEnergy(energyPlan().copy(unplugTimeoutNs = SECOND_NS, temperatureGate = gate))

        assertEquals(emptyList<Wait>(), result.samples.waits)
        assertTrue(shown.none { it is WaitStarted })
    }

    @Test
    fun `the synchronisation pattern is made before and after`() {
        engine = FakeEngine(clock) { SECOND_NS / 3 + 1 }

        val plan = energyPlan(idleNs = SECOND_NS, loadNs = SECOND_NS, samplePeriodNs = SECOND_NS)
        val result = measureEnergy(plan.copy(syncPattern = true))

        val (before, after) = result.samples.syncPatterns
        val windows = result.samples.windows
        assertTrue(before.edgesNs.last() + SYNC_PULSE_NS <= windows.first().startedNs)
        assertEquals(windows.last().endedNs, after.edgesNs.first())
        for (pattern in listOf(before, after)) {
            // A pulse ends with an iteration, of which six are just longer than two seconds.
            val on = 6 * (SECOND_NS / 3 + 1)
            assertEquals(
                listOf(on, SYNC_PULSE_NS, on, SYNC_PULSE_NS, on),
                pattern.edgesNs.zipWithNext { start, end -> end - start },
            )
        }
    }

    @Test
    fun `a profile leaves the trace and its cost`() {
        val result = run(roots.request().copy(profileIterations = 4, energy = energyPlan())) as RunSuccess

        val file = roots.written("run-1", "trace.bin")
        // Three untimed ones come first.
        assertEquals("7 inferences", file.readText())
        assertEquals(
            Trace(TraceKind.ETDUMP, Roots.sha256(file.readBytes()), 12, listOf(10, 10, 10, 10)),
            result.samples.trace,
        )
        assertEquals(
            listOf(Phase.PROFILE, Phase.ENERGY),
            result.samples.phases
                .map { it.phase }
                .takeLast(2),
        )
        assertEquals(0, engine.open)
        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
    }

    @Test
    fun `an engine that cannot trace says so and the run goes on`() {
        engine = FakeEngine(clock, canTrace = false)

        val result = run(roots.request().copy(profileIterations = 4, energy = energyPlan())) as RunSuccess

        assertEquals("built without tracing", result.samples.profileRefusal)
        assertNull(result.samples.trace)
        assertEquals(3, result.samples.windows.size)
        assertEquals(0, engine.open)
    }

    @Test
    fun `segments are timed one by one in place of a trace`() {
        val segments = listOf(roots.segment("first", 1f, 2f), roots.segment("second", 3f, 4f))
        val seen = mutableListOf<Double>()
        engine.onOutput = { seen += it[0] }

        val request = roots.request().copy(profileIterations = 4, segments = segments, energy = energyPlan())
        val result = run(request) as RunSuccess

        assertEquals(
            listOf(SegmentLatency(0, listOf(10, 10, 10, 10)), SegmentLatency(1, listOf(10, 10, 10, 10))),
            result.samples.segments,
        )
        // Three untimed ones come first, and afterwards the whole runs again.
        val own = seen.dropWhile { it == 2.0 }.takeWhile { it != 2.0 }
        assertEquals(List(7) { 6.0 }, own)
        assertEquals(2.0, seen.last(), 0.0)
        assertNull(result.samples.trace)
        assertNull(result.samples.profileRefusal)
        assertEquals(3, result.samples.windows.size)
        assertEquals(0, engine.open)
        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
    }

    @Test
    fun `a segment that does not load is named`() {
        val segments = listOf(roots.segment("first", 1f, 2f), roots.segment("corrupt", 1f, 2f))

        val result = run(roots.request().copy(profileIterations = 4, segments = segments)) as RunFailure

        assertEquals(FailureCode.LOAD_FAILED, result.code)
        assertEquals(Phase.PROFILE, result.phase)
        assertTrue(result.message, result.message.startsWith("segments[1]: "))
        assertEquals(listOf(0L), result.samples.segments.map { it.segment })
        assertEquals(0, engine.open)
    }

    @Test
    fun `a segment whose file is missing is found before anything is measured`() {
        val segment = roots.segment("first", 1f, 2f)
        roots.input.resolve("artifacts/${segment.artifact.sha256}.onnx").delete()

        val result = run(roots.request().copy(profileIterations = 4, segments = listOf(segment))) as RunFailure

        assertEquals(FailureCode.FILE_MISSING, result.code)
        assertEquals(Phase.VERIFY, result.phase)
    }

    @Test
    fun `every example is evaluated in order and the first inputs come back`() {
        val examples = roots.put(floatArrayOf(1f, 2f, 3f, 4f, 5f, 6f), 3, 2)
        var inferredLast: Double? = null
        engine.onOutput = { inferredLast = it[0] }

        val result = run(roots.request().copy(evaluation = examples, energy = energyPlan())) as RunSuccess

        val file = roots.written("run-1", "outputs.bin")
        val expected = roots.put(floatArrayOf(2f, 4f, 6f, 8f, 10f, 12f), 3, 2)
        assertEquals(expected.sha256, Roots.sha256(file.readBytes()))
        assertEquals(Evaluation(expected, listOf(10, 10, 10)), result.samples.evaluation)
        assertEquals(2.0, inferredLast)
        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
    }

    @Test
    fun `examples that are not there end the run before anything is measured`() {
        val examples = roots.put(floatArrayOf(1f, 2f, 3f, 4f), 2, 2)
        File(roots.input, "artifacts/${examples.sha256}.bin").delete()

        val result = run(roots.request().copy(evaluation = examples))

        assertFails(FailureCode.FILE_MISSING, Phase.VERIFY, examples.sha256, result)
    }

    @Test
    fun `the device stays awake for longer than any wait until the result is there`() {
        val plan = energyPlan().copy(unplugTimeoutNs = 20_000 * SECOND_NS, restNs = 30_000 * SECOND_NS)
        val awakeForNs = ArrayList<Long>()
        engine.onInfer = { awakeForNs += checkNotNull(sleepGuard.awakeForNs) }

        run(roots.request().copy(energy = plan))

        assertTrue(awakeForNs.all { it in 50_000 * SECOND_NS..60_000 * SECOND_NS })
        assertNull(sleepGuard.awakeForNs)
    }

    @Test
    fun `the device may sleep after a run that failed too`() {
        engine.onInfer = { error("kernel panic") }

        run()

        assertNull(sleepGuard.awakeForNs)
    }

    @Test
    fun `a bad request is refused by its field`() {
        roots.request()
        roots.putRequest("run-1", """{"protocol_version": $PROTOCOL_VERSION}""")
        val result = carryOutRun(roots.input, roots.output, "run-1", device()) {}

        assertFails(FailureCode.BAD_REQUEST, Phase.VERIFY, "$.run_id", result)
    }

    @Test
    fun `another protocol version is refused as that`() {
        roots.putRequest("run-1", """{"protocol_version": ${PROTOCOL_VERSION + 1}}""")
        val result = carryOutRun(roots.input, roots.output, "run-1", device()) {}

        assertFails(
            FailureCode.PROTOCOL_VERSION,
            Phase.VERIFY,
            "${PROTOCOL_VERSION + 1} is not $PROTOCOL_VERSION",
            result,
        )
    }

    @Test
    fun `a version that is no number is no other version`() {
        roots.putRequest("run-1", """{"protocol_version": "$PROTOCOL_VERSION"}""")
        val result = carryOutRun(roots.input, roots.output, "run-1", device()) {}

        assertFails(FailureCode.BAD_REQUEST, Phase.VERIFY, "$.protocol_version", result)
    }

    @Test
    fun `a request of another run is refused`() {
        roots.putRequest("run-2", encodeRequest(roots.request()))
        val result = carryOutRun(roots.input, roots.output, "run-2", device()) {}

        assertFails(FailureCode.BAD_REQUEST, Phase.VERIFY, "$.run_id", result)
    }

    @Test
    fun `no request is a missing file`() {
        val result = carryOutRun(roots.input, roots.output, "run-1", device()) {}

        assertFails(FailureCode.FILE_MISSING, Phase.VERIFY, "request.json", result)
    }

    @Test
    fun `what is not a run id never becomes a path`() {
        for (runId in listOf("", "..", "../x", "a/b", "A", "a\n", "a".repeat(65))) {
            assertThrows(IllegalArgumentException::class.java) {
                carryOutRun(roots.input, roots.output, runId, device()) {}
            }
        }
        assertFalse(roots.output.exists())
    }

    @Test
    fun `a missing artifact and a missing tensor are named`() {
        val request = roots.request()
        File(roots.input, "artifacts/${request.inputs[0].sha256}.bin").delete()

        assertFails(FailureCode.FILE_MISSING, Phase.VERIFY, request.inputs[0].sha256, run(request))
    }

    @Test
    fun `an artifact whose bytes are not its name is corrupt`() {
        val request = roots.request()
        File(roots.input, "artifacts/${request.artifact.sha256}.onnx").writeText("Program")

        assertFails(FailureCode.FILE_CORRUPT, Phase.VERIFY, "hashes to", run(request))
    }

    @Test
    fun `a tensor that does not fill its shape is a bad request`() {
        val request = roots.request()

        val result = run(request.copy(inputs = request.inputs.map { it.copy(shape = listOf(3, 1 shl 40)) }))

        assertFails(FailureCode.BAD_REQUEST, Phase.VERIFY, "float32", result)
    }

    @Test
    fun `a link that leads out of the folder is refused`() {
        val request = roots.request()
        val link = File(roots.input, "artifacts/${request.artifact.sha256}.onnx")
        val secret = folder.newFile("secret").also { it.writeText("program") }
        link.delete()
        Files.createSymbolicLink(link.toPath(), secret.toPath())

        assertFails(FailureCode.FILE_MISSING, Phase.VERIFY, "leads out", run(request))
    }

    @Test
    fun `a format without an engine is a failure that says which`() {
        val request = roots.request(format = Format.TFLITE)
        assertFails(FailureCode.ENGINE_MISSING, Phase.VERIFY, "none for TFLITE", run(request))
    }

    @Test
    fun `an artifact that the engine refuses fails the load with its words`() {
        val result = run(roots.request("corrupt".toByteArray()))

        assertFails(FailureCode.LOAD_FAILED, Phase.LOAD, "no such opcode", result)
    }

    @Test
    fun `an engine that throws in mid-run keeps what was measured`() {
        engine.onInfer = { if (it == 7) error("kernel panic") }

        val failure = assertFails(FailureCode.INFERENCE_FAILED, Phase.ITERATE, "kernel panic", run())

        assertEquals(3, failure.samples.loadNs.size)
        assertEquals(4, failure.samples.warmupNs.size)
        assertEquals(emptyList<Long>(), failure.samples.iterationNs)
        assertNull(failure.samples.endedNs)
    }

    @Test
    fun `running out of memory is told apart`() {
        engine.onInfer = { throw OutOfMemoryError("4 GiB") }

        assertFails(FailureCode.OUT_OF_MEMORY, Phase.WARMUP, "4 GiB", run())
    }

    @Test
    fun `a native library that does not link is a missing engine`() {
        val broken =
            object : Engine by engine {
                override val version: String get() = throw UnsatisfiedLinkError("libfake.so")
            }
        val working = device()
        val device =
            Device(
                working.companion,
                working.version,
                working.abi,
                working.pid,
                working.processors,
                false,
                { EngineChoice.Found(broken) },
                clock,
                battery,
                rails,
                FakeMemory,
                working.thermal,
                null,
            )

        assertFails(FailureCode.ENGINE_MISSING, Phase.VERIFY, "libfake.so", run(device = device))
    }

    @Test
    fun `a full disk keeps what was measured before`() {
        roots.put(roots.request())
        val directory = RunDirectory(roots.output, "run-1")

        val result = Run("run-1", InputFiles(roots.input), device(), FullDisk(directory, 9), {}).start()

        val failure = assertFails(FailureCode.STORAGE_FULL, Phase.ITERATE, "No space left", result)
        assertEquals(listOf(50L, 50, 50), failure.samples.loadNs)
        assertEquals(9, roots.progress("run-1").readLines().size)
    }

    @Test
    fun `a disk that is full from the start is a failure even though nothing can be stored`() {
        roots.put(roots.request())
        roots.progress("run-1").parentFile.mkdirs()
        Files.createSymbolicLink(File(roots.output, "runs/run-1/result.json.part").toPath(), File("/dev/full").toPath())

        val result = carryOutRun(roots.input, roots.output, "run-1", device()) {} as RunFailure

        assertEquals(FailureCode.STORAGE_FULL, result.code)
        assertEquals(5, result.samples.iterationNs.size)
        assertFalse(roots.result("run-1").exists())
    }

    @Test
    fun `a run whose process was killed ends as interrupted with what was measured`() {
        roots.put(roots.request())
        val killed = KilledRecord(RunDirectory(roots.output, "run-1"), 10)
        assertThrows(Killed::class.java) { Run("run-1", InputFiles(roots.input), device(), killed, {}).start() }
        roots.progress("run-1").appendText("""{"type":"iterations","latency_ns":[10,1""")
        assertFalse(roots.result("run-1").exists())

        engine = FakeEngine(clock)
        val failure = assertFails(FailureCode.INTERRUPTED, Phase.ITERATE, "ended in the middle", run())

        assertEquals(0, engine.inferences)
        assertEquals(listOf(50L, 50, 50), failure.samples.loadNs)
        assertEquals(4, failure.samples.warmupNs.size)
        assertEquals(failure, run())
    }

    private fun eventsOf(runId: String) = roots.progress(runId).readLines().map { decodeEvent(it.toByteArray()) }

    @Test
    fun `the first event says which process carries the run`() {
        takeRun(roots.output, "run-1", PID)
        assertEquals(encodeEvent(RunTaken(PID)) + "\n", roots.progress("run-1").readText())

        run()

        val events = eventsOf("run-1")
        assertEquals(RunTaken(PID), events.first())
        assertEquals(PhaseStarted(Phase.VERIFY, 0), events[1])
        assertEquals(1, events.count { it is RunTaken })
    }

    @Test
    fun `a run that another process took and did not begin is begun`() {
        takeRun(roots.output, "run-1", PID + 1)

        assertTrue(run() is RunSuccess)

        assertEquals(RunTaken(PID), eventsOf("run-1").first())
    }

    @Test
    fun `a run that has begun or is over is not taken again`() {
        val result = run()
        takeRun(roots.output, "run-1", PID + 1)
        roots.result("run-1").delete()
        takeRun(roots.output, "run-1", PID + 1)

        assertEquals(result, run())
        assertEquals(RunTaken(PID), eventsOf("run-1").first())
    }

    @Test
    fun `a run killed between its last event and its result is a success`() {
        val result = run()
        roots.result("run-1").delete()

        assertEquals(result, run())
    }

    @Test
    fun `a result that cannot be read is made anew of the events`() {
        val result = run()
        roots.result("run-1").writeText("{}")

        assertEquals(result, run())
        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
    }

    @Test
    fun `a run that is over is not done again`() {
        val result = run()
        val inferences = engine.inferences

        assertEquals(result, run())
        assertEquals(inferences, engine.inferences)
    }

    private companion object {
        const val PID = 4711L
        const val SECOND_NS = 1_000_000_000L

        /** Inferences of a request that asks for neither profile nor evaluation. */
        const val BEFORE_ENERGY = 12
    }
}
