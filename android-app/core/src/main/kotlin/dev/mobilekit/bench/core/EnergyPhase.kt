package dev.mobilekit.bench.core

/**
 * The waits, then the windows `idle load idle load ... idle`, each told of when it is over.
 *
 * During a window the gauge is read by the clock's other thread; the loop between two readings of
 * the time is the bare inference. The rails are read before a window and after it, the thermal state
 * after it.
 */
internal class EnergyPhase(
    private val program: Program,
    private val plan: EnergyPlan,
    private val device: Device,
    private val gauge: BatteryReader,
    private val tell: (ProgressEvent) -> Unit,
) {
    private val clock = device.clock

    fun run() {
        if (!waitForUnplugging()) return refuse()
        plan.restNs?.let { waitUntil(WaitReason.REST, it, null) }
        plan.temperatureGate?.let { gate ->
            waitUntil(WaitReason.TEMPERATURE, gate.timeoutNs) {
                (it.temperatureDecicelsius ?: 0) <= gate.maxDecicelsius
            }
        }
        if (plan.syncPattern) makeSyncPattern()
        if (!measureBlocks()) return refuse()
        if (plan.syncPattern) makeSyncPattern()
    }

    private fun refuse() = tell(EnergyRefused("the phone is plugged in, so its battery does not pay for the work"))

    private fun waitForUnplugging(): Boolean = waitUntil(WaitReason.UNPLUG, plan.unplugTimeoutNs) { !it.plugged }

    /**
     * Waits until [isOver], or, without it, for the whole time; false when the time ran out. Nothing
     * is told where nothing had to be waited for.
     */
    private fun waitUntil(
        reason: WaitReason,
        timeoutNs: Long?,
        isOver: ((BatterySample) -> Boolean)?,
    ): Boolean {
        if (isOver != null && isOver(readBattery())) return true
        if (timeoutNs == null) return false
        val startedNs = clock.nowNs()
        val endNs = startedNs.later(timeoutNs)
        tell(WaitStarted(reason, startedNs))
        var passed = isOver == null
        while (clock.nowNs() < endNs) {
            clock.sleepUntil(minOf(endNs, clock.nowNs() + GATE_POLL_NS))
            if (isOver != null && isOver(readBattery())) {
                passed = true
                break
            }
        }
        tell(WaitEnded(Wait(reason, startedNs, clock.nowNs(), passed)))
        return passed
    }

    /** False where the phone stays plugged in. */
    private fun measureBlocks(): Boolean {
        var complete = 0L
        var sharesIdle = false
        while (complete < plan.blocks) {
            val unspoiled = (if (sharesIdle) NEXT_BLOCK else FIRST_BLOCK).all(::measureUnplugged)
            if (unspoiled) complete++
            sharesIdle = unspoiled
            if (!unspoiled && !waitForUnplugging()) return false
        }
        return true
    }

    private fun measureUnplugged(kind: WindowKind): Boolean {
        val window = measure(kind)
        tell(WindowMeasured(window))
        return window.battery.none { it.plugged }
    }

    private fun measure(kind: WindowKind): Window {
        val railsBefore = readRails()
        val samples = ArrayList<BatterySample>()
        val sample: () -> Unit = { samples += readBattery() }
        sample()
        val startedNs = samples[0].atNs
        val iterations =
            clock.whileEvery(plan.samplePeriodNs, sample) {
                when (kind) {
                    WindowKind.IDLE -> 0L.also { clock.sleepUntil(startedNs.later(plan.idleNs)) }
                    WindowKind.LOAD -> inferUntil(startedNs.later(plan.loadNs))
                }
            }
        val endedNs = clock.nowNs()
        sample()
        // Before the rails, which may take their time: the processors' frequencies soon change.
        val thermal = device.thermal.read(clock.nowNs())
        val railsOfBothEnds = (railsBefore + readRails()).sortedBy { it.atNs }
        return Window(kind, startedNs, endedNs, iterations, samples, railsOfBothEnds, thermal)
    }

    /** Load and rest that an external meter's trace can be aligned with. */
    private fun makeSyncPattern() {
        val edgesNs = ArrayList<Long>()
        repeat(SYNC_PULSES) {
            edgesNs += clock.nowNs()
            inferUntil(edgesNs.last() + SYNC_PULSE_NS)
            edgesNs += clock.nowNs()
            clock.sleepUntil(edgesNs.last() + SYNC_PULSE_NS)
        }
        tell(SyncPatternMade(SyncPattern(edgesNs)))
    }

    private fun inferUntil(endNs: Long): Long {
        var iterations = 0L
        inferring {
            do {
                program.infer()
                iterations++
            } while (clock.nowNs() < endNs)
        }
        return iterations
    }

    private fun readBattery(): BatterySample = gauge.read(clock.nowNs())

    private fun readRails(): List<RailSample> = device.rails?.read().orEmpty()

    private companion object {
        val FIRST_BLOCK = listOf(WindowKind.IDLE, WindowKind.LOAD, WindowKind.IDLE)

        /** It shares its first idle window with the block before. */
        val NEXT_BLOCK = listOf(WindowKind.LOAD, WindowKind.IDLE)
    }
}
