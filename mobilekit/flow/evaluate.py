"""Accuracy on labelled examples, on the device itself."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from mobilekit.flow.deploy import with_found_backend
from mobilekit.flow.prepare import (
    DeployOptions,
    deliver_examples,
    find_network,
    make_request,
    prepare,
)
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import begin, run
from mobilekit.model.examples import check_examples
from mobilekit.records.measurement import (
    Measurement,
)
from mobilekit.results.store import Store


def evaluate(
    options: DeployOptions, data: Path | None, store: Store, reporter: Reporter
) -> Measurement:
    """Run labelled examples on the device as well; the measurement holds what came of each.

    ``data`` as in ``open_dataset``; whether it can be read is found out before the export. Raises
    a ``MobilekitError`` like ``deploy``, and ``DataError``.
    """
    check_examples(find_network(options), data)
    options = with_found_backend(options, store, reporter)
    with prepare(options, store, reporter) as prepared:
        examples = deliver_examples(prepared, data, reporter)
        request = replace(make_request(options, prepared), evaluation=examples.inputs)
        begun = begin(prepared, request, "evaluate", examples=examples)
        return run(prepared, begun, store, reporter)
