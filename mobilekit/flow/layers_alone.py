"""Layers that could be cut, each tried alone: on the device for time, in PyTorch for accuracy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mobilekit import places
from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import File, RunFailure, Segment
from mobilekit.errors import RunFailedError
from mobilekit.flow.prepare import DeployOptions, make_request, prepare
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import begin, run
from mobilekit.model.export_layers import export_layers
from mobilekit.model.kept_lines import KeptLines, stands_still
from mobilekit.model.packed import find_lacking
from mobilekit.model.ranks import Layer
from mobilekit.records.compression import CutLayer, TriedRank
from mobilekit.records.network import Compression, LayerRank, Variant
from mobilekit.results.store import Store

if TYPE_CHECKING:
    from mobilekit.model.screening import Screen

SHARES = (0.75, 0.5, 0.25, 0.1)
"""Of the largest rank that saves weights, those that are tried."""
FASTER = 0.95
"""Of the whole layer's time that two layers may take to be worth their loss."""
TIMED_MACS = 10**9
FEWEST_TIMED, MOST_TIMED = 20, 200
"""Inferences of each program in a round: as many as ``TIMED_MACS`` hold, within these."""
ROUNDS = 3


class KeptTimes(Record, frozen=True):
    """What ``time_layers`` found."""

    measured_at_s: float
    """Unix time."""
    layers: tuple[CutLayer, ...]


def ranks_to_try(layer: Layer) -> tuple[int, ...]:
    """From the highest to the lowest, none twice; none for a layer that no rank makes smaller."""
    ranks = (round(share * layer.largest_rank) for share in SHARES)
    return tuple(dict.fromkeys(max(1, rank) for rank in ranks)) if layer.largest_rank else ()


