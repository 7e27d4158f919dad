package dev.mobilekit.bench.core

/**
 * Whether [result] answers [request], as the contract says of both together: what a companion sees to
 * before it writes a result.
 *
 * @throws ProtocolException naming the field for what cannot have come of the request.
 */
fun checkAnswer(
    request: RunRequest,
    result: RunResult,
) {
    val samples =
        when (result) {
            is RunSuccess -> result.samples
            is RunFailure -> result.samples
        }
    Answering(request, samples, isOver = result is RunSuccess).check()
    when (result) {
        is RunSuccess -> {
            requireId(request, result.runId)
        }

        is RunFailure -> {
            requireId(request, result.runId)
            val last = samples.phases.lastOrNull()?.phase ?: return
            if (result.phase != last) throw ProtocolException("$.phase", "${result.phase} is not $last")
        }
    }
}

private fun requireId(
    request: RunRequest,
    runId: String,
) {
    if (runId != request.runId) throw ProtocolException("$.run_id", "'$runId' is not '${request.runId}'")
}

private class Answering(
    private val request: RunRequest,
    private val samples: Samples,
    private val isOver: Boolean,
) {
    fun check() {
        phases()
        if (isOver && samples.companion == null) fail("companion", MISSING)
        choice()
        times()
        profile()
        evaluation()
        energy()
    }

    private fun phases() {
        val asked =
            mapOf(
                Phase.CHOOSE to (request.choice != null),
                Phase.PROFILE to (request.profileIterations != null),
                Phase.EVALUATE to (request.evaluation != null),
                Phase.ENERGY to (request.energy != null),
            )
        val planned = Phase.entries.filter { asked[it] ?: true }
        val found = samples.phases.map { it.phase }
        if (found != planned.take(found.size) || (isOver && found != planned)) fail("phases", "$found are not $planned")
        if (isOver && samples.endedNs == null) fail("ended_ns", MISSING)
        requireOrder("phases", samples.phases.map { it.atNs } + listOfNotNull(samples.endedNs))
    }

    private fun choice() {
        val choice = request.choice
        val trials = samples.trials
        if (choice == null) {
            if (trials.isNotEmpty()) fail("trials", UNASKED)
            return
        }
        val found = trials.map { it.method }
        val wanted = choice.candidates.map { it.method }
        if (found != wanted.take(found.size)) fail("trials", "$found are not the first of $wanted")
        trials.forEachIndexed { place, trial ->
            requireCount("trials[$place].latency_ns", trial.latencyNs, choice.iterations, true)
        }
        if (trials.dropLast(1).any { it.keepsTo(choice.budgetNs) }) {
            fail("trials", "others were tried after one that keeps to the budget")
        }
        val chosen = trials.lastOrNull()?.keepsTo(choice.budgetNs) ?: false
        if (isOver && !chosen) requireCount("trials", trials, wanted.size.toLong())
    }

    private fun times() {
        requireCount("load_ns", samples.loadNs, request.coldLoads)
        val warmups = samples.warmupNs.size
        if (warmups > request.warmup.maxIterations) fail("warmup_ns", "$warmups are more than were asked for")
        if (isOver && warmups == 0) fail("warmup_ns", NONE)
        val iterations = samples.iterationNs.size
        if (isOver && iterations == 0) fail("iteration_ns", NONE)
        val startNs = samples.phases.associate { it.phase to it.atNs }
        val iterateNs = startNs[Phase.ITERATE]
        val checkNs = startNs[Phase.CHECK]
        if (iterateNs != null && checkNs != null) {
            val spentNs = checkNs - iterateNs
            // As doubles, which a sum of them does not overflow.
            if (samples.iterationNs.sumOf { it.toDouble() } > spentNs) {
                fail("iteration_ns", "they take longer than the $spentNs ns of their phase")
            }
            if (iterations < request.minIterations && spentNs < request.maxDurationNs) {
                fail("iteration_ns", "$iterations are too few")
            }
        }
        requireAtMost("battery", samples.battery, BEFORE_AND_AFTER)
        requireAtMost("thermal", samples.thermal, BEFORE_AND_AFTER)
        if (isOver && samples.outputCheck == null) fail("output_check", MISSING)
        val stages = samples.memory.map { it.stage }
        val planned = MemoryStage.entries.toList()
        if (stages != planned.take(stages.size) || (isOver && stages != planned)) {
            fail("memory", "$stages are not $planned")
        }
    }

    private fun profile() {
        val iterations = request.profileIterations
        val trace = samples.trace
        if (trace != null && samples.profileRefusal != null) fail("profile_refusal", "there is a trace")
        if (iterations == null || request.segments.isNotEmpty()) {
            if (trace != null) fail("trace", UNASKED)
            if (samples.profileRefusal != null) fail("profile_refusal", UNASKED)
        } else if (isOver && trace == null && samples.profileRefusal == null) {
            fail("trace", MISSING)
        }
        if (trace != null && iterations != null) requireCount("trace.latency_ns", trace.latencyNs, iterations, true)
        requireCount("segments", samples.segments, request.segments.size.toLong())
        samples.segments.forEachIndexed { place, segment ->
            if (segment.segment != place.toLong()) {
                fail("segments[$place].segment", "${segment.segment} is not its place")
            }
            iterations?.let { requireCount("segments[$place].latency_ns", segment.latencyNs, it, true) }
        }
    }

    private fun evaluation() {
        val evaluation = samples.evaluation
        val examples = request.evaluation?.shape?.first()
        if (examples == null) {
            if (evaluation != null) fail("evaluation", UNASKED)
        } else if (evaluation != null) {
            requireCount("evaluation.latency_ns", evaluation.latencyNs, examples, true)
            val shape = evaluation.outputs.shape
            if (shape.firstOrNull() != examples) fail("evaluation.outputs.shape", "it is not of $examples examples")
            if (shape.fold(1.0) { product, size -> product * size } >= LARGEST_OUTPUTS) {
                fail("evaluation.outputs.shape", "no outputs are so large")
            }
        } else if (isOver) {
            fail("evaluation", MISSING)
        }
    }

    private fun energy() {
        val plan = request.energy
        if (plan == null) {
            if (samples.waits.isNotEmpty()) fail("waits", UNASKED)
            if (samples.syncPatterns.isNotEmpty()) fail("sync_patterns", UNASKED)
            if (samples.windows.isNotEmpty()) fail("windows", UNASKED)
            if (samples.energyRefusal != null) fail("energy_refusal", UNASKED)
            return
        }
        requireAtMost("sync_patterns", samples.syncPatterns, if (plan.syncPattern) BEFORE_AND_AFTER else 0)
        samples.syncPatterns.forEachIndexed { number, pattern ->
            requireOrder("sync_patterns[$number].edges_ns", pattern.edgesNs)
        }
        requireOrder("windows", samples.windows.flatMap { listOf(it.startedNs, it.endedNs) })
        samples.windows.forEachIndexed { number, window ->
            if ((window.iterations > 0) != (window.kind == WindowKind.LOAD)) {
                fail("windows[$number].iterations", "${window.iterations} in ${window.kind}")
            }
            if (window.battery.isEmpty()) fail("windows[$number].battery", NONE)
            requireOrder("windows[$number].battery", window.battery.map { it.atNs })
        }
        val loads =
            samples.windows.count { window ->
                window.kind == WindowKind.LOAD && window.battery.none { it.plugged }
            }
        if (isOver && samples.energyRefusal == null && loads < plan.blocks) {
            fail("windows", "$loads loads are fewer than the ${plan.blocks} that were asked for")
        }
    }

    private fun requireCount(
        field: String,
        values: List<Any>,
        expected: Long,
        isWhole: Boolean = isOver,
    ) {
        if (values.size > expected || (isWhole && values.size < expected)) {
            fail(field, "${values.size} are not the $expected that were asked for")
        }
    }

    private fun requireAtMost(
        field: String,
        values: List<Any>,
        most: Int,
    ) {
        if (values.size > most) fail(field, "${values.size} are more than $most")
    }

    private fun requireOrder(
        field: String,
        timesNs: List<Long>,
    ) {
        if (timesNs.zipWithNext().any { (earlier, later) -> later < earlier }) fail(field, "their times go back")
    }

    private fun fail(
        field: String,
        problem: String,
    ): Nothing = throw ProtocolException("$.samples.$field", problem)

    private companion object {
        const val MISSING = "missing from a run that is over"
        const val UNASKED = "it was not asked for"
        const val NONE = "there are none"

        /** Readings outside of windows, and patterns around the windows. */
        const val BEFORE_AND_AFTER = 2
        const val LARGEST_OUTPUTS = 281_474_976_710_656.0
    }
}
