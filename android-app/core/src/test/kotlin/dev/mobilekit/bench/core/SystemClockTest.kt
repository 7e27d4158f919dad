package dev.mobilekit.bench.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class SystemClockTest {
    private val clock = SystemClock(System::nanoTime)

    @Test
    fun `it begins at zero and sleeps until a time`() {
        assertTrue(clock.nowNs() < 1_000_000_000)
        clock.sleepUntil(clock.nowNs() + 2_000_000)
        clock.sleepUntil(0)
    }

    @Test
    fun `ticks come while the body runs and are over when it returns`() {
        val thread = Thread.currentThread()
        val atNs = ArrayList<Long>()

        val result =
            clock.whileEvery(
                5_000_000,
                {
                    assertTrue(Thread.currentThread() != thread)
                    atNs += clock.nowNs()
                },
            ) {
                clock.sleepUntil(clock.nowNs() + 200_000_000)
                "done"
            }

        assertEquals("done", result)
        val count = atNs.size
        assertTrue("$count ticks until ${atNs.last()}", count in 2..(atNs.last() / 5_000_000))
        assertEquals(atNs.sorted(), atNs)
        Thread.sleep(20)
        assertEquals(count, atNs.size)
    }

    @Test
    fun `what a tick throws is thrown to the caller`() {
        val error =
            assertThrows(IllegalStateException::class.java) {
                clock.whileEvery(1, { error("gauge gone") }) { clock.sleepUntil(clock.nowNs() + 50_000_000) }
            }

        assertEquals("gauge gone", error.message)
    }

    @Test
    fun `memory is read and its peak falls when it is released`() {
        val memory = LinuxMemory { null }
        memory.release()

        val sample = memory.read(7, MemoryStage.LOADED)

        assertEquals(7L, sample.atNs)
        assertTrue(checkNotNull(sample.rssBytes) > 1 shl 20)
        sample.peakRssBytes?.let { assertTrue(it >= checkNotNull(sample.rssBytes)) }
    }
}
