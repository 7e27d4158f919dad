package dev.mobilekit.bench.onnx

import ai.onnxruntime.OrtException
import dev.mobilekit.bench.core.DType
import dev.mobilekit.bench.core.Tensor
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

class OnnxEngineTest {
    @get:Rule
    val folder = TemporaryFolder()

    private fun load(bytes: ByteArray) =
        OnnxEngine().load(folder.newFile("model.onnx").also { it.writeBytes(bytes) }, "forward", 1)

    private fun row(vararg values: Float): Tensor {
        val data = ByteBuffer.allocateDirect(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
        values.forEach(data::putFloat)
        data.flip()
        return Tensor(DType.FLOAT32, listOf(1, values.size.toLong()), data)
    }

    @Test
    fun `a real model computes what it says`() {
        load(OnnxModels.dense(2, 1, floatArrayOf(1f, 2f, 3f, -4f))).use { program ->
            program.bind(listOf(row(10f, 100f)))
            repeat(3) { program.infer() }

            val output = program.outputs().single()

            assertEquals(listOf(1L, 2L), output.shape)
            assertEquals(listOf(310.0, 0.0), listOf(output[0], output[1]))
        }
    }

    @Test
    fun `the inputs of the last binding count`() {
        load(OnnxModels.dense(2, 1, floatArrayOf(1f, 2f, 3f, -4f))).use { program ->
            program.bind(listOf(row(10f, 100f)))
            program.infer()
            program.bind(listOf(row(1f, 0f)))
            program.infer()

            val output = program.outputs().single()

            assertEquals(listOf(1.0, 2.0), listOf(output[0], output[1]))
        }
    }

    @Test
    fun `a trace tells of every operator of every inference and leaves nothing else behind`() {
        val before = temporaryTraces()
        val model = folder.newFile("model.onnx").also { it.writeBytes(OnnxModels.dense(2, 3, FloatArray(4))) }
        val target = folder.newFile("trace.bin")
        OnnxEngine().loadTraced(model, "forward", 1).use { program ->
            program.bind(listOf(row(1f, 2f)))
            repeat(5) { program.infer() }
            program.writeTrace(target)
        }

        val trace = target.readText()
        assertTrue(trace, trace.trim().startsWith("[") && trace.trim().endsWith("]"))
        // Three layers, whose operators may be fused into one kernel each or not at all.
        assertEquals(15, Regex("MatMul\\w*_kernel_time").findAll(trace).count())
        assertEquals(before, temporaryTraces())
    }

    @Test
    fun `a traced program that is given up leaves nothing behind`() {
        val before = temporaryTraces()
        val model = folder.newFile("model.onnx").also { it.writeBytes(OnnxModels.dense(2, 1, FloatArray(4))) }
        OnnxEngine().loadTraced(model, "forward", 1).close()
        val broken = folder.newFile("broken.onnx").also { it.writeText("not a model") }
        assertThrows(OrtException::class.java) { OnnxEngine().loadTraced(broken, "forward", 1) }

        assertEquals(before, temporaryTraces())
    }

    private fun temporaryTraces() =
        File(System.getProperty("java.io.tmpdir"))
            .list()
            .orEmpty()
            .filter { "mobilekit-trace" in it }
            .toSet()

    @Test
    fun `another number of inputs is refused`() {
        load(OnnxModels.dense(2, 1, FloatArray(4))).use { program ->
            assertThrows(IllegalArgumentException::class.java) { program.bind(emptyList()) }
        }
    }

    @Test
    fun `another shape is refused by the engine`() {
        load(OnnxModels.dense(2, 1, FloatArray(4))).use { program ->
            program.bind(listOf(row(1f, 2f, 3f)))
            assertThrows(OrtException::class.java) { program.infer() }
        }
    }

    @Test
    fun `what is not a model is refused in the engine's words`() {
        val error = assertThrows(OrtException::class.java) { load("not a model".toByteArray()) }

        assertTrue(error.message.orEmpty().isNotEmpty())
    }
}
