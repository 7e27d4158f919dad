"""What a phone draws while it infers without a pause: from its own energy runs, else its chip.

From a chip: each used core draws what one core of its kind was measured to draw at that clock on
other phones, which is what a network adds; the rest of the phone, its display on, draws what other
phones' tables say. All of it is log-normal; a sum of two has the mean and the variance of the sum
(L. F. Fenton, "The sum of log-normal probability distributions in scatter transmission systems",
IRE Trans. Commun. Syst. 8, 1960).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import astuple

from mobilekit.analysis.predict.intervals import SDS_OF_90_PERCENT, around
from mobilekit.contract.codec import Record
from mobilekit.records.chip import Chip, Core
from mobilekit.records.energy import EnergyEstimate
from mobilekit.records.prediction import PhonePower
from mobilekit.units import NOMINAL_CELL_MV


class CorePower(Record, frozen=True):
    """What one busy core draws: the logarithm of its mW is a line in these."""

    constant: float
    out_of_order: float
    log_macs_per_cycle: float
    log_ghz: float
    fp16: float
    """Of cores that compute with fp16, which are of newer processes."""
    log_sd: float
    """Of a core of a chip that was held back."""


class RestPower(Record, frozen=True):
    """What the rest of a phone draws, its processor awake and its display on."""

    current_ma: float
    log_sd: float
    """With how bright the display is."""


class PowerModel(Record, frozen=True):
    """What `scripts/fit_power.py` writes."""

    sources: tuple[str, ...]
    licenses: tuple[str, ...]
    phones: int
    """Of which cores were measured."""
    cores: CorePower
    rest: RestPower


SHARING_SD = 0.2
"""Of the log of what several cores draw with a network, about the sum of what each draws alone with
another load: an assumption. They share a memory and wait for it, and vector units are not in that
load."""


def core_features(core: Core, clock_ghz: float) -> tuple[float, ...]:
    """What ``CorePower`` has a coefficient for, in its order."""
    return (
        1.0,
        float(core.out_of_order),
        math.log(core.fp32_macs_per_cycle),
        math.log(clock_ghz),
        float(core.fp16_arithmetic),
    )


def core_w(core: Core, clock_ghz: float, model: CorePower) -> float:
    """What one busy core adds to a phone's power."""
    *coefficients, _ = astuple(model)
    line = zip(coefficients, core_features(core, clock_ghz), strict=True)
    return math.exp(sum(each * feature for each, feature in line)) / 1000


def power_of_chip(chip: Chip, threads: int, model: PowerModel) -> PhonePower:
    """With ``threads`` threads, on the chip's fastest cores first; at most as many as it has."""
    clusters = sorted(chip.clusters, key=lambda cluster: cluster.rate, reverse=True)
    used = [cluster for cluster in clusters for _ in range(cluster.cores)][:threads]
    marginal_w = sum(core_w(each.core, each.clock_ghz, model.cores) for each in used)
    marginal_sd = math.hypot(model.cores.log_sd, SHARING_SD)
    rest_w = model.rest.current_ma / 1000 * NOMINAL_CELL_MV / 1000
    gross_w, gross_sd = _sum_of((marginal_w, marginal_sd), (rest_w, model.rest.log_sd))
    return PhonePower(
        gross_w=gross_w,
        gross_interval_w=around(gross_w, SDS_OF_90_PERCENT * gross_sd),
        marginal_w=marginal_w,
        marginal_interval_w=around(marginal_w, SDS_OF_90_PERCENT * marginal_sd),
        told_from=f"the kind and the clock of its cores, as measured on {model.phones} phones",
    )


NETWORKS_SD = 0.12
"""Of the log of a phone's power from network to network, before there are any: of the Nexus 7 it
was 0.19 (Fantozzi and Maiani 2016), of a Snapdragon 800 0.02 (Lane et al. 2015), three and four
networks each."""
NETWORKS_FREEDOM = 4
"""As how many degrees of freedom that counts."""


def power_of_runs(runs: Sequence[EnergyEstimate]) -> PhonePower | None:
    """From the phone's own energy runs, one for each network; ``None`` where there are none, or one
    of them did not tell a power above 0.

    A further network's log power is t-distributed about their mean, with the variance that these
    show, pooled with ``NETWORKS_SD`` (A. Gelman et al., "Bayesian Data Analysis", 2013, section
    3.3), and each run's own interval.
    """
    if not runs or any(min(run.gross_j, run.marginal_j) <= 0 for run in runs):
        return None
    gross_w, gross = _predictive(
        [run.gross_j / run.seconds_per_inference for run in runs],
        [_relative_sd(run.gross_j, run.gross_interval_j.high) for run in runs],
    )
    marginal_w, marginal = _predictive(
        [run.marginal_j / run.seconds_per_inference for run in runs],
        [_relative_sd(run.marginal_j, run.marginal_interval_j.high) for run in runs],
    )
    count = len(runs)
    return PhonePower(
        gross_w=gross_w,
        gross_interval_w=around(gross_w, gross),
        marginal_w=marginal_w,
        marginal_interval_w=around(marginal_w, marginal),
        told_from=f"its own energy runs, of {count} network{'' if count == 1 else 's'}",
    )


def _predictive(powers_w: Sequence[float], run_sds: Sequence[float]) -> tuple[float, float]:
    """The middle, and half of the 90 % interval's width in logarithms."""
    from scipy.special import stdtrit  # at no command's start, as in ``energy.budget``

    logs = [math.log(power_w) for power_w in powers_w]
    count = len(logs)
    mean = sum(logs) / count
    squares = sum((each - mean) ** 2 for each in logs)
    freedom = NETWORKS_FREEDOM + count - 1
    between = (NETWORKS_FREEDOM * NETWORKS_SD**2 + squares) / freedom
    # What all runs share, a gauge's gain, does not average out.
    shared = max(run_sds)
    half = float(stdtrit(freedom, 0.95)) * math.sqrt(between * (1 + 1 / count) + shared**2)
    return math.exp(mean), half


def _relative_sd(value: float, high: float) -> float:
    """Of an energy with a 95 % interval."""
    return (high - value) / value / 1.96


def _sum_of(*parts: tuple[float, float]) -> tuple[float, float]:
    """Median and sd of the logarithm of a sum of independent log-normals, each with its own."""
    mean = sum(median * math.exp(sd**2 / 2) for median, sd in parts)
    variance = sum(median**2 * math.exp(sd**2) * math.expm1(sd**2) for median, sd in parts)
    sd = math.sqrt(math.log1p(variance / mean**2))
    return mean * math.exp(-(sd**2) / 2), sd
