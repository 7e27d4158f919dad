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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from mobilekit.analysis.predict.costs import COSTS
from mobilekit.analysis.predict.intervals import SDS_OF_90_PERCENT, around
from mobilekit.contract.codec import Record
from mobilekit.records.chip import Chip, Core
from mobilekit.records.energy import EnergyEstimate
from mobilekit.records.prediction import KindPowers, PhonePower
from mobilekit.units import NOMINAL_CELL_MV

Array = npt.NDArray[np.float64]


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
    used = chip.fastest(threads)
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


LEAST_BY_KIND = 4
"""Networks of which a power for either kind of work is told: each is left out of the others, which
have to tell two powers."""
_ARITHMETIC = [COSTS.index(name) for name in COSTS if name.endswith("_macs")]


def arithmetic_share(shares: Array) -> float:
    """How much of a network's time multiplies, of the shares of ``COSTS`` in it; the rest moves
    numbers."""
    return float(shares[_ARITHMETIC].sum())


class OwnRun(NamedTuple):
    """An energy run of one network on the phone itself."""

    energy: EnergyEstimate
    arithmetic: float | None
    """``arithmetic_share``; ``None``: its layers are not at hand."""


def power_of_runs(runs: Sequence[OwnRun]) -> PhonePower | None:
    """From the phone's own energy runs, one for each network; ``None`` where there are none, or one
    of them did not tell a power above 0.

    A further network's log power is t-distributed about their mean, with the variance that these
    show, pooled with ``NETWORKS_SD`` (A. Gelman et al., "Bayesian Data Analysis", 2013, section
    3.3), and each run's own interval. Where a power for each kind of work tells networks that were
    left out better, the mean gives way to it.
    """
    energies = [run.energy for run in runs]
    if not runs or any(min(each.gross_j, each.marginal_j) <= 0 for each in energies):
        return None
    gross_w = [each.gross_j / each.seconds_per_inference for each in energies]
    marginal_w = [each.marginal_j / each.seconds_per_inference for each in energies]
    gross_sds = [_relative_sd(each.gross_j, each.gross_interval_j.high) for each in energies]
    marginal_sds = [
        _relative_sd(each.marginal_j, each.marginal_interval_j.high) for each in energies
    ]
    gross_off, marginal_off = _off_mean(gross_w), _off_mean(marginal_w)
    shares = [run.arithmetic for run in runs if run.arithmetic is not None]
    by_kind = None
    if len(shares) == len(runs) >= LEAST_BY_KIND:
        gross_kinds, marginal_kinds = _fit_kinds(shares, gross_w), _fit_kinds(shares, marginal_w)
        if _left_out(shares, gross_w) < _left_out(None, gross_w):
            by_kind = KindPowers(
                arithmetic_gross_w=gross_kinds[0],
                arithmetic_marginal_w=marginal_kinds[0],
                moving_gross_w=gross_kinds[1],
                moving_marginal_w=marginal_kinds[1],
            )
            gross_off = _off_kinds(shares, gross_w, gross_kinds)
            marginal_off = _off_kinds(shares, marginal_w, marginal_kinds)
    count = len(runs)
    networks = f"its own energy runs, of {count} network{'' if count == 1 else 's'}"
    manner = "the same for all networks"
    if by_kind is not None:
        manner = (
            f"{by_kind.arithmetic_gross_w:.3g} W gross in arithmetic and "
            f"{by_kind.moving_gross_w:.3g} W in moving numbers, which told networks left out better"
        )
    fitted = 1 if by_kind is None else 2
    gross_half = _predictive_half(gross_off, gross_sds, fitted)
    marginal_half = _predictive_half(marginal_off, marginal_sds, fitted)
    return PhonePower(
        gross_w=_mean(gross_w),
        gross_interval_w=around(_mean(gross_w), gross_half),
        marginal_w=_mean(marginal_w),
        marginal_interval_w=around(_mean(marginal_w), marginal_half),
        told_from=f"{networks}, {manner}",
        by_kind=by_kind,
    )


