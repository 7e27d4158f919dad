package dev.mobilekit.bench.core

/**
 * The code that runs while latencies are measured: all of it.
 *
 * Inferences run back to back, one look at the clock between two of them, so that the loop's own
 * cost is part of no more than a few nanoseconds of a latency. Nothing is allocated, logged or
 * written here. It ends when [latencyNs] is full, or once `minIterations` and `minDurationNs` are
 * both reached, or `maxDurationNs`.
 *
 * @return how many latencies it measured.
 */
fun timeInferences(
    program: Program,
    clock: Clock,
    latencyNs: LongArray,
    minIterations: Long,
    minDurationNs: Long,
    maxDurationNs: Long,
): Int {
    val startNs = clock.tickNs()
    var beforeNs = startNs
    var count = 0
    while (count < latencyNs.size) {
        program.infer()
        val afterNs = clock.tickNs()
        latencyNs[count++] = afterNs - beforeNs
        beforeNs = afterNs
        val elapsedNs = afterNs - startNs
        if (elapsedNs >= maxDurationNs || (count >= minIterations && elapsedNs >= minDurationNs)) break
    }
    return count
}
