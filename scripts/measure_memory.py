"""Measure how packaged networks grow the companion's memory on this computer, for the fit.

    python scripts/measure_memory.py [--rounds N] [--precision P...] [MODEL...]

Each network runs in each format by ``mobilekit deploy --device pc --fast``, in a process of its own
each time, and what mobilekit's results hold of its memory goes into
``mobilekit/prediction/memory.csv``. What is there already is not measured again, so that it can be
ended at any time. A network is left out in a format that it cannot be exported to. The growth does
not depend on what else the computer does.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path
from typing import get_args

from mobilekit.analysis.memory import measure_growth
from mobilekit.cli.progress import TerminalReporter
from mobilekit.contract.protocol import Format
from mobilekit.errors import MobilekitError
from mobilekit.flow.deploy import deploy
from mobilekit.flow.prepare import DeployOptions
from mobilekit.model.given import NOTHING
from mobilekit.model.zoo import list_models
from mobilekit.records.network import Precision, Variant
from mobilekit.results.store import Store

TABLE = Path(__file__).parents[1] / "mobilekit" / "prediction" / "memory.csv"
COLUMNS = (
    *("network", "format", "precision", "threads", "artifact_bytes"),
    *("load_bytes", "inference_bytes", "peak_bytes"),
)


def measure(model: str, artifact_format: Format, precision: Precision, store: Store) -> dict:
    options = DeployOptions(
        model=model,
        given=NOTHING,
        device="pc",
        preset="fast",
        threads=None,
        energy=False,
        require_phone=False,
        format=artifact_format,
        seek_backend=False,
        variant=Variant(precision=precision),
        calibration=None,
        apk=None,
        install=False,
    )
    with TerminalReporter() as reporter:
        measured = deploy(options, store, reporter)
    samples = measured.result.samples
    growth = measure_growth(samples.memory)
    if (
        samples.companion is None
        or growth is None
        or growth.measure != "PSS"
        or growth.peak_rss_bytes is None
    ):
        sys.exit(f"{model}: this computer does not tell a process's PSS and its peak")
    return {
        "network": model,
        "format": artifact_format,
        "precision": precision,
        "threads": samples.companion.threads,
        "artifact_bytes": measured.artifact.file.size_bytes,
        "load_bytes": growth.load_bytes,
        "inference_bytes": growth.inference_bytes,
        "peak_bytes": growth.peak_rss_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--precision", nargs="+", choices=get_args(Precision), default=get_args(Precision)
    )
    arguments = parser.parse_args()
    names = arguments.models or [spec.name for spec in list_models()]
    done = Counter[tuple[str, ...]]()
    if TABLE.exists():
        with TABLE.open(newline="", encoding="utf-8") as file:
            done.update(tuple(row[name] for name in COLUMNS[:3]) for row in csv.DictReader(file))
    else:
        TABLE.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        store = Store(f"sqlite:///{directory}/results.sqlite")
        for precision, name, artifact_format in product(
            arguments.precision, names, get_args(Format)
        ):
            for _ in range(arguments.rounds - done[name, artifact_format, precision]):
                try:
                    row = measure(name, artifact_format, precision, store)
                except MobilekitError as error:
                    print(f"{name} {artifact_format} {precision}: {error}", file=sys.stderr)
                    break
                with TABLE.open("a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


if __name__ == "__main__":
    main()
