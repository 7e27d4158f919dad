package dev.mobilekit.bench.litert

import dev.mobilekit.bench.core.DType
import dev.mobilekit.bench.core.Engine
import dev.mobilekit.bench.core.EngineProvider
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.Program
import dev.mobilekit.bench.core.Tensor
import dev.mobilekit.bench.core.TracedProgram
import dev.mobilekit.bench.core.TracingUnavailableException
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.TensorFlowLite
import java.io.File
import java.nio.ByteBuffer

class LiteRtProvider : EngineProvider {
    override val format = Format.TFLITE
    override val title = "LiteRT"
    override val minimumApi = 19
    override val abis = setOf("arm64-v8a", "armeabi-v7a", "x86", "x86_64")

    override fun make(vulkanObstacle: String?): Engine = LiteRtEngine()
}

/** LiteRT (TensorFlow Lite) on the CPU with XNNPACK. */
class LiteRtEngine : Engine {
    override val name = "litert"
    override val version: String = TensorFlowLite.runtimeVersion()

    /** The default signature is run, whatever its name: [method] is not looked at. */
    override fun load(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): Program {
        val options = Interpreter.Options().setNumThreads(threads).setUseXNNPACK(true)
        return LiteRtProgram(Interpreter(artifact, options).also(Interpreter::allocateTensors))
    }

    override fun loadTraced(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): TracedProgram =
        throw TracingUnavailableException("LiteRT's interface for Android does not give its profile of the operators")
}

private class LiteRtProgram(
    private val interpreter: Interpreter,
) : Program {
    private var inputs = emptyArray<Any>()

    // Outputs stay in the interpreter: nothing is copied out of it while it is timed.
    private val outputs = emptyMap<Int, Any>()

    override fun bind(inputs: List<Tensor>) {
        require(interpreter.inputTensorCount == inputs.size) {
            "${inputs.size} inputs for ${interpreter.inputTensorCount}"
        }
        inputs.forEachIndexed { index, tensor ->
            val wanted = interpreter.getInputTensor(index)
            require(wanted.dataType() == tensor.dtype.toLiteRt() && wanted.shape().map(Int::toLong) == tensor.shape) {
                "input $index is ${wanted.dataType()}${wanted.shape().toList()}, not ${tensor.dtype}${tensor.shape}"
            }
        }
        this.inputs = Array(inputs.size) { inputs[it].data }
    }

    override fun infer() {
        interpreter.runForMultipleInputsOutputs(inputs, outputs)
    }

    override fun outputs(): List<Tensor> =
        List(interpreter.outputTensorCount) { index ->
            val output = interpreter.getOutputTensor(index)
            val dtype = DType.entries.find { it.toLiteRt() == output.dataType() }
            val copy = ByteBuffer.allocate(output.numBytes()).also { it.duplicate().put(output.asReadOnlyBuffer()) }
            Tensor(
                requireNotNull(dtype) { "an output of type ${output.dataType()}" },
                output.shape().map(Int::toLong),
                copy,
            )
        }

    override fun close() = interpreter.close()
}

private fun DType.toLiteRt(): DataType =
    when (this) {
        DType.FLOAT32 -> DataType.FLOAT32
        DType.INT64 -> DataType.INT64
        DType.INT32 -> DataType.INT32
        DType.UINT8 -> DataType.UINT8
        DType.INT8 -> DataType.INT8
        DType.BOOL -> DataType.BOOL
    }
