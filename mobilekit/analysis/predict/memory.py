"""How much memory a network takes as a program of each format, with an interval.

A companion's growth is a sum over ``MemoryParts``, each times a factor that was fitted beforehand
to what networks took on a computer (`scripts/fit_memory.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mobilekit.analysis.predict.costs import KINDS
from mobilekit.analysis.predict.memory_parts import MemoryParts, parts_of
from mobilekit.analysis.predict.work import work_of
from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Format
from mobilekit.formats import FORMATS
from mobilekit.records.network import Description, Precision
from mobilekit.records.prediction import MemoryPrediction, PredictedBytes

BEYOND = 2.0
"""How many times more, or less, than all networks that were measured one may have of what
matters."""
X86 = ("x86_64", "x86")
NARROW = ("armeabi-v7a", "x86")
"""ABIs whose pointers have 4 bytes."""


class MemoryModel(Record, frozen=True):
    """One format and precision, as `scripts/fit_memory.py` writes it.

    The factors are of ``MemoryParts`` by name; a part that is not there does not count.
    """

    format: Format
    precision: Precision
    networks: int
    load: dict[str, float]
    inference: dict[str, float]
    """What inferences add to the load."""
    load_peak: dict[str, float]
    """What is taken besides while it loads, and freed again."""
    spreads: tuple[float, float, float]
    """Of load, inference and peak: within which part of ``expected + SLACK_BYTES`` nine in ten
    networks lay that were left out of the fit."""
    weights_bytes: tuple[int, int]
    """Of the smallest and the largest network, as for ``most_activation_bytes``."""
    most_activation_bytes: int


SLACK_BYTES = 200 << 10
"""By which a network's growth differs from one run to the next, whatever its size."""


class MemoryModels(Record, frozen=True):
    """What ``memory.json`` holds."""

    computer: str
    """What all of it was measured on."""
    models: tuple[MemoryModel, ...]


def predict_memory(
    description: Description,
    artifact_format: Format,
    precision: Precision,
    models: MemoryModels,
    *,
    abi: str,
) -> MemoryPrediction:
    """The growth of a companion of that ABI, over its memory with the program closed.

    A phone's own allocator and pages were not looked at: what was fitted is a computer's growth.
    """
    model = next(
        (
            each
            for each in models.models
            if (each.format, each.precision) == (artifact_format, precision)
        ),
        None,
    )
    parts = parts_of(
        description,
        precision,
        pointer_bytes=4 if abi in NARROW else 8,
        is_onnx=artifact_format == "onnx",
    )
    reasons = (*_against_program(artifact_format, precision, model, abi),)
    if model is None or reasons:
        return _refused(artifact_format, precision, reasons)
    reasons = tuple(_against_network(description, parts, model))
    if reasons:
        return _refused(artifact_format, precision, reasons)
    load, inference, peak = (
        PredictedBytes(
            expected_bytes=round(expected),
            low_bytes=max(0, round(expected - spread * (expected + SLACK_BYTES))),
            high_bytes=round(expected + spread * (expected + SLACK_BYTES)),
        )
        for expected, spread in zip(growths(parts, model), model.spreads, strict=True)
    )
    return MemoryPrediction(
        format=artifact_format,
        precision=precision,
        load=load,
        inference=inference,
        peak=peak,
        reasons=(),
    )


def growths(parts: MemoryParts, model: MemoryModel) -> tuple[float, float, float]:
    """Bytes by load, by inference and at the peak."""
    load = weigh(parts, model.load)
    inference = load + weigh(parts, model.inference)
    return load, inference, max(inference, load + weigh(parts, model.load_peak))


def weigh(parts: MemoryParts, factors: Mapping[str, float]) -> float:
    return sum(factor * float(getattr(parts, name)) for name, factor in factors.items())


def _against_program(
    artifact_format: Format, precision: Precision, model: MemoryModel | None, abi: str
) -> Iterator[str]:
    facts = FORMATS[artifact_format]
    if abi not in facts.abis:
        yield f"{facts.engine} is not packed for {abi}"
    elif model is None:
        yield f"too few networks were measured as .{artifact_format} in {precision}"
    elif artifact_format == "onnx" and abi not in X86:
        yield (
            "what was measured is ONNX Runtime on x86, where it keeps convolutions' weights in "
            "an order of that processor's own, and most of its growth is from making it"
        )


def _against_network(
    description: Description, parts: MemoryParts, model: MemoryModel
) -> Iterator[str]:
    unknown = [layer for layer in work_of("", description).layers if layer.kind not in KINDS]
    if unknown:
        yield f"its layer {unknown[0].name} is of a kind that was not measured, {unknown[0].kind}"
    smallest, largest = model.weights_bytes
    if parts.weights > BEYOND * largest or parts.activations > BEYOND * model.most_activation_bytes:
        yield "it is larger than any network that was measured"
    elif parts.weights * BEYOND < smallest:
        yield "it is smaller than any network that was measured"


def _refused(
    artifact_format: Format, precision: Precision, reasons: Sequence[str]
) -> MemoryPrediction:
    return MemoryPrediction(
        format=artifact_format,
        precision=precision,
        load=None,
        inference=None,
        peak=None,
        reasons=tuple(reasons),
    )
