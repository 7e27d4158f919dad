package dev.mobilekit.bench.onnx

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import dev.mobilekit.bench.core.DType
import dev.mobilekit.bench.core.Engine
import dev.mobilekit.bench.core.EngineProvider
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.Program
import dev.mobilekit.bench.core.Tensor
import dev.mobilekit.bench.core.TraceKind
import dev.mobilekit.bench.core.TracedProgram
import java.io.File

class OnnxProvider : EngineProvider {
    override val format = Format.ONNX
    override val title = "ONNX Runtime"
    override val minimumApi = 24
    override val abis = setOf("arm64-v8a", "armeabi-v7a", "x86", "x86_64")

    override fun make(vulkanObstacle: String?): Engine = OnnxEngine()
}

/**
 * On x86 without VNNI, which emulators may be: sums of two products of eight bits would else be cut off at 16 bits.
 * Processors of phones do not read it.
 */
private const val EXACT_PRODUCTS = "session.x64quantprecision"

/** ONNX Runtime on the CPU. */
class OnnxEngine : Engine {
    private val environment = OrtEnvironment.getEnvironment().also { it.setTelemetry(false) }

    override val name = "onnxruntime"
    override val version: String = environment.version

    /** An ONNX file has one graph and no methods: [method] is not looked at. */
    override fun load(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): Program = OnnxProgram(environment, open(artifact, threads) {})

    override fun loadTraced(
        artifact: File,
        method: String,
        threads: Int,
        weights: File?,
    ): TracedProgram {
        // ONNX Runtime appends the time to this name. That a file has it keeps others from taking it.
        val name = File.createTempFile("mobilekit-trace", "")
        try {
            return TracedOnnxProgram(environment, open(artifact, threads) { it.enableProfiling(name.path) }, name)
        } catch (problem: OrtException) {
            deleteTraces(name)
            throw problem
        }
    }

    private fun open(
        artifact: File,
        threads: Int,
        set: (OrtSession.SessionOptions) -> Unit,
    ): OrtSession =
        OrtSession.SessionOptions().use { options ->
            options.setIntraOpNumThreads(threads)
            options.addConfigEntry(EXACT_PRODUCTS, "1")
            set(options)
            environment.createSession(artifact.path, options)
        }
}

/** Records ONNX Runtime's profile: JSON of what each operator took, in microseconds. */
internal class TracedOnnxProgram(
    environment: OrtEnvironment,
    session: OrtSession,
    private val name: File,
) : OnnxProgram(environment, session),
    TracedProgram {
    override val traceKind = TraceKind.ONNXRUNTIME

    override fun writeTrace(target: File) {
        File(session.endProfiling()).copyTo(target, overwrite = true)
    }

    override fun close() {
        super.close()
        deleteTraces(name)
    }
}

private fun deleteTraces(name: File) =
    name.parentFile
        .listFiles { file -> file.name.startsWith(name.name) }
        .orEmpty()
        .forEach { it.delete() }

internal open class OnnxProgram(
    private val environment: OrtEnvironment,
    internal val session: OrtSession,
) : Program {
    internal var inputs: Map<String, OnnxTensor> = emptyMap()
        private set
    private var result: OrtSession.Result? = null

    override fun bind(inputs: List<Tensor>) {
        val names = session.inputNames
        require(names.size == inputs.size) { "${inputs.size} inputs for $names" }
        this.inputs.values.forEach(OnnxTensor::close)
        this.inputs = names.zip(inputs).associateTo(LinkedHashMap()) { (name, tensor) -> name to onnxTensor(tensor) }
    }

    override fun infer() {
        result?.close()
        result = session.run(inputs)
    }

    override fun outputs(): List<Tensor> = checkNotNull(result).map { (_, value) -> tensor(value as OnnxTensor) }

    override fun close() {
        result?.close()
        inputs.values.forEach(OnnxTensor::close)
        session.close()
    }

    private fun onnxTensor(tensor: Tensor): OnnxTensor =
        OnnxTensor.createTensor(environment, tensor.data, tensor.shape.toLongArray(), tensor.dtype.toOnnx())
}

private fun tensor(value: OnnxTensor): Tensor {
    val dtype = DType.entries.find { it.toOnnx() == value.info.type }
    return Tensor(
        requireNotNull(dtype) { "an output of type ${value.info.type}" },
        value.info.shape.toList(),
        value.byteBuffer,
    )
}

private fun DType.toOnnx(): OnnxJavaType =
    when (this) {
        DType.FLOAT32 -> OnnxJavaType.FLOAT
        DType.INT64 -> OnnxJavaType.INT64
        DType.INT32 -> OnnxJavaType.INT32
        DType.UINT8 -> OnnxJavaType.UINT8
        DType.INT8 -> OnnxJavaType.INT8
        DType.BOOL -> OnnxJavaType.BOOL
    }