def time_layers(
    options: DeployOptions,
    layers: Sequence[Layer],
    kept: KeptLines,
    store: Store,
    reporter: Reporter,
) -> tuple[CutLayer, ...]:
    """Every layer alone in fp32 on the device of ``options``, whole and at some ranks, in one run.

    ``most_rank`` is the highest tried rank that is faster than the whole layer, with all lower
    ones. What was found within a day, of ``KeptTimes`` in ``kept``, is not measured anew: searches
    of one day cut the same layers, to whichever budget. Raises as ``deploy``, and
    ``RunFailedError``.
    """
    wanted = {layer.path: ranks_to_try(layer) for layer in layers}
    key = repr(wanted)
    known: KeptTimes | None = kept.get(key)
    if known is not None and stands_still(known.measured_at_s):
        return known.layers
    # The whole network is of fp32 as well, which nothing calibrates.
    options = options._replace(variant=Variant(), calibration=None)
    with prepare(options, store, reporter) as prepared:
        spec = prepared.artifact.model
        with prepared.steps("segments"):
            reporter.note(f"Exporting {len(wanted)} layers alone")
            programs = export_layers(
                spec,
                prepared.artifact.file.format,
                wanted,
                cache_directory=places.artifacts_directory(),
            )
        made = list(dict.fromkeys([programs.call, *programs.by_rank.values()]))
        for each in made:
            lacking = find_lacking(each.file, each.inputs, places.artifacts_directory())
            if lacking is not None and prepared.executor.outlives:
                raise lacking.refusal(f"A layer of {spec.name}")
        files: list[File] = []
        for each in made:
            files += (each.file, *each.inputs)
        prepared.deliver(files, reporter)
        macs = prepared.artifact.cost.macs // max(len(layers), 1)
        request = replace(
            make_request(options, prepared, name="layers"),
            profile_iterations=min(max(TIMED_MACS // max(macs, 1), FEWEST_TIMED), MOST_TIMED),
            segments=tuple(Segment(artifact=each.file, inputs=each.inputs) for each in made)
            * ROUNDS,
        )
        reporter.note(f"Timing {len(made)} programs of single layers in {ROUNDS} rounds")
        measured = run(prepared, begin(prepared, request, "pilot"), store, reporter)
    if isinstance(measured.result, RunFailure):
        raise RunFailedError(
            f"The run of the layers alone failed: {measured.result.message}",
            phase=measured.result.phase,
            fix=f"`mobilekit results show {measured.id}` tells how far it got.",
        )
    medians = [float(statistics.median(one.latency_ns)) for one in measured.result.samples.segments]
    # The least of the rounds' medians: other work on the device only ever adds to it.
    least = {each: min(medians[at :: len(made)]) for at, each in enumerate(made)}
    call_ns = least[programs.call]

    def time_of(path: str, rank: int | None) -> float:
        return max(0.0, least[programs.by_rank[path, rank]] - call_ns)

    found = tuple(
        _judged(
            layer,
            time_of(layer.path, None),
            {rank: time_of(layer.path, rank) for rank in wanted[layer.path]},
        )
        for layer in layers
    )
    kept.add(key, KeptTimes(measured_at_s=time.time(), layers=found))
    return found


def _judged(layer: Layer, whole_ns: float, by_rank: dict[int, float]) -> CutLayer:
    most = 0
    for rank in sorted(by_rank):
        if by_rank[rank] > FASTER * whole_ns:
            break
        most = rank
    return CutLayer(
        layer=layer.path,
        whole_latency_ns=whole_ns,
        tried=tuple(
            TriedRank(rank=rank, latency_ns=each, loss_points=None)
            for rank, each in by_rank.items()
        ),
        least_rank=1,
        most_rank=most,
        why_whole=None if most else "slower",
    )


def untimed(layers: Sequence[Layer]) -> tuple[CutLayer, ...]:
    """Of which nothing has been tried."""
    return tuple(
        CutLayer(
            layer=each.path,
            whole_latency_ns=None,
            tried=(),
            least_rank=1,
            most_rank=each.largest_rank,
            why_whole=None,
        )
        for each in layers
    )


def evaluate_layers(
    layers: Sequence[Layer],
    found: Sequence[CutLayer],
    screen: Screen,
    max_loss_points: float,
    reporter: Reporter,
    *,
    whitened_by: str | None = None,
) -> tuple[CutLayer, ...]:
    """``found`` with how low each layer alone may go: from the highest tried rank down, the last
    one before the accuracy falls by more than ``max_loss_points``. With ``whitened_by``, of which
    the screen can judge, down to the last at which either way to cut it does not. A layer that
    those examples do not reach is not whitened."""
    judged = []
    for number, (layer, cut) in enumerate(zip(layers, found, strict=True)):
        if number % 10 == 0:
            reporter.note(f"Evaluating layer {number + 1} of {len(layers)} alone")
        by = whitened_by if screen.can_whiten([layer.path]) else None
        judged.append(_evaluated(layer, cut, screen, max_loss_points, by))
    return tuple(judged)


def _evaluated(
    layer: Layer,
    cut: CutLayer,
    screen: Screen,
    max_loss_points: float,
    whitened_by: str | None,
) -> CutLayer:
    ranks = [rank for rank in ranks_to_try(layer) if rank <= cut.most_rank]

    def follow(ranks: Sequence[int], whitened_by: str | None) -> dict[int, float]:
        """What is lost at each, down to the first that loses too much."""
        losses: dict[int, float] = {}
        for rank in ranks:
            cuts = (LayerRank(layer=layer.path, rank=rank),)
            only = Compression(ranks=cuts, whitened_by=whitened_by)
            losses[rank] = screen.loss_points(only, max_loss_points)
            if losses[rank] > max_loss_points:
                break
        return losses

    plain = follow(ranks, None)
    borne = [rank for rank, loss in plain.items() if loss <= max_loss_points]
    whitened: dict[int, float] = {}
    if whitened_by is not None:
        whitened = follow([rank for rank in ranks if rank not in borne], whitened_by)
    either = borne + [rank for rank, loss in whitened.items() if loss <= max_loss_points]
    timed = {each.rank: each for each in cut.tried}
    tried = tuple(
        TriedRank(
            rank=rank,
            latency_ns=timed[rank].latency_ns if rank in timed else None,
            loss_points=plain.get(rank),
            whitened_loss_points=whitened.get(rank),
        )
        for rank in dict.fromkeys([*timed, *plain, *whitened])
    )

    def least_of(borne: Sequence[int]) -> int:
        # All that was tried is bearable: what is below is not known to be unbearable.
        is_open = bool(ranks) and len(borne) == len(ranks)
        return 1 if is_open else min(borne, default=cut.most_rank + 1)

    return replace(
        cut,
        tried=tried,
        least_rank=least_of(either),
        least_plain_rank=None if whitened_by is None else least_of(borne),
        why_whole=cut.why_whole or ("loses" if ranks and not either else None),
    )
