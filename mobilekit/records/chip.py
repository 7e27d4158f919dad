"""Chips as a prediction sees them: cores, clocks, what a core does in a cycle, memory."""

from __future__ import annotations

from mobilekit.contract.codec import Record


class Core(Record, frozen=True):
    """A kind of processor core."""

    name: str
    """As in a chip's description: ``A76``."""
    fp32_macs_per_cycle: float
    """Multiply-accumulates of fp32 that its vector units start in a cycle."""
    fp16_arithmetic: bool
    """Whether it computes with fp16 (Armv8.2-A's), at twice that rate."""
    out_of_order: bool
    armv7: bool
    """Whether it runs 32-bit programs alone, with half of the vector registers."""


class Cluster(Record, frozen=True):
    """Cores of one kind with one clock."""

    core: Core
    clock_ghz: float
    cores: int

    @property
    def rate(self) -> float:
        """What one of its cores starts in a nanosecond, in fp32 multiply-accumulates."""
        return self.core.fp32_macs_per_cycle * self.clock_ghz


class Chip(Record, frozen=True):
    """The processors of a phone, the fastest cluster first."""

    name: str | None
    """Of its SoC; ``None``: it is described and has no name."""
    clusters: tuple[Cluster, ...]
    dram_gbps: float | None
    """What its memory moves at most, in 10^9 bytes a second; ``None``: not known."""

    @property
    def cores(self) -> int:
        return sum(cluster.cores for cluster in self.clusters)

    def fastest(self, threads: int) -> list[Cluster]:
        """The cluster of each core that so many threads run on, the fastest cores first; of more
        threads than cores, every core's."""
        clusters = sorted(self.clusters, key=lambda cluster: cluster.rate, reverse=True)
        return [cluster for cluster in clusters for _ in range(cluster.cores)][:threads]

    @property
    def text(self) -> str:
        """As it is written for ``--chip``: ``4xA76@2.4,4xA55@1.8``."""
        return ",".join(
            f"{each.cores}x{each.core.name}@{each.clock_ghz:g}" for each in self.clusters
        )
