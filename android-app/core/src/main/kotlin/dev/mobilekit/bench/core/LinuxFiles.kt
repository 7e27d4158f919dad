package dev.mobilekit.bench.core

import java.io.File
import java.io.IOException

/**
 * This process's memory as Linux tells it, on a phone and on a computer; [pssBytes] is asked of the
 * platform, which may know it in a cheaper way.
 */
class LinuxMemory(
    private val pssBytes: () -> Long?,
) : MemoryReader {
    override fun release() {
        Runtime.getRuntime().gc()
        forgetPeak()
    }

    override fun read(
        atNs: Long,
        stage: MemoryStage,
    ): MemorySample {
        val status = readKibFields(File("/proc/self/status"))
        val sample = MemorySample(atNs, stage, pssBytes(), status["VmRSS"], status["VmHWM"].takeIf { peakIsFresh })
        forgetPeak()
        return sample
    }

    private var peakIsFresh = false

    /** Writing 5 there resets VmHWM: proc(5). A peak that cannot be reset is not that of a stage. */
    private fun forgetPeak() {
        peakIsFresh =
            try {
                File("/proc/self/clear_refs").writeText("5")
                true
            } catch (_: IOException) {
                false
            }
    }
}

/** `Name:  123 kB` lines as bytes; empty where there is no such file. What no memory can be is left out. */
fun readKibFields(file: File): Map<String, Long> =
    readLines(file)
        .mapNotNull { KIB_FIELD.matchEntire(it)?.destructured }
        .mapNotNull { (name, kib) ->
            kib.toLongOrNull()?.takeIf { it <= Long.MAX_VALUE / 1024 }?.let { name to it * 1024 }
        }.toMap()

/** The current frequency of each processor whose file can be read, in their order. */
fun readCpuKhz(): List<Long> =
    (0 until Runtime.getRuntime().availableProcessors()).mapNotNull { cpu ->
        readLines(
            File("/sys/devices/system/cpu/cpu$cpu/cpufreq/scaling_cur_freq"),
        ).firstOrNull()?.trim()?.toLongOrNull()
    }

/** What all cores of an Arm processor have, by `/proc/cpuinfo`; null where [file] tells none. */
fun readArmFeatures(file: File): Set<String>? =
    readLines(file)
        .mapNotNull { ARM_FEATURES.matchEntire(it)?.groupValues?.get(1) }
        .map { it.split(' ').filter(String::isNotEmpty).toSet() }
        .reduceOrNull { common, core -> common intersect core }
        ?.takeIf { it.isNotEmpty() }

private val ARM_FEATURES = Regex("Features\\s*:(.*)")
private val KIB_FIELD = Regex("(\\w+):\\s+([0-9]+) kB")

private fun readLines(file: File): List<String> =
    try {
        file.readLines()
    } catch (_: IOException) {
        emptyList()
    }
