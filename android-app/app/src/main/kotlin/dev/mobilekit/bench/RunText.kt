package dev.mobilekit.bench

import android.content.res.Resources
import dev.mobilekit.bench.core.BatterySample
import dev.mobilekit.bench.core.CompanionStarted
import dev.mobilekit.bench.core.Phase
import dev.mobilekit.bench.core.RunFailure
import dev.mobilekit.bench.core.RunSuccess
import dev.mobilekit.bench.core.Samples
import dev.mobilekit.bench.core.WaitReason
import dev.mobilekit.bench.core.WaitStarted
import dev.mobilekit.bench.core.collectSamples

/** What goes on, or how it ended, in plain words. */
internal fun RunView.headline(resources: Resources): String =
    when (result) {
        null -> {
            val phase = collectSamples(events).phases.lastOrNull()?.phase
            val wait = (events.lastOrNull() as? WaitStarted)?.reason
            resources.getString(wait?.words() ?: phase?.words() ?: R.string.waiting)
        }

        is RunFailure -> {
            resources.getString(
                R.string.failed,
                resources.getString(result.phase.words()).replaceFirstChar(Char::lowercase),
                result.message,
            )
        }

        is RunSuccess -> {
            successText(result.samples, resources)
        }
    }

/** What is known by now, a line each. */
internal fun RunView.details(resources: Resources): String {
    val samples = result?.samples ?: collectSamples(events)
    return listOfNotNull(
        samples.companion?.let { resources.getString(R.string.engine, it.engine, it.engineVersion, it.threads) },
        samples.loadNs.size
            .takeIf { it > 0 }
            ?.let { resources.getString(R.string.loads, it) },
        samples.warmupNs.size
            .takeIf { it > 0 }
            ?.let { resources.getString(R.string.warmups, it) },
        samples.iterationNs.size
            .takeIf { it > 0 }
            ?.let { resources.getString(R.string.iterations, it) },
        samples.evaluation?.let { resources.getString(R.string.examples, it.latencyNs.size) },
        samples.windows.size
            .takeIf { it > 0 }
            ?.let { resources.getString(R.string.windows, it) },
        latestBattery(samples)?.let { batteryText(it, resources) },
        behind.takeIf { it > 0 }?.let { resources.getString(R.string.behind, it) },
    ).joinToString("\n")
}

private fun successText(
    samples: Samples,
    resources: Resources,
): String {
    val sorted = samples.iterationNs.sorted()
    val medianMs = (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2e6
    val match = if (samples.outputCheck?.matches == true) R.string.matches else R.string.differs
    return listOfNotNull(
        resources.getString(R.string.succeeded, resources.getString(R.string.milliseconds, medianMs)),
        resources.getString(match),
        samples.profileRefusal?.let { resources.getString(R.string.no_trace, it) },
        samples.energyRefusal?.let { resources.getString(R.string.no_energy, it) },
        resources.getString(R.string.collect),
    ).joinToString("\n")
}

private fun latestBattery(samples: Samples): BatterySample? =
    (samples.battery + samples.windows.flatMap { it.battery }).maxByOrNull { it.atNs }

private fun batteryText(
    battery: BatterySample,
    resources: Resources,
): String {
    val unknown = resources.getString(R.string.unknown)
    return resources.getString(
        R.string.battery,
        battery.levelPercent?.let { resources.getString(R.string.percent, it) } ?: unknown,
        battery.temperatureDecicelsius?.let { resources.getString(R.string.celsius, it / 10.0) } ?: unknown,
    )
}

private fun Phase.words(): Int =
    when (this) {
        Phase.VERIFY -> R.string.phase_verify
        Phase.CHOOSE -> R.string.phase_choose
        Phase.LOAD -> R.string.phase_load
        Phase.WARMUP -> R.string.phase_warmup
        Phase.ITERATE -> R.string.phase_iterate
        Phase.CHECK -> R.string.phase_check
        Phase.MEMORY -> R.string.phase_memory
        Phase.PROFILE -> R.string.phase_profile
        Phase.EVALUATE -> R.string.phase_evaluate
        Phase.ENERGY -> R.string.phase_energy
    }

private fun WaitReason.words(): Int =
    when (this) {
        WaitReason.UNPLUG -> R.string.wait_unplug
        WaitReason.REST -> R.string.wait_rest
        WaitReason.TEMPERATURE -> R.string.wait_temperature
    }
