"""The JSON documents that commands print: records with a schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mobilekit.contract.codec import Record
from mobilekit.records.energy import EnergyPlane, EnergySource, IntervalKind, LifeEstimate
from mobilekit.records.measurement import Answer, Measurement, WaitingRun
from mobilekit.records.network import Description, Footprint, ModelSpec
from mobilekit.records.profile import ActivationCost, LayerProfile
from mobilekit.records.statistics import Origin

if TYPE_CHECKING:
    from mobilekit.analysis.energy.usage import LifeBasis

# History: 1: first; 2: the origin of energy and charge is a field of theirs.
SCHEMA = "mobilekit.measurement/2"

COLLECTION_SCHEMA = "mobilekit.collection/1"

LIFE_SCHEMA = "mobilekit.life/1"


class Document(Record, frozen=True):
    schema: str
    id: str
    virtual: bool
    answer: Answer
    measurement: Measurement


def make_document(measurement: Measurement, answer: Answer) -> Document:
    return Document(
        schema=SCHEMA,
        id=measurement.id,
        virtual=measurement.virtual,
        answer=answer,
        measurement=measurement,
    )


class CollectionDocument(Record, frozen=True):
    schema: str
    collected: tuple[Document, ...]
    waiting: tuple[WaitingRun, ...]


def make_collection(
    collected: Sequence[Document], waiting: Sequence[WaitingRun]
) -> CollectionDocument:
    return CollectionDocument(
        schema=COLLECTION_SCHEMA, collected=tuple(collected), waiting=tuple(waiting)
    )


class LifeDocument(Record, frozen=True):
    schema: str
    measurement_id: str
    model: str
    device: str
    virtual: bool
    origin: Origin
    """Of the energy that the life is told from."""
    source: EnergySource
    plane: EnergyPlane
    blocks: int
    interval_kind: IntervalKind
    """Of the energy."""
    gauge_steps: int
    other_devices: tuple[str, ...]
    """On which the model's energy has been measured too; none where the measurement was named."""
    idle_measured: bool
    """Whether the idle power is the measurement's own, else a person's."""
    life: LifeEstimate


def make_life(basis: LifeBasis, life: LifeEstimate, *, idle_measured: bool) -> LifeDocument:
    measurement, energy = basis.measurement, basis.energy
    return LifeDocument(
        schema=LIFE_SCHEMA,
        measurement_id=measurement.id,
        model=measurement.artifact.model.name,
        device=measurement.device.name,
        virtual=measurement.virtual,
        origin=energy.origin,
        source=energy.source,
        plane=energy.plane,
        blocks=energy.blocks,
        interval_kind=energy.interval_kind,
        gauge_steps=energy.gauge_steps,
        other_devices=basis.other_devices,
        idle_measured=idle_measured,
        life=life,
    )


# History: 1: first.
DESCRIPTION_SCHEMA = "mobilekit.description/1"

PROFILE_SCHEMA = "mobilekit.profile/1"

ACTIVATIONS_SCHEMA = "mobilekit.activations/1"


class DescriptionDocument(Record, frozen=True):
    schema: str
    model: ModelSpec
    description: Description
    footprint: Footprint


class ProfileDocument(Record, frozen=True):
    schema: str
    id: str
    virtual: bool
    profile: LayerProfile
    measurement: Measurement


class ActivationsDocument(Record, frozen=True):
    schema: str
    virtual: bool
    activations: tuple[ActivationCost, ...]
    profiles: tuple[ProfileDocument, ...]


def make_description_document(
    spec: ModelSpec, description: Description, footprint: Footprint
) -> DescriptionDocument:
    return DescriptionDocument(
        schema=DESCRIPTION_SCHEMA, model=spec, description=description, footprint=footprint
    )


def make_profile_document(measurement: Measurement, profile: LayerProfile) -> ProfileDocument:
    return ProfileDocument(
        schema=PROFILE_SCHEMA,
        id=measurement.id,
        virtual=measurement.virtual,
        profile=profile,
        measurement=measurement,
    )


def make_activations_document(
    costs: Sequence[ActivationCost], profiles: Sequence[ProfileDocument]
) -> ActivationsDocument:
    return ActivationsDocument(
        schema=ACTIVATIONS_SCHEMA,
        virtual=any(profile.virtual for profile in profiles),
        activations=tuple(costs),
        profiles=tuple(profiles),
    )
