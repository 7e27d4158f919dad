"""What cannot be told, and why: a network or a phone outside of what the model was fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.predict.chips import FEATURES
from mobilekit.analysis.predict.costs import COSTS, KINDS, costs_of
from mobilekit.analysis.predict.posterior import Posterior
from mobilekit.contract.codec import Record
from mobilekit.records.prediction import LayerWork, NetworkWork

Array = npt.NDArray[np.float64]

MOST_SD = 0.7
"""Of log time: where more is claimed, a time between half and twice the truth is told at best two
times in three."""
MOST_SDS_OFF = 5.0
"""By how many sds a known latency may lie off what the chip lets expect."""
_MORE_SHARE = 0.05
"""By how much a cost's share of the time may exceed the largest fitted one without being more than
that: what so small a part does hardly shows in the sum."""
_LEAST_SHARE = 1e-9
"""In place of none, which no factor is told of."""
_SMALLER, _LARGER = 0.5, 2.0
"""How far a network or a chip may lie outside of the fitted sizes."""
_CHIP_WORDS = {
    "log_ghz": "its fastest core runs at {:.3g} GHz",
    "log_macs_per_cycle": "its fastest core multiplies {:.3g} numbers a cycle",
    "log_scaling": "the cores in use do as much as {:.3g} of its fastest",
    "log_rate": "the cores in use multiply {:.3g} numbers a nanosecond",
}
"""``FEATURES`` that a chip may lie outside of what was fitted in, for people."""

WORDS = {
    "pw_macs": "convolutions of 1x1",
    "c3s1_macs": "convolutions of 3x3 with stride 1",
    "conv_macs": "dense convolutions other than of 1x1, or of 3x3 with stride 1",
    "group_macs": "grouped convolutions",
    "dw_macs": "depthwise convolutions",
    "fc_weights": "the weights of fully connected layers",
    "elements": "reading and writing activations",
    "layers": "starting its layers, of which it has many",
    "window_operations": "pooling and local normalization",
}
"""``COSTS`` for people."""

_PLAIN_TYPES = """
AbsVal BNLL BatchNorm Bias BinaryOp Clip Concat Convolution ConvolutionDepthWise CopyTo Crop
Deconvolution DeconvolutionDepthWise DetectionOutput Dropout ELU Eltwise Exp Flatten GELU
HardSigmoid HardSwish InnerProduct Input InstanceNorm Interp LRN Log LogSoftmax MemoryData
Mish Noop Normalize PReLU Padding Permute PixelShuffle Pooling Power PriorBox Quantize ReLU
Reduction Reorg Requantize Reshape SELU Scale Sigmoid Slice ShuffleChannel Softmax Softplus
Split Squeeze Swish TanH UnaryOp ExpandDims Yolov3DetectionOutput YoloDetectionOutput CELU
Dequantize Threshold
"""
"""Types of layers whose work the kinds of ``LayerWork`` tell: convolutions, products with one
vector, and what moves or computes each element. Attention, recurrence, products of matrices and
normalization over a sequence are not among them: none was measured."""
PLAIN_TYPES = frozenset(_PLAIN_TYPES.lower().split())


class WorkRange(Record, frozen=True):
    """What the fitted networks span."""

    largest_share: tuple[float, ...]
    """Of each of ``COSTS`` in the reference device's time."""
    furthest: tuple[float, ...]
    """Of each of ``COSTS``, by what factor a share may exceed the largest: as far as networks that
    were held back could be told."""
    least_ms: float
    most_ms: float
    """On the reference device."""


