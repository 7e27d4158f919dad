"""Campaigns: what is to be measured where, each run of it, and the hosts that carry them out."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Format
from mobilekit.formats import FormatOrAuto
from mobilekit.presets import PresetName
from mobilekit.records.artifact import Artifact
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Backend, Precision, Variant, with_backend

EnergyWanted = Literal["none", "on-battery", "unplug"]
"""``on-battery``: energy is measured where the phone is on its battery when its turn comes, as
``deploy`` does it; ``unplug``: the cable is asked to be pulled and waited for, as ``energy`` does
it."""
RunState = Literal["queued", "running", "stopping", "done", "failed", "stopped"]
"""``failed``: it took place and failed, and has a result; or it could not begin, and has none.
``stopping`` was asked to stop and has not yet."""
OVER: tuple[RunState, ...] = ("done", "failed", "stopped")


class Gates(Record, frozen=True):
    """What a phone has to be like before a run begins there; nothing is asked by default."""

    max_temperature_decicelsius: int | None = None
    """Of the battery."""
    min_level_percent: int | None = None
    rest_s: float = 0.0
    """How long a phone is left alone between two runs."""
    patience_s: float = 3600.0
    """How long a phone is given to become so, and one that is away or in use to come back."""


class CampaignPlan(Record, frozen=True):
    """What a campaign's file says, each list without its repetitions."""

    name: str
    models: tuple[str, ...]
    """As they are in the file."""
    model_paths: tuple[str, ...]
    """The same, those that are files by their whole path."""
    devices: tuple[str, ...]
    formats: tuple[FormatOrAuto, ...]
    precisions: tuple[Precision, ...]
    backends: tuple[Backend, ...]
    threads: tuple[int | None, ...]
    """``None``: all."""
    repeats: int
    preset: PresetName
    energy: EnergyWanted
    gates: Gates
    seed: int
    """Of the order."""
    move_after_s: float | None = None
    """After so long without a sign of its host, a run moves to another one that offers its phone;
    ``None``: only by command."""
    changed: tuple[Variant, ...] = ()
    """What a file changes of each of ``models``, in the file's precision alone; empty: no file
    does."""

    @property
    def networks(self) -> tuple[tuple[str, str, Variant], ...]:
        """Each model with its path, and what a file changes of it."""
        changed = self.changed or (Variant(),) * len(self.models)
        return tuple(zip(self.models, self.model_paths, changed, strict=True))


class PlannedRun(Record, frozen=True):
    """One run of a campaign."""

    key: str
    """The same for the same run, whatever else the campaign holds and in whatever order."""
    model: str
    """A name, or the whole path of a file."""
    device: str
    """As ``--device`` takes it, on the host that has it."""
    format: FormatOrAuto
    precision: Precision
    backend: Backend
    threads: int | None
    repeat: int
    """From 1 on."""
    preset: PresetName
    energy: EnergyWanted
    gates: Gates
    changed: Variant = Variant()
    """As in the plan."""

    @property
    def variant(self) -> Variant:
        return with_backend(replace(self.changed, precision=self.precision), self.backend)


class PlacedRun(Record, frozen=True):
    """A run, and where it is to happen."""

    run: PlannedRun
    host: str
    phone: str
    """What no two runs use at once."""
    computes_here: bool
    """Whether the phone computes with its host's processor, as virtual ones do: such run one after
    another."""
    artifact: Artifact | None
    """Exported where it was planned, its files in the store; ``None``: the host has the model."""


class Campaign(Record, frozen=True):
    id: str
    started_at: str
    """ISO 8601, UTC."""
    planned_on: str
    """The host."""
    plan: CampaignPlan


class CampaignRun(Record, frozen=True):
    """How a run of a campaign stands."""

    campaign: str
    key: str
    number: int
    """Its place in the random order, from 1 on."""
    attempt: int
    """Counted on when it is resumed or moved."""
    deaths: int
    """How often its host's process ended in the middle of this attempt."""
    state: RunState
    host: str
    phone: str
    result_id: str | None
    detail: str
    """What it waits for, what it does, or why it failed."""
    started_s: float | None
    """Of the attempt, in seconds since 1970 on the store's clock."""
    ended_s: float | None


class Outcome(Record, frozen=True):
    """What a run came to, kept by its host until the store has it."""

    state: Literal["done", "failed", "stopped"]
    measurements: tuple[Measurement, ...]
    """The last is the run's; those before planned it."""
    detail: str


class Offer(Record, frozen=True):
    """A device that a host lends to campaigns."""

    device: str
    """As ``--device`` takes it there."""
    phone: str
    """What no two runs use at once."""
    name: str
    state: str
    """``device``: it is ready; else as adb tells it."""
    computes_here: bool
    formats: tuple[Format, ...]
    level_percent: int | None


class AgentInfo(Record, frozen=True):
    """A host that carries out runs."""

    name: str
    place: str
    """The computer and the directory of its state: of one place there is one agent at a time."""
    pid: int
    mobilekit_version: str
    started_at: str
    offers: tuple[Offer, ...]


class ListedAgent(Record, frozen=True):
    info: AgentInfo
    silent_s: float
    """Since its last sign."""
    is_alive: bool
