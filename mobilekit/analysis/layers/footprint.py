"""How much memory a network needs, by its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mobilekit.records.network import Description, Footprint, LayerSpec

FOOTPRINT_SHARE = 0.9


def footprint_of(description: Description) -> Footprint:
    """How much memory a network needs whole and one layer at a time, and which layers hold it.

    N. Lane et al. (IoT-App 2015) look at AlexNet in this way: nearly all of what it occupies is
    needed during only three of its layers.
    """
    layers = {layer.name: layer for layer in description.layers}
    needs = {name: dict(_needs(layer, layers, description)) for name, layer in layers.items()}
    weights_bytes = sum(layer.weights_bytes for layer in layers.values())
    activation_bytes = description.input_bytes + sum(
        layer.output_bytes for layer in layers.values() if not layer.in_place
    )
    whole_bytes = weights_bytes + activation_bytes
    alone = sorted(layers.values(), key=lambda layer: -layer.alone_bytes)
    held: dict[str, int] = {}
    heaviest = []
    for layer in alone:
        if sum(held.values()) >= FOOTPRINT_SHARE * whole_bytes:
            break
        held |= needs[layer.name]
        heaviest.append(layer.name)
    return Footprint(
        weights_bytes=weights_bytes,
        whole_bytes=whole_bytes,
        planned_bytes=weights_bytes + description.peak_activation_bytes,
        alone_bytes=alone[0].alone_bytes if alone else 0,
        alone_layer=alone[0].name if alone else "",
        heaviest=tuple(heaviest),
        heaviest_share=sum(held.values()) / whole_bytes if whole_bytes else 0.0,
    )


def _needs(
    layer: LayerSpec, layers: Mapping[str, LayerSpec], description: Description
) -> Iterator[tuple[str, int]]:
    """What a layer needs, by names that are the same for every layer that needs it."""
    yield f"weights of {layer.name}", layer.weights_bytes
    for read in (*layer.reads, layer.name):
        source = layers[read]
        while source.in_place and source.reads:
            source = layers[source.reads[0]]
        yield f"output of {source.name}", source.output_bytes
    if layer.input_bytes > sum(layers[read].output_bytes for read in layer.reads):
        yield "input", description.input_bytes
