"""Exports single layers of a network, whole and cut, each as a program of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mobilekit.contract.protocol import Format
from mobilekit.model.artifact_cache import Target
from mobilekit.model.export_segments import export_part
from mobilekit.records.artifact import SegmentArtifact
from mobilekit.records.network import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


class LayerPrograms(NamedTuple):
    call: SegmentArtifact
    """One operator on one number: nearly all that it costs is a call of the engine."""
    by_rank: dict[tuple[str, int | None], SegmentArtifact]
    """By the layer's path and its rank, ``None``: whole. Layers that are alike have one program:
    what a layer takes depends on its shapes alone."""


def export_layers(
    spec: ModelSpec,
    artifact_format: Format,
    ranks: Mapping[str, Sequence[int]],
    *,
    cache_directory: Path,
) -> LayerPrograms:
    """Each layer of ``ranks`` by itself, on what flows into it in the network's own inference.

    Imports torch. Raises ``ExportError``.
    """
    from mobilekit.model.load import load_module
    from mobilekit.model.lowrank import decompose, factorise
    from mobilekit.model.reference import make_inputs, run_eager
    from mobilekit.model.segments import Segment, make_call

    target = Target(artifact_format, None)
    module = load_module(spec)
    flowing: dict[str, Tensor] = {}

    def note(path: str) -> Callable[..., None]:
        def keep(_: object, inputs: tuple[Tensor, ...]) -> None:
            flowing.setdefault(path, inputs[0].detach().clone())

        return keep

    hooks = [module.get_submodule(path).register_forward_pre_hook(note(path)) for path in ranks]
    try:
        run_eager(spec, module, make_inputs(spec))
    finally:
        for hook in hooks:
            hook.remove()

    alike: dict[tuple[Any, ...], SegmentArtifact] = {}
    by_rank: dict[tuple[str, int | None], SegmentArtifact] = {}

    def export(path: str, each: nn.Module) -> SegmentArtifact:
        inputs = (flowing[path],)
        return export_part(
            spec,
            target,
            Segment((path,), each, inputs, run_eager(spec, each, inputs)),
            cache_directory,
        )

    for path, wanted in ranks.items():
        layer = module.get_submodule(path)
        decomposition = None
        for rank in (None, *wanted):
            kind = (repr(layer), tuple(flowing[path].shape), rank)
            if kind not in alike:
                cut = layer
                if rank is not None:
                    decomposition = decomposition or decompose(layer)
                    cut = factorise(layer, rank, decomposition).requires_grad_(False)
                alike[kind] = export(path, cut)
            by_rank[path, rank] = alike[kind]
    return LayerPrograms(export_part(spec, target, make_call(), cache_directory), by_rank)
