"""Runs of now and of a baseline: measured, taken from the store, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilekit.analysis.gate import find_unlike
from mobilekit.errors import UnlikeRunsError
from mobilekit.flow.deploy import deploy
from mobilekit.flow.prepare import DeployOptions
from mobilekit.flow.reporter import Reporter
from mobilekit.records.measurement import Measurement
from mobilekit.results.saved import read_baseline
from mobilekit.results.store import Store


def measure_repeats(
    options: DeployOptions, repeats: int, store: Store, reporter: Reporter
) -> list[Measurement]:
    """So many deploys, one after another; each is stored."""
    runs = []
    for number in range(1, repeats + 1):
        if repeats > 1:
            reporter.note(f"Run {number} of {repeats}")
        runs.append(deploy(options, store, reporter))
    return runs


def find_baseline(given: Sequence[str], store: Store) -> list[Measurement]:
    """Each an id, or a file that `check --save` wrote, which is one that ends in .json.

    Raises ``UsageError`` for a file that is none.
    """
    runs: list[Measurement] = []
    for each in given:
        path = Path(each)
        runs += read_baseline(path) if path.suffix == ".json" else [store.read(each)]
    return runs


def refuse_unlike(runs: Sequence[Measurement], *, one_network: bool) -> None:
    """Raise ``UnlikeRunsError`` for a run that differs from the first in how it was made;
    ``one_network``: or in what is in the network, as runs of one side must not."""
    for run in runs[1:]:
        unlike = find_unlike(run, runs[0], one_network=one_network)
        if unlike:
            raise UnlikeRunsError(
                f"{run.id} cannot be judged by {runs[0].id}",
                differs="; ".join(
                    f"{each.id}: {each.side} and {each.against}, {each.meaning}" for each in unlike
                ),
                fix="Measure both alike: `mobilekit results show ID` tells how each was measured.",
            )
