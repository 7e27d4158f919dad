package dev.mobilekit.bench.core

import java.io.File

/** A runtime that executes artifacts of one format. */
interface Engine {
    val name: String
    val version: String

    /**
     * Opens [artifact] and loads its [method], where the format knows methods. [weights] are those of
     * an artifact that has them not itself.
     */
    fun load(
        artifact: File,
        method: String,
        threads: Int,
        weights: File? = null,
    ): Program

    /**
     * The same with the recording of operators on.
     *
     * @throws TracingUnavailableException where the engine cannot record them.
     */
    fun loadTraced(
        artifact: File,
        method: String,
        threads: Int,
        weights: File? = null,
    ): TracedProgram
}

/** An engine cannot record when each operator ran; [message] is why, for people. */
class TracingUnavailableException(
    override val message: String,
) : Exception(message)

/** A loaded program. */
interface Program : AutoCloseable {
    /** Makes ready for [infer] with these inputs, which stay valid until the next [bind] or [close]. */
    fun bind(inputs: List<Tensor>)

    /** Runs one inference on the bound inputs. This is what is timed, so it does nothing else. */
    fun infer()

    /** The outputs of the last [infer]. */
    fun outputs(): List<Tensor>
}

/** A program whose runtime records when each operator ran. */
interface TracedProgram : Program {
    val traceKind: TraceKind

    /**
     * Writes what was recorded since the program was loaded, in the engine's own format; nothing is
     * run after it.
     *
     * @throws TracingUnavailableException where only now it shows that nothing was recorded.
     */
    fun writeTrace(target: File)
}

/** Which engine runs a format here. */
fun interface Engines {
    fun choose(format: Format): EngineChoice
}

sealed interface EngineChoice {
    class Found(
        val engine: Engine,
    ) : EngineChoice

    /** [reason] is for people. */
    class Missing(
        val reason: String,
    ) : EngineChoice
}

/**
 * How a build carries an engine: the build puts those that it was asked for on the class path, and
 * `ServiceLoader` finds them.
 */
interface EngineProvider {
    val format: Format

    /** For people. */
    val title: String

    /** The lowest Android API level that the native library runs on. */
    val minimumApi: Int

    /** The ABIs that there is a native library for. */
    val abis: Set<String>

    /** What an Arm processor must have, in the words of `/proc/cpuinfo`; the library does not ask. */
    val armFeatures: Set<String> get() = emptySet()

    /** [vulkanObstacle] is why programs for the graphics processor cannot run here; null where they can. */
    fun make(vulkanObstacle: String?): Engine
}
