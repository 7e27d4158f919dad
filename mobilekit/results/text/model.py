"""A network and its export for people, before anything is run."""

from __future__ import annotations

import textwrap
from pathlib import Path

from mobilekit.contract.protocol import ArtifactFile
from mobilekit.plain import plain
from mobilekit.records.artifact import Artifact, Calibration
from mobilekit.records.network import ModelCard, ModelCost, ModelSpec
from mobilekit.records.prediction import Predictions
from mobilekit.results.text.prediction import predicted_text
from mobilekit.units import format_bytes, format_duration


def render_artifact(artifact: Artifact, directory: Path) -> str:
    """What became of an export: its file, its size, and what runs where."""
    delegation, calibration = artifact.delegation, artifact.calibration
    weights = artifact.weights
    left = delegation.portable_text
    rows = [
        ("file", str(directory / Path(artifact.file.path).name)),
        ("size", format_bytes(artifact.size_bytes)),
        *([("weights", str(directory / Path(weights.path).name))] if weights is not None else []),
        *([("condensed", _condensed_text(artifact.dense))] if artifact.dense is not None else []),
        ("network", _cost_text(artifact.cost)),
        (
            "delegated",
            f"{delegation.mac_fraction:.0%} of the MACs and {delegation.operator_fraction:.0%} of "
            f"the operators{f'; on portable kernels: {left}' if left else ''}",
        ),
        ("outputs", _agreement(artifact)),
        *([("calibrated", _calibration_text(calibration))] if calibration is not None else []),
        ("exporting", f"took {format_duration(artifact.export_ns)}"),
    ]
    heading = plain(
        " · ".join((artifact.model.name, artifact.model.variant.text, artifact.backend))
    )
    return "\n".join([heading, *(f"  {name:10} {text}" for name, text in rows)])


def _agreement(artifact: Artifact) -> str:
    if artifact.relative_error is None:
        return (
            f"not checked: nothing on this computer runs {artifact.backend}. On a device they may "
            f"differ from eager PyTorch's by {artifact.relative_tolerance:.2g} of the largest value"
        )
    return (
        f"differ from eager PyTorch's in fp32 by {artifact.relative_error:.2g} of the largest "
        f"value, within {artifact.relative_tolerance:.2g}"
    )


def _condensed_text(dense: ArtifactFile) -> str:
    return f"from {format_bytes(dense.size_bytes)}, to which mobilekit's companions expand it"


def _calibration_text(calibration: Calibration) -> str:
    if calibration.path is None:
        return f"with {calibration.examples} generated inputs: outputs mean little"
    return f"with {calibration.examples} examples of {calibration.path}, checked with another one"


def render_card(
    spec: ModelSpec, card: ModelCard, cost: ModelCost, predicted: Predictions | None = None
) -> str:
    """What is known of a network before it is run, and what is ``predicted`` of it on a phone."""
    shapes = (
        f"{'x'.join(map(str, shape))} {dtype}"
        for shape, dtype in zip(spec.input_shapes, spec.input_dtypes, strict=True)
    )
    measured = (
        f"measured: {card.measured_accuracy}" if card.measured_accuracy else "not measured here"
    )
    rows = [
        ("task", card.task),
        ("input", card.input),
        ("tensors", ", ".join(shapes)),
        ("network", _cost_text(cost)),
        *([("predicted", predicted_text(predicted))] if predicted is not None else []),
        ("accuracy", f"published: {card.published_accuracy or 'none'}; {measured}"),
        ("weights", spec.weights_path or "untrained"),
        ("source", spec.source),
        ("licence", spec.license),
        ("note", card.note),
        ("file", spec.path),
    ]
    lines = [f"{spec.name} · {spec.title}"]
    for name, text in rows:
        indent = " " * 12
        lines += textwrap.wrap(
            text or "", 100, initial_indent=f"  {name:9} ", subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join(lines)


def _cost_text(cost: ModelCost) -> str:
    return f"{cost.parameters:,} parameters, {cost.macs:,} MACs"
