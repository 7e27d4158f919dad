"""Kinds of cores and chips that came with mobilekit: data, of public specifications."""

from __future__ import annotations

import csv
import re
from importlib.resources import files

import msgspec
from msgspec.structs import replace

from mobilekit.records.chip import Chip, Core


class _Cores(msgspec.Struct):
    core: list[Core]


class KnownChip(msgspec.Struct, frozen=True):
    """A row of the table."""

    name: str
    title: str
    """As it is sold."""
    clusters: str
    """A description: ``4xA76@2.4,4xA55@1.8``."""
    dram_gbps: float
    also: tuple[str, ...]
    """What a phone's properties call it too: ``ro.board.platform``, ``ro.hardware``."""


def load_cores() -> dict[str, Core]:
    """By name, in capitals: ``A76``, ``KRYO``."""
    data = files("mobilekit").joinpath("prediction", "cores.toml").read_bytes()
    return {core.name.upper(): core for core in msgspec.toml.decode(data, type=_Cores).core}


def load_chips() -> list[KnownChip]:
    text = files("mobilekit").joinpath("prediction", "chips.csv").read_text(encoding="utf-8")
    return [
        KnownChip(
            name=row["name"],
            title=row["title"],
            clusters=row["clusters"],
            dram_gbps=float(row["dram_gbps"]),
            also=tuple(filter(None, row["also"].split(";"))),
        )
        for row in csv.DictReader(text.splitlines())
    ]


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
    memory = known.dram_gbps if dram_gbps is None else dram_gbps
    return replace(chip, name=known.name, dram_gbps=memory)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
