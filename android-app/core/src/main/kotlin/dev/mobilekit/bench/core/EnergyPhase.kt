package dev.mobilekit.bench.core

/**
 * The windows `idle load idle load ... idle`, each told of when it is over.
 *
 * During a window the gauge is read by the clock's other thread; the loop between two readings of
 * the time is the bare inference. The rails are read before a window and after it.
 */
internal class EnergyPhase(
    private val program: Program,
    private val plan: EnergyPlan,
    private val clock: Clock,
    private val battery: BatteryReader?,
    private val rails: RailReader?,
    private val tell: (ProgressEvent) -> Unit,
) {
    fun run() {
        val gauge = battery ?: return tell(EnergyRefused("this companion has no battery to read"))
        for (index in 0..2 * plan.blocks) {
            val window = measure(if (index % 2 == 0L) WindowKind.IDLE else WindowKind.LOAD, gauge)
            if (window == null || window.battery.last().plugged) {
                return tell(EnergyRefused("the phone is plugged in, so its battery does not pay for the work"))
            }
            tell(WindowMeasured(window))
        }
    }

    /** Null where the phone is plugged in at the start: there is nothing to wait for. */
    private fun measure(
        kind: WindowKind,
        gauge: BatteryReader,
    ): Window? {
        val railsBefore = rails?.read().orEmpty()
        val samples = ArrayList<BatterySample>()
        val sample: () -> Unit = { samples += gauge.read(clock.nowNs()) }
        sample()
        if (samples[0].plugged) return null
        val startedNs = samples[0].atNs
        val iterations =
            clock.whileEvery(plan.samplePeriodNs, sample) {
                when (kind) {
                    WindowKind.IDLE -> 0L.also { clock.sleepUntil(startedNs + plan.idleNs) }
                    WindowKind.LOAD -> inferUntil(startedNs + plan.loadNs)
                }
            }
        val endedNs = clock.nowNs()
        sample()
        val railsOfBothEnds = (railsBefore + rails?.read().orEmpty()).sortedBy { it.atNs }
        return Window(kind, startedNs, endedNs, iterations, samples, railsOfBothEnds)
    }

    private fun inferUntil(endNs: Long): Long {
        var iterations = 0L
        do {
            program.infer()
            iterations++
        } while (clock.nowNs() < endNs)
        return iterations
    }
}
