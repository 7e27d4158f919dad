"""In what two runs differ, and whether that forbids to set their figures side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mobilekit.analysis.compare.layer_types import ProfiledRun
from mobilekit.analysis.compare.records import Difference
from mobilekit.contract.protocol import RunRequest, TensorFile
from mobilekit.presets import bounds_of, find_preset
from mobilekit.records.measurement import Measurement


class _Rule(NamedTuple):
    """Two runs differ in ``id`` where ``key`` gives two values; ``show`` says them."""

    id: str
    refuses: bool
    meaning: str
    key: Callable[[Measurement], object]
    show: Callable[[Measurement], str]


def find_differences(side: Measurement, against: Measurement) -> Iterator[Difference]:
    if side.id == against.id:
        yield _difference(
            "run", True, "this is one run twice, whose ratio is 1", side.id, against.id
        )
    first, second = _why_unusable(side), _why_unusable(against)
    if first or second:
        yield _difference(
            "unusable",
            True,
            "figures of such a run must not be used",
            ", ".join(first) or "sound",
            ", ".join(second) or "sound",
        )
    same_format = side.artifact.file.format == against.artifact.file.format
    for rule in (*_RULES, *(_RULES_OF_A_FORMAT if same_format else ())):
        if rule.key(side) != rule.key(against):
            yield _difference(
                rule.id, rule.refuses, rule.meaning, rule.show(side), rule.show(against)
            )
    yield from _thread_difference(side, against)


def find_way_difference(
    side: ProfiledRun | None, against: ProfiledRun | None
) -> Iterator[Difference]:
    if side is None or against is None or side.layers.by == against.layers.by:
        return
    yield _difference(
        "layers",
        False,
        "each segment pays for reordering what it reads and yields, an operator in a trace does "
        "not",
        f"by {side.layers.by}",
        f"by {against.layers.by}",
    )


def _difference(id: str, refuses: bool, meaning: str, side: str, against: str) -> Difference:
    return Difference(id=id, refuses=refuses, side=side, against=against, meaning=meaning)


def _why_unusable(measurement: Measurement) -> list[str]:
    """Its findings that are errors (failed, wrong outputs, debuggable), or that it was not checked.

    An ``error`` means that a figure must not be used.
    """
    errors = [finding.id for finding in measurement.findings if finding.severity == "error"]
    if not errors and measurement.result.samples.output_check is None:
        return ["outputs not checked"]
    return errors


def _thread_difference(side: Measurement, against: Measurement) -> Iterator[Difference]:
    """Another number refuses where one was asked for; else each used all its processors."""
    first, second = threads_of(side), threads_of(against)
    if first == second:
        return
    asked = (side.request.threads, against.request.threads) != (None, None)
    meaning = (
        "measure both with the same --threads"
        if asked
        else "each used as many threads as it has processors"
    )
    yield _difference("threads", asked, meaning, str(first or "unknown"), str(second or "unknown"))


def threads_of(measurement: Measurement) -> int | None:
    companion = measurement.result.samples.companion
    return measurement.request.threads if companion is None else companion.threads


def preset_text(request: RunRequest) -> str:
    """By which preset it was measured, or how often, where that is none of today's."""
    loads_and_iterations = (
        f"{request.cold_loads} loads, {request.min_iterations:,} iterations or more"
    )
    return find_preset(request) or loads_and_iterations


def _tensors_text(tensors: tuple[TensorFile, ...]) -> str:
    return ", ".join(
        f"{'x'.join(map(str, tensor.shape))} {tensor.dtype} {tensor.sha256[:12]}"
        for tensor in tensors
    )


def engine_of(measurement: Measurement) -> str | None:
    companion = measurement.result.samples.companion
    return None if companion is None else f"{companion.engine} {companion.engine_version}"


_RULES = (
    _Rule(
        "network",
        True,
        "not the same network, or not with the same weights",
        lambda item: item.artifact.model.content_sha256,
        lambda item: f"{item.artifact.model.label} {item.artifact.model.content_sha256[:12]}",
    ),
    _Rule(
        "precision",
        True,
        "not the same arithmetic",
        lambda item: item.artifact.precision,
        lambda item: item.artifact.precision,
    ),
    _Rule(
        "inputs",
        True,
        "not the same inputs",
        lambda item: item.request.inputs,
        lambda item: _tensors_text(item.request.inputs),
    ),
    _Rule(
        "preset",
        True,
        "not measured for as long or as often",
        lambda item: bounds_of(item.request),
        lambda item: preset_text(item.request),
    ),
    _Rule(
        "protocol",
        True,
        "not measured by the same phases",
        lambda item: item.request.protocol_version,
        lambda item: str(item.request.protocol_version),
    ),
    _Rule(
        "mobilekit",
        False,
        "another version of the program, which measures by the same protocol",
        lambda item: item.host.mobilekit_version,
        lambda item: item.host.mobilekit_version,
    ),
    _Rule(
        "format",
        False,
        "the ratio is of the formats and their runtimes too",
        lambda item: item.artifact.file.format,
        lambda item: f".{item.artifact.file.format}, {engine_of(item) or 'unknown'}",
    ),
    _Rule(
        "abi",
        False,
        "other machine code of the same kernels",
        lambda item: item.device.abi,
        lambda item: item.device.abi,
    ),
)

_RULES_OF_A_FORMAT = (
    _Rule(
        "backend",
        False,
        "the ratio is of the backends",
        lambda item: item.artifact.backend,
        lambda item: item.artifact.backend,
    ),
    _Rule(
        "engine",
        False,
        "the ratio is of the runtime's versions too",
        engine_of,
        lambda item: engine_of(item) or "unknown",
    ),
    _Rule(
        "export",
        False,
        "the same network exported by other versions",
        lambda item: item.artifact.tool_versions,
        lambda item: ", ".join(f"{k} {v}" for k, v in sorted(item.artifact.tool_versions.items())),
    ),
)
