package dev.mobilekit.bench

import android.app.Notification
import android.app.NotificationManager
import android.content.ComponentName
import android.content.Context
import android.content.Intent
import android.content.pm.PackageManager
import android.os.BatteryManager
import android.os.Build
import android.os.Looper
import android.os.PowerManager
import android.os.Process
import android.view.WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
import android.view.WindowManager.LayoutParams.FLAG_SHOW_WHEN_LOCKED
import android.view.WindowManager.LayoutParams.FLAG_TURN_SCREEN_ON
import android.widget.TextView
import dev.mobilekit.bench.core.EngineProvider
import dev.mobilekit.bench.core.FailureCode
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.PROTOCOL_VERSION
import dev.mobilekit.bench.core.Phase
import dev.mobilekit.bench.core.PhaseStarted
import dev.mobilekit.bench.core.Roots
import dev.mobilekit.bench.core.RunFailure
import dev.mobilekit.bench.core.RunRequest
import dev.mobilekit.bench.core.RunResult
import dev.mobilekit.bench.core.RunSuccess
import dev.mobilekit.bench.core.RunTaken
import dev.mobilekit.bench.core.decodeEvent
import dev.mobilekit.bench.core.decodeResult
import dev.mobilekit.bench.core.encodeEvent
import dev.mobilekit.bench.core.encodeRequest
import dev.mobilekit.bench.core.energyPlan
import dev.mobilekit.bench.core.request
import dev.mobilekit.bench.onnx.OnnxModels
import dev.mobilekit.bench.onnx.OnnxProvider
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.annotation.Config
import org.robolectric.shadows.ShadowPowerManager
import org.robolectric.shadows.ShadowProcess
import java.util.concurrent.TimeoutException

