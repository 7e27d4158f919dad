package dev.mobilekit.bench

import android.content.Context
import android.os.OutcomeReceiver
import android.os.PowerMonitor
import android.os.PowerMonitorReadings
import android.os.SystemClock
import android.os.health.SystemHealthManager
import dev.mobilekit.bench.core.FakeClock
import dev.mobilekit.bench.core.RailSample
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import java.util.concurrent.Executor
import java.util.function.Consumer
import kotlin.concurrent.thread

private const val SECOND_NS = 1_000_000_000L

/** Power monitors as a Pixel has them, behind Android's own manager. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [35], shadows = [AndroidRailsTest.Monitors::class])
class AndroidRailsTest {
    private val context: Context get() = RuntimeEnvironment.getApplication()
    private val clock = FakeClock().also { it.spend(100 * SECOND_NS) }
    private val cpu = PowerMonitor(0, PowerMonitor.POWER_MONITOR_TYPE_MEASUREMENT, "[S2M]:CPU")
    private val modem = PowerMonitor(1, PowerMonitor.POWER_MONITOR_TYPE_CONSUMER, "MODEM")

    @Implements(SystemHealthManager::class)
    class Monitors {
        @Implementation
        fun getSupportedPowerMonitors(
            executor: Executor,
            consumer: Consumer<List<PowerMonitor>>,
        ) {
            timesListed++
            supported?.let { monitors -> thread { executor.execute { consumer.accept(monitors) } } }
        }

        @Implementation
        fun getPowerMonitorReadings(
            monitors: List<PowerMonitor>,
            executor: Executor,
            receiver: OutcomeReceiver<PowerMonitorReadings, RuntimeException>,
        ) = readings(monitors) { tell -> thread { executor.execute { tell(receiver) } } }
    }

    private companion object {
        var timesListed = 0
        var supported: List<PowerMonitor>? = null
        lateinit var readings: (
            List<PowerMonitor>,
            ((OutcomeReceiver<PowerMonitorReadings, RuntimeException>) -> Unit) -> Unit,
        ) -> Unit
    }

    @After
    fun forget() {
        timesListed = 0
        supported = null
    }

    private fun give(
        energyUws: LongArray,
        timestampMs: LongArray,
    ) {
        readings = { monitors, answer ->
            answer { it.onResult(PowerMonitorReadings(monitors.toTypedArray(), energyUws, timestampMs)) }
        }
    }

    @Test
    fun `every monitor's reading comes back with its own time`() {
        val bootedMs = SystemClock.elapsedRealtime()
        supported = listOf(cpu, modem)
        give(longArrayOf(7_345_678_901, 0), longArrayOf(bootedMs - 18_000, bootedMs - 250))
        val rails = AndroidRails(context, clock)

        val first = rails.read()
        clock.spend(5 * SECOND_NS)

        assertEquals(
            listOf(
                RailSample(82 * SECOND_NS, "[S2M]:CPU", 7_345_678_901),
                RailSample(99_750_000_000, "MODEM", 0),
            ),
            first,
        )
        assertEquals(first, rails.read())
        assertEquals(1, timesListed)
    }

    @Test
    fun `a reading that is not available is left out`() {
        supported = listOf(cpu, modem)
        give(longArrayOf(PowerMonitorReadings.ENERGY_UNAVAILABLE.toLong(), 12), longArrayOf(0, 0))

        assertEquals(listOf("MODEM" to 12L), AndroidRails(context, clock).read().map { it.name to it.energyUj })
    }

    @Test
    fun `a long name is cut and of two that are one then the first is kept`() {
        val names = listOf("x" + "🔋".repeat(255) + "a", "x" + "🔋".repeat(255) + "b", "MODEM")
        supported = names.mapIndexed { index, name -> PowerMonitor(index, cpu.type, name) }
        readings = { monitors, answer ->
            val energyUws = LongArray(monitors.size) { 10L + monitors[it].name.length }
            answer { it.onResult(PowerMonitorReadings(monitors.toTypedArray(), energyUws, LongArray(monitors.size))) }
        }

        assertEquals(
            listOf(names.first().dropLast(1) to 522L, "MODEM" to 15L),
            AndroidRails(context, clock).read().map { it.name to it.energyUj },
        )
    }

    @Test
    fun `a phone without monitors is not asked for readings`() {
        supported = emptyList()
        readings = { _, _ -> error("asked") }

        assertEquals(emptyList<RailSample>(), AndroidRails(context, clock).read())
    }

    @Test
    fun `whatever goes wrong there are no rails`() {
        assertEquals(emptyList<RailSample>(), AndroidRails(context, clock, timeoutMs = 20).read())
        supported = listOf(cpu)
        readings = { _, _ -> }
        assertEquals(emptyList<RailSample>(), AndroidRails(context, clock, timeoutMs = 20).read())
        readings = { _, _ -> throw SecurityException("not you") }
        assertEquals(emptyList<RailSample>(), AndroidRails(context, clock).read())
        readings = { _, answer -> answer { it.onError(IllegalStateException("no power stats")) } }
        assertEquals(emptyList<RailSample>(), AndroidRails(context, clock, timeoutMs = 60_000).read())
    }

    @Test
    fun `a failure is not remembered`() {
        supported = listOf(cpu)
        readings = { _, answer -> answer { it.onError(IllegalStateException("busy")) } }
        val rails = AndroidRails(context, clock)
        rails.read()
        give(longArrayOf(3), longArrayOf(0))

        assertEquals(listOf(3L), rails.read().map { it.energyUj })
    }
}
