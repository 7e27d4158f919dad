"""Kinds of cores and chips that came with mobilekit: data, each figure with its source."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
from msgspec.structs import replace

from mobilekit.contract.codec import decode_toml
from mobilekit.records.chip import Chip, Core

_TABLES = Path(__file__).parents[1] / "prediction"


class Source(msgspec.Struct, frozen=True):
    """Where figures are from."""

    seen: bool
    """Whether it was in front of whoever wrote the figures down."""
    words: str = msgspec.field(name="is")


class KnownCore(Core, frozen=True, kw_only=True):
    """A kind of core with the sources of its figures, by their names."""

    macs_source: str
    architecture_source: str
    """Of whether it computes with fp16, out of order, and on 32 bits alone."""


class _Cores(msgspec.Struct):
    core: list[KnownCore]


class Dram(msgspec.Struct, frozen=True):
    """A chip's memory: ``LPDDR4X 64x4266``."""

    kind: str
    bits: int
    """Of all channels together."""
    transfers_per_us: int
    """What is sold as MT/s."""

    @property
    def gbps(self) -> float:
        """10^9 bytes a second, at the most: the width times the rate."""
        return self.bits * self.transfers_per_us / 8000


class KnownChip(msgspec.Struct, frozen=True):
    """A row of the table."""

    name: str
    title: str
    """As it is sold."""
    clusters: str
    """A description: ``4xA76@2.4,4xA55@1.8``."""
    clock_source: str
    """Of the description."""
    dram: Dram
    dram_source: str
    also: tuple[str, ...]
    """What a phone's properties call it too: ``ro.board.platform``, ``ro.hardware``."""


def load_sources() -> dict[str, Source]:
    """By the name that tables have."""
    data = (_TABLES / "sources.toml").read_bytes()
    return decode_toml(data, dict[str, Source])


@lru_cache(maxsize=1)
def load_cores() -> Mapping[str, KnownCore]:
    """By name, in capitals: ``A76``, ``KRYO``."""
    data = (_TABLES / "cores.toml").read_bytes()
    return {core.name.upper(): core for core in decode_toml(data, _Cores).core}


@lru_cache(maxsize=1)
def load_chips() -> tuple[KnownChip, ...]:
    text = (_TABLES / "chips.csv").read_text(encoding="utf-8")
    return tuple(
        KnownChip(
            name=row["name"],
            title=row["title"],
            clusters=row["clusters"],
            clock_source=row["clock_source"],
            dram=_read_dram(row["dram"]),
            dram_source=row["dram_source"],
            also=tuple(filter(None, row["also"].split(";"))),
        )
        for row in csv.DictReader(text.splitlines())
    )


def _read_dram(words: str) -> Dram:
    kind, _, size = words.partition(" ")
    bits, _, rate = size.partition("x")
    return Dram(kind, int(bits), int(rate))


def find_chip(words: str) -> KnownChip | None:
    """The chip of this name, whole: ``SM8350``, ``Qualcomm SM8350``, ``Qualcomm Snapdragon 888``,
    ``snapdragon 888`` or what a phone's properties call it, ``lahaina``; case and spaces do not
    matter."""
    wanted = _plain(words)
    return next((chip for chip in load_chips() if wanted in map(_plain, names_of(chip))), None)


def names_of(chip: KnownChip) -> tuple[str, ...]:
    """All that it is found by; the title's first word is its maker."""
    maker, _, product = chip.title.partition(" ")
    return (chip.name, f"{maker} {chip.name}", chip.title, product, *chip.also)


def named(chip: Chip, known: KnownChip, dram_gbps: float | None) -> Chip:
    """The chip with its name, and its memory unless another is told."""
    memory = known.dram.gbps if dram_gbps is None else dram_gbps
    return replace(chip, name=known.name, dram_gbps=memory)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