/** The app as `am start` sees it, with a real model in a real runtime and a battery of known numbers. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [23, 34, 35])
class RunActivityTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val context: Context get() = RuntimeEnvironment.getApplication()
    private val roots by lazy { Roots(folder.root) }

    @Before
    fun beAProcess() = ShadowProcess.setPid(4711) // Robolectric's own is 0, which no app has.

    @Before
    fun useRootsOfThisTest() {
        Runs.inputRoot = roots.input
        Runs.outputRoot = { roots.output }
        Runs.device = { androidDevice(it, System::nanoTime, listOf(DesktopOnnx)) }
    }

    /** ONNX Runtime of this computer, which does not mind what Android it is on. */
    private object DesktopOnnx : EngineProvider by OnnxProvider() {
        override val minimumApi = 23
        override val abis = setOf(Build.SUPPORTED_ABIS[0])
    }

    private fun realRequest(runId: String): RunRequest =
        roots
            .request(
                OnnxModels.dense(2, 1, floatArrayOf(1f, 2f, 3f, -4f)),
                input = roots.put(floatArrayOf(10f, 100f), 1, 2),
                output = roots.put(floatArrayOf(310f, 0f), 1, 2),
            ).copy(runId = runId)

    /** As `am start -n dev.mobilekit.bench/.RunActivity --es run_id <id>`. */
    private fun amStart(runId: String?): ActivityController<RunActivity> {
        val intent = Intent().setComponent(ComponentName("dev.mobilekit.bench", "dev.mobilekit.bench.RunActivity"))
        runId?.let { intent.putExtra("run_id", it) }
        return Robolectric.buildActivity(RunActivity::class.java, intent).setup()
    }

    private fun await(runId: String): RunResult {
        awaitUntil { Runs.shown?.runId == runId && Runs.shown?.result != null }
        return checkNotNull(Runs.shown?.result)
    }

    private fun awaitUntil(condition: () -> Boolean) {
        val until = System.nanoTime() + 20_000_000_000
        while (!condition()) {
            if (System.nanoTime() > until) throw TimeoutException("${Runs.shown}")
            shadowOf(Looper.getMainLooper()).idle()
            Thread.sleep(5)
        }
    }

    private fun run(request: RunRequest): RunResult {
        roots.put(request)
        amStart(request.runId)
        return await(request.runId)
    }

    private fun ActivityController<RunActivity>.text(id: Int): String = get().findViewById<TextView>(id).text.toString()

    private fun setBattery(
        plugged: Boolean = false,
        chargeCounterUah: Int = 2_345_678,
        currentNowUa: Int = -412_500,
        energyCounterNwh: Long = 8_912_000_000,
    ) {
        val manager = shadowOf(context.getSystemService(Context.BATTERY_SERVICE) as BatteryManager)
        manager.setIntProperty(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER, chargeCounterUah)
        manager.setIntProperty(BatteryManager.BATTERY_PROPERTY_CURRENT_NOW, currentNowUa)
        manager.setLongProperty(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER, energyCounterNwh)
        @Suppress("DEPRECATION")
        context.sendStickyBroadcast(
            Intent(Intent.ACTION_BATTERY_CHANGED)
                .putExtra(BatteryManager.EXTRA_VOLTAGE, 3801)
                .putExtra(BatteryManager.EXTRA_TEMPERATURE, 284)
                .putExtra(BatteryManager.EXTRA_LEVEL, 37)
                .putExtra(BatteryManager.EXTRA_SCALE, 50)
                .putExtra(BatteryManager.EXTRA_PLUGGED, if (plugged) BatteryManager.BATTERY_PLUGGED_USB else 0),
        )
    }

    @Test
    fun `a real model runs and the battery's numbers come back exactly`() {
        setBattery()

        val result = run(realRequest("real").copy(energy = energyPlan(1, 60_000_000, 60_000_000, 20_000_000)))

        result as RunSuccess
        assertEquals(result, decodeResult(roots.result("real").readBytes()))
        assertEquals(true, result.samples.outputCheck?.matches)
        assertEquals("onnxruntime", result.samples.companion?.engine)
        val samples = result.samples.battery + result.samples.windows.flatMap { it.battery }
        assertEquals(3, result.samples.windows.size)
        assertTrue(samples.size >= 8)
        assertTrue("Robolectric has no power monitors", result.samples.windows.all { it.rails.isEmpty() })
        for (sample in samples) {
            assertEquals(2_345_678L, sample.chargeCounterUah)
            assertEquals(-412_500L, sample.currentNowUa)
            assertEquals(8_912_000_000, sample.energyCounterNwh)
            assertEquals(3801L, sample.voltageMv)
            assertEquals(284L, sample.temperatureDecicelsius)
            assertEquals(74L, sample.levelPercent)
            assertFalse(sample.plugged)
        }
        assertEquals(3, result.samples.memory.size)
        assertEquals(2, result.samples.thermal.size)
    }

    @Test
    fun `properties that a phone has not got come back as none`() {
        setBattery(chargeCounterUah = Int.MIN_VALUE, currentNowUa = Int.MIN_VALUE, energyCounterNwh = Long.MIN_VALUE)

        val sample = AndroidBattery(context).read(7)

        assertEquals(7L, sample.atNs)
        assertNull(sample.chargeCounterUah)
        assertNull(sample.currentNowUa)
        assertNull(sample.energyCounterNwh)
        assertEquals(3801L, sample.voltageMv)
    }

    @Test
    fun `a counter of zero is none and a current of zero is zero`() {
        setBattery(chargeCounterUah = 0, currentNowUa = 0, energyCounterNwh = 0)

        val sample = AndroidBattery(context).read(0)

        assertNull(sample.chargeCounterUah)
        assertEquals(0L, sample.currentNowUa)
        assertNull(sample.energyCounterNwh)
    }

    @Test
    fun `only Android 15 and newer is asked for rails`() {
        assertEquals(Build.VERSION.SDK_INT >= 35, androidDevice(context).rails != null)
    }

    @Test
    fun `a phone on the cable refuses energy and says so on the screen`() {
        setBattery(plugged = true)
        roots.put(realRequest("plugged").copy(energy = energyPlan(1, 1_000_000_000_000, 1, 1)))

        val activity = amStart("plugged")
        val result = await("plugged") as RunSuccess

        assertTrue(result.samples.windows.isEmpty())
        assertTrue("plugged in" in activity.text(R.id.headline))
    }

    @Test
    fun `the cable is asked for on the screen and in the notification and the run goes on without it`() {
        setBattery(plugged = true)
        val plan = energyPlan(1, 60_000_000, 60_000_000, 20_000_000).copy(unplugTimeoutNs = 60_000_000_000)
        roots.put(realRequest("cable").copy(energy = plan))

        val activity = amStart("cable")
        val service = Robolectric.buildService(RunService::class.java).create().startCommand(0, 1)
        awaitUntil { "Pull the cable now" in activity.text(R.id.headline) }
        val notification = shadowOf(context.getSystemService(NotificationManager::class.java)).allNotifications.last()
        assertTrue("Pull the cable now" in notification.extras.getString(Notification.EXTRA_TEXT).orEmpty())
        assertTrue(ShadowPowerManager.getLatestWakeLock().isHeld)
        activity.pause().stop()
        setBattery(plugged = false)
        val result = await("cable") as RunSuccess

        assertEquals(3, result.samples.windows.size)
        assertEquals(
            true,
            result.samples.waits
                .single()
                .passed,
        )
        assertFalse(ShadowPowerManager.getLatestWakeLock().isHeld)
        assertTrue(shadowOf(service.get()).isStoppedBySelf)
    }

    @Test
    fun `the screen says in plain words how it ended and is let go`() {
        setBattery()
        roots.put(realRequest("words"))

        val activity = amStart("words")
        assertNotEquals(
            0,
            activity
                .get()
                .window.attributes.flags and FLAG_KEEP_SCREEN_ON,
        )
        await("words")

        assertEquals("words", activity.text(R.id.run))
        assertTrue(activity.text(R.id.headline), "Finished. A typical inference takes" in activity.text(R.id.headline))
        assertTrue(activity.text(R.id.details), "Battery 74 %, 28.4 °C" in activity.text(R.id.details))
        assertEquals(
            0,
            activity
                .get()
                .window.attributes.flags and FLAG_KEEP_SCREEN_ON,
        )
    }

    @Test
    fun `turning the screen neither stops nor repeats a run`() {
        roots.put(realRequest("turned"))

        val activity = amStart("turned").recreate()
        val result = await("turned") as RunSuccess

        assertTrue(activity.text(R.id.headline), "Finished" in activity.text(R.id.headline))
        val events = roots.progress("turned").readLines().map { decodeEvent(it.toByteArray()) }
        assertEquals(1, events.count { it is PhaseStarted && it.phase == Phase.VERIFY })
        assertEquals(result, decodeResult(roots.result("turned").readBytes()))
    }

    @Test
    fun `a run goes on when the activity is gone`() {
        roots.put(realRequest("left"))

        amStart("left").pause().stop().destroy()

        assertTrue(await("left") is RunSuccess)
    }

    @Test
    fun `a second start while the activity is there runs the second request`() {
        roots.put(realRequest("one"))
        roots.put(realRequest("two"))

        val activity = amStart("one")
        activity.newIntent(Intent().putExtra("run_id", "two"))

        assertTrue(await("two") is RunSuccess)
        assertTrue(roots.result("one").exists())
    }

    private fun linesOf(runId: String) = roots.progress(runId).readLines().map { decodeEvent(it.toByteArray()) }

    @Test
    fun `the runs of one start wait for each other and one that fails keeps none from running`() {
        setBattery(plugged = true)
        val taken = RunTaken(Process.myPid().toLong())
        val plan = energyPlan(1, 60_000_000, 60_000_000, 20_000_000).copy(unplugTimeoutNs = 60_000_000_000)
        roots.put(realRequest("first").copy(energy = plan))
        roots.put(roots.request("not a model".toByteArray()).copy(runId = "second"))
        roots.put(realRequest("third").copy(energy = plan))

        val activity = amStart("first,second,third")
        val service = Robolectric.buildService(RunService::class.java).create().startCommand(0, 1)
        awaitUntil { "Pull the cable now" in activity.text(R.id.headline) }
        assertTrue(activity.text(R.id.details), "wait for the end of this one: 2" in activity.text(R.id.details))
        assertEquals(listOf(taken), linesOf("second"))
        assertEquals(listOf(taken), linesOf("third"))
        setBattery(plugged = false)
        val third = await("third") as RunSuccess

        assertTrue(decodeResult(roots.result("first").readBytes()) is RunSuccess)
        val second = decodeResult(roots.result("second").readBytes()) as RunFailure
        assertEquals(FailureCode.LOAD_FAILED, second.code)
        assertEquals(3, third.samples.windows.size)
        assertTrue("the cable is pulled once", third.samples.waits.isEmpty())
        assertEquals(taken, linesOf("third").first())
        assertTrue(activity.text(R.id.headline), "Finished" in activity.text(R.id.headline))
        assertTrue(shadowOf(service.get()).isStoppedBySelf)
        assertFalse(ShadowPowerManager.getLatestWakeLock().isHeld)
    }

    @Test
    fun `the processor is kept awake and the service in the foreground from one run to the next`() {
        setBattery(plugged = true)
        val plan = energyPlan(1, 60_000_000, 60_000_000, 20_000_000).copy(unplugTimeoutNs = 60_000_000_000)
        roots.put(roots.request("not a model".toByteArray()).copy(runId = "failing"))
        roots.put(realRequest("waiting").copy(energy = plan))
        val locks = ArrayList<PowerManager.WakeLock>()
        Runs.device = { context ->
            androidDevice(context, System::nanoTime, listOf(DesktopOnnx)).also {
                locks += ShadowPowerManager.getLatestWakeLock()
            }
        }

        amStart("failing,waiting")
        val service = Robolectric.buildService(RunService::class.java).create().startCommand(0, 1)
        awaitUntil {
            locks.size == 2 && Runs.shown?.runId == "waiting" &&
                Runs.shown
                    ?.events
                    .orEmpty()
                    .isNotEmpty()
        }

        assertTrue("the lock of the run that is over", locks[0].isHeld)
        assertFalse(shadowOf(service.get()).isStoppedBySelf)
        setBattery(plugged = false)
        await("waiting")
        assertFalse(locks[1].isHeld)
        assertTrue(shadowOf(service.get()).isStoppedBySelf)
    }

    @Test
    fun `a run that is under way is not started again`() {
        setBattery(plugged = true)
        val plan = energyPlan(1, 60_000_000, 60_000_000, 20_000_000).copy(unplugTimeoutNs = 60_000_000_000)
        roots.put(realRequest("once").copy(energy = plan))

        val activity = amStart("once")
        awaitUntil { "Pull the cable now" in activity.text(R.id.headline) }
        activity.newIntent(Intent().putExtra("run_id", "once"))
        assertEquals(1, Runs.underWay)
        setBattery(plugged = false)

        assertTrue(await("once") is RunSuccess)
        assertEquals(0, Runs.waiting)
    }

    @Test
    fun `a run whose process died is told of as interrupted`() {
        roots.put(realRequest("died"))
        roots.progress("died").parentFile.mkdirs()
        roots.progress("died").writeText(encodeEvent(PhaseStarted(Phase.ITERATE, 5)) + "\n{\"type\":\"it")

        amStart("died")
        val result = await("died") as RunFailure

        assertEquals(FailureCode.INTERRUPTED to Phase.ITERATE, result.code to result.phase)
    }

    @Test
    fun `a bad artifact fails in the engine's words`() {
        val result = run(roots.request("not a model".toByteArray()).copy(runId = "bad")) as RunFailure

        assertEquals(FailureCode.LOAD_FAILED, result.code)
        assertTrue(result.message, "OrtException" in result.message)
    }

    @Test
    fun `another protocol version is refused`() {
        val text =
            encodeRequest(realRequest("version"))
                .replace("\"protocol_version\":$PROTOCOL_VERSION", "\"protocol_version\":${PROTOCOL_VERSION + 1}")
        roots.putRequest("version", text)

        amStart("version")

        assertEquals(FailureCode.PROTOCOL_VERSION, (await("version") as RunFailure).code)
    }

    @Test
    fun `a hostile path is nothing to run`() {
        for (runId in listOf("../../data/x", "a/b", "A", "x".repeat(65), "a b; rm", "a,", "a,../b")) {
            val activity = amStart(runId)

            assertTrue(activity.text(R.id.headline), "not the name of a run" in activity.text(R.id.headline))
        }
        assertFalse(roots.output.exists())
    }

    @Test
    fun `no run id is nothing to run`() {
        assertTrue("Nothing to run" in amStart(null).text(R.id.headline))
    }

    @Test
    @Config(sdk = [23])
    fun `an engine that needs a newer Android says so`() {
        Runs.device = { androidDevice(it, System::nanoTime) }

        val result = run(realRequest("old")) as RunFailure

        assertEquals(FailureCode.ENGINE_MISSING, result.code)
        assertEquals("ONNX Runtime needs Android API 24; this is 23", result.message)
    }

    @Test
    fun `a format without an engine says so`() {
        val result = run(roots.request(format = Format.PTE).copy(runId = "pte")) as RunFailure

        assertEquals(FailureCode.ENGINE_MISSING, result.code)
        assertEquals("this build of the app has no engine for .pte", result.message)
    }

    @Test
    fun `the engines of the build are found`() {
        assertTrue(carriedEngines().any { it is OnnxProvider })
    }

    @Test
    fun `a run is held in the foreground until it is over`() {
        roots.put(realRequest("held"))
        amStart("held")
        val started = shadowOf(RuntimeEnvironment.getApplication()).nextStartedService
        assertEquals(RunService::class.java.name, started.component?.className)
        val service = Robolectric.buildService(RunService::class.java, started).create().startCommand(0, 1)
        assertFalse(shadowOf(service.get()).isStoppedBySelf)

        await("held")

        assertTrue(shadowOf(service.get()).isStoppedBySelf)
    }

    @Test
    fun `a service that comes after its run stops by itself once in the foreground`() {
        run(realRequest("short"))

        val service = Robolectric.buildService(RunService::class.java).create().startCommand(0, 1)

        assertTrue(shadowOf(service.get()).isStoppedBySelf)
        assertTrue(shadowOf(service.get()).lastForegroundNotificationId != 0)
    }

    /** Android 8.1 and newer are told so by the manifest, which older ones do not understand. */
    @Test
    @Suppress("DEPRECATION")
    fun `a dark and locked phone shows the run`() {
        val activity = amStart(null).get()

        val wanted = FLAG_SHOW_WHEN_LOCKED or FLAG_TURN_SCREEN_ON
        assertEquals(if (Build.VERSION.SDK_INT < 27) wanted else 0, activity.window.attributes.flags and wanted)
    }

    @Test
    fun `only the shell may start a run`() {
        val activity =
            context.packageManager.getActivityInfo(
                ComponentName(context, RunActivity::class.java),
                PackageManager.GET_META_DATA,
            )

        assertEquals("android.permission.DUMP", activity.permission)
        assertTrue(activity.exported)
    }
}
