"""Kinds of cores and chips that came with mobilekit: data, each figure with its source."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from mobilekit.records.chip import Core


class _Cores(msgspec.Struct):
    core: list[Core]


def load_cores() -> dict[str, Core]:
    """By name, in capitals: ``A76``, ``KRYO``."""
    data = files("mobilekit").joinpath("prediction", "cores.toml").read_bytes()
    return {core.name.upper(): core for core in msgspec.toml.decode(data, type=_Cores).core}
