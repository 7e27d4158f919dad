package dev.mobilekit.bench.core

/**
 * Decides when a series of latencies is warm: once the median of its newest `windowIterations` is at
 * least `1 - tolerance` times the median of the `windowIterations` before them, that is, once it has
 * stopped getting faster.
 *
 * It is fed between two inferences, so it keeps only what the rule looks at and allocates nothing.
 */
class WarmupDetector(
    private val rule: WarmupRule,
) {
    // A window longer than the warm-up can be is never full, so it needs no room.
    private val window = minOf(rule.windowIterations, rule.maxIterations).toInt()
    private val recent = LongArray(2 * window)
    private val sorted = LongArray(window)
    private var summedNs = 0L

    /** How many latencies were added. */
    var iterations = 0L
        private set

    /** Whether the series has become warm. */
    var settled = false
        private set

    /** Adds the newest latency; true once warm-up is over, [settled] or by one of its limits. */
    fun add(latencyNs: Long): Boolean {
        recent[(iterations % recent.size).toInt()] = latencyNs
        iterations++
        summedNs += latencyNs
        if (iterations >= 2 * rule.windowIterations) {
            val older = median(iterations)
            val newer = median(iterations + window)
            settled = newer >= (1 - rule.tolerance) * older
        }
        return settled || iterations >= rule.maxIterations || summedNs >= rule.maxDurationNs
    }

    /** Of the window that begins at [start] in the ring of recent latencies. */
    private fun median(start: Long): Double {
        for (index in 0 until window) sorted[index] = recent[((start + index) % recent.size).toInt()]
        sorted.sort()
        val middle = window / 2
        return if (window % 2 == 1) sorted[middle].toDouble() else (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}
