"""The JSON documents of networks themselves: what they are, and what can be made of them.

As those of ``documents``, each begins with its ``schema``, whose number changes with its format.
"""

from __future__ import annotations

from mobilekit.analysis.tradeoff import Rung
from mobilekit.contract.codec import Record
from mobilekit.records.artifact import Artifact
from mobilekit.records.compression import Choice, Levels
from mobilekit.records.finding import Finding
from mobilekit.records.network import (
    Description,
    Footprint,
    ModelCard,
    ModelCost,
    ModelSpec,
)
from mobilekit.records.partition import Partition
from mobilekit.records.prediction import Predictions


# History: 1: first.
class PartitionDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.partition/1"):
    """``partition``."""

    model: ModelSpec
    device: str
    virtual: bool
    partition: Partition


class KnownModel(Record, frozen=True):
    model: ModelSpec
    card: ModelCard
    cost: ModelCost


# History: 1: first with a schema; 2: what is predicted of them on a phone.
class ModelsDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.models/2"):
    """``models``."""

    models: tuple[KnownModel, ...]
    predicted: Predictions | None
    """``None`` without ``--device``."""


# History: 1: first with a schema; 2: what is predicted of it on a phone.
class ModelDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.model/2"):
    """``models NAME``."""

    model: ModelSpec
    card: ModelCard
    cost: ModelCost
    predicted: Predictions | None
    """``None`` without ``--device``."""


# History: 1: first.
class LevelsDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.levels/1"):
    """``compress --levels``."""

    model: ModelSpec
    levels: Levels


# History: 1: first.
class TradeoffDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.tradeoff/1"):
    """``tradeoff``."""

    model: str
    device: str
    virtual: bool
    rungs: tuple[Rung, ...]
    """Each level, from the smallest, then the uncompressed network."""


# History: 1: first.
class CompressDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.compress/1"):
    """``compress``."""

    model: ModelSpec
    choice: Choice


# History: 1: first; 2: what is changed of the network is its variant; 3: with findings; 4: windows.
class DescriptionDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.description/4"):
    """``describe``."""

    model: ModelSpec
    description: Description
    footprint: Footprint
    findings: tuple[Finding, ...]


# History: 1: first with a schema.
class ArtifactDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.artifact/1"):
    """``export``."""

    artifact: Artifact
