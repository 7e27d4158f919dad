package dev.mobilekit.bench.core

import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread

/** Real time, zero at its making; [elapsedNs] is the platform's clock that counts while it sleeps. */
class SystemClock(
    private val elapsedNs: () -> Long,
) : Clock {
    private val startNs = elapsedNs()

    override fun nowNs(): Long = elapsedNs() - startNs

    override fun tickNs(): Long = System.nanoTime()

    override fun sleepUntil(atNs: Long) {
        while (true) {
            val leftNs = atNs - nowNs()
            if (leftNs <= 0) return
            TimeUnit.NANOSECONDS.sleep(leftNs)
        }
    }

    override fun <T> whileEvery(
        periodNs: Long,
        action: () -> Unit,
        body: () -> T,
    ): T {
        val over = CountDownLatch(1)
        var problem: Throwable? = null
        val firstNs = nowNs().later(periodNs)
        val ticker =
            thread(name = "ticker") {
                try {
                    var dueNs = firstNs
                    while (!over.await(dueNs - nowNs(), TimeUnit.NANOSECONDS)) {
                        action()
                        // A tick that was missed is left out, not made up for.
                        dueNs = maxOf(dueNs.later(periodNs), nowNs())
                    }
                } catch (thrown: Throwable) {
                    problem = thrown
                }
            }
        try {
            return body()
        } finally {
            over.countDown()
            ticker.join()
            problem?.let { throw it }
        }
    }
}
