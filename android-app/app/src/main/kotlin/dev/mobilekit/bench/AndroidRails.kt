package dev.mobilekit.bench

import android.content.Context
import android.os.OutcomeReceiver
import android.os.PowerMonitor
import android.os.PowerMonitorReadings
import android.os.SystemClock
import android.os.health.SystemHealthManager
import dev.mobilekit.bench.core.Clock
import dev.mobilekit.bench.core.RailReader
import dev.mobilekit.bench.core.RailSample
import dev.mobilekit.bench.core.cutName
import org.codehaus.mojo.animal_sniffer.IgnoreJRERequirement
import java.util.concurrent.CompletableFuture
import java.util.concurrent.Executor
import java.util.concurrent.TimeUnit

/**
 * The power monitors of Android 15 and newer; most phones have none.
 *
 * Older ones have not got the classes named here: only what has looked at the API level may touch
 * this class. A phone that refuses or does not answer has no readings; that never fails a run.
 */
@IgnoreJRERequirement
internal class AndroidRails(
    context: Context,
    clock: Clock,
    private val timeoutMs: Long = 1000,
) : RailReader {
    private val health: SystemHealthManager? = context.getSystemService(SystemHealthManager::class.java)
    private val direct = Executor { it.run() }

    /** Taken once, so that a reading that is given twice has the same time twice. */
    private val bootNs = clock.nowNs() - SystemClock.elapsedRealtimeNanos()

    /** Those whose names are no other's once they are cut: a rail is told by its name alone. */
    private val monitors: List<PowerMonitor> by lazy {
        answer<List<PowerMonitor>> { future ->
            health?.getSupportedPowerMonitors(direct) { future.complete(it) } ?: future.complete(emptyList())
        }.orEmpty().distinctBy { cutName(it.name) }
    }

    override fun read(): List<RailSample> {
        if (monitors.isEmpty()) return emptyList()
        val readings =
            answer<PowerMonitorReadings> { future ->
                health?.getPowerMonitorReadings(monitors, direct, Outcome(future))
            } ?: return emptyList()
        return monitors.mapNotNull { monitor ->
            val energyUj = readings.getConsumedEnergy(monitor)
            val atNs = bootNs + TimeUnit.MILLISECONDS.toNanos(readings.getTimestampMillis(monitor))
            RailSample(atNs, cutName(monitor.name), energyUj).takeIf { energyUj != UNAVAILABLE }
        }
    }

    private fun <T> answer(ask: (CompletableFuture<T>) -> Unit): T? =
        try {
            CompletableFuture<T>().also(ask).get(timeoutMs, TimeUnit.MILLISECONDS)
        } catch (_: Exception) {
            null
        }

    @IgnoreJRERequirement
    private class Outcome(
        private val future: CompletableFuture<PowerMonitorReadings>,
    ) : OutcomeReceiver<PowerMonitorReadings, RuntimeException> {
        override fun onResult(result: PowerMonitorReadings) {
            future.complete(result)
        }

        override fun onError(error: RuntimeException) {
            future.completeExceptionally(error)
        }
    }

    private companion object {
        const val UNAVAILABLE = PowerMonitorReadings.ENERGY_UNAVAILABLE.toLong()
    }
}
