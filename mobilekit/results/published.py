"""Figures that others published, which came with mobilekit: data, each file with its source."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

import msgspec

from mobilekit.contract.codec import Record, decode_toml
from mobilekit.errors import UsageError
from mobilekit.units import NS_PER_MS, NS_PER_S

PUBLISHED_UNITS: dict[str, Literal["MB", "ns", "J", "inferences"]] = {
    "model_size": "MB",
    "init": "ns",
    "latency": "ns",
    "energy": "J",
    "charge": "inferences",
}
"""Every figure that is read from a paper. ``MB``: as printed, without saying how many bytes it is
of; the others are brought to the unit that ours are in."""


class PublishedFigure(Record, frozen=True):
    """A figure as printed."""

    model: str
    platform: str | None
    """``None`` for what is the network's alone."""
    name: str
    """One of ``PUBLISHED_UNITS``."""
    unit: Literal["MB", "ns", "J", "inferences"]
    value: float


class Publication(Record, frozen=True):
    name: str
    source: str
    notes: tuple[str, ...]
    """How it was measured, and on what, in the source's own words."""
    platforms: tuple[str, ...]
    figures: tuple[PublishedFigure, ...]

    def of(self, model: str) -> tuple[PublishedFigure, ...]:
        """Everything about one network; the source may spell it with ``_`` for ``-``."""
        wanted = model.replace("-", "_")
        return tuple(figure for figure in self.figures if figure.model == wanted)


def publication_names() -> list[str]:
    return sorted(_READERS)


def load_publication(name: str) -> Publication:
    """Raises ``UsageError`` for a publication whose figures are not here."""
    if name not in _READERS:
        raise UsageError(
            f"There are no published figures {name!r}",
            published=", ".join(publication_names()),
            fix="Name one of these.",
        )
    data = files("mobilekit").joinpath("published", f"{name}.toml").read_bytes()
    return _READERS[name](data)


# --- fantozzi2016 ------------------------------------------------------------------------------


class _Computer(msgspec.Struct):
    cpu: str
    ram: str


class _FantozziEnergy(msgspec.Struct):
    shunt_ohm: float
    supply_volt: float
    state: str


class _FantozziResult(msgspec.Struct):
    model: str
    model_size_mb: float
    pc_init_s: float
    pc_inference_s: float
    nexus7_init_s: float
    nexus7_inference_s: float
    nexus7_energy_per_inference_j: float
    nexus7_inferences_per_charge: float


class _Note(msgspec.Struct):
    note: str


class _Fantozzi(msgspec.Struct):
    source: str
    framework: str
    pc: _Computer
    nexus7_2013: _Computer
    energy_setup: _FantozziEnergy
    result: list[_FantozziResult]
    layer_type_share: _Note


def _read_fantozzi(data: bytes) -> Publication:
    paper = decode_toml(data, _Fantozzi)
    setup = paper.energy_setup
    figures = []
    for row in paper.result:
        figures += [
            _figure(row.model, None, "model_size", row.model_size_mb),
            _figure(row.model, "pc", "init", row.pc_init_s * NS_PER_S),
            _figure(row.model, "pc", "latency", row.pc_inference_s * NS_PER_S),
            _figure(row.model, "nexus7", "init", row.nexus7_init_s * NS_PER_S),
            _figure(row.model, "nexus7", "latency", row.nexus7_inference_s * NS_PER_S),
            _figure(row.model, "nexus7", "energy", row.nexus7_energy_per_inference_j),
            _figure(row.model, "nexus7", "charge", row.nexus7_inferences_per_charge),
        ]
    return Publication(
        name="fantozzi2016",
        source=paper.source,
        notes=(
            paper.framework,
            f"pc: {paper.pc.cpu}, {paper.pc.ram}",
            f"nexus7 (2013): {paper.nexus7_2013.cpu}, {paper.nexus7_2013.ram}",
            f"energy: a shunt of {setup.shunt_ohm:g} ohm in the USB supply wire at "
            f"{setup.supply_volt:g} V, of the whole phone; {setup.state}",
            f"layer types: {paper.layer_type_share.note}",
        ),
        platforms=("nexus7", "pc"),
        figures=tuple(figures),
    )


# --- lane2015 ----------------------------------------------------------------------------------


class _LaneResult(msgspec.Struct):
    model: str
    time_ms: dict[str, float]
    energy_mj: dict[str, float]


class _Lane(msgspec.Struct):
    source: str
    note: str
    result: list[_LaneResult]
    memory: _Note


def _read_lane(data: bytes) -> Publication:
    paper = decode_toml(data, _Lane)
    figures = []
    for row in paper.result:
        figures += [
            _figure(row.model, platform, "latency", value * NS_PER_MS)
            for platform, value in row.time_ms.items()
        ]
        figures += [
            _figure(row.model, platform, "energy", value / 1000)
            for platform, value in row.energy_mj.items()
        ]
    return Publication(
        name="lane2015",
        source=paper.source,
        notes=(paper.note, f"memory: {paper.memory.note}"),
        platforms=tuple(dict.fromkeys(figure.platform for figure in figures if figure.platform)),
        figures=tuple(figures),
    )


def _figure(model: str, platform: str | None, name: str, value: float) -> PublishedFigure:
    return PublishedFigure(
        model=model, platform=platform, name=name, unit=PUBLISHED_UNITS[name], value=value
    )


_READERS = {"fantozzi2016": _read_fantozzi, "lane2015": _read_lane}
