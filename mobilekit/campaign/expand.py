"""The runs of a campaign: each with a key that stays, in a random order that can be had again."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re

from msgspec.structs import replace

from mobilekit.errors import UsageError
from mobilekit.model.export import refuse_variant
from mobilekit.records.campaign import CampaignPlan, PlannedRun
from mobilekit.records.network import Variant

DIGITS = 8
"""Of a key's hash: with the words before it, two runs of a campaign are told apart."""
LONGEST_WORDS = 80


def expand(plan: CampaignPlan) -> tuple[PlannedRun, ...]:
    """Every run, in the order of the plan's seed.

    What cannot be computed, such as Vulkan with another format than ``.pte``, is no combination. A
    network that a file changes has the file's precision alone. Raises ``UsageError`` for a network
    of which no run is left, and for one that cannot be made without examples.
    """
    runs: list[PlannedRun] = []
    for model, path, changed in plan.networks:
        if changed.whitened_by is not None:
            raise UsageError(
                f"The campaign has no runs of {model}: it is whitened by examples, which a "
                "campaign does not take",
                fix="Measure it with `mobilekit deploy --compressed FILE --calibration EXAMPLES`.",
            )
        left, obstacle = [], None
        for run in _runs_of(plan, model, path, changed):
            found = refuse_variant(run.variant, run.format)
            obstacle = obstacle or found
            if found is None:
                left.append(run)
        if not left and obstacle is not None:
            raise UsageError(
                f"The campaign has no runs of {model}: {obstacle.what}",
                formats=", ".join(plan.formats),
                backends=", ".join(plan.backends),
                fix="Add to `formats`, `precisions` or `backends` what it can be computed with.",
            )
        runs += left
    # By key first, so that the order of the file's lists does not count.
    runs.sort(key=lambda run: run.key)
    random.Random(plan.seed).shuffle(runs)
    return tuple(runs)


def _runs_of(plan: CampaignPlan, model: str, path: str, changed: Variant) -> list[PlannedRun]:
    return [
        PlannedRun(
            key=key_of(model, changed, device, format, precision, backend, threads, repeat),
            model=path,
            device=device,
            format=format,
            precision=precision,
            backend=backend,
            threads=threads,
            repeat=repeat,
            preset=plan.preset,
            energy=plan.energy,
            gates=plan.gates,
            changed=changed,
        )
        for device, format, precision, backend, threads, repeat in itertools.product(
            plan.devices,
            plan.formats,
            plan.precisions if changed == Variant() else (changed.precision,),
            plan.backends,
            plan.threads,
            range(1, plan.repeats + 1),
        )
    ]


def key_of(
    model: str,
    changed: Variant,
    device: str,
    format: str,
    precision: str,
    backend: str,
    threads: int | None,
    repeat: int,
) -> str:
    """``nin-nexus7-fp32-2-1c7f0a92``: words for people, and a hash of all that it is."""
    parts = [model, device, format, precision, backend, threads, repeat]
    # What no file changes keeps the key that it had before files could.
    parts += [] if changed == Variant() else [changed.key]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:DIGITS]
    told = [model.rpartition("/")[2], device.rpartition("/")[2], precision]
    told += [] if changed == Variant() else [replace(changed, precision="fp32").key]
    told += [] if format == "auto" else [format]
    told += [] if backend == "xnnpack" else [backend]
    told += [] if threads is None else [f"t{threads}"]
    words = re.sub(r"[^a-z0-9]+", "-", "-".join(told).lower()).strip("-")
    return f"{words[:LONGEST_WORDS].strip('-')}-{repeat}-{digest}"
