"""A campaign's file: TOML, strictly read."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import msgspec

from mobilekit.contract.codec import Record, decode_toml
from mobilekit.errors import CampaignFileError, UsageError
from mobilekit.formats import FormatOrAuto
from mobilekit.model.zoo import network_name
from mobilekit.presets import PresetName
from mobilekit.records.campaign import CampaignPlan, EnergyWanted, Gates
from mobilekit.records.network import Backend, Precision, Variant
from mobilekit.results.saved import read_compressed, read_placement

MAX_RUNS = 200_000
"""More than a lab measures in a year; a slip of the pen has more."""
MAX_FILE_BYTES = 2**20
MAX_KEY_PARTS = 8
"""Of a dotted key. What Python's parser keeps of one grows with the square of them."""
_NOT_KEYS = re.compile(
    rb'''(?s:"""(?:[^"\\]|\\(?:.|\Z)|"(?!""))*(?:"""|\Z)|'{3}.*?(?:'{3}|\Z))'''
    rb"""|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|#[^\n]*"""
)
"""Texts and comments: in each of them there may be any number of points."""
LONGEST_REASON = 500
FIX = "`mobilekit docs campaigns` has the format."


class _GatesTable(Record, frozen=True):
    max_temperature_c: float | None = None
    min_level_percent: int | None = None
    rest_s: float = 0.0
    patience_s: float = 3600.0


class _ModelTable(Record, frozen=True):
    """A network that a file changes."""

    model: str
    compressed: str | None = None
    placement: str | None = None


class _File(Record, frozen=True):
    models: tuple[str | _ModelTable, ...]
    devices: tuple[str, ...]
    name: str | None = None
    formats: tuple[FormatOrAuto, ...] = ("auto",)
    precisions: tuple[Precision, ...] = ("fp32",)
    backends: tuple[Backend, ...] = ("xnnpack",)
    threads: tuple[int | str, ...] = ("all",)
    repeats: int = 1
    preset: PresetName = "default"
    energy: EnergyWanted = "none"
    seed: int | None = None
    move_after_s: float | None = None
    gates: _GatesTable = _GatesTable()


def read_plan(path: Path) -> CampaignPlan:
    """Raises ``CampaignFileError`` that names the file and the field."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CampaignFileError(
            f"The campaign's file cannot be read: {error.strerror}", file=path, fix=FIX
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise _wrong(path, f"it is longer than {MAX_FILE_BYTES} bytes")
    return parse_plan(data, path)


def parse_plan(data: bytes, path: Path) -> CampaignPlan:
    """``path`` is where it is from: models that are files beside it are found from there.

    Without a seed of its own the plan gets one. Raises ``CampaignFileError``.
    """
    parts = max(each.count(b".") for each in re.split(rb"[=,\n]", _NOT_KEYS.sub(b"", data))) + 1
    if parts > MAX_KEY_PARTS:
        raise _wrong(path, f"it has a key of {parts:,} parts, and {MAX_KEY_PARTS} are the most")
    try:
        told = decode_toml(data, _File)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # Of a long number too.
        raise _wrong(path, str(error)) from None
    lists: dict[str, tuple[Any, ...]] = {
        name: getattr(told, name)
        for name in ("models", "devices", "formats", "precisions", "backends", "threads")
    }
    for name, values in lists.items():
        if not values:
            raise _wrong(path, f"`{name}` is empty")
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise _wrong(path, f"`{name}` has {twice!r} twice (more runs of each: `repeats`)")
        if "" in values or any(
            isinstance(value, _ModelTable) and not value.model for value in values
        ):
            raise _wrong(path, f"`{name}` has an empty name")
    name = path.stem if told.name is None else told.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}", name):
        raise _wrong(
            path,
            f"the name {name!r} is not one of up to 40 letters, digits, spaces, points, dashes and "
            "underscores (`name`, else the file's)",
        )
    _check_bounds(told, path)
    runs = told.repeats
    for values in lists.values():
        runs *= len(values)
    changed = tuple(_changed(each, path) for each in told.models)
    models = tuple(each if isinstance(each, str) else each.model for each in told.models)
    if len(set(zip(models, changed, strict=True))) < len(models):
        raise _wrong(path, "two files in `models` change one network in the same way")
    if runs > MAX_RUNS:
        raise _wrong(path, f"it asks for {runs:,} runs, and {MAX_RUNS:,} are the most")
    gates = told.gates
    return CampaignPlan(
        name=name,
        models=models,
        model_paths=tuple(path_of(model, path.parent) for model in models),
        devices=told.devices,
        formats=told.formats,
        precisions=told.precisions,
        backends=told.backends,
        threads=tuple(_threads_of(each, path) for each in told.threads),
        repeats=told.repeats,
        preset=told.preset,
        energy=told.energy,
        gates=Gates(
            max_temperature_decicelsius=None
            if gates.max_temperature_c is None
            else round(10 * gates.max_temperature_c),
            min_level_percent=gates.min_level_percent,
            rest_s=gates.rest_s,
            patience_s=gates.patience_s,
        ),
        seed=secrets.randbelow(2**31) if told.seed is None else told.seed,
        move_after_s=told.move_after_s,
        changed=changed if any(each != Variant() for each in changed) else (),
    )


def _changed(told: str | _ModelTable, path: Path) -> Variant:
    """What a model's file changes of it; nothing where it has none."""
    if isinstance(told, str):
        return Variant()
    network = network_name(told.model)
    try:
        if told.compressed is not None and told.placement is None:
            return read_compressed(path.parent / told.compressed, network)
        if told.placement is not None and told.compressed is None:
            return Variant(placement=read_placement(path.parent / told.placement, network))
    except UsageError as error:
        raise CampaignFileError(
            f"The campaign's file is not valid: {error.what}",
            fix=error.fix,
            **(error.facts | {"campaign": path}),
        ) from None
    raise _wrong(path, f"{told.model} in `models` has neither or both of `compressed`, `placement`")


def _check_bounds(told: _File, path: Path) -> None:
    gates = told.gates
    bounds = {
        "repeats": (told.repeats, 1, 10_000),
        "seed": (told.seed, 0, 2**63 - 1),
        "move_after_s": (told.move_after_s, 60, 7 * 86400),
        "gates.max_temperature_c": (gates.max_temperature_c, 0, 60),
        "gates.min_level_percent": (gates.min_level_percent, 0, 100),
        "gates.rest_s": (gates.rest_s, 0, 86400),
        "gates.patience_s": (gates.patience_s, 0, 7 * 86400),
    }
    for name, (value, least, most) in bounds.items():
        # So that a value that is no number at all (nan) is refused too.
        if value is not None and not least <= value <= most:
            raise _wrong(path, f"`{name}` is {value}, and not from {least} to {most}")


def _threads_of(told: int | str, path: Path) -> int | None:
    if told == "all":
        return None
    if isinstance(told, int) and 1 <= told <= 1024:
        return told
    raise _wrong(path, f'`threads` has {told!r}, which is neither "all" nor from 1 to 1024')


def path_of(model: str, directory: Path) -> str:
    """The whole path of a model that is a file there; what is none is left as it is."""
    file, colon, builder = model.partition(":")
    found = (directory / file).absolute()
    try:
        is_there = found.is_file()
    except (OSError, ValueError):  # It cannot be a file's name.
        is_there = False
    return f"{found}{colon}{builder}" if is_there else model


def _wrong(path: Path, why: str) -> CampaignFileError:
    shown = why if len(why) <= LONGEST_REASON else f"{why[:LONGEST_REASON]}..."
    return CampaignFileError(f"The campaign's file is not valid: {shown}", file=path, fix=FIX)
