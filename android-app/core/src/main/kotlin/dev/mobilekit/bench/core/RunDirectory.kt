package dev.mobilekit.bench.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException

/** Where a run's events and its result are kept. */
interface RunRecord {
    /** The events are on the disk when this returns. */
    @Throws(IOException::class)
    fun append(event: ProgressEvent)

    /** The result is there as a whole or not at all, and on the disk when this returns. */
    @Throws(IOException::class)
    fun finish(result: RunResult)

    /** Where the run writes a file of that name: it is there with what it holds before its event is. */
    fun file(name: String): File
}

/** `runs/<run_id>` below the output root. */
class RunDirectory(
    outputRoot: File,
    runId: String,
) : RunRecord,
    AutoCloseable {
    private val directory = File(outputRoot, "runs/$runId")
    private val progress = File(directory, "progress.jsonl")
    private val result = File(directory, "result.json")
    private var log: FileOutputStream? = null

    override fun append(event: ProgressEvent) {
        val out = log ?: openLog()
        out.write((encodeEvent(event) + "\n").toByteArray())
        out.fd.sync()
    }

    override fun finish(result: RunResult) {
        makeDirectory()
        val aside = File(directory, "result.json.part")
        FileOutputStream(aside).use {
            it.write((encodeResult(result) + "\n").toByteArray())
            it.fd.sync()
        }
        if (!aside.renameTo(this.result)) throw IOException("cannot rename $aside")
    }

    override fun file(name: String) = File(directory, name)

    /** The result of an earlier process, or null where there is none that can be read. */
    fun earlierResult(): RunResult? =
        try {
            if (result.exists()) decodeResult(result.readBytes()) else null
        } catch (_: ProtocolException) {
            null
        }

    /**
     * Says first of all that the process [pid] carries the run; one that has begun, or is over, stays
     * as it is. What is wrong with the storage is the run's to tell: it writes there as well.
     */
    fun take(pid: Long) {
        val line = encodeEvent(RunTaken(pid)) + "\n"
        try {
            if (result.exists() || earlierEvents() != null) return
            if (progress.exists() && progress.readText() == line) return
            makeDirectory()
            FileOutputStream(progress).use {
                it.write(line.toByteArray())
                it.fd.sync()
            }
        } catch (_: IOException) {
            progress.delete()
        }
    }

    /**
     * The events of an earlier process that left no result, or null where none began this run. What
     * follows a line that is cut off or damaged is left out.
     */
    fun earlierEvents(): List<ProgressEvent>? {
        if (!progress.exists()) return null
        val complete = progress.readText().substringBeforeLast('\n', "")
        val events = ArrayList<ProgressEvent>()
        for (line in complete.lineSequence()) {
            events +=
                try {
                    decodeEvent(line.toByteArray())
                } catch (_: ProtocolException) {
                    break
                }
        }
        return events.filter { it !is RunTaken }.ifEmpty { null }
    }

    override fun close() {
        log?.close()
    }

    private fun openLog(): FileOutputStream {
        makeDirectory()
        return FileOutputStream(progress, true).also { log = it }
    }

    private fun makeDirectory() {
        if (!directory.isDirectory && !directory.mkdirs() && !directory.isDirectory) {
            throw IOException("cannot make $directory")
        }
    }
}
