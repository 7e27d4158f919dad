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
