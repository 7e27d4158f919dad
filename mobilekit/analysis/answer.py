"""What a measurement says: everything derived from its raw samples, and nothing stored."""

from __future__ import annotations

from mobilekit.analysis.energy import estimate_charge, estimate_energy
from mobilekit.analysis.stats import summarize
from mobilekit.protocol import MemorySample
from mobilekit.records import Answer, Measurement, MemoryGrowth


def derive_answer(measurement: Measurement) -> Answer:
    """Summaries, memory, energy and charge; ``None`` where the samples do not tell.

    Energy of a virtual phone goes into fields of its own: a simulated figure never stands where
    a measured one would.
    """
    samples = measurement.result.samples
    energy = charge = None
    if measurement.profile is not None:
        energy = estimate_energy(
            samples.windows, measurement.profile.gauge, measurement.gauge, measurement.gain
        )
        if energy is not None:
            charge = estimate_charge(energy, measurement.profile, measurement.full_charge_uah)
    virtual = measurement.virtual
    return Answer(
        init=summarize(samples.load_ns) if samples.load_ns else None,
        latency=summarize(samples.iteration_ns) if samples.iteration_ns else None,
        warmup_iterations=len(samples.warmup_ns),
        memory=_growth(samples.memory),
        energy=None if virtual else energy,
        charge=None if virtual else charge,
        energy_simulated=energy if virtual else None,
        charge_simulated=charge if virtual else None,
    )


def _growth(samples: tuple[MemorySample, ...]) -> MemoryGrowth | None:
    by_stage = {sample.stage: sample for sample in samples}
    if not {"closed", "loaded", "inferred"} <= set(by_stage):
        return None
    for measure in ("pss_bytes", "rss_bytes"):
        closed, loaded, inferred = (
            getattr(by_stage[stage], measure) for stage in ("closed", "loaded", "inferred")
        )
        if None not in (closed, loaded, inferred):
            peaks = [by_stage[stage].peak_rss_bytes for stage in ("loaded", "inferred")]
            peak = max((peak for peak in peaks if peak is not None), default=None)
            before = by_stage["closed"].rss_bytes
            return MemoryGrowth(
                measure="PSS" if measure == "pss_bytes" else "RSS",
                load_bytes=loaded - closed,
                inference_bytes=inferred - closed,
                peak_rss_bytes=None if peak is None or before is None else peak - before,
            )
    return None