def reasons_against(network: NetworkWork, unit_ms: Array, fitted: WorkRange) -> tuple[str, ...]:
    """Why this network's latency cannot be told; empty where it can."""
    if not network.layers:
        return ("it has no layers",)
    strange = list(dict.fromkeys(filter(None, map(_strangeness_of, network.layers))))
    if strange:
        return tuple(f"{each}; measure it on the phone" for each in strange[:3])
    times = costs_of(network.layers) * unit_ms
    total = times.sum()
    if not any(layer.macs for layer in network.layers):
        return ("no layer of it multiplies anything: no such network was measured",)
    if not fitted.least_ms * _SMALLER <= total <= fitted.most_ms * _LARGER:
        side = "smaller" if total < fitted.least_ms else "larger"
        return (
            f"it is {side} than any network that was measured: {total:.3g} ms on the reference "
            f"phone, and they took {fitted.least_ms:.3g} to {fitted.most_ms:.3g} ms; measure it "
            "on the phone",
        )
    shares = times / total
    beyond = excesses(shares, fitted) > np.array(fitted.furthest)
    return tuple(
        f"{shares[cost]:.0%} of its time on the reference phone goes into {WORDS[COSTS[cost]]}, "
        f"and at most {fitted.largest_share[cost]:.0%} of that of any network that was measured; "
        "measure it on the phone"
        for cost in np.flatnonzero(beyond)
    )


def excesses(shares: Array, fitted: WorkRange) -> Array:
    """By what factor each of ``COSTS`` takes more of a network's time than of any fitted one's,
    (costs,); 1 where it does not, or is ``_MORE_SHARE`` more at most."""
    most = np.array(fitted.largest_share)
    exceeds = shares > most + _MORE_SHARE
    return np.asarray(np.where(exceeds, shares / np.maximum(most, _LEAST_SHARE), 1.0))


def _strangeness_of(layer: LayerWork) -> str | None:
    counts = (
        layer.macs,
        layer.weights,
        layer.input_elements,
        layer.output_elements,
        layer.kernel,
    )
    if min(counts) < 0:
        return f"a count of its layer {layer.name} is negative"
    if layer.kind not in KINDS:
        return f"its layer {layer.name} is of a kind that was not measured: {layer.kind}"
    if layer.type.lower() not in PLAIN_TYPES:
        return f"its layer {layer.name} is of a type that was not measured: {layer.type}"
    if layer.kind in {"pool", "lrn", "elt", "none"} and layer.macs:
        return f"its layer {layer.name} multiplies, and is said to be {layer.kind}"
    if layer.kind == "fc" and layer.macs > 1.1 * layer.weights:
        return f"its layer {layer.name} multiplies a matrix by more than one vector"
    return None


def reason_against_chip(features: Array, fitted: Array) -> str | None:
    """Why nothing can be told from this chip alone; ``fitted`` are the phones' ``FEATURES``,
    (phones, features)."""
    for name, words in _CHIP_WORDS.items():
        column = FEATURES.index(name)
        value = np.exp(features[column])
        least, most = np.exp(fitted[:, column].min()), np.exp(fitted[:, column].max())
        if not least * _SMALLER <= value <= most * _LARGER:
            return (
                f"{words.format(value)}, and {least:.3g} to {most:.3g} were measured; measure one "
                "network on the phone"
            )
    return None


def too_uncertain(sd: float) -> str:
    return (
        f"no phone like it was measured: the sd of its log time would be {sd:.2f}, and "
        f"{MOST_SD:g} is the most that is told; measure one network on the phone"
    )


def contradiction_of(
    names: Sequence[str],
    values: Array,
    posterior: Posterior,
    rows: npt.NDArray[np.int64],
    noise: float,
) -> str | None:
    """Why known latencies cannot be of this phone; ``values`` are log times less the prior's.

    Each is set against what the chip lets expect.
    """
    sds = np.sqrt(np.diag(posterior.covariance)[rows] + noise**2)
    off = np.abs(values - posterior.mean[rows]) / sds
    if not len(off) or off.max() <= MOST_SDS_OFF:
        return None
    worst = int(off.argmax())
    factor = float(np.exp(values[worst] - posterior.mean[rows][worst]))
    return (
        f"the known latency of {names[worst]} is {factor:.3g} times what this chip lets expect: "
        "check the chip, the threads, the engine, and that it is in milliseconds"
    )
