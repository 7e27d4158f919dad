package dev.mobilekit.bench.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.io.IOException

/** However a run ends early: a result is left, with the code that the shared vectors give it. */
class FailuresTest {
    @get:Rule
    val folder = TemporaryFolder()

    private class EngineRefusal : Exception("not a program")

    private class Case(
        val call: String,
        val phase: Phase,
        val failure: String,
        val code: FailureCode,
    ) {
        override fun toString() = "$call in $phase: $failure"
    }

    private fun problem(failure: String): Throwable =
        when (failure) {
            "refused" -> EngineRefusal()
            "unexpected" -> IllegalArgumentException("no such opcode")
            "assertion" -> AssertionError("a tensor without elements")
            "io" -> IOException("read failed: EIO (I/O error)")
            "library_missing" -> UnsatisfiedLinkError("libengine.so")
            "out_of_memory" -> OutOfMemoryError("4 GiB")
            "storage_full" -> IOException("write failed: ENOSPC (No space left on device)")
            else -> error("no failure '$failure' is known here")
        }

    private fun cases(): List<Case> =
        (parseJson(File(Vectors.folder, "failures.json").readBytes()) as Json.Array).items.flatMap { vector ->
            val fields = (vector as Json.Object).fields
            (fields.getValue("phases") as Json.Array).items.flatMap { phase ->
                (fields.getValue("codes") as Json.Object).fields.map { (failure, code) ->
                    Case(
                        (fields.getValue("call") as Json.Text).value,
                        Phase.valueOf((phase as Json.Text).value.uppercase()),
                        failure,
                        FailureCode.valueOf((code as Json.Text).value.uppercase()),
                    )
                }
            }
        }

    /** A run through all phases there are, which [before] is told of. */
    private fun run(before: (call: String, phase: Phase?) -> Unit): Pair<RunResult, Roots> {
        val clock = FakeClock()
        val roots = Roots(folder.newFolder())
        var phase: Phase? = null
        val say: (String) -> Unit = { before(it, phase) }
        val engine = FakeEngine(clock, before = say)
        val device =
            Device(
                companion = "test",
                version = "9",
                abi = "x86_64",
                pid = 4711,
                processors = 7,
                debuggable = false,
                engines = {
                    say("make_engine")
                    EngineChoice.Found(engine)
                },
                clock = clock,
                battery = FakeBattery(clock, say),
                rails = null,
                memory = FakeMemory,
                thermal = { ThermalSample(it, 0, null, emptyList()) },
                sleepGuard = null,
            )
        roots.put(
            roots.request().copy(
                choice = MethodChoice(1, 1, listOf(Candidate("other", emptyList()))),
                coldLoads = 1,
                profileIterations = 1,
                evaluation = roots.put(floatArrayOf(1f, 2f, 3f, 4f), 2, 2),
                energy = energyPlan(),
            ),
        )
        val result =
            RunDirectory(roots.output, "run-1").use { directory ->
                val record =
                    object : RunRecord by directory {
                        override fun append(event: ProgressEvent) {
                            directory.append(event)
                            if (event is PhaseStarted) {
                                phase = event.phase
                                say("record")
                            }
                        }
                    }
                Run("run-1", InputFiles(roots.input), device, record) {}.start()
            }
        assertEquals("programs left open", 0, engine.open)
        return result to roots
    }

    @Test
    fun `every failure leaves its result`() {
        for (case in cases()) {
            val (result, roots) =
                run { call, phase -> if (call == case.call && phase == case.phase) throw problem(case.failure) }

            assertTrue("$case", result is RunFailure)
            result as RunFailure
            assertEquals("$case", case.phase to case.code, result.phase to result.code)
            assertTrue("$case", result.message.isNotEmpty())
            assertEquals("$case", result, decodeResult(roots.result("run-1").readBytes()))
        }
    }

    @Test
    fun `a message without an end is cut`() {
        val (result, roots) =
            run { call, phase -> if (call == "infer" && phase == Phase.ITERATE) error("why ".repeat(10_000)) }

        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
        val message = (result as RunFailure).message
        assertTrue(message, message.endsWith(" ... (the beginning of 40033 characters)"))
        assertTrue(result.samples.loadNs.isNotEmpty())
    }

    @Test
    fun `without a failure the same run succeeds`() {
        val (result, _) = run { _, _ -> }

        assertTrue(result is RunSuccess)
    }
}
