package dev.mobilekit.bench.jvm

import dev.mobilekit.bench.core.BatterySource
import dev.mobilekit.bench.core.FailureCode
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.Roots
import dev.mobilekit.bench.core.RunFailure
import dev.mobilekit.bench.core.RunRequest
import dev.mobilekit.bench.core.RunSuccess
import dev.mobilekit.bench.core.TraceKind
import dev.mobilekit.bench.core.decodeResult
import dev.mobilekit.bench.core.energyPlan
import dev.mobilekit.bench.core.request
import dev.mobilekit.bench.onnx.OnnxModels
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.io.FileOutputStream

class MainTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val roots by lazy { Roots(folder.root) }

    private fun realRequest(): RunRequest =
        roots.request(
            OnnxModels.dense(2, 1, floatArrayOf(1f, 2f, 3f, -4f)),
            input = roots.put(floatArrayOf(10f, 100f), 1, 2),
            output = roots.put(floatArrayOf(310f, 0f), 1, 2),
        )

    private fun options(vararg more: String) =
        checkNotNull(
            parse(
                arrayOf(
                    "--input-root",
                    roots.input.path,
                    "--output-root",
                    roots.output.path,
                    "--run-id",
                    "run-1",
                    *more,
                ),
            ),
        )

    @Test
    fun `a real model runs through ONNX Runtime to a result on the disk`() {
        roots.put(realRequest())

        val result = run(options()) as RunSuccess

        assertEquals(result, decodeResult(roots.result("run-1").readBytes()))
        assertEquals("onnxruntime", result.samples.companion?.engine)
        assertEquals("mobilekit jvm", result.samples.companion?.name)
        assertNull(result.samples.companion?.battery)
        assertEquals(3, result.samples.loadNs.size)
        assertTrue(result.samples.iterationNs.size >= 5)
        assertEquals(true, result.samples.outputCheck?.matches)
        assertEquals(3, result.samples.memory.size)
    }

    @Test
    fun `a real runtime is traced and evaluates examples`() {
        val examples = roots.put(floatArrayOf(10f, 100f, 0f, 1f, 1f, 0f), 3, 1, 2)
        roots.put(realRequest().copy(profileIterations = 4, evaluation = examples))

        val samples = (run(options()) as RunSuccess).samples

        val trace = checkNotNull(samples.trace)
        val file = roots.written("run-1", "trace.bin")
        assertEquals(TraceKind.ONNXRUNTIME, trace.kind)
        assertEquals(file.length() to Roots.sha256(file.readBytes()), trace.sizeBytes to trace.sha256)
        assertEquals(4, trace.latencyNs.size)
        // One for each of seven iterations: ONNX Runtime's own name for the time of a kernel.
        assertEquals(7, Regex("MatMul_?\\w*_kernel_time").findAll(file.readText()).count())
        val outputs = checkNotNull(samples.evaluation).outputs
        assertEquals(roots.put(floatArrayOf(310f, 0f, 3f, 0f, 1f, 2f), 3, 1, 2), outputs)
        assertEquals(outputs.sha256, Roots.sha256(roots.written("run-1", "outputs.bin").readBytes()))
    }

    @Test
    fun `no battery refuses energy and nothing else`() {
        roots.put(realRequest().copy(energy = energyPlan()))

        val result = run(options()) as RunSuccess

        assertNotNull(result.samples.energyRefusal)
        assertTrue(result.samples.windows.isEmpty())
    }

    @Test
    fun `a battery in a file is read anew and called simulated`() {
        val battery = folder.newFile("battery.json")
        battery.writeText(
            """{"at_ns":0,"charge_counter_uah":5,"current_now_ua":-7,"energy_counter_nwh":null,"voltage_mv":3700,""" +
                """"temperature_decicelsius":300,"level_percent":40,"plugged":false}""",
        )
        roots.put(realRequest().copy(energy = energyPlan(1, 30_000_000, 30_000_000, 10_000_000)))

        val result = run(options("--battery", battery.path)) as RunSuccess

        assertEquals(BatterySource.SIMULATED, result.samples.companion?.battery)
        assertEquals(3, result.samples.windows.size)
        assertTrue(result.samples.windows[1].iterations > 0)
        assertTrue(
            result.samples.windows
                .flatMap { it.battery }
                .all { it.currentNowUa == -7L },
        )
    }

    @Test
    fun `a run that comes after a file is taken at once and begins at its end`() {
        roots.put(realRequest())
        val before = File(folder.root, "before")
        assertEquals(0, ProcessBuilder("mkfifo", before.path).start().waitFor())
        val running = Thread { run(options("--after", before.path)) }

        running.start()
        FileOutputStream(before).use {
            while (!roots.progress("run-1").exists()) Thread.sleep(5)
            Thread.sleep(100)
            val line = """{"type":"taken","pid":${ProcessHandle.current().pid()}}"""
            assertEquals(listOf(line), roots.progress("run-1").readLines())
        }
        running.join()

        assertTrue(decodeResult(roots.result("run-1").readBytes()) is RunSuccess)
    }

    @Test
    fun `an engine whose native library is not here is missing`() {
        roots.put(roots.request(format = Format.PTE))

        val result = run(options()) as RunFailure

        assertEquals(FailureCode.ENGINE_MISSING, result.code)
    }

    @Test
    fun `a result has the name that the program was given`() {
        roots.put(realRequest())

        val result = run(options("--name", "mobilekit native")) as RunSuccess

        assertEquals("mobilekit native", result.samples.companion?.name)
    }

    @Test
    fun `a command line that is wrong is none`() {
        assertNull(parse(arrayOf()))
        assertNull(parse(arrayOf("--run-id")))
        assertNull(parse(arrayOf("--input-root", "a", "--output-root", "b", "--run-id", "../c")))
        assertNull(parse(arrayOf("--input-root", "a", "--output-root", "b", "--run-id", "c", "--fast", "yes")))
    }
}
