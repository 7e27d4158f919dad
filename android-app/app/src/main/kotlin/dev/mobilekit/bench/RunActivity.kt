package dev.mobilekit.bench

import android.app.Activity
import android.content.Context
import android.content.Intent
import android.os.Build
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.os.Process
import android.view.WindowManager.LayoutParams.BRIGHTNESS_OVERRIDE_NONE
import android.view.WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
import android.view.WindowManager.LayoutParams.FLAG_SHOW_WHEN_LOCKED
import android.view.WindowManager.LayoutParams.FLAG_TURN_SCREEN_ON
import android.widget.TextView
import dev.mobilekit.bench.core.Device
import dev.mobilekit.bench.core.LoadMeasured
import dev.mobilekit.bench.core.Phase
import dev.mobilekit.bench.core.PhaseStarted
import dev.mobilekit.bench.core.ProgressEvent
import dev.mobilekit.bench.core.RunResult
import dev.mobilekit.bench.core.SegmentMeasured
import dev.mobilekit.bench.core.WarmupMeasured
import dev.mobilekit.bench.core.carryOutRun
import dev.mobilekit.bench.core.isRunId
import dev.mobilekit.bench.core.takeRun
import java.io.File
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger

/**
 * Where `am start -n dev.mobilekit.bench/.RunActivity --es run_id <id>[,<id>...]` arrives.
 *
 * From here the way to the timed loop is [Runs.start], below, then `Run.kt` and `TimedLoop.kt` of the
 * core. The activity only shows: the run is the process's, so that it goes on when the screen is
 * turned, goes off or is left.
 */
class RunActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        showOverLockScreen()
        setContentView(R.layout.run)
        text(R.id.screen_state).text = getString(R.string.screen_state, (100 * BRIGHTNESS).toInt())
        // A recreated activity shows the run that it was started for; it is not started anew.
        if (savedInstanceState == null || Runs.shown == null) begin(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        setIntent(intent)
        begin(intent)
    }

    override fun onStart() {
        super.onStart()
        Runs.onChange = ::show
        Runs.shown?.let(::show)
    }

    override fun onStop() {
        Runs.onChange = null
        super.onStop()
    }

    private fun begin(intent: Intent) {
        val runIds = runIdsOf(intent)
        val wrong = runIds.find { !isRunId(it) }
        when {
            runIds.isEmpty() -> text(R.id.headline).setText(R.string.nothing_to_run)
            wrong != null -> text(R.id.headline).text = getString(R.string.not_a_run_id, wrong.take(80))
            else -> Runs.start(applicationContext, runIds)
        }
    }

    private fun runIdsOf(intent: Intent): List<String> = intent.getStringExtra("run_id")?.split(",").orEmpty()

    private fun show(view: RunView) {
        // What is under way is always shown, and how it ended where it was asked for.
        if (view.result != null && view.runId !in runIdsOf(intent)) return
        text(R.id.run).text = view.runId
        text(R.id.headline).text = view.headline(resources)
        text(R.id.details).text = view.details(resources)
        holdScreen(view.result == null)
    }

    /** The manifest says the same, in words that Android has known since 8.1 only. */
    @Suppress("DEPRECATION")
    private fun showOverLockScreen() {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.O_MR1) {
            window.addFlags(FLAG_SHOW_WHEN_LOCKED or FLAG_TURN_SCREEN_ON)
        }
    }

    /** The screen's share of the power is the same in every run: on, and as bright. */
    private fun holdScreen(hold: Boolean) {
        if (hold) window.addFlags(FLAG_KEEP_SCREEN_ON) else window.clearFlags(FLAG_KEEP_SCREEN_ON)
        window.attributes =
            window.attributes.also { it.screenBrightness = if (hold) BRIGHTNESS else BRIGHTNESS_OVERRIDE_NONE }
    }

    private fun text(id: Int): TextView = findViewById(id)

    private companion object {
        const val BRIGHTNESS = 0.2f
    }
}

/** What is known of the run that is under way, or was the last one. */
internal data class RunView(
    val runId: String,
    val events: List<ProgressEvent>,
    val result: RunResult?,
    /** How many runs wait for its end. */
    val behind: Int = 0,
)

/** The runs of this process: one at a time, in the order of their starts, on a thread of their own. */
internal object Runs {
    // Tests have other places, and a device whose time passes.
    var inputRoot = File("/data/local/tmp/mobilekit")
    var outputRoot: (Context) -> File? = { it.getExternalFilesDir(null) }
    var device: (Context) -> Device = { androidDevice(it) }

    private val thread = Executors.newSingleThreadExecutor { Thread(it, "run") }
    private val main = Handler(Looper.getMainLooper())
    private val notBegun = AtomicInteger()

    /** How many runs wait for their turn. */
    val waiting: Int get() = notBegun.get()

    // What follows is read and written on the main thread only.

    var shown: RunView? = null
        private set

    /** The runs that were started and are not over, in their order. */
    private val held = LinkedHashSet<String>()

    /** How many runs were started and are not over. */
    val underWay: Int get() = held.size

    var onChange: ((RunView) -> Unit)? = null

    /**
     * Runs what is waiting under each of [runIds], behind what was started before; a run that is over
     * already is only shown. All are taken before the first begins, which they then do not disturb.
     */
    fun start(
        context: Context,
        runIds: List<String>,
    ) {
        val added = runIds.filter(held::add)
        if (added.isEmpty()) return
        for (runId in added) outputRoot(context)?.let { takeRun(it, runId, Process.myPid().toLong()) }
        // Where none was under way, the first of them is.
        val underWay = shown?.takeIf { it.result == null && held.size > added.size }
        show(context, underWay ?: RunView(added.first(), emptyList(), null))
        RunService.start(context)
        notBegun.addAndGet(added.size)
        for (runId in added) thread.execute { run(context, runId) }
    }

    private fun run(
        context: Context,
        runId: String,
    ) {
        notBegun.decrementAndGet()
        val events = ArrayList<ProgressEvent>()
        val result =
            carryOutRun(inputRoot, outputRootOf(context), runId, device(context)) { event ->
                events += event
                if (mayDrawAfter(event)) {
                    val now = events.toList()
                    main.post { show(context, RunView(runId, now, null)) }
                    Thread.sleep(DRAWING_MS)
                }
            }
        main.post {
            held.remove(runId)
            // Nobody is to connect the cable before all are over.
            show(context, held.firstOrNull()?.let { RunView(it, emptyList(), null) } ?: RunView(runId, events, result))
            if (held.isEmpty()) RunService.stop()
        }
    }

    /**
     * Drawing competes with what is measured, and waiting for it lets the processor slow down: so
     * none between two cold loads or segments, nor from the warm-up's start to the last iteration.
     */
    private fun mayDrawAfter(event: ProgressEvent): Boolean =
        when (event) {
            is LoadMeasured, is WarmupMeasured, is SegmentMeasured -> false
            is PhaseStarted -> event.phase != Phase.ITERATE
            else -> true
        }

    private fun show(
        context: Context,
        view: RunView,
    ) {
        val complete = view.copy(behind = maxOf(0, held.size - 1))
        shown = complete
        onChange?.invoke(complete)
        RunService.say(complete.headline(context.resources))
    }

    private fun outputRootOf(context: Context): File =
        checkNotNull(outputRoot(context)) { "the phone's shared storage is not mounted" }

    /** A few frames. */
    private const val DRAWING_MS = 50L
}
