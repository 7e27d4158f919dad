"""What a measurement says: everything derived from its raw samples, and nothing stored."""

from __future__ import annotations

from mobilekit.analysis.accuracy import estimate_accuracy
from mobilekit.analysis.energy.charge import estimate_charge
from mobilekit.analysis.energy.estimate import energy_of
from mobilekit.analysis.memory import measure_growth
from mobilekit.analysis.stats import summarize
from mobilekit.records.measurement import Answer, Measurement
from mobilekit.units import NS_PER_S


def derive_answer(measurement: Measurement) -> Answer:
    """Summaries, memory, energy and charge; ``None`` where the samples do not tell."""
    samples = measurement.result.samples
    energy, charge = energy_of(measurement), None
    if energy is not None and measurement.profile is not None:
        charge = estimate_charge(energy, measurement.profile, measurement.full_charge_uah)
    latency = summarize(samples.iteration_ns) if samples.iteration_ns else None
    p50_ratio = None
    if energy is not None and latency is not None:
        p50_ratio = energy.seconds_per_inference * NS_PER_S / latency.p50_ns
    return Answer(
        init=summarize(samples.load_ns) if samples.load_ns else None,
        latency=latency,
        warmup_iterations=len(samples.warmup_ns),
        memory=measure_growth(samples.memory),
        energy=energy,
        energy_p50_ratio=p50_ratio,
        charge=charge,
        accuracy=estimate_accuracy(measurement.classification)
        if measurement.classification is not None
        else None,
    )
