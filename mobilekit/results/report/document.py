"""What a report holds, as data: the JSON document inside the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mobilekit import __version__
from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.compare.comparison import MeasuredSide, compare
from mobilekit.analysis.compare.likeness import find_differences
from mobilekit.analysis.compare.records import Comparison
from mobilekit.analysis.energy.power_series import PowerSeries, power_series_of
from mobilekit.analysis.layers.profile import profile_of
from mobilekit.analysis.repeats import (
    Arrangement,
    Repeats,
    arrangement_of,
    gather_repeats,
    is_usable,
)
from mobilekit.analysis.stats import relative_drift
from mobilekit.contract.codec import Record
from mobilekit.errors import RunFailedError
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Answer, Measurement, Purpose
from mobilekit.records.meter import MeterResult
from mobilekit.records.prediction import Predictions
from mobilekit.results.documents import (
    NO_TAGS,
    ListedImport,
    ProfileSummary,
    Tags,
    list_import,
)
from mobilekit.results.published import Publication, load_publication, publication_names


class ReportedResult(Record, frozen=True):
    """A measurement without its samples, with where it was made."""

    id: str
    started_at: str
    purpose: Purpose
    campaign: str | None
    arrangement: Arrangement
    phone: str
    """Its maker and model, as it says itself; of this computer the processor."""
    system: str
    host: str | None
    is_usable: bool
    """Whether its figures may be used: it got through, and no finding is an error."""
    answer: Answer
    latency_drift: float | None
    """How much slower the second half of the inferences was, relative to the first."""
    temperature_decicelsius: tuple[int, int] | None
    """The battery's, at the first and at the last reading."""
    findings: tuple[Finding, ...]
    tags: tuple[str, ...]


# History: 1: first.
class ReportDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.report/1"):
    """Inside the page that ``report`` writes."""

    title: str
    made_at: str
    """ISO 8601, UTC."""
    mobilekit_version: str
    results: tuple[ReportedResult, ...]
    """The newest first."""
    imports: tuple[ListedImport, ...]
    repeats: tuple[Repeats, ...]
    comparisons: tuple[Comparison, ...]
    """Of each network that was measured on this computer too: every phone against it."""
    profiles: tuple[ProfileSummary, ...]
    powers: tuple[PowerSeries, ...]
    predicted: tuple[Predictions, ...]
    """Of the phones that virtual ones stand in for."""
    published: tuple[Publication, ...]
    """What papers say of the same networks, and nothing of others."""


def make_report_document(
    title: str,
    made_at: str,
    measurements: Sequence[Measurement],
    imports: Iterable[MeterResult],
    predicted: Iterable[Predictions],
    tags: Tags = NO_TAGS,
) -> ReportDocument:
    """``measurements`` are the newest first."""
    return ReportDocument(
        title=title,
        made_at=made_at,
        mobilekit_version=__version__,
        results=tuple(_report_result(each, tags) for each in measurements),
        imports=tuple(list_import(each, tags) for each in imports),
        repeats=gather_repeats(_of_cost(measurements)),
        comparisons=tuple(_compare_with_computer(measurements)),
        profiles=tuple(_profiles_of(measurements)),
        powers=tuple(
            series
            for each in measurements
            if is_usable(each) and (series := power_series_of(each)) is not None
        ),
        predicted=tuple(predicted),
        published=tuple(_publications_of(measurements)),
    )


def _of_cost(measurements: Iterable[Measurement]) -> Iterable[Measurement]:
    """Those that were made to tell what a network costs: a calibration runs one as a load."""
    return (each for each in measurements if each.purpose in ("measure", "evaluate", "profile"))


def _report_result(measurement: Measurement, tags: Tags) -> ReportedResult:
    device, samples = measurement.device, measurement.result.samples
    is_computer = measurement.profile is None and device.link == "none"
    iteration_ns = samples.iteration_ns
    readings = [
        reading.temperature_decicelsius
        for reading in (
            *samples.battery,
            *(sample for window in samples.windows for sample in window.battery),
        )
        if reading.temperature_decicelsius is not None
    ]
    return ReportedResult(
        id=measurement.id,
        started_at=measurement.started_at,
        purpose=measurement.purpose,
        campaign=measurement.campaign,
        arrangement=arrangement_of(measurement),
        phone=measurement.host.cpu if is_computer else f"{device.manufacturer} {device.model}",
        system=measurement.host.platform if is_computer else f"Android {device.android_release}",
        host=measurement.host.name,
        is_usable=is_usable(measurement),
        answer=derive_answer(measurement),
        latency_drift=relative_drift(iteration_ns) if len(iteration_ns) > 1 else None,
        temperature_decicelsius=(readings[0], readings[-1]) if readings else None,
        findings=measurement.findings,
        tags=tags.get(measurement.id, ()),
    )


def _compare_with_computer(measurements: Iterable[Measurement]) -> Iterable[Comparison]:
    """Of each network and precision the newest usable run on each phone that is like one here, over
    the newest of those; of a phone that has none its newest run, whose comparison says why."""
    networks: dict[tuple[str, str], list[Measurement]] = {}
    for each in measurements:
        if each.purpose == "measure" and is_usable(each):
            artifact = each.artifact
            networks.setdefault((artifact.model.label, artifact.precision), []).append(each)
    for runs in networks.values():
        newest = _newest_of_each_way(runs)
        computers = [run for run in newest if _is_computer(run)]
        phones: dict[str, list[Measurement]] = {}
        for run in newest:
            if not _is_computer(run):
                phones.setdefault(run.device.key, []).append(run)
        if not computers:
            continue
        sides: dict[str, list[MeasuredSide]] = {}
        for of_phone in phones.values():
            phone, computer = _like_pair(of_phone, computers) or (of_phone[0], computers[0])
            sides.setdefault(computer.id, []).append(MeasuredSide(phone))
        for computer in computers:
            if computer.id in sides:
                yield compare(sides[computer.id], MeasuredSide(computer))


def _newest_of_each_way(runs: Iterable[Measurement]) -> list[Measurement]:
    """Of each device's those that differ in nothing that keeps them from a comparison."""
    newest: list[Measurement] = []
    for run in runs:
        if not any(run.device.key == each.device.key and _is_like(run, each) for each in newest):
            newest.append(run)
    return newest


def _like_pair(
    phones: Sequence[Measurement], computers: Sequence[Measurement]
) -> tuple[Measurement, Measurement] | None:
    for phone in phones:
        for computer in computers:
            if _is_like(phone, computer):
                return phone, computer
    return None


def _is_like(one: Measurement, other: Measurement) -> bool:
    return not any(each.refuses for each in find_differences(one, other))


def _is_computer(measurement: Measurement) -> bool:
    return measurement.device.link == "none" and not measurement.virtual


def _profiles_of(measurements: Iterable[Measurement]) -> Iterable[ProfileSummary]:
    for each in measurements:
        if (each.layer_trace or each.cut) and is_usable(each):
            try:
                profile = profile_of(each)
            except RunFailedError:
                continue  # It was to have one, and its findings say why it has not.
            yield ProfileSummary(id=each.id, virtual=each.virtual, profile=profile)


def _publications_of(measurements: Iterable[Measurement]) -> Iterable[Publication]:
    from msgspec.structs import replace

    models = dict.fromkeys(each.artifact.model.name for each in measurements)
    for name in publication_names():
        paper = load_publication(name)
        figures = tuple(figure for model in models for figure in paper.of(model))
        if figures:
            yield replace(paper, figures=figures)
