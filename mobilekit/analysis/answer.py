"""What a measurement says: everything derived from its raw samples, and nothing stored."""

from __future__ import annotations

from mobilekit.analysis.accuracy import estimate_accuracy
from mobilekit.analysis.energy.estimate import estimate_charge, estimate_energy
from mobilekit.analysis.memory import measure_growth
from mobilekit.analysis.stats import summarize
from mobilekit.records.measurement import Answer, Measurement


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
        memory=measure_growth(samples.memory),
        energy=None if virtual else energy,
        charge=None if virtual else charge,
        energy_simulated=energy if virtual else None,
        charge_simulated=charge if virtual else None,
        accuracy=estimate_accuracy(measurement.classification)
        if measurement.classification is not None
        else None,
    )
