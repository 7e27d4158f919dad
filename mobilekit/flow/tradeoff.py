"""Every level of a program in one go, and the uncompressed network: what each costs and is right
in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from mobilekit.errors import MobilekitError
from mobilekit.flow.deploy import plan_deployed_energy
from mobilekit.flow.prepare import (
    DeployOptions,
    deliver_examples,
    find_network,
    make_request,
    prepare_all,
)
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import Queued, begin, run_queue
from mobilekit.model.examples import check_examples, has_examples
from mobilekit.records.measurement import Measurement, Purpose
from mobilekit.records.network import Level, Variant, with_level
from mobilekit.results.store import Store


def measure_tradeoff(
    options: DeployOptions,
    level: Level,
    data: Path | None,
    store: Store,
    reporter: Reporter,
    on_measured: Callable[[Measurement], None],
) -> MobilekitError | None:
    """Run each level of the program that ``level`` is of, from the smallest, and the uncompressed
    network last.

    They are runs of their own, so that no two levels' weights are loaded at once, started together:
    a phone carries out one after the other by itself. ``options.variant`` tells the precision.
    ``data`` as in ``evaluate``; without labelled examples no accuracy is told. ``on_measured`` gets
    each run as soon as it is stored; what became of the runs where a person ended them is returned.
    Raises a ``MobilekitError`` like ``deploy``.
    """
    precision = options.variant.precision
    variants = [
        *(
            with_level(Variant(precision=precision, level=level), number)
            for number in range(1, level.of + 1)
        ),
        Variant(precision=precision),
    ]
    every = [options._replace(variant=variant, format="pte") for variant in variants]
    spec = find_network(every[-1])
    has_labels = has_examples(spec, data)
    if has_labels:
        check_examples(spec, data)
    else:
        reporter.note("There are no labelled examples: no accuracy is told. Give --data.")
    with prepare_all(every, store, reporter) as all_prepared:
        queue: list[Queued] = []
        for each, prepared in zip(every, all_prepared, strict=True):
            examples = None
            if has_labels:
                examples = deliver_examples(prepared, data, reporter)
            planned = plan_deployed_energy(each, prepared)
            if planned is not None and not queue:
                reporter.planned_energy(planned, simulated=prepared.state.info.virtual)
            request = replace(
                make_request(each, prepared, energy=None if planned is None else planned.plan),
                evaluation=None if examples is None else examples.inputs,
            )
            purpose: Purpose = "measure" if examples is None else "evaluate"
            queue.append(
                Queued(
                    prepared,
                    begin(
                        prepared,
                        request,
                        purpose,
                        energy_wanted=each.energy,
                        examples=examples,
                    ),
                )
            )
        return run_queue(queue, store, reporter, on_measured)
