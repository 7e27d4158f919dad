package dev.mobilekit.bench.core

import java.io.File

/** The file that an engine loads: the [artifact] itself or, where that is condensed, [aside], made of it. */
internal class ProgramFile(
    private val artifact: File,
    private val aside: File,
) : AutoCloseable {
    private val isCondensed: Boolean

    init {
        try {
            val head = readCondensedHead(artifact)
            isCondensed = head != null
            if (head != null) {
                expandCondensed(artifact, aside)
                val found = sha256(aside)
                if (found != head.programSha256) {
                    throw RunStopped(FailureCode.FILE_CORRUPT, "${artifact.name} expands to what hashes to $found")
                }
            }
        } catch (problem: ProtocolException) {
            throw RunStopped(FailureCode.FILE_CORRUPT, "${artifact.name}: ${problem.message}")
        } finally {
            close()
        }
    }

    /** That [weights] have all that the methods of [request] read of them. */
    fun verifyWeights(
        request: RunRequest,
        weights: File,
    ) {
        val candidates = request.choice?.candidates.orEmpty()
        val methods = listOf(request.artifact.method) + candidates.map { it.method }
        val lack =
            try {
                use { findLack(ready(), methods, weights) }
            } catch (problem: ProtocolException) {
                throw RunStopped(FailureCode.FILE_CORRUPT, problem.message.orEmpty())
            }
        lack?.let { throw RunStopped(FailureCode.WEIGHTS_MISMATCH, it) }
    }

    /** The program; that of a condensed one is made anew, which is a part of its load. */
    fun ready(): File {
        if (!isCondensed) return artifact
        // Not written over: an engine may still have it mapped.
        aside.delete()
        expandCondensed(artifact, aside)
        return aside
    }

    override fun close() {
        aside.delete()
    }
}
