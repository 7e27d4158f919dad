package dev.mobilekit.bench

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.Service
import android.content.Context
import android.content.Intent
import android.content.pm.ServiceInfo
import android.os.Build
import android.os.IBinder
import android.os.PowerManager
import dev.mobilekit.bench.core.SleepGuard
import org.codehaus.mojo.animal_sniffer.IgnoreJRERequirement
import java.util.concurrent.TimeUnit

/**
 * Holds the process in the foreground while a run is under way, so that Android neither freezes nor
 * ends it when the screen goes off. It does none of the work: that stays the activity's process's,
 * which the system runs on its fast processors.
 */
class RunService : Service() {
    override fun onBind(intent: Intent?): IBinder? = null

    override fun onStartCommand(
        intent: Intent?,
        flags: Int,
        startId: Int,
    ): Int {
        val notification = notification(Runs.shown?.headline(resources).orEmpty())
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.UPSIDE_DOWN_CAKE) {
            startForegroundTyped(notification)
        } else {
            startForeground(NOTIFICATION, notification)
        }
        // A short run may be over by now. To stop the service from outside before it has come to
        // the foreground would crash the process: Android insists on the foreground first.
        if (Runs.underWay == 0) stopSelf() else inForeground = this
        // When the process is killed the run is over: the next start of it says so.
        return START_NOT_STICKY
    }

    override fun onDestroy() {
        inForeground = null
        super.onDestroy()
    }

    @IgnoreJRERequirement
    private fun startForegroundTyped(notification: Notification) {
        startForeground(NOTIFICATION, notification, ServiceInfo.FOREGROUND_SERVICE_TYPE_SPECIAL_USE)
    }

    private fun notification(text: String): Notification {
        val builder =
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.O) {
                channelBuilder()
            } else {
                @Suppress("DEPRECATION")
                Notification.Builder(this)
            }
        return builder
            .setSmallIcon(R.drawable.ic_launcher)
            .setContentTitle(getString(R.string.notification))
            .setContentText(text)
            .setOnlyAlertOnce(true)
            .setOngoing(true)
            .build()
    }

    @IgnoreJRERequirement
    private fun channelBuilder(): Notification.Builder {
        val name = getString(R.string.notification_channel)
        val channel = NotificationChannel(CHANNEL, name, NotificationManager.IMPORTANCE_LOW)
        getSystemService(NotificationManager::class.java).createNotificationChannel(channel)
        return Notification.Builder(this, CHANNEL)
    }

    companion object {
        private const val NOTIFICATION = 1
        private const val CHANNEL = "runs"

        /** Written and read on the main thread. */
        private var inForeground: RunService? = null

        fun start(context: Context) {
            val intent = Intent(context, RunService::class.java)
            try {
                if (Build.VERSION.SDK_INT >=
                    Build.VERSION_CODES.O
                ) {
                    startTyped(context, intent)
                } else {
                    context.startService(intent)
                }
            } catch (_: IllegalStateException) {
                // Not allowed just now, as behind a lock screen: the run goes on without it.
            }
        }

        /** What goes on, for somebody who does not see the activity. */
        fun say(text: String) {
            val service = inForeground ?: return
            val manager = service.getSystemService(NotificationManager::class.java)
            manager.notify(NOTIFICATION, service.notification(text))
        }

        /** No run is under way any more. */
        fun stop() {
            inForeground?.stopSelf()
        }

        @IgnoreJRERequirement
        private fun startTyped(
            context: Context,
            intent: Intent,
        ) {
            context.startForegroundService(intent)
        }
    }
}

/**
 * The processor stays awake behind a dark screen too. The time-out is for a run that hangs: the lock
 * is taken anew after each of its events.
 */
internal class AndroidSleepGuard(
    context: Context,
) : SleepGuard {
    private val lock =
        context
            .getSystemService(PowerManager::class.java)
            .newWakeLock(PowerManager.PARTIAL_WAKE_LOCK, "mobilekit:run")
            .also { it.setReferenceCounted(false) }

    override fun stayAwake(durationNs: Long) = lock.acquire(TimeUnit.NANOSECONDS.toMillis(durationNs))

    /** A run that waits would not wake the processor up by its turn. */
    override fun maySleep() = if (Runs.waiting > 0) stayAwake(BETWEEN_RUNS_NS) else lock.release()

    private companion object {
        const val BETWEEN_RUNS_NS = 60_000_000_000L
    }
}
