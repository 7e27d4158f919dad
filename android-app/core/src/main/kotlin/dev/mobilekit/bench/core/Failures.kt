package dev.mobilekit.bench.core

import java.io.IOException

/** Why a run cannot go on; becomes a [RunFailure]. */
internal class RunStopped(
    val code: FailureCode,
    override val message: String,
) : Exception(message)

/** What to tell of a run that ended with any [problem]. */
internal fun stoppedBy(problem: Throwable): RunStopped =
    problem as? RunStopped ?: RunStopped(codeAnywhere(problem) ?: FailureCode.INTERNAL, problem.toString())

internal inline fun <T> inferring(action: () -> T): T = engineDoes(FailureCode.INFERENCE_FAILED, action)

/**
 * What is thrown within is the engine's: [RunStopped] with [code], if it means no other. A runtime
 * throws what it likes, which is not known here.
 */
internal inline fun <T> engineDoes(
    code: FailureCode,
    action: () -> T,
): T =
    try {
        action()
    } catch (stopped: RunStopped) {
        throw stopped
    } catch (untraced: TracingUnavailableException) {
        throw untraced
    } catch (problem: Throwable) {
        throw RunStopped(codeAnywhere(problem) ?: code, problem.toString())
    }

/** Of what means the same wherever it comes from. */
internal fun codeAnywhere(problem: Throwable): FailureCode? =
    when (problem) {
        is OutOfMemoryError -> FailureCode.OUT_OF_MEMORY

        // Only engines link native libraries: this one's is not here, or not for this processor.
        is LinkageError -> FailureCode.ENGINE_MISSING

        is IOException -> FailureCode.STORAGE_FULL.takeIf { saysFull(problem) }

        else -> null
    }

/** The JVM gives no error number: the system's words are all that there is. */
private fun saysFull(problem: IOException): Boolean {
    val text = problem.message.orEmpty()
    return "ENOSPC" in text || "No space left" in text
}
