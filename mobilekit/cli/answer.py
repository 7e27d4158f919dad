"""What a command that measures prints, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilekit.cli.failure import exit_for
from mobilekit.cli.options import JsonOptions
from mobilekit.cli.terminal import say

if TYPE_CHECKING:
    from mobilekit.records.measurement import Measurement
    from mobilekit.results.store import Store, StoredResult


def tell(measurement: Measurement, *, output: JsonOptions, strict: bool, store: Store) -> None:
    """The measurement on stdout; the program ends here if it failed or, as asked, is doubtful."""
    say(render_result(measurement, output, store), nl=not output.as_json)
    exit_for([measurement], strict=strict)


def render_result(result: StoredResult, output: JsonOptions, store: Store) -> str:
    """A measurement or an import of a meter's trace, as text or as a document."""
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow.predict import predict_real
    from mobilekit.records.meter import MeterResult
    from mobilekit.results.documents import (
        make_measurement_document,
        make_summaries_document,
    )
    from mobilekit.results.text.measurement import render_measurement

    if isinstance(result, MeterResult):
        from mobilekit.meter.document import make_meter_document, render_meter

        if output.summary:
            return encode_pretty(make_summaries_document([], [result])).decode()
        document = make_meter_document(result)
        return encode_pretty(document).decode() if output.as_json else render_meter(document)
    answer = derive_answer(result)
    if output.summary:
        return encode_pretty(make_summaries_document([(result, answer)])).decode()
    predicted = predict_real(result, store)
    if output.as_json:
        return encode_pretty(make_measurement_document(result, answer, predicted)).decode()
    return render_measurement(result, answer, predicted)
