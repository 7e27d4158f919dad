"""The network that was found within a budget, for people."""

from __future__ import annotations

from pathlib import Path

from mobilekit.plain import plain
from mobilekit.records.compression import Candidate, Choice
from mobilekit.records.network import ModelSpec
from mobilekit.units import format_bytes, format_duration


def render_choice(spec: ModelSpec, choice: Choice, written: Path | None) -> str:
    """What was chosen beside the uncompressed network, and how it is used again."""
    chosen, before = choice.chosen, choice.uncompressed
    examples = f"{choice.examples:,}"
    judged = (
        f"right on {examples} labelled examples"
        if choice.judged_by == "labels"
        else f"agreement with the uncompressed network on {examples} generated inputs"
    )
    compression = chosen.variant.compression
    ranks = () if compression is None else compression.ranks
    lines = [
        f"{spec.name} · {chosen.variant.text}",
        f"  size      {format_bytes(chosen.size_bytes)}, of {format_bytes(before.size_bytes)}",
        f"  latency   {_latency(chosen)}, of {_latency(before)}, the median on this computer",
        f"  accuracy  {_share(chosen)}, of {_share(before)}: {judged}",
        *(
            [f"  ranks     {', '.join(f'{each.layer}: {each.rank}' for each in ranks)}"]
            * bool(ranks)
        ),
        f"  tried     {len(choice.tried)} networks",
    ]
    if choice.judged_by == "agreement":
        lines.append(
            "Warning: there are no labelled examples, and agreement on generated inputs tells "
            "little of the accuracy on real ones. Give --data."
        )
    if choice.weights_are_drawn:
        lines.append(
            "Warning: nobody has trained these weights: what is lost of accuracy means nothing. "
            "Give --weights."
        )
    if written is not None:
        is_calibrated = choice.calibration is not None and chosen.variant.precision == "int8"
        calibration = f" --calibration {choice.calibration}" if is_calibrated else ""
        lines.append(
            f"`mobilekit deploy {spec.name} --compressed {written}{calibration}` measures it."
        )
    return "\n".join(map(plain, lines))


def _latency(candidate: Candidate) -> str:
    latency_ns = candidate.latency_p50_ns
    return "not measured" if latency_ns is None else format_duration(latency_ns)


def _share(candidate: Candidate) -> str:
    assert candidate.accuracy is not None
    interval = candidate.accuracy.interval
    return (
        f"{candidate.accuracy.share:.1%} (95 % interval {100 * interval.low:.1f} to "
        f"{100 * interval.high:.1f} %)"
    )
