package dev.mobilekit.bench.jvm

import dev.mobilekit.bench.core.BatteryReader
import dev.mobilekit.bench.core.BatterySample
import dev.mobilekit.bench.core.BatterySource
import dev.mobilekit.bench.core.Device
import dev.mobilekit.bench.core.EngineChoice
import dev.mobilekit.bench.core.EngineProvider
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.LinuxMemory
import dev.mobilekit.bench.core.RunFailure
import dev.mobilekit.bench.core.RunResult
import dev.mobilekit.bench.core.SystemClock
import dev.mobilekit.bench.core.ThermalSample
import dev.mobilekit.bench.core.carryOutRun
import dev.mobilekit.bench.core.decodeBattery
import dev.mobilekit.bench.core.isRunId
import dev.mobilekit.bench.core.readCpuKhz
import dev.mobilekit.bench.core.readKibFields
import dev.mobilekit.bench.core.takeRun
import java.io.File
import java.util.ServiceLoader
import kotlin.system.exitProcess

private const val USAGE =
    "usage: java -jar companion.jar --input-root DIR --output-root DIR --run-id ID [--battery FILE] [--after FILE] " +
        "[--name NAME]"

/**
 * Runs one request as the app does, on this computer, once the file after which it comes, a pipe of the
 * run before, has been read to its end. The exit code is 0 once the result is written,
 * be it a success or a failure; 1 where it could not be written, 2 for a wrong command line.
 */
fun main(arguments: Array<String>) {
    val options = parse(arguments)
    if (options == null) {
        System.err.println(USAGE)
        exitProcess(2)
    }
    val result = run(options)
    if (!File(options.outputRoot, "runs/${options.runId}/result.json").exists()) {
        System.err.println((result as? RunFailure)?.message)
        exitProcess(1)
    }
    // fbjni, which is ExecuTorch's, has a thread that would keep the process.
    exitProcess(0)
}

private val OPTIONS = setOf("--input-root", "--output-root", "--run-id", "--battery", "--after", "--name")

internal class Options(
    val inputRoot: File,
    val outputRoot: File,
    val runId: String,
    val battery: File?,
    val after: File?,
    /** What the result calls this program. */
    val name: String,
)

internal fun parse(arguments: Array<String>): Options? {
    if (arguments.size % 2 != 0) return null
    val values = arguments.toList().chunked(2).associate { (name, value) -> name to value }
    if (!OPTIONS.containsAll(values.keys)) return null
    return Options(
        File(values["--input-root"] ?: return null),
        File(values["--output-root"] ?: return null),
        values["--run-id"]?.takeIf(::isRunId) ?: return null,
        values["--battery"]?.let(::File),
        values["--after"]?.let(::File),
        values["--name"] ?: "mobilekit jvm",
    )
}

internal fun run(options: Options): RunResult {
    takeRun(options.outputRoot, options.runId, ProcessHandle.current().pid())
    options.after?.readBytes()
    return carryOutRun(options.inputRoot, options.outputRoot, options.runId, thisComputer(options)) {}
}

private fun thisComputer(options: Options) =
    Device(
        companion = options.name,
        version = Options::class.java.`package`.implementationVersion ?: "unpackaged",
        abi = abiOf(System.getProperty("os.arch")),
        pid = ProcessHandle.current().pid(),
        processors = Runtime.getRuntime().availableProcessors(),
        debuggable = false,
        engines = ::chooseEngine,
        clock = SystemClock(System::nanoTime),
        battery = options.battery?.let(::FileBattery),
        rails = null,
        memory = LinuxMemory { readKibFields(File("/proc/self/smaps_rollup"))["Pss"] },
        thermal = { atNs -> ThermalSample(atNs, null, null, readCpuKhz()) },
        sleepGuard = null,
    )

/**
 * Whether its native library is here shows when it is made: one that is not fails the run as `engine_missing`. Nothing
 * is asked of Vulkan: ExecuTorch's library throws here where there is none.
 */
private fun chooseEngine(format: Format): EngineChoice =
    ServiceLoader
        .load(EngineProvider::class.java)
        .find { it.format == format }
        ?.let { EngineChoice.Found(it.make(vulkanObstacle = null)) }
        ?: EngineChoice.Missing("this build has no engine for .${format.name.lowercase()}")

/** Android's name for this processor, as an emulator image would have. */
private fun abiOf(arch: String) =
    when (arch) {
        "amd64" -> "x86_64"
        "aarch64" -> "arm64-v8a"
        else -> arch
    }

/** The battery of whoever writes [file]: a `BatterySample`, whose time is not looked at. */
private class FileBattery(
    private val file: File,
) : BatteryReader {
    override val source = BatterySource.SIMULATED

    override fun read(atNs: Long): BatterySample = decodeBattery(file.readBytes()).copy(atNs = atNs)
}
