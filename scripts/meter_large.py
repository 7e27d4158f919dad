"""Import a made trace of 100 million samples, and say what it took in time and memory.

    python scripts/meter_large.py [--samples 100000000] [--directory DIR]

The trace is an oscilloscope's at 100 kHz: five load windows of a phone's power in six idle ones,
across a shunt, with noise. It is written to DIR (2.0 GB), imported by the command in a process of
its own, and removed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE_HZ = 100_000
SHUNT_OHM, SUPPLY_V = 0.12, 5.16
IDLE_W, LOAD_W = 1.0, 3.38
WINDOWS = 11
CHUNK = 1_000_000


def write_trace(path: Path, samples: int) -> None:
    """Lines such as ``0012.34567,0.078912``, written digit by digit since there are so many."""
    generator = np.random.default_rng(0)
    window = -(-samples // WINDOWS)
    levels_v = [
        (SUPPLY_V - np.sqrt(SUPPLY_V**2 - 4 * power_w * SHUNT_OHM)) / 2
        for power_w in (IDLE_W, LOAD_W)
    ]
    with path.open("wb") as file:
        file.write(b"Model,made\nTime(s),CH1(V)\n")
        for start in range(0, samples, CHUNK):
            index = np.arange(start, min(samples, start + CHUNK))
            is_load = (index // window) % 2 == 1
            volt = np.where(is_load, levels_v[1], levels_v[0])
            volt += generator.normal(0, 1.5e-3, len(index))
            line = np.full((len(index), 20), ord("\n"), dtype=np.uint8)
            write_digits(line[:, 0:10], index, point=4)
            line[:, 10] = ord(",")
            write_digits(line[:, 11:19], np.maximum(0, np.rint(volt * 1e6)).astype(int), point=1)
            file.write(line.tobytes())


def write_digits(cells: np.ndarray, number: np.ndarray, *, point: int) -> None:
    """Each number's digits into a row of cells, with a decimal point in that cell."""
    cells[:, point] = ord(".")
    rest = number.copy()
    for cell in reversed([cell for cell in range(cells.shape[1]) if cell != point]):
        cells[:, cell] = ord("0") + rest % 10
        rest //= 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        path = Path(directory) / "trace.csv"
        write_trace(path, arguments.samples)
        size_bytes = path.stat().st_size
        started_s = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "mobilekit", "meter", "import", str(path), "--json"),
                *("--iterations", "400", "--shunt-ohm", str(SHUNT_OHM)),
                *("--supply-volt", str(SUPPLY_V)),
            ],
            stdout=subprocess.PIPE,
            env={**os.environ, "MOBILEKIT_HOME": directory},
            check=True,
        )
        wall_s = time.monotonic() - started_s
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    estimate = json.loads(done.stdout)["estimate"]
    print(
        f"{arguments.samples:,} samples, {size_bytes / 1e9:.2f} GB: {wall_s:.1f} s "
        f"({used.ru_utime + used.ru_stime:.1f} s of processor time), "
        f"{used.ru_maxrss / 1024:.0f} MiB at most; load {estimate['load_w']:.4f} W "
        f"of {LOAD_W} W, idle {estimate['idle_w']:.4f} W of {IDLE_W} W, "
        f"{len(estimate['windows'])} load windows"
    )


if __name__ == "__main__":
    main()
