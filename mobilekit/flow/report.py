"""Gather stored results for a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from mobilekit.errors import DamagedResultError, UsageError
from mobilekit.flow.predict import predict_each
from mobilekit.records.measurement import Measurement
from mobilekit.records.meter import MeterResult
from mobilekit.results.report.document import ReportDocument, make_report_document
from mobilekit.results.store import Store


def gather_report(
    given: Sequence[str], store: Store, on_damage: Callable[[DamagedResultError], None]
) -> ReportDocument:
    """Of each word that is a campaign's name all of its results, of each other one the result with
    that id; of no words all results. One that is damaged keeps none of the others back.

    Raises ``UsageError`` for a word that is neither, and where there is no result at all; where all
    are damaged, the ``DamagedResultError`` of the newest.
    """
    campaigns = [word for word in given if store.result_ids(campaign=word)]
    ids = {id for name in campaigns for id in store.result_ids(campaign=name)}
    ids |= set(store.resolve([word for word in given if word not in campaigns]))
    chosen = [id for id in store.result_ids() if not given or id in ids]
    results = []
    damaged: list[DamagedResultError] = []
    for each in chosen:
        try:
            results.append(store.find_result(each))
        except DamagedResultError as error:
            damaged.append(error)
    if damaged and not results:
        raise damaged[0]
    for left_out in damaged:
        on_damage(left_out)
    measurements = [each for each in results if isinstance(each, Measurement)]
    imports = [each for each in results if isinstance(each, MeterResult)]
    if not measurements and not imports:
        raise UsageError(
            "There is no result to report",
            fix="`mobilekit results list --all` shows what there is; `mobilekit deploy` makes one.",
        )
    return make_report_document(
        title=" and ".join(campaigns) if campaigns else "Results",
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        measurements=measurements,
        imports=imports,
        predicted=predict_each(measurements, store),
        tags=store.list_tags(),
    )
