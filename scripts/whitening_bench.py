"""Plain and whitened ranks beside each other: how many held-out examples a network is right on.

    python scripts/whitening_bench.py [--output docs/compressing.md] MODEL=DIR[@OTHERS]...

For each MODEL, the steps of the ladder that `mobilekit compress` follows, in fp32 in PyTorch: each
cut plainly, and whitened by those of the labelled examples in DIR that `compress` would take for
it, both judged by the rest. An empty DIR is for those that come with the network. With OTHERS, a
``.npy`` file of inputs that are not in DIR, also whitened by those. ``--output`` replaces the part
of that file between the two markers; the tables are printed in any case.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from bench import markdown_table, tell_section
from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.accuracy import paired_difference
from mobilekit.flow.ladder import count_weights
from mobilekit.model.calibration import calibration_sha256, read_examples
from mobilekit.model.dataset import INPUTS, LABELS
from mobilekit.model.examples import split_examples
from mobilekit.model.given import NOTHING
from mobilekit.model.load import load_module
from mobilekit.model.lowrank import find_layers
from mobilekit.model.ranks import Layer, make_ladder
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.records.network import Compression, ModelSpec, Variant

SHRINK = 0.85
"""Of the weights of a step that is told, the most that the next one has."""
LEAST_RIGHT = 0.5
"""Of what the whole network is right on: below it nobody wants to know."""


class Judge:
    """A network on its held-out examples."""

    def __init__(self, spec: ModelSpec, data: Path) -> None:
        self._spec = spec
        self._inputs = torch.from_numpy(np.load(data / INPUTS))
        self._labels = torch.from_numpy(np.load(data / LABELS))

    def is_right(
        self, compression: Compression | None, calibration: Path | None = None
    ) -> list[bool]:
        """Example by example; whitened by ``calibration``, if that is given."""
        if compression is not None and calibration is not None:
            compression = replace(compression, whitened_by=calibration_sha256(calibration))
        variant = Variant(compression=compression)
        network = load_module(with_variant(self._spec, variant, calibration))
        with torch.no_grad():
            outputs = torch.cat([network(each[None]) for each in self._inputs])
        return (outputs.argmax(1) == self._labels).tolist()


def told_steps(layers: Sequence[Layer]) -> Iterator[Compression]:
    """Those of the ladder that are far enough from each other."""
    weights = count_weights(layers, None)
    for step in make_ladder(layers):
        if step is not None and count_weights(layers, step) <= SHRINK * weights:
            weights = count_weights(layers, step)
            yield step


def table_of(model: str, data: Path | None, others: Path | None) -> str:
    """Of one network, with what its steps come to where half of the examples choose."""
    spec = find_model(model, NOTHING)
    calibration, held_out = split_examples(spec, data, cache_directory=places.artifacts_directory())
    layers = [
        each for each in find_layers(load_module(spec), make_inputs(spec)) if each.largest_rank
    ]
    judge = Judge(spec, held_out)
    whole = judge.is_right(None)
    weighing = [calibration, *([others] if others else [])]
    header = ["weights", "ranks", "plain"]
    for each in weighing:
        header += [f"by {len(read_examples(each, spec))} examples", "points more"]
    rows: list[list[str]] = []
    gains: list[float] = []
    for step in told_steps(layers):
        plain = judge.is_right(step)
        found = [judge.is_right(step, each) for each in weighing]
        if max(map(sum, (plain, *found))) < LEAST_RIGHT * sum(whole):
            break
        share = count_weights(layers, step) / count_weights(layers, None)
        row = [f"{share:.2f}", ", ".join(str(cut.rank) for cut in step.ranks), str(sum(plain))]
        for whitened in found:
            points, interval = paired_difference(whitened, plain)
            row += [
                f"{sum(whitened)}{' (righter)' if interval.low > 0 else ''}",
                f"{100 * points:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
            ]
        gains += gains_of_halves(plain, found[0])
        rows.append(row)
        print(f"{model}: {row}", file=sys.stderr)
    table = "\n".join(markdown_table(header, rows))
    halves = (
        ""
        if not gains
        else (
            f"\n\nRighter by one half of the examples and judged by the other, {len(gains)} of "
            f"{2 * len(rows)} times: {sum(gains) / len(gains):+.1f} points there on average."
        )
    )
    right = f"{sum(whole)} of {len(whole)} held-out examples right uncompressed"
    return f"#### {model}: {right}\n\n{table}{halves}\n"


def gains_of_halves(plain: Sequence[bool], whitened: Sequence[bool]) -> list[float]:
    """Points that whitening gains on one half of the examples, for each half by which it is
    taken: what it was taken by tells too much of it."""
    gains = []
    for chooses, judges in (
        (slice(0, None, 2), slice(1, None, 2)),
        (slice(1, None, 2), slice(0, None, 2)),
    ):
        _, interval = paired_difference(whitened[chooses], plain[chooses])
        if interval.low > 0:
            judged = plain[judges]
            gains.append(100 * (sum(whitened[judges]) - sum(judged)) / len(judged))
    return gains


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+", metavar="MODEL=DIR[@OTHERS]")
    parser.add_argument("--output", type=Path, help="put the tables here")
    arguments = parser.parse_args()
    tables = []
    for each in arguments.networks:
        model, _, rest = each.partition("=")
        data, _, others = rest.partition("@")
        tables.append(
            table_of(model, Path(data) if data else None, Path(others) if others else None)
        )
    tell_section(arguments.output, "whitening", "\n".join(tables))


if __name__ == "__main__":
    main()
