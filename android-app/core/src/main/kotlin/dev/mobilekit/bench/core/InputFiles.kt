package dev.mobilekit.bench.core

import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.security.MessageDigest

/** What the host put below the input root. */
internal class InputFiles(
    private val root: File,
) {
    fun request(runId: String): RunRequest {
        val file = existing("runs/$runId/request.json")
        if (file.length() > MAX_REQUEST_BYTES) {
            throw RunStopped(FailureCode.BAD_REQUEST, "request.json is longer than $MAX_REQUEST_BYTES bytes")
        }
        val request =
            try {
                decodeRequest(file.readBytes())
            } catch (problem: OtherVersionException) {
                throw RunStopped(FailureCode.PROTOCOL_VERSION, problem.message.orEmpty())
            } catch (problem: ProtocolException) {
                throw RunStopped(FailureCode.BAD_REQUEST, problem.message.orEmpty())
            }
        if (request.runId != runId) {
            throw RunStopped(FailureCode.BAD_REQUEST, "$.run_id: '${request.runId}' is not '$runId'")
        }
        return request
    }

    fun verify(request: RunRequest) {
        val segments = request.segments
        for (artifact in listOf(request.artifact) + segments.map { it.artifact }) {
            requireContent(artifact(artifact), artifact.sizeBytes, artifact.sha256)
        }
        request.weights?.let { requireContent(weights(it), it.sizeBytes, it.sha256) }
        val candidates = request.choice?.candidates.orEmpty()
        val references = request.referenceOutputs + candidates.flatMap { it.referenceOutputs }
        val whole = request.inputs + references + listOfNotNull(request.evaluation)
        for (tensor in whole + segments.flatMap { it.inputs }) {
            val file = existing("artifacts/${tensor.sha256}.bin")
            requireHash(file, tensor.sha256)
            val elements = tensor.shape.fold(1.0) { product, size -> product * size }
            if (elements * tensor.dtype.sizeBytes != file.length().toDouble()) {
                val what = "${tensor.dtype.name.lowercase()}${tensor.shape}"
                throw RunStopped(FailureCode.BAD_REQUEST, "${file.name} has ${file.length()} bytes, which is no $what")
            }
        }
    }

    fun artifact(artifact: ArtifactFile): File =
        existing("artifacts/${artifact.sha256}.${artifact.format.name.lowercase()}")

    fun weights(weights: WeightsFile): File = existing("artifacts/${weights.sha256}.ptd")

    fun tensor(tensor: TensorFile): Tensor {
        val file = existing("artifacts/${tensor.sha256}.bin")
        val data = ByteBuffer.allocateDirect(file.length().toInt())
        file.inputStream().channel.use { fill(data, it) }
        return Tensor(tensor.dtype, tensor.shape, data)
    }

    /** Shows [action] one after the other of what is stacked in [stack], each in the same memory. */
    fun forEachExample(
        stack: TensorFile,
        action: (Tensor) -> Unit,
    ) {
        val examples = stack.shape[0]
        existing("artifacts/${stack.sha256}.bin").inputStream().channel.use { channel ->
            val data = ByteBuffer.allocateDirect((channel.size() / examples).toInt())
            for (number in 1..examples) {
                fill(data, channel)
                action(Tensor(stack.dtype, stack.shape.drop(1), data))
            }
        }
    }

    /** Reads through a second view, so that [data] itself stays at its start. */
    private fun fill(
        data: ByteBuffer,
        channel: FileChannel,
    ) {
        val unread = data.duplicate()
        do {
            val count = channel.read(unread)
        } while (count > 0)
    }

    /**
     * The host may link the folders `artifacts` and `runs` to elsewhere, but nothing within them may
     * lead out: links are followed before the look at where a file lies.
     */
    private fun existing(path: String): File {
        val file = File(root, path).canonicalFile
        if (!file.startsWith(File(root, path.substringBefore('/')).canonicalFile)) {
            throw RunStopped(FailureCode.FILE_MISSING, "$path leads out of $root")
        }
        if (!file.isFile) throw RunStopped(FailureCode.FILE_MISSING, "$path is not there")
        if (!file.canRead()) throw RunStopped(FailureCode.FILE_MISSING, "$path cannot be read")
        return file
    }

    private fun requireContent(
        file: File,
        sizeBytes: Long,
        sha256: String,
    ) {
        if (file.length() != sizeBytes) {
            throw RunStopped(FailureCode.FILE_CORRUPT, "${file.name} has ${file.length()} bytes, not $sizeBytes")
        }
        requireHash(file, sha256)
    }

    private fun requireHash(
        file: File,
        sha256: String,
    ) {
        val actual =
            try {
                sha256(file)
            } catch (problem: IOException) {
                throw RunStopped(FailureCode.FILE_CORRUPT, "${file.name} cannot be read: ${problem.message}")
            }
        if (actual != sha256) throw RunStopped(FailureCode.FILE_CORRUPT, "${file.name} hashes to $actual")
    }
}

internal fun sha256(file: File): String {
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(1 shl 16)
    file.inputStream().use {
        while (true) {
            val count = it.read(buffer)
            if (count < 0) break
            digest.update(buffer, 0, count)
        }
    }
    return hex(digest)
}

internal fun hex(digest: MessageDigest): String = digest.digest().joinToString("") { "%02x".format(it) }
