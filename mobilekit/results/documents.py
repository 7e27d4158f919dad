"""The JSON documents that commands print: each an object that begins with its ``schema``.

The number of a schema changes with its format. Documents of what only other layers know are in
``meter.document`` and ``virtual.document``, those of networks in ``network_documents``, of
predictions in ``prediction_documents``, and those in files for other commands in ``saved``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mobilekit.analysis.compare.records import Comparison
from mobilekit.analysis.gate import Gate
from mobilekit.analysis.history import History
from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Format
from mobilekit.errors import MobilekitError
from mobilekit.records.campaign import Campaign, CampaignRun, ListedAgent, RunState
from mobilekit.records.checkup import Checkup, ComputerCheckup, PhoneCheckup
from mobilekit.records.device import ListedDevice
from mobilekit.records.energy import (
    EnergySource,
    GaugeOutcome,
    IntervalKind,
    LifeEstimate,
    Plane,
)
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Answer, Measurement, Purpose, WaitingRun
from mobilekit.records.meter import MeterEstimate, MeterResult
from mobilekit.records.network import (
    Variant,
)
from mobilekit.records.prediction import Predictions
from mobilekit.records.profile import ActivationCost, LayerProfile
from mobilekit.records.statistics import Origin
from mobilekit.results.published import Publication

if TYPE_CHECKING:
    from mobilekit.analysis.energy.usage import LifeBasis

Tags = Mapping[str, tuple[str, ...]]
"""Of results, by their ids."""
NO_TAGS: Tags = {}

# --- failures ----------------------------------------------------------------------------------


class Failure(Record, frozen=True):
    kind: str
    """The class in ``mobilekit/errors.py``."""
    what: str
    fix: str
    facts: dict[str, str]


# History: 1: first with a schema; the facts stood beside ``fix`` before.
class ErrorDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.error/1"):
    """In place of any other document, where no result comes about."""

    error: Failure


def make_error_document(error: MobilekitError) -> ErrorDocument:
    return ErrorDocument(
        error=Failure(kind=error.kind, what=error.what, fix=error.fix, facts=error.facts)
    )


# --- checkups ----------------------------------------------------------------------------------


# History: 1: first.
class DoctorDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.doctor/1"):
    """``doctor``."""

    faults: int
    """How many checks are at fault; the exit code is 0 where none is."""
    computer: ComputerCheckup
    phones: tuple[PhoneCheckup, ...]


def make_doctor_document(checkup: Checkup) -> DoctorDocument:
    return DoctorDocument(
        faults=len(checkup.faulty_subjects), computer=checkup.computer, phones=checkup.phones
    )


# --- campaigns ---------------------------------------------------------------------------------


# History: 1: first.
class CampaignEventDocument(
    Record, frozen=True, tag_field="schema", tag="mobilekit.campaign-event/1"
):
    """A line of ``campaign run`` and ``campaign resume``: a run that is over."""

    run: CampaignRun


# History: 1: first.
class CampaignDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.campaign/1"):
    """``campaign status``, and the last line of ``campaign run`` and ``campaign resume``."""

    campaign: Campaign
    counts: dict[RunState, int]
    """Of runs, by their state."""
    runs: tuple[CampaignRun, ...]
    """In the random order in which they begin."""


def make_campaign_document(campaign: Campaign, runs: Iterable[CampaignRun]) -> CampaignDocument:
    listed = tuple(runs)
    counts = dict(Counter(run.state for run in listed))
    return CampaignDocument(campaign=campaign, counts=counts, runs=listed)


class ListedCampaign(Record, frozen=True):
    campaign: Campaign
    counts: dict[RunState, int]


# History: 1: first.
class CampaignsDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.campaigns/1"):
    """``campaign list``."""

    campaigns: tuple[ListedCampaign, ...]


# History: 1: first.
class HostsDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.hosts/1"):
    """``hosts``, and ``devices --all``."""

    hosts: tuple[ListedAgent, ...]


# --- devices -----------------------------------------------------------------------------------


# History: 1: first with a schema.
class DevicesDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.devices/1"):
    """``devices``."""

    devices: tuple[ListedDevice, ...]


# History: 1: first with a schema.
class GaugeDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.gauge/1"):
    """``energy calibrate``."""

    found: GaugeOutcome


# --- measurements ------------------------------------------------------------------------------


# History: 1: first; 2: the origin of energy and charge is a field of theirs; activation and
# precision are the network's variant; 3: what is predicted of a real phone.
class MeasurementDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.measurement/3"):
    """``deploy``, ``evaluate``, ``results show``, ``results export``."""

    id: str
    virtual: bool
    answer: Answer
    predicted: Predictions | None
    """Of the phone that a virtual one stands in for; ``None`` for any other device."""
    measurement: Measurement


def make_measurement_document(
    measurement: Measurement, answer: Answer, predicted: Predictions | None
) -> MeasurementDocument:
    return MeasurementDocument(
        id=measurement.id,
        virtual=measurement.virtual,
        answer=answer,
        predicted=predicted,
        measurement=measurement,
    )


# History: 1: first with a schema.
class EnergyDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.energy/1"):
    """``energy``: the models in the order in which they were measured."""

    measurements: tuple[MeasurementDocument, ...]


# History: 1: first.
class CollectionDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.collection/1"):
    """``collect``."""

    collected: tuple[MeasurementDocument, ...]
    waiting: tuple[WaitingRun, ...]


class ListedResult(Record, frozen=True):
    """A measurement without its samples."""

    id: str
    started_at: str
    purpose: Purpose
    model: str
    variant: Variant
    format: Format
    device: str
    virtual: bool
    answer: Answer
    findings: tuple[Finding, ...]
    tags: tuple[str, ...]


def list_result(measurement: Measurement, answer: Answer, tags: Tags = NO_TAGS) -> ListedResult:
    artifact = measurement.artifact
    return ListedResult(
        id=measurement.id,
        started_at=measurement.started_at,
        purpose=measurement.purpose,
        model=artifact.model.name,
        variant=artifact.model.variant,
        format=artifact.file.format,
        device=measurement.device.name,
        virtual=measurement.virtual,
        answer=answer,
        findings=measurement.findings,
        tags=tags.get(measurement.id, ()),
    )


class ListedImport(Record, frozen=True):
    """An import of a meter's trace."""

    id: str
    imported_at: str
    model: str | None
    device: str | None
    file: str
    estimate: MeterEstimate
    tags: tuple[str, ...]


