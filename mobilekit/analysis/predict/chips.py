"""From a chip and a number of threads to the numbers that its speed is told from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from mobilekit.errors import CannotTellError, UsageError
from mobilekit.records.chip import Chip, Cluster, Core

Array = npt.NDArray[np.float64]

FEATURES = (
    "log_ghz",
    "log_macs_per_cycle",
    "log_scaling",
    "fp16",
    "out_of_order",
    "armv7",
    "little_share",
    "log_rate",
    "unevenness",
    "log_dram",
    "log_chip_rate",
)
"""Of the cores that the threads run on, the fastest first: the first one's clock, MACs in a cycle,
fp16, order and instruction set; log of their sum of rates over the first one's rate; how many of
them are in-order; log of that sum; log of their mean rate over the slowest one's; log of the
memory's GB/s (NaN: unknown); log of all cores' sum of rates."""

_CLUSTER = re.compile(
    r"(?P<count>\d{1,4})\s*[xX]\s*(?P<core>[A-Za-z][\w.+ -]*?)\s*@\s*(?P<ghz>\d+(\.\d*)?|\.\d+)"
    r"(\s*(GHz|ghz|GHZ))?",
    re.ASCII,  # or digits of every script are some
)
EXAMPLE = "4xA76@2.4,4xA55@1.8"
_MOST_CORES = 128
_CLOCKS_GHZ = (0.1, 10.0)


def parse_chip(text: str, cores: Mapping[str, Core], *, dram_gbps: float | None = None) -> Chip:
    """Read ``4xA76@2.4,4xA55@1.8``: how many of which core at how many GHz, the fastest first.

    Raises ``UsageError`` for what is not written so and for numbers that no chip has, and
    ``CannotTellError`` for a core that is not in ``cores``.
    """
    clusters = []
    for part in text.split(","):
        match = _CLUSTER.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                f"{part.strip()!r} is no cluster of cores",
                chip=text,
                fix=f"Name a SoC (SM8350), or write how many of which core at how many GHz: "
                f"{EXAMPLE}.",
            )
        core = find_core(match["core"], cores)
        count, ghz = int(match["count"]), float(match["ghz"])
        if not (1 <= count <= _MOST_CORES and _CLOCKS_GHZ[0] <= ghz <= _CLOCKS_GHZ[1]):
            raise UsageError(
                f"{part.strip()!r} is no cluster that a phone has",
                fix=f"Write 1 to {_MOST_CORES} cores at {_CLOCKS_GHZ[0]:g} to "
                f"{_CLOCKS_GHZ[1]:g} GHz: {EXAMPLE}.",
            )
        clusters.append(Cluster(core=core, clock_ghz=ghz, cores=count))
    if sum(cluster.cores for cluster in clusters) > _MOST_CORES:
        raise UsageError(
            f"No chip of a phone has more than {_MOST_CORES} cores",
            chip=text,
            fix=f"Write its cores: {EXAMPLE}.",
        )
    return with_bandwidth(Chip(name=None, clusters=tuple(clusters), dram_gbps=None), dram_gbps)


def with_bandwidth(chip: Chip, dram_gbps: float | None) -> Chip:
    """With that memory in place of its own, unless it is ``None``. Raises ``UsageError``."""
    if dram_gbps is None:
        return chip
    if not 0.1 <= dram_gbps <= 2000:
        raise UsageError(
            f"No memory moves {dram_gbps:g} GB/s",
            fix="Give --dram-gbps in 10^9 bytes a second, or leave it out.",
        )
    return replace(chip, dram_gbps=dram_gbps)


def find_core(name: str, cores: Mapping[str, Core]) -> Core:
    """By its name, in any case, ``Cortex-`` before it or not. Raises ``CannotTellError``."""
    plain = name.upper().removeprefix("CORTEX").lstrip("-_ ")
    if plain not in cores:
        raise CannotTellError(
            f"Cannot tell what a core {name!r} does in a cycle",
            known=", ".join(sorted(cores)),
            fix="Name one of these if it is alike, or measure: `mobilekit deploy MODEL` with the "
            "phone attached.",
        )
    return cores[plain]


def features_of(chip: Chip, threads: int) -> Array:
    """``FEATURES`` of a chip on which ``threads`` threads run, on its fastest cores first.

    Raises ``UsageError`` for more threads than cores, and for none.
    """
    if not 1 <= threads <= chip.cores:
        raise UsageError(
            f"{threads} threads do not fit {chip.cores} cores",
            chip=chip.text,
            fix="Give --threads from 1 to the number of cores.",
        )
    used = chip.fastest(threads)
    first, rates = used[0], [cluster.rate for cluster in used]
    total = sum(rates)
    return np.array(
        [
            math.log(first.clock_ghz),
            math.log(first.core.fp32_macs_per_cycle),
            math.log(total / first.rate),
            first.core.fp16_arithmetic,
            first.core.out_of_order,
            first.core.armv7,
            sum(not cluster.core.out_of_order for cluster in used) / threads,
            math.log(total),
            math.log(total / threads / rates[-1]),
            math.nan if chip.dram_gbps is None else math.log(chip.dram_gbps),
            math.log(sum(cluster.rate * cluster.cores for cluster in chip.clusters)),
        ],
        dtype=np.float64,
    )
