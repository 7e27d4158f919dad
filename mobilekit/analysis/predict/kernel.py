"""How alike two latencies are expected to be: the prior of the Gaussian process on log time.

A roofline, linearised: a network's time on a chip is the sum of its costs, each at the chip's own
price. In logarithms that is the prior mean plus the shares of the costs times how far each price
is off. The covariance of two observations is, summed:

- of two phones (``device``): a constant; a linear and a squared exponential part in the chips'
  features; the same SoC; the same phone with the same threads,
- of the prices: the same five, times the product of the networks' shares,
- of the very network: a constant, a squared exponential part and the same SoC.

C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", MIT Press 2006,
chapters 2 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.predict.chips import FEATURES
from mobilekit.contract.codec import Record

Array = npt.NDArray[np.float64]

LINEAR_PRIOR: dict[str, tuple[float, float]] = {
    "log_ghz": (-1.0, 0.3),
    "log_macs_per_cycle": (-0.5, 0.3),
    "log_scaling": (-0.8, 0.2),
    "fp16": (-0.4, 0.3),
    "out_of_order": (0.0, 0.3),
    "armv7": (0.0, 0.3),
    "dram_excess": (0.0, 0.15),
    "little_share": (0.0, 0.3),
}
"""What log time is expected to change by with each feature: the mean and its sd. Time falls as the
clock rises; less than MACs in a cycle and cores promise, because memory does not keep up; and with
fp16 arithmetic by up to a half."""
DEVICE_SHAPE = (
    "log_macs_per_cycle",
    "fp16",
    "out_of_order",
    "armv7",
    "log_rate",
    "unevenness",
)
PRICE_SHAPE = (*DEVICE_SHAPE, "log_dram")


class KernelSds(Record, frozen=True):
    """Standard deviations of log time, and two lengths in standardised features."""

    device_constant: float
    device_linear: float
    """A factor on the sds of ``LINEAR_PRIOR``."""
    device_shape: float
    device_soc: float
    device_phone: float
    price_constant: float
    price_linear: float
    price_shape: float
    price_soc: float
    price_phone: float
    network_constant: float
    network_shape: float
    network_soc: float
    noise: float
    device_length: float
    price_length: float


class FeatureScales(Record, frozen=True):
    """What brings the features of chips to one scale, from those the model was fitted to."""

    dram_slope: float
    dram_intercept: float
    dram_sd: float
    """The expected log of a memory's GB/s is linear in the log of the chip's rate, with this sd."""
    linear_centre: tuple[float, ...]
    shape_centre: tuple[float, ...]
    shape_sd: tuple[float, ...]
    """Of ``PRICE_SHAPE``, which begins with ``DEVICE_SHAPE``."""


@dataclass(frozen=True)
class Phones:
    """Phones with a number of threads each, as the kernel sees them; a row each."""

    mean: Array
    """The prior's log time but for the network, (phones,)."""
    linear: Array
    """Centred, in prior sds: (phones, linear features)."""
    shape: Array
    """Standardised: (phones, shape features)."""
    unknown_memory: npt.NDArray[np.bool_]
    soc: npt.NDArray[np.int64]
    """Equal for phones with the same SoC."""
    phone: npt.NDArray[np.int64]
    """Equal for the same phone with the same number of threads."""


def scale_features(features: Array) -> FeatureScales:
    """From the ``FEATURES`` of the chips that a model is fitted to, (phones, features)."""
    named = dict(zip(FEATURES, features.T, strict=True))
    slope, intercept = np.polyfit(named["log_chip_rate"], named["log_dram"], 1)
    excess = named["log_dram"] - slope * named["log_chip_rate"] - intercept
    named["dram_excess"] = excess
    shape = np.stack([named[name] for name in PRICE_SHAPE], axis=1)
    return FeatureScales(
        dram_slope=float(slope),
        dram_intercept=float(intercept),
        dram_sd=float(excess.std()),
        linear_centre=tuple(float(named[name].mean()) for name in LINEAR_PRIOR),
        shape_centre=tuple(map(float, shape.mean(axis=0))),
        shape_sd=tuple(map(float, shape.std(axis=0))),
    )


def make_phones(
    features: Array,
    scales: FeatureScales,
    soc: npt.NDArray[np.int64],
    phone: npt.NDArray[np.int64],
) -> Phones:
    """From ``FEATURES`` of each phone, (phones, features); a memory that is not known is taken to
    be as fast as one of a chip of that rate."""
    named = dict(zip(FEATURES, features.T, strict=True))
    expected = scales.dram_slope * named["log_chip_rate"] + scales.dram_intercept
    unknown = np.isnan(named["log_dram"])
    named["log_dram"] = np.where(unknown, expected, named["log_dram"])
    named["dram_excess"] = named["log_dram"] - expected
    linear = np.stack([named[name] for name in LINEAR_PRIOR], axis=1)
    means, sds = np.array(list(LINEAR_PRIOR.values())).T
    shape = np.stack([named[name] for name in PRICE_SHAPE], axis=1)
    return Phones(
        mean=linear @ means,
        linear=(linear - np.array(scales.linear_centre)) * sds,
        shape=(shape - np.array(scales.shape_centre)) / np.array(scales.shape_sd),
        unknown_memory=unknown,
        soc=soc,
        phone=phone,
    )


@dataclass(frozen=True)
class PhoneLikeness:
    """What the kernel is made of, for each pair of phones: (phones, others) each."""

    linear: Array
    price_linear: Array
    device_distance: Array
    """Squared, a mean over the features."""
    price_distance: Array
    same_soc: Array
    same_phone: Array


def compare_phones(phones: Phones, others: Phones) -> PhoneLikeness:
    first = len(DEVICE_SHAPE)
    squares = (phones.shape[:, None, :] - others.shape[None, :, :]) ** 2
    return PhoneLikeness(
        linear=phones.linear @ others.linear.T,
        price_linear=phones.shape @ others.shape.T / phones.shape.shape[1],
        device_distance=squares[:, :, :first].mean(axis=2),
        price_distance=squares.mean(axis=2),
        same_soc=(phones.soc[:, None] == others.soc[None, :]).astype(float),
        same_phone=(phones.phone[:, None] == others.phone[None, :]).astype(float),
    )


def phone_covariances(likeness: PhoneLikeness, sds: KernelSds) -> tuple[Array, Array, Array]:
    """Of the devices, of the prices and of the very network, for each pair of phones."""
    device_shape = np.exp(-0.5 * likeness.device_distance / sds.device_length**2)
    price_shape = np.exp(-0.5 * likeness.price_distance / sds.price_length**2)
    device = (
        sds.device_constant**2
        + sds.device_linear**2 * likeness.linear
        + sds.device_shape**2 * device_shape
        + sds.device_soc**2 * likeness.same_soc
        + sds.device_phone**2 * likeness.same_phone
    )
    price = (
        sds.price_constant**2
        + sds.price_linear**2 * likeness.price_linear
        + sds.price_shape**2 * price_shape
        + sds.price_soc**2 * likeness.same_soc
        + sds.price_phone**2 * likeness.same_phone
    )
    network = (
        sds.network_constant**2
        + sds.network_shape**2 * price_shape
        + sds.network_soc**2 * likeness.same_soc
    )
    return device, price, network
