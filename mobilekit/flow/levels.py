"""Levels: nested ranks in one program, made, and chosen from by a budget."""

from __future__ import annotations

from mobilekit.contract.protocol import Candidate, MethodChoice
from mobilekit.errors import UsageError
from mobilekit.flow.prepare import DeployOptions, Prepared, export_network, find_network
from mobilekit.flow.reporter import Reporter
from mobilekit.model.ranks import LEAST_WEIGHTS, RANK_STEP, make_levels
from mobilekit.records.artifact import Artifact
from mobilekit.records.compression import Levels
from mobilekit.records.network import Compression, Level, Variant, with_level

TRIAL_NS = 500_000_000
FEWEST_TRIED, MOST_TRIED = 30, 1000
"""Inferences of each level that is tried against a budget, after its warm-up: as many as take
``TRIAL_NS`` at the budget, within these. A few of some microseconds tell little of a busy
device."""


def make_ladder(options: DeployOptions, count: int, reporter: Reporter) -> tuple[Compression, ...]:
    """The ranks of so many levels of a network, from the smallest.

    Raises ``UsageError`` for a network whose layers give no so many.
    """
    spec = find_network(options._replace(variant=Variant(), calibration=None))
    reporter.note("Importing PyTorch")
    from mobilekit.model.load import load_module
    from mobilekit.model.lowrank import find_layers
    from mobilekit.model.reference import make_inputs

    reporter.note("Decomposing its layers")
    ladder = make_levels(find_layers(load_module(spec), make_inputs(spec)), count)
    if ladder is None:
        raise UsageError(
            f"The layers of {spec.name} cannot be split into {count} levels",
            fix="Ask for fewer levels. What is split are linear layers and convolutions of one "
            f"group with at least {LEAST_WEIGHTS:,} weights, in steps of {RANK_STEP} ranks; the "
            "last layer stays whole.",
        )
    return ladder


def export_levels(options: DeployOptions, level: Level, reporter: Reporter) -> tuple[Artifact, ...]:
    """Every level's artifact, from the smallest: all of them are methods of one file."""
    variant = Variant(precision=options.variant.precision, level=level)
    return tuple(
        _export(options, with_level(variant, number), reporter) for number in range(1, level.of + 1)
    )


def measure_levels(
    options: DeployOptions, count: int, reporter: Reporter, *, apart: bool
) -> Levels:
    """Make the levels of a network, their weights in the program or ``apart`` from it, and tell
    what they take beside the largest one alone."""
    ladder = make_ladder(options, count, reporter)
    level = Level(number=count, ladder=ladder, apart=apart)
    artifacts = export_levels(options, level, reporter)
    variant = Variant(precision=options.variant.precision, compression=ladder[-1])
    reporter.note("Exporting the largest level alone, to compare")
    alone = _export(options, variant, reporter)
    whole = _export(options, Variant(precision=variant.precision), reporter)
    return Levels(
        precision=variant.precision,
        ladder=ladder,
        file=artifacts[-1].file,
        costs=tuple(each.cost for each in artifacts),
        relative_errors=tuple(each.relative_error for each in artifacts),
        weights_bytes=tuple(
            each.weights.size_bytes for each in artifacts if each.weights is not None
        ),
        largest_alone_bytes=alone.file.size_bytes,
        uncompressed_bytes=whole.file.size_bytes,
        uncompressed_cost=whole.cost,
    )


def plan_choice(
    options: DeployOptions, prepared: Prepared, budget_ns: int, reporter: Reporter
) -> tuple[MethodChoice, tuple[Artifact, ...]]:
    """What the device is to choose from, the largest level first; what it needs is delivered."""
    level = options.variant.level
    assert level is not None
    with prepared.steps("export"):
        candidates = export_levels(options, level, reporter)[::-1]
    others = [each.weights for each in candidates[1:]]
    # The largest level's file has every other's too.
    files = [file for each in candidates for file in each.files if file not in others]
    prepared.deliver(files, reporter)
    choice = MethodChoice(
        budget_ns=budget_ns,
        iterations=min(max(TRIAL_NS // budget_ns, FEWEST_TRIED), MOST_TRIED),
        candidates=tuple(
            Candidate(method=each.file.method, reference_outputs=each.reference_outputs)
            for each in candidates
        ),
    )
    return choice, candidates


def _export(options: DeployOptions, variant: Variant, reporter: Reporter) -> Artifact:
    spec = find_network(options._replace(variant=variant))
    return export_network(options, spec, "pte", reporter)
