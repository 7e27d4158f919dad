"""Runs of now and of a baseline: measured, taken from the store, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilekit.analysis.gate import find_unlike
from mobilekit.contract.codec import MAX_DOCUMENT_BYTES, decode
from mobilekit.errors import ProtocolError, UnlikeRunsError, UsageError
from mobilekit.flow.deploy import deploy
from mobilekit.flow.prepare import DeployOptions
from mobilekit.flow.reporter import Reporter
from mobilekit.records.measurement import Measurement
from mobilekit.results.documents import BaselineDocument
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


def read_baseline(given: Sequence[str], store: Store) -> list[Measurement]:
    """Each an id, or a file that `check --save` wrote, which is one that ends in .json.

    Raises ``UsageError`` for a file that cannot be read or holds no baseline, and for one without
    runs.
    """
    runs: list[Measurement] = []
    for each in given:
        path = Path(each)
        runs += _read_file(path) if path.suffix == ".json" else [store.read(each)]
    return runs


def _read_file(path: Path) -> Sequence[Measurement]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"The baseline cannot be read: {error.strerror}",
            path=path,
            fix="`mobilekit check MODEL --save FILE` writes one.",
        ) from error
    try:
        document: BaselineDocument = decode(data, BaselineDocument, source=str(path))
    except ProtocolError as error:
        raise UsageError(
            error.what, path=path, fix="`mobilekit check MODEL --save FILE` writes one anew."
        ) from error
    if not document.measurements:
        raise UsageError("The baseline holds no run", path=path, fix="Write one with --save.")
    return document.measurements


def refuse_unlike(runs: Sequence[Measurement]) -> None:
    """Raise ``UnlikeRunsError`` for a run that differs from the first in how it was made."""
    for run in runs[1:]:
        unlike = find_unlike(run, runs[0])
        if unlike:
            raise UnlikeRunsError(
                f"{run.id} cannot be judged by {runs[0].id}",
                differs="; ".join(
                    f"{each.id}: {each.side} and {each.against}, {each.meaning}" for each in unlike
                ),
                fix="Measure both alike: `mobilekit results show ID` tells how each was measured.",
            )