def power_of_network(power: PhonePower, arithmetic: float | None) -> tuple[float, float]:
    """Gross and marginal watts during a network that spends this share of its time in arithmetic;
    ``None``: it is not known."""
    kinds = power.by_kind
    if kinds is None or arithmetic is None:
        return power.gross_w, power.marginal_w
    moving = 1 - arithmetic
    return (
        arithmetic * kinds.arithmetic_gross_w + moving * kinds.moving_gross_w,
        arithmetic * kinds.arithmetic_marginal_w + moving * kinds.moving_marginal_w,
    )


def _mean(powers_w: Sequence[float]) -> float:
    """The geometric one."""
    return math.exp(sum(map(math.log, powers_w)) / len(powers_w))


def _off_mean(powers_w: Sequence[float]) -> list[float]:
    mean = math.log(_mean(powers_w))
    return [math.log(power_w) - mean for power_w in powers_w]


def _fit_kinds(shares: Sequence[float], powers_w: Sequence[float]) -> tuple[float, float]:
    """Watts in arithmetic and in moving, by least squares on relative errors. Neither is below a
    tenth of the mean, which no part of a phone that works falls to."""
    rows = np.array([[share, 1 - share] for share in shares]) / np.array(powers_w)[:, None]
    found = np.linalg.lstsq(rows, np.ones(len(powers_w)), rcond=None)[0]
    least = 0.1 * _mean(powers_w)
    return max(float(found[0]), least), max(float(found[1]), least)


def _off_kinds(
    shares: Sequence[float], powers_w: Sequence[float], kinds: tuple[float, float]
) -> list[float]:
    told = [share * kinds[0] + (1 - share) * kinds[1] for share in shares]
    return [math.log(power_w / each) for power_w, each in zip(powers_w, told, strict=True)]


def _left_out(shares: Sequence[float] | None, powers_w: Sequence[float]) -> float:
    """The mean error, in logarithms, of each network told from the others: by kind, or without
    ``shares`` by their mean."""
    errors = []
    for out, power_w in enumerate(powers_w):
        others = [each for place, each in enumerate(powers_w) if place != out]
        if shares is None:
            told = _mean(others)
        else:
            kinds = _fit_kinds([each for at, each in enumerate(shares) if at != out], others)
            told = shares[out] * kinds[0] + (1 - shares[out]) * kinds[1]
        errors.append(abs(math.log(told / power_w)))
    return sum(errors) / len(errors)


def _predictive_half(off: Sequence[float], run_sds: Sequence[float], fitted: int) -> float:
    """Half of a further network's 90 % interval, in logarithms, from how far those measured lie
    off what is told of them by so many values that were ``fitted`` to them."""
    from scipy.special import stdtrit  # at no command's start, as in ``energy.budget``

    freedom = NETWORKS_FREEDOM + len(off) - fitted
    between = (NETWORKS_FREEDOM * NETWORKS_SD**2 + sum(each**2 for each in off)) / freedom
    # What all runs share, a gauge's gain, does not average out.
    variance = between * (1 + 1 / len(off)) + max(run_sds) ** 2
    return float(stdtrit(freedom, 0.95)) * math.sqrt(variance)


def _relative_sd(value: float, high: float) -> float:
    """Of an energy with a 95 % interval."""
    return (high - value) / value / 1.96


def _sum_of(*parts: tuple[float, float]) -> tuple[float, float]:
    """Median and sd of the logarithm of a sum of independent log-normals, each with its own."""
    mean = sum(median * math.exp(sd**2 / 2) for median, sd in parts)
    variance = sum(median**2 * math.exp(sd**2) * math.expm1(sd**2) for median, sd in parts)
    sd = math.sqrt(math.log1p(variance / mean**2))
    return mean * math.exp(-(sd**2) / 2), sd
