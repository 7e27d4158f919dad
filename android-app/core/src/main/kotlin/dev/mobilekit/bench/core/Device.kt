package dev.mobilekit.bench.core

/** What a run needs of the machine that it runs on. */
class Device(
    val companion: String,
    val version: String,
    val abi: String,
    /** Of this process, as its system calls it. */
    val pid: Long,
    val processors: Int,
    val debuggable: Boolean,
    val engines: Engines,
    val clock: Clock,
    val battery: BatteryReader?,
    val rails: RailReader?,
    val memory: MemoryReader,
    val thermal: ThermalReader,
    /** Null where nothing sleeps by itself. */
    val sleepGuard: SleepGuard?,
)

/** The time that much later, or as late as can be said. */
internal fun Long.later(durationNs: Long): Long = this + minOf(durationNs, Long.MAX_VALUE - this)

/** The time of one run. */
interface Clock {
    /** Nanoseconds since the run's start; counts while the device sleeps. */
    fun nowNs(): Long

    /** For differences only: the cheapest monotonic nanoseconds there are. */
    fun tickNs(): Long

    /** Returns once [nowNs] has reached [atNs]. */
    fun sleepUntil(atNs: Long)

    /**
     * Runs [body], and [action] every [periodNs] from now, on another thread; the last [action] has
     * ended when this returns. The other thread is for gauges that show the current of the moment:
     * read between inferences only, they would never see a busy processor.
     *
     * What [action] throws is thrown here.
     */
    fun <T> whileEvery(
        periodNs: Long,
        action: () -> Unit,
        body: () -> T,
    ): T
}

/** Keeps the device from sleeping, however long nobody touches it. */
interface SleepGuard {
    /** From now on, for [durationNs] at most; what was said before no longer counts. */
    fun stayAwake(durationNs: Long)

    fun maySleep()
}

/** The fuel gauge. */
interface BatteryReader {
    val source: BatterySource

    fun read(atNs: Long): BatterySample
}

/** The phone's own meters of what its parts consume. */
fun interface RailReader {
    /** The newest reading of each meter, with its own time; none where they cannot be read just now. */
    fun read(): List<RailSample>
}

/** The memory of this process. */
interface MemoryReader {
    /** Gives freed memory back, as far as the platform can, and forgets the peak. */
    fun release()

    /** Reads, then forgets the peak. */
    fun read(
        atNs: Long,
        stage: MemoryStage,
    ): MemorySample
}

/** The thermal state and the processors' frequencies. */
fun interface ThermalReader {
    fun read(atNs: Long): ThermalSample
}
