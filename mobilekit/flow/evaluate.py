"""Accuracy on labelled examples, on the device itself."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from mobilekit import places
from mobilekit.flow.prepare import Wanted, made_ready, make_request, push
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import run_and_store
from mobilekit.model.examples import prepare_examples
from mobilekit.presets import (
    PRESETS,
)
from mobilekit.records.measurement import (
    Measurement,
)
from mobilekit.results.store import Store


def evaluate(wanted: Wanted, data: Path | None, store: Store, reporter: Reporter) -> Measurement:
    """Run labelled examples on the device as well; the measurement holds what came of each.

    ``data`` as in ``open_dataset``. Raises a ``MobilekitError`` like ``deploy``, and ``DataError``.
    """
    with made_ready(wanted, store, reporter) as ready:
        with ready.steps("examples"):
            examples = prepare_examples(
                ready.artifact.model,
                data,
                cache_directory=places.artifacts_directory(),
                on_progress=reporter.note,
            )
        push(ready.target, (examples.inputs,), ready.steps, reporter)
        request = make_request(wanted, ready, PRESETS[wanted.preset], None)
        request = replace(request, evaluation=examples.inputs)
        return run_and_store(ready, request, store, reporter, purpose="evaluate", examples=examples)
