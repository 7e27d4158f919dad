"""``collect``: what was left on phones."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli.failure import exit_for, exit_with
from mobilekit.cli.options import JsonFlag, StoreOption
from mobilekit.cli.terminal import say


def collect(
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow runs that are still under way to their end.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option("--forget", metavar="ID", help="Give up a run whose phone never comes back."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Fetch the results of runs that were left on their phones."""
    from mobilekit import places
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import StoppedError
    from mobilekit.flow.collect import collect as collect_runs
    from mobilekit.flow.predict import predict_real
    from mobilekit.results.documents import (
        CollectionDocument,
        make_measurement_document,
    )
    from mobilekit.results.store import Store
    from mobilekit.results.text.collection import render_waiting
    from mobilekit.results.text.measurement import render_measurement

    opened = Store(store or places.default_store())
    if forget is not None:
        opened.forget_pending(forget)
        return
    with TerminalReporter() as reporter:
        collection = collect_runs(opened, reporter, wait=wait)
    answered = [(item, derive_answer(item)) for item in collection.collected]
    if as_json:
        document = CollectionDocument(
            collected=tuple(
                make_measurement_document(*pair, predict_real(pair[0], opened)) for pair in answered
            ),
            waiting=tuple(collection.waiting),
        )
        say(encode_pretty(document), nl=False)
    else:
        for pair in answered:
            say(render_measurement(*pair, predict_real(pair[0], opened)))
        say(render_waiting(collection.waiting))
    left = [run.id for run in collection.waiting if run.why == "left to itself"]
    if left:
        exit_with(
            StoppedError(
                "Interrupted from the keyboard: the run goes on without being watched",
                run_id=", ".join(left),
                fix="`mobilekit collect` fetches it when it is over.",
            )
        )
    exit_for(collection.collected)
