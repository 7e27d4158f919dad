package dev.mobilekit.bench

import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.content.pm.ApplicationInfo
import android.content.pm.PackageManager
import android.os.BatteryManager
import android.os.Build
import android.os.Debug
import android.os.PowerManager
import android.os.Process
import android.os.SystemClock
import dev.mobilekit.bench.core.BatteryReader
import dev.mobilekit.bench.core.BatterySample
import dev.mobilekit.bench.core.BatterySource
import dev.mobilekit.bench.core.Device
import dev.mobilekit.bench.core.EngineChoice
import dev.mobilekit.bench.core.EngineProvider
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.LinuxMemory
import dev.mobilekit.bench.core.ThermalReader
import dev.mobilekit.bench.core.ThermalSample
import dev.mobilekit.bench.core.readArmFeatures
import dev.mobilekit.bench.core.readCpuKhz
import org.codehaus.mojo.animal_sniffer.IgnoreJRERequirement
import java.io.File
import java.util.ServiceLoader
import dev.mobilekit.bench.core.SystemClock as RunClock

/** This phone, as the core wants it. */
internal fun androidDevice(
    context: Context,
    elapsedNs: () -> Long = SystemClock::elapsedRealtimeNanos,
    carried: List<EngineProvider> = carriedEngines(),
): Device {
    val abi = if (Process.is64Bit()) Build.SUPPORTED_64_BIT_ABIS[0] else Build.SUPPORTED_32_BIT_ABIS[0]
    val armFeatures = readArmFeatures(File("/proc/cpuinfo"))
    val clock = RunClock(elapsedNs)
    val vulkanObstacle = findVulkanObstacle(Build.VERSION.SDK_INT, context.packageManager::has)
    val mayHaveRails = Build.VERSION.SDK_INT >= Build.VERSION_CODES.VANILLA_ICE_CREAM
    return Device(
        companion = "mobilekit android",
        version =
            context.packageManager
                .getPackageInfo(context.packageName, 0)
                .versionName
                .orEmpty(),
        abi = abi,
        pid = Process.myPid().toLong(),
        processors = Runtime.getRuntime().availableProcessors(),
        debuggable = context.applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE != 0,
        engines = { format -> chooseEngine(format, carried, abi, Build.VERSION.SDK_INT, armFeatures, vulkanObstacle) },
        clock = clock,
        battery = AndroidBattery(context),
        rails = if (mayHaveRails) AndroidRails(context, clock) else null,
        memory = LinuxMemory { Debug.getPss() * 1024 },
        thermal = AndroidThermal(context),
        sleepGuard = AndroidSleepGuard(context),
    )
}

/** What ExecuTorch's Vulkan needs, as `FEATURE_VULKAN_HARDWARE_VERSION` packs it: the major version from bit 22 on. */
private const val VULKAN_1_1 = (1 shl 22) or (1 shl 12)

/**
 * Why a phone's graphics processor runs no program for Vulkan; null where it does. [has] tells whether the phone has a
 * feature in at least that version, as none can be asked before Android 7.
 */
internal fun findVulkanObstacle(
    api: Int,
    has: (feature: String, version: Int) -> Boolean,
): String? {
    val isThere =
        api >= Build.VERSION_CODES.N && has(PackageManager.FEATURE_VULKAN_HARDWARE_VERSION, VULKAN_1_1)
    return if (isThere) null else "this phone has no Vulkan 1.1 in its hardware"
}

@IgnoreJRERequirement
private fun PackageManager.has(
    feature: String,
    version: Int,
) = hasSystemFeature(feature, version)

/** The engines that the build put into this APK. */
internal fun carriedEngines(): List<EngineProvider> =
    ServiceLoader.load(EngineProvider::class.java, EngineProvider::class.java.classLoader).toList()

internal fun chooseEngine(
    format: Format,
    carried: List<EngineProvider>,
    abi: String,
    api: Int,
    armFeatures: Set<String>?,
    vulkanObstacle: String?,
): EngineChoice {
    val provider =
        carried.find { it.format == format }
            ?: return EngineChoice.Missing("this build of the app has no engine for .${format.name.lowercase()}")
    val missing = armFeatures?.let { provider.armFeatures - it }.orEmpty()
    return when {
        missing.isNotEmpty() -> {
            EngineChoice.Missing("${provider.title} needs a processor with ${missing.joinToString()}")
        }

        abi !in provider.abis -> {
            EngineChoice.Missing("${provider.title} has no library for $abi")
        }

        api < provider.minimumApi -> {
            EngineChoice.Missing("${provider.title} needs Android API ${provider.minimumApi}; this is $api")
        }

        else -> {
            EngineChoice.Found(provider.make(vulkanObstacle))
        }
    }
}

/** `BatteryManager` and the sticky broadcast: the only gauge that an ordinary app can read. */
internal class AndroidBattery(
    private val context: Context,
) : BatteryReader {
    private val manager = context.getSystemService(BatteryManager::class.java)
    private val changed = IntentFilter(Intent.ACTION_BATTERY_CHANGED)

    override val source = BatterySource.GAUGE

    override fun read(atNs: Long): BatterySample {
        val chargeCounterUah = manager.getIntProperty(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER)
        val currentNowUa = manager.getIntProperty(BatteryManager.BATTERY_PROPERTY_CURRENT_NOW)
        val energyCounterNwh = manager.getLongProperty(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER)
        val state = context.registerReceiver(null, changed)
        return BatterySample(
            atNs = atNs,
            // A gauge that has no counter says so, or says 0; a running phone's counter is never 0.
            chargeCounterUah = chargeCounterUah.takeIf { it != Int.MIN_VALUE && it != 0 }?.toLong(),
            // A current of 0 may be true.
            currentNowUa = currentNowUa.takeIf { it != Int.MIN_VALUE }?.toLong(),
            energyCounterNwh = energyCounterNwh.takeIf { it != Long.MIN_VALUE && it != 0L },
            voltageMv = state?.number(BatteryManager.EXTRA_VOLTAGE)?.takeIf { it > 0 },
            temperatureDecicelsius = state?.number(BatteryManager.EXTRA_TEMPERATURE),
            levelPercent = state?.levelPercent(),
            plugged = state?.number(BatteryManager.EXTRA_PLUGGED).let { it != null && it != 0L },
        )
    }

    private fun Intent.number(name: String): Long? = if (hasExtra(name)) getIntExtra(name, 0).toLong() else null

    private fun Intent.levelPercent(): Long? {
        val level = number(BatteryManager.EXTRA_LEVEL)?.takeIf { it >= 0 } ?: return null
        val scale = number(BatteryManager.EXTRA_SCALE)?.takeIf { it > 0 } ?: return null
        return 100 * level / scale
    }
}

internal class AndroidThermal(
    context: Context,
) : ThermalReader {
    private val power = context.getSystemService(PowerManager::class.java)

    override fun read(atNs: Long): ThermalSample {
        val status = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) status() else null
        val headroom = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) headroom() else null
        return ThermalSample(atNs, status, headroom, readCpuKhz())
    }

    @IgnoreJRERequirement
    private fun status(): Long = power.currentThermalStatus.toLong()

    /** NaN where it is not supported, or asked for more than once a second. */
    @IgnoreJRERequirement
    private fun headroom(): Double? = power.getThermalHeadroom(0).toDouble().takeIf { it.isFinite() }
}
