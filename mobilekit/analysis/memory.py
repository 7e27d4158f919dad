"""Memory: what a network needs at the least, and what a run took."""

from __future__ import annotations

from mobilekit.protocol import MemorySample
from mobilekit.records import Artifact, MemoryGrowth

BYTES_PER_WEIGHT = {"fp32": 4, "fp16": 2, "int8": 1}


def weight_bytes(artifact: Artifact) -> int:
    """The parameters at the artifact's precision."""
    return artifact.cost.parameters * BYTES_PER_WEIGHT[artifact.precision]


def least_need_bytes(artifact: Artifact) -> int:
    """What loading an artifact takes at the very least: its weights once.

    A runtime keeps them in an order of its own, so that a mapped file does not stand in for them.
    Activations come on top, and while it packs them, the file itself: on a computer ExecuTorch
    grows by 1.0 times the weights of AlexNet and by 2.0 times while it loads.
    """
    return min(weight_bytes(artifact), artifact.file.size_bytes)


def measure_growth(samples: tuple[MemorySample, ...]) -> MemoryGrowth | None:
    """How a run's memory grew over its memory with the program closed.

    By PSS where every stage tells it, else by RSS; ``None`` where neither does.
    """
    by_stage = {sample.stage: sample for sample in samples}
    if not {"closed", "loaded", "inferred"} <= set(by_stage):
        return None
    for measure in ("pss_bytes", "rss_bytes"):
        closed, loaded, inferred = (
            getattr(by_stage[stage], measure) for stage in ("closed", "loaded", "inferred")
        )
        if None not in (closed, loaded, inferred):
            peaks = [by_stage[stage].peak_rss_bytes for stage in ("loaded", "inferred")]
            peak = max((peak for peak in peaks if peak is not None), default=None)
            before = by_stage["closed"].rss_bytes
            return MemoryGrowth(
                measure="PSS" if measure == "pss_bytes" else "RSS",
                load_bytes=loaded - closed,
                inference_bytes=inferred - closed,
                peak_rss_bytes=None if peak is None or before is None else peak - before,
            )
    return None
