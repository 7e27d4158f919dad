package dev.mobilekit.bench.onnx

import com.sun.management.ThreadMXBean
import dev.mobilekit.bench.core.DType
import dev.mobilekit.bench.core.SystemClock
import dev.mobilekit.bench.core.Tensor
import dev.mobilekit.bench.core.timeInferences
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer

/**
 * What the core's loop adds to an inference: it against a bare loop over the same session, in turns,
 * so that a change of the processor's clock falls on both.
 *
 * Not among the tests, as it wants a quiet computer: `make benchmark` runs it.
 */
class LoopBenchmark {
    @get:Rule
    val folder = TemporaryFolder()

    private val thread = ManagementFactory.getThreadMXBean() as ThreadMXBean
    private val clock = SystemClock(System::nanoTime)

    private class Round(
        val medianNs: Double,
        val bytesPerInference: Double,
    )

    @Test
    fun `the core's loop costs less than one percent and allocates nothing of its own`() {
        for ((layers, iterations) in listOf(20 to 2000, 200 to 200)) compare(layers, iterations)
    }

    private fun compare(
        layers: Int,
        iterations: Int,
    ) {
        val model = folder.newFile("dense-$layers.onnx")
        model.writeBytes(OnnxModels.dense(SIZE, layers, FloatArray(SIZE * SIZE) { 1e-3f * (it % 7 - 3) }))
        val program = OnnxEngine().load(model, "forward", 1) as OnnxProgram
        program.use {
            program.bind(listOf(Tensor(DType.FLOAT32, listOf(1, SIZE.toLong()), ByteBuffer.allocateDirect(4 * SIZE))))
            val latencyNs = LongArray(iterations)
            repeat(5) {
                bare(program, latencyNs)
                core(program, latencyNs)
            }
            val rounds =
                List(ROUNDS) { round ->
                    if (round % 2 == 0) {
                        val first = bare(program, latencyNs)
                        first to core(program, latencyNs)
                    } else {
                        val first = core(program, latencyNs)
                        bare(program, latencyNs) to first
                    }
                }
            val bareNs = median(rounds.map { it.first.medianNs })
            val coreNs = median(rounds.map { it.second.medianNs })
            val ratio = median(rounds.map { it.second.medianNs / it.first.medianNs })
            val bareBytes = median(rounds.map { it.first.bytesPerInference })
            val coreBytes = median(rounds.map { it.second.bytesPerInference })
            println(
                "%d layers: bare %.0f ns, core %.0f ns, ratio %.4f (%d rounds of %d); allocated per inference: bare %.0f B, core %.0f B"
                    .format(layers, bareNs, coreNs, ratio, ROUNDS, iterations, bareBytes, coreBytes),
            )
            assertTrue("the core's median is $ratio of the bare one", ratio < 1.01)
            assertEquals(bareBytes, coreBytes, 0.0)
        }
    }

    private fun bare(
        program: OnnxProgram,
        latencyNs: LongArray,
    ): Round {
        val session = program.session
        val inputs = program.inputs
        return round(latencyNs) {
            for (index in latencyNs.indices) {
                val startNs = System.nanoTime()
                session.run(inputs).close()
                latencyNs[index] = System.nanoTime() - startNs
            }
        }
    }

    private fun core(
        program: OnnxProgram,
        latencyNs: LongArray,
    ): Round =
        round(latencyNs) {
            timeInferences(program, clock, latencyNs, latencyNs.size.toLong(), 1, Long.MAX_VALUE)
        }

    private inline fun round(
        latencyNs: LongArray,
        loop: () -> Unit,
    ): Round {
        val beforeBytes = thread.currentThreadAllocatedBytes
        loop()
        val bytes = thread.currentThreadAllocatedBytes - beforeBytes
        return Round(median(latencyNs.map(Long::toDouble)), bytes.toDouble() / latencyNs.size)
    }

    private fun median(values: List<Double>): Double =
        values.sorted().let {
            (it[(it.size - 1) / 2] + it[it.size / 2]) /
                2
        }

    private companion object {
        const val SIZE = 256
        const val ROUNDS = 41
    }
}
