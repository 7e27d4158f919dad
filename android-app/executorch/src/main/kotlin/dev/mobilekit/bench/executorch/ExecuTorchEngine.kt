package dev.mobilekit.bench.executorch

import dev.mobilekit.bench.core.DType
import dev.mobilekit.bench.core.Engine
import dev.mobilekit.bench.core.EngineProvider
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.Program
import dev.mobilekit.bench.core.Tensor
import dev.mobilekit.bench.core.TraceKind
import dev.mobilekit.bench.core.TracedProgram
import dev.mobilekit.bench.core.TracingUnavailableException
import org.pytorch.executorch.EValue
import org.pytorch.executorch.ExecutorchRuntimeException
import org.pytorch.executorch.Module
import org.pytorch.executorch.training.TrainingModule
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.pytorch.executorch.DType as ExecuTorchDType
import org.pytorch.executorch.Tensor as ExecuTorchTensor

class ExecuTorchProvider : EngineProvider {
    override val format = Format.PTE
    override val title = "ExecuTorch"
    override val minimumApi = 26
    override val abis = setOf("arm64-v8a", "x86_64")

    /** Compiled in without a look at the processor: ARMv8.0's die of it, with SIGILL. */
    override val armFeatures = setOf("atomics")

    override fun make(vulkanObstacle: String?): Engine = ExecuTorchEngine(vulkanObstacle)
}

/** ExecuTorch with the delegates that are built into its library, XNNPACK and Vulkan, and portable kernels. */
class ExecuTorchEngine(
    private val vulkanObstacle: String?,
) : Engine {
    override val name = "executorch"

    /** The library does not tell its version, so this is the build's. */
    override val version: String = BuiltFrom.EXECUTORCH

    init {
        // Makes the class link its native library now, so that this is no part of the first load.
        Class.forName("org.pytorch.executorch.Module")
    }

    override fun load(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): TracedProgram {
        if (weights != null) return loadApart(artifact, method, threads, weights)
        val module = Module.load(artifact.path, Module.LOAD_MODE_MMAP, threads)
        try {
            refuseVulkan(module, method)
            module.loadMethod(method)
        } catch (problem: Exception) {
            module.close()
            throw problem
        }
        return WholeProgram(module, method)
    }

    /** Of the library's classes [TrainingModule] alone takes weights apart; it is told no number of threads. */
    private fun loadApart(
        artifact: File,
        method: String,
        threads: Int,
        weights: File,
    ): TracedProgram {
        val whole = Module.load(artifact.path, Module.LOAD_MODE_MMAP, threads) // which sets it for the process
        try {
            require("$GRADIENTS_INDEX$method" in whole.methods) { "no method $method takes weights apart" }
            refuseVulkan(whole, method)
        } finally {
            whole.close()
        }
        val module = TrainingModule.load(artifact.path, weights.path)
        try {
            loadMethod(module, method)
        } catch (problem: Exception) {
            module.close()
            throw problem
        }
        return ApartProgram(module, method)
    }

    /** No call does this alone: one without inputs loads the method, and then fails for want of them. */
    private fun loadMethod(
        module: TrainingModule,
        method: String,
    ) {
        try {
            module.executeForwardBackward(method)
        } catch (problem: ExecutorchRuntimeException) {
            if (problem.errorCode != ExecutorchRuntimeException.INVALID_ARGUMENT) throw problem
        }
    }

    /** Without a device for Vulkan the library may end the process where it loads the method. */
    private fun refuseVulkan(
        module: Module,
        method: String,
    ) {
        if (vulkanObstacle != null && VULKAN in module.getMethodMetadata(method).backends) {
            throw UnsupportedOperationException("the program is for Vulkan, and $vulkanObstacle")
        }
    }

    /** A library that can record always does; one that cannot says so when the trace is asked for. */
    override fun loadTraced(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): TracedProgram = load(artifact, method, threads, weights)
}

