package dev.mobilekit.bench.core

import com.sun.management.ThreadMXBean
import org.junit.Assert.assertEquals
import org.junit.Test
import java.lang.management.ManagementFactory

class TimedLoopTest {
    private object Nothing : Program {
        override fun bind(inputs: List<Tensor>) = Unit

        override fun infer() = Unit

        override fun outputs(): List<Tensor> = emptyList()

        override fun close() = Unit
    }

    @Test
    fun `the timed loop allocates nothing`() {
        val thread = ManagementFactory.getThreadMXBean() as ThreadMXBean
        val clock = SystemClock(System::nanoTime)
        val latencyNs = LongArray(100_000)

        fun allocatedBytes(): Long {
            val before = thread.currentThreadAllocatedBytes
            timeInferences(Nothing, clock, latencyNs, latencyNs.size.toLong(), 1, Long.MAX_VALUE)
            return thread.currentThreadAllocatedBytes - before
        }

        // The compiler allocates now and then as it takes over; the loop itself would every time.
        assertEquals(0L, List(10) { allocatedBytes() }.min())
    }

    @Test
    fun `warm-up detection allocates nothing`() {
        val thread = ManagementFactory.getThreadMXBean() as ThreadMXBean

        fun allocatedBytes(): Long {
            val detector = WarmupDetector(WarmupRule(10, 0.0, 10_000, Long.MAX_VALUE))
            val before = thread.currentThreadAllocatedBytes
            for (latencyNs in 100_000L downTo 95_000) detector.add(latencyNs)
            return thread.currentThreadAllocatedBytes - before
        }

        // The compiler allocates now and then as it takes over; the loop itself would every time.
        assertEquals(0L, List(10) { allocatedBytes() }.min())
    }
}