def list_import(result: MeterResult, tags: Tags) -> ListedImport:
    return ListedImport(
        id=result.id,
        imported_at=result.imported_at,
        model=result.model,
        device=result.profile.name if result.profile is not None else None,
        file=result.trace.file,
        estimate=result.estimate,
        tags=tags.get(result.id, ()),
    )


# History: 1: first with a schema; 2: imports of meters' traces, tags, purpose and format.
class ResultsDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.results/2"):
    """``results list``: the newest first."""

    stored: int
    """How many there are, of which ``results`` and ``imports`` may be the newest alone."""
    results: tuple[ListedResult, ...]
    imports: tuple[ListedImport, ...]


# History: 1: first.
class SummariesDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.summaries/1"):
    """``--json --summary`` of commands that measure, and of ``results show`` and ``export``."""

    summaries: tuple[ListedResult, ...]
    imports: tuple[ListedImport, ...]


def make_summaries_document(
    answered: Iterable[tuple[Measurement, Answer]],
    imports: Iterable[MeterResult] = (),
    tags: Tags = NO_TAGS,
) -> SummariesDocument:
    return SummariesDocument(
        summaries=tuple(list_result(*pair, tags) for pair in answered),
        imports=tuple(list_import(each, tags) for each in imports),
    )


# History: 1: first; 2: the origin of the energy.
class LifeDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.life/2"):
    """``energy life``."""

    measurement_id: str
    model: str
    device: str
    virtual: bool
    origin: Origin
    """Of the energy that the life is told from."""
    source: EnergySource
    plane: Plane
    blocks: int
    interval_kind: IntervalKind
    """Of the energy."""
    gauge_steps: int
    other_devices: tuple[str, ...]
    """On which the model's energy has been measured too; none where the measurement was named."""
    idle_measured: bool
    """Whether the idle power is the measurement's own, else a person's."""
    life: LifeEstimate