private const val VULKAN = "VulkanBackend"

/** A program that can be run with weights apart has beside each method one of this name and its own. */
private const val GRADIENTS_INDEX = "__et_training_gradients_index_"

private abstract class ExecuTorchProgram : TracedProgram {
    override val traceKind = TraceKind.ETDUMP
    private var inputs = emptyArray<EValue>()
    private var outputs = emptyArray<EValue>()

    protected abstract fun execute(inputs: Array<EValue>): Array<EValue>

    override fun bind(inputs: List<Tensor>) {
        this.inputs = Array(inputs.size) { EValue.from(inputs[it].toExecuTorch()) }
    }

    override fun infer() {
        outputs = execute(inputs)
    }

    override fun outputs(): List<Tensor> = outputs.map { it.toTensor().toTensor() }
}

private class WholeProgram(
    private val module: Module,
    private val method: String,
) : ExecuTorchProgram() {
    override fun execute(inputs: Array<EValue>): Array<EValue> = module.execute(method, *inputs)

    override fun writeTrace(target: File) {
        if (!module.etdump(target.path)) {
            throw TracingUnavailableException(
                "this app's ExecuTorch library (${BuiltFrom.EXECUTORCH}) was built without its event tracer",
            )
        }
    }

    override fun close() = module.close()
}

/** Without gradients, after which the program is made to have none, a step of training is an inference. */
private class ApartProgram(
    private val module: TrainingModule,
    private val method: String,
) : ExecuTorchProgram() {
    override fun execute(inputs: Array<EValue>): Array<EValue> = module.executeForwardBackward(method, *inputs)

    override fun writeTrace(target: File): Unit =
        throw TracingUnavailableException("ExecuTorch records no operators of a program whose weights are apart")

    override fun close() = module.close()
}

private fun Tensor.toExecuTorch(): ExecuTorchTensor {
    val sizes = shape.toLongArray()
    val bytes = data.duplicate().order(ByteOrder.nativeOrder())
    return when (dtype) {
        DType.FLOAT32 -> ExecuTorchTensor.fromBlob(bytes.asFloatBuffer(), sizes)
        DType.INT64 -> ExecuTorchTensor.fromBlob(bytes.asLongBuffer(), sizes)
        DType.INT32 -> ExecuTorchTensor.fromBlob(bytes.asIntBuffer(), sizes)
        DType.UINT8 -> ExecuTorchTensor.fromBlobUnsigned(bytes, sizes)
        DType.INT8 -> ExecuTorchTensor.fromBlob(bytes, sizes)
        DType.BOOL -> throw IllegalArgumentException("ExecuTorch's Android interface takes no boolean tensors")
    }
}

private fun ExecuTorchTensor.toTensor(): Tensor {
    val elements = numel().toInt()
    val (type, bytes) =
        when (dtype()) {
            ExecuTorchDType.FLOAT -> DType.FLOAT32 to bytes(4 * elements) { copyDataInto(it.asFloatBuffer()) }
            ExecuTorchDType.INT64 -> DType.INT64 to bytes(8 * elements) { copyDataInto(it.asLongBuffer()) }
            ExecuTorchDType.INT32 -> DType.INT32 to bytes(4 * elements) { copyDataInto(it.asIntBuffer()) }
            ExecuTorchDType.UINT8 -> DType.UINT8 to bytes(elements) { copyDataIntoUnsigned(it.duplicate()) }
            ExecuTorchDType.INT8 -> DType.INT8 to bytes(elements) { copyDataInto(it.duplicate()) }
            else -> throw IllegalArgumentException("an output of type ${dtype()}")
        }
    return Tensor(type, shape().toList(), bytes)
}

private fun bytes(
    count: Int,
    fill: (ByteBuffer) -> Unit,
): ByteBuffer = ByteBuffer.allocate(count).order(ByteOrder.nativeOrder()).also(fill)
