"""Fit the model that ``mobilekit predict`` ships, and tell how far it was right.

Reads ``mobilekit/prediction/ncnn`` and writes ``mobilekit/prediction/latency.json``, with
``latency_whitener.npy``, which every prediction would have to compute from it. Prints the errors
of predictions of chips, and of networks, that were left out, beside simple rivals on the same
splits; ``--docs`` also writes the tables into docs/predicting.md.

A chip is left out with every row of its SoC, whatever the board and the threads. Its kernel's
values are fitted anew without it (``--same-values`` keeps the whole fit's, which is quick, and
flatters). A network is left out of the fit of the costs and of the measurements.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench import put_section
from extrapolation import (
    extrapolated_of,
    extrapolation_errors,
    furthest_of,
    heaviest_sets,
    render_extrapolation,
    widening_power_of,
)
from held_back import (
    CHOSEN,
    Outcome,
    factor_of,
    hold_back_chips,
    hold_back_networks,
    past_error,
)
from prediction_fit import (
    PACKAGE,
    PRIOR_SDS,
    Array,
    Data,
    fit_sds,
    fit_unit_ms,
    make_problem,
    range_of,
    read_data,
)
from prediction_rivals import RIVALS, rivals_errors

from mobilekit.analysis.predict.kernel import scale_features
from mobilekit.analysis.predict.latency import (
    FittedNetwork,
    FittedPhone,
    IntervalFactor,
    LatencyModel,
    pack_whitener,
)
from mobilekit.contract.codec import encode
from mobilekit.records.prediction import PastError

# --- tables ------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[1] / "docs" / "predicting.md"
PICTURE = DOCS.with_suffix(".png")


def render_tables(
    errors: Sequence[PastError], random: PastError, rivals: dict[str, dict[int, Array]]
) -> str:
    lines = [
        "| known on the phone | the network | predictions | median APE | nine in ten within | "
        "in the 90 % interval |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.known}{words} | {'measured elsewhere' if each.seen else 'measured nowhere'} | "
        f"{each.predictions:,} | {each.median_ape_percent:.1f} % | {each.p90_ape_percent:.0f} % | "
        f"{each.coverage:.0%} |"
        for each, words in [*((each, "") for each in errors), (random, ", at random")]
    ]
    ours = {each.known: each.median_ape_percent for each in errors if each.seen}
    lines += [
        "",
        "Median APE of networks measured elsewhere, on the same splits:",
        "",
        f"| | {' | '.join(f'{known} known' for known in ours)} |",
        f"|---|{'---|' * len(ours)}",
        f"| **this** | {' | '.join(f'**{error:.1f} %**' for error in ours.values())} |",
    ]
    lines += [
        f"| {rival} | {' | '.join(f'{np.median(each):.1f} %' for each in by_known.values())} |"
        for rival, by_known in rivals.items()
    ]
    return "\n".join(lines)


# --- pictures ----------------------------------------------------------------------------------

SHOWN = (0, 1, 5)
"""Numbers of known networks whose predictions are drawn against what was measured."""


def draw(
    data: Data,
    outcomes: Sequence[Outcome],
    factors: Sequence[IntervalFactor],
    rivals: dict[str, dict[int, Array]],
    path: Path,
) -> None:
    """Predicted against measured with 90 % intervals, of networks measured elsewhere on chips held
    back; and the error by how many networks are known there, beside the rivals'."""
    from matplotlib.figure import Figure

    log_ms = {
        (int(phone), int(network)): value
        for phone, network, value in zip(data.phone, data.network, data.log_ms, strict=True)
    }
    figure = Figure(figsize=(4.2 * (len(SHOWN) + 1), 4.4), layout="constrained")
    *scatters, last = figure.subplots(1, len(SHOWN) + 1)
    for axis, known in zip(scatters, SHOWN, strict=True):
        of_known = [each for each in outcomes if each.known == known]
        factor = next(each.factor for each in factors if each.seen and each.known == known)
        truth = np.array([log_ms[each.phone, each.network] for each in of_known])
        told = truth + np.array([each.error for each in of_known])
        half = factor * np.array([each.sd for each in of_known])
        inside = np.abs(told - truth) <= half
        for where, colour, name in (
            (inside, "#4477aa", "holds it"),
            (~inside, "#cc3311", "misses"),
        ):
            middle = np.exp(told[where])
            axis.errorbar(
                np.exp(truth[where]),
                middle,
                yerr=[
                    middle - np.exp(told[where] - half[where]),
                    np.exp(told[where] + half[where]) - middle,
                ],
                fmt=".",
                markersize=2.5,
                elinewidth=0.4,
                alpha=0.5,
                color=colour,
                label=f"90 % interval {name}: {where.mean():.0%}",
            )
        ends = np.exp([truth.min(), truth.max()])
        axis.plot(ends, ends, color="black", linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="measured, ms")
        axis.set_title(f"{known} known networks" if known != 1 else "1 known network", fontsize=10)
        axis.legend(fontsize=7, loc="upper left")
    scatters[0].set_ylabel("predicted, ms")
    counts = list(CHOSEN)
    apes = [
        np.array([100 * abs(math.expm1(each.error)) for each in outcomes if each.known == count])
        for count in counts
    ]
    last.plot(counts, list(map(np.median, apes)), "o-", color="#4477aa", label="this, median")
    last.plot(
        counts,
        [np.quantile(each, 0.9) for each in apes],
        "o--",
        color="#4477aa",
        label="this, nine in ten within",
    )
    for rival, colour in zip(
        RIVALS, ("#bbbbbb", "#999999", "#ee7733", "#009988", "#aa3377"), strict=True
    ):
        medians = [np.median(each) for each in rivals[rival].values()]
        last.plot(counts, medians, ".:", color=colour, label=f"{rival}, median")
    last.set(xlabel="known networks on the phone", ylabel="absolute error, %", xticks=counts)
    # Room for the legend above the lines.
    last.set_ylim(0, 1.5 * max(np.quantile(each, 0.9) for each in apes))
    last.set_title("error by known networks", fontsize=10)
    last.legend(fontsize=6.5, ncols=2, loc="upper right", handlelength=3.5)
    figure.suptitle("Networks measured elsewhere, on chips that were held back", fontsize=11)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same-values", action="store_true", help="do not fit anew for each chip")
    parser.add_argument(
        "--docs", action="store_true", help="write the tables and the pictures into the guide"
    )
    parser.add_argument("--plot", type=Path, help="draw the pictures into this file")
    options = parser.parse_args()
    data = read_data()
    unit_ms = fit_unit_ms(data)
    problem = make_problem(data, unit_ms)
    everything = np.ones(len(data.log_ms), dtype=bool)
    sds = fit_sds(problem, everything, PRIOR_SDS, iterations=60)
    soc_of = data.soc_index[problem.phone]
    sds_without = {
        soc: sds if options.same_values else fit_sds(problem, soc_of != soc, sds, iterations=12)
        for soc in map(int, np.unique(data.soc_index))
    }
    factors, errors = [], []
    seen = hold_back_chips(data, problem, sds_without, CHOSEN)
    singly = [{network} for network in range(len(data.works))]
    unseen = [
        each for each in hold_back_networks(data, sds_without, CHOSEN, singly) if each.excess == 1
    ]
    random = hold_back_chips(data, problem, sds_without, {5: ()}, random_sets=5)
    for is_seen, outcomes in ((True, seen), (False, unseen)):
        for known in CHOSEN:
            of_known = [each for each in outcomes if each.known == known]
            told = of_known
            if is_seen and known == 5:
                told = [*of_known, *random]
            factor = factor_of(told)
            factors.append(IntervalFactor(known=known, seen=is_seen, factor=round(factor, 4)))
            errors.append(past_error(known, is_seen, of_known, factor))
    held = extrapolated_of(
        hold_back_networks(data, sds_without, CHOSEN, heaviest_sets(data.costs, unit_ms)),
        {each.known: each.factor for each in factors if not each.seen},
    )
    furthest = furthest_of(held)
    power = widening_power_of(held, furthest)
    extrapolation = render_extrapolation(held, furthest, power)
    five = next(each.factor for each in factors if each.seen and each.known == 5)
    rivals = rivals_errors(data, CHOSEN)
    tables = render_tables(errors, past_error(5, True, random, five), rivals)
    print(tables)
    print(extrapolation)
    print(f"intervals are wider by the excess to the power of {power}")
    print(sds)
    if options.docs:
        put_section(DOCS, "errors", f"{tables}\n")
        put_section(DOCS, "extrapolation", f"{extrapolation}\n")
    for path in filter(None, (options.plot, PICTURE if options.docs else None)):
        draw(data, seen, factors, rivals, path)
    model = LatencyModel(
        source="https://github.com/Tencent/ncnn, benchmark/: networks and table of latencies",
        license="BSD-3-Clause",
        engine="ncnn, fp32 models, best of a run",
        unit_ms=tuple(map(float, unit_ms)),
        offset=problem.offset,
        sds=sds,
        scales=scale_features(data.features),
        phones=tuple(
            FittedPhone(soc=soc, threads=threads, features=tuple(map(float, features)))
            for soc, threads, features in zip(data.socs, data.threads, data.features, strict=True)
        ),
        networks=tuple(
            FittedNetwork(name=work.name, costs=tuple(map(float, costs)))
            for work, costs in zip(data.works, data.costs, strict=True)
        ),
        measured=tuple(
            (int(phone), int(network), round(math.exp(log_ms), 4))
            for phone, network, log_ms in zip(data.phone, data.network, data.log_ms, strict=True)
        ),
        range=range_of(data.costs, unit_ms, furthest),
        factors=tuple(factors),
        widening_power=power,
        errors=(*errors, *extrapolation_errors(held, furthest, power)),
    )
    (PACKAGE / "latency.json").write_bytes(encode(model) + b"\n")
    np.save(PACKAGE / "latency_whitener.npy", pack_whitener(model))


if __name__ == "__main__":
    main()