def make_life_document(
    basis: LifeBasis, life: LifeEstimate, *, idle_measured: bool
) -> LifeDocument:
    measurement, energy = basis.measurement, basis.energy
    return LifeDocument(
        measurement_id=measurement.id,
        model=measurement.artifact.model.label,
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


# --- layers ------------------------------------------------------------------------------------


# History: 1: first; 2: as of mobilekit.measurement/2.
class ProfileDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.profile/2"):
    """``profile``, ``results profile``."""

    id: str
    virtual: bool
    profile: LayerProfile
    measurement: Measurement


def make_profile_document(measurement: Measurement, profile: LayerProfile) -> ProfileDocument:
    return ProfileDocument(
        id=measurement.id, virtual=measurement.virtual, profile=profile, measurement=measurement
    )


# History: 1: first; 2: as of mobilekit.measurement/2.
class ActivationsDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.activations/2"):
    """``profile --swap-activation``."""

    virtual: bool
    activations: tuple[ActivationCost, ...]
    profiles: tuple[ProfileDocument, ...]


def make_activations_document(
    profiles: Iterable[ProfileDocument], costs: Iterable[ActivationCost]
) -> ActivationsDocument:
    documents = tuple(profiles)
    return ActivationsDocument(
        virtual=any(each.virtual for each in documents),
        activations=tuple(costs),
        profiles=documents,
    )


class ProfileSummary(Record, frozen=True):
    """A profile without what it was derived from."""

    id: str
    virtual: bool
    profile: LayerProfile


# History: 1: first.
class ProfileSummaryDocument(
    Record, frozen=True, tag_field="schema", tag="mobilekit.profile-summary/1"
):
    """``--json --summary`` of ``profile`` and ``results profile``."""

    profiles: tuple[ProfileSummary, ...]
    activations: tuple[ActivationCost, ...]
    """Of ``--swap-activation``, one for each profile; else none."""


def make_profile_summary(
    profiles: Iterable[ProfileDocument], costs: Iterable[ActivationCost] = ()
) -> ProfileSummaryDocument:
    return ProfileSummaryDocument(
        profiles=tuple(
            ProfileSummary(id=each.id, virtual=each.virtual, profile=each.profile)
            for each in profiles
        ),
        activations=tuple(costs),
    )


# --- comparisons -------------------------------------------------------------------------------


class Unmeasured(Record, frozen=True):
    """A network that came to no measurement, and why."""

    model: str
    kind: str
    what: str
    fix: str


# History: 1: first; 2: any number of sides against one, and figures with an origin; 3: what is
# predicted of real phones.
class ComparisonDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.comparison/3"):
    """``compare``."""

    comparisons: tuple[Comparison, ...]
    unmeasured: tuple[Unmeasured, ...]
    predicted: tuple[Predictions, ...]
    """Of each phone that a virtual one stands in for, apart from what was measured."""
    published: Publication | None
    """Figures of others for the same networks, apart from ours."""


# History: 1: first.
class CheckDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.check/1"):
    """``check``."""

    model: str
    device: str
    virtual: bool
    gate: Gate


# History: 1: first.
class HistoryDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.history/1"):
    """``results history``."""

    model: str
    histories: tuple[History, ...]
    """Each of runs that were made alike, the one with the newest run first."""


def make_comparison_document(
    comparisons: Iterable[Comparison],
    unmeasured: Iterable[Unmeasured],
    predicted: Iterable[Predictions],
    published: Publication | None,
) -> ComparisonDocument:
    """``published`` keeps what it says of the networks that are compared."""
    compared = tuple(comparisons)
    if published is not None:
        models = dict.fromkeys(comparison.model for comparison in compared)
        figures = tuple(figure for model in models for figure in published.of(model))
        published = replace(published, figures=figures)
    return ComparisonDocument(
        comparisons=compared,
        unmeasured=tuple(unmeasured),
        predicted=tuple(predicted),
        published=published,
    )
