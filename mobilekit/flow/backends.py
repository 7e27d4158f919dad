"""``--backend auto``: a network is measured on both backends, and the better one is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit.analysis.backends import pick_backend
from mobilekit.errors import ExportError
from mobilekit.flow.prepare import DeployOptions, find_vulkan_obstacle
from mobilekit.flow.reporter import Reporter
from mobilekit.model.export import refuse_backend
from mobilekit.records.measurement import Measurement


class Found(NamedTuple):
    options: DeployOptions
    """Those that were given, for the backend that is kept."""
    measurement: Measurement


def measure_both(
    options: DeployOptions, reporter: Reporter, measure: Callable[[DeployOptions], Measurement]
) -> Found:
    """``measure`` with XNNPACK and with Vulkan, and what came of the better one.

    Where Vulkan cannot be, for the format, the precision, the device or an operator, it is said
    why, and XNNPACK is measured alone. Raises what ``measure`` raises, but not for an export to
    Vulkan.
    """
    usual = options._replace(seek_backend=False)
    other = usual._replace(variant=replace(usual.variant, backend="vulkan"))
    refusal = refuse_backend(other.variant, other.format)
    obstacle = find_vulkan_obstacle(other, reporter) if refusal is None else refusal.what
    if obstacle is not None:
        reporter.note(f"Vulkan is left out: {obstacle}")
        return Found(usual, measure(usual))
    reporter.note(f"{options.model} on XNNPACK")
    first = measure(usual)
    reporter.note(f"{options.model} on Vulkan")
    try:
        second = measure(other)
    except ExportError as error:
        reporter.note(f"Vulkan is left out: {error.what}")
        return Found(usual, first)
    pick = pick_backend(first, second)
    kept = pick.better.artifact.backend
    reporter.note(f"{pick.reason}: {kept} is kept. The other run is stored as {pick.other.id}")
    return Found(usual if pick.better is first else other, pick.better)
