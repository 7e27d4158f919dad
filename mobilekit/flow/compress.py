"""The search for the network that keeps within a budget: every candidate is exported, and what is
told of it is measured on the device."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.choice import choose, foresee_share, keeps, keeps_costs, nearest
from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import RunFailure
from mobilekit.errors import DeviceError, ExportError, NothingFitsError, RunFailedError, UsageError
from mobilekit.flow.deploy import deploy
from mobilekit.flow.evaluate import evaluate
from mobilekit.flow.ladder import SLACK_POINTS, count_weights, screen_ladder
from mobilekit.flow.layers_alone import KeptTimes, evaluate_layers, time_layers, untimed
from mobilekit.flow.prepare import DeployOptions, export_network, find_network, open_device_of
from mobilekit.flow.reporter import Reporter
from mobilekit.model.calibration import calibration_sha256
from mobilekit.model.examples import (
    check_examples,
    count_overlap,
    has_examples,
    split_examples,
    write_agreement,
)
from mobilekit.model.kept_lines import KeptLines, stands_still
from mobilekit.model.ranks import Layer
from mobilekit.model.storage_ladders import storage_ladders
from mobilekit.records.compression import (
    Budget,
    Candidate,
    Choice,
    CutLayer,
    Redundancy,
    Screened,
)
from mobilekit.records.device import DeviceState
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import ModelSpec, Precision, StorageWay, Variant
from mobilekit.results.store import Store
from mobilekit.runner.host import COMPUTER
from mobilekit.units import format_bytes, format_duration, format_energy

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
WEIGHT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
FORESEEN_SLACK = 1.25
"""By how much what is foreseen of a network may miss the budget before it is not tried."""


def compress(
    options: DeployOptions,
    budget: Budget,
    data: Path | None,
    store: Store,
    reporter: Reporter,
    *,
    redundancy: Redundancy = "frobenius",
    ways: tuple[StorageWay, ...] = (),
) -> Choice:
    """The network that keeps the budget, as ``analysis.choice.choose`` says which, of a ladder of
    ever lower ranks in each precision.

    ``data`` as in ``evaluate``; some of it calibrates int8 and whitens ranks, and is not evaluated,
    unless ``options`` have other examples for that. Where there is none, what counts is how often a
    network agrees with the uncompressed one on generated inputs. ``options`` have a format and an
    uncompressed variant; their ``energy`` is not looked at. With labels, ranks are whitened where
    that is righter (``screen_ladder``).

    For each of ``ways`` to store the weights a ladder of its own is followed down, to the network
    that is changed least of those that keep the budget.

    What was found of ranks and candidates is kept and found again, so that a search that was
    killed goes on where it was, and those of a day judge by the same figures.

    Raises ``NothingFitsError``, what ``evaluate`` raises, ``UsageError`` or ``DeviceError`` for a
    bound on energy where none can be measured, and ``UsageError`` for ``ways`` where no layer can
    be stored in any.
    """
    options = options._replace(energy=budget.energy_j is not None)
    spec = find_network(_as_variant(options, Variant()))
    judged_by_labels = has_examples(spec, data)
    if judged_by_labels:
        check_examples(spec, data)
    state = _look_at(options, reporter)
    reporter.note("Importing PyTorch")
    from mobilekit.model.load import load_module
    from mobilekit.model.lowrank import find_layers
    from mobilekit.model.reference import make_inputs
    from mobilekit.model.screening import Screen
    from mobilekit.model.storage import check_storable

    overlap, cache = 0, places.artifacts_directory()
    if not judged_by_labels:
        data = write_agreement(spec, cache)
    elif options.calibration is None:
        calibration, data = split_examples(spec, data, cache_directory=cache)
        options = options._replace(calibration=calibration)
    else:
        overlap = count_overlap(spec, data, options.calibration)
    module = load_module(spec)
    if ways:
        check_storable(module)
    screen = Screen(spec, module, data, cache_directory=cache)
    parts = _measured_of(options, spec, state, screen.examples_sha256)
    search = _Search(
        options,
        budget,
        data,
        store,
        reporter,
        KeptLines(cache, "candidates", parts, _KeptCandidate),
        {},
        set(),
    )
    uncompressed, examples = search.evaluate(Variant(), None)
    layers: list[Layer] = []
    found: tuple[CutLayer, ...] = ()
    screened: tuple[Screened, ...] = ()
    if ways or not search.is_settled_whole(uncompressed):
        reporter.note("Decomposing its layers")
        layers = [each for each in find_layers(module, make_inputs(spec)) if each.largest_rank]
        # Two layers are worth their loss where they save what the budget is of; a size they all
        # save.
        timed = budget.size_bytes is None and (budget.latency_ns or budget.energy_j) is not None
        found = untimed(layers)
        if timed and layers:
            kept = KeptLines(cache, "layers", parts, KeptTimes)
            found = time_layers(options, layers, kept, store, reporter)
        most_lost = budget.max_loss_points
        whitened_by: str | None = None
        if judged_by_labels:
            whitening = _whitening_examples(options, overlap, reporter)
            if whitening is not None and layers:
                reporter.note("Running the examples that ranks are whitened by")
                screen.weigh([each.path for each in layers], whitening)
                whitened_by = calibration_sha256(whitening)
            found = evaluate_layers(
                layers, found, screen, most_lost, reporter, whitened_by=whitened_by
            )
        screened = screen_ladder(
            layers, found, screen, most_lost, redundancy, reporter, whitened_by=whitened_by
        )
    coming = search.foresee(layers, screened, uncompressed)
    search.recall(ways, screened, uncompressed)
    search.look_through(coming, found, uncompressed)
    most = budget.max_loss_points + SLACK_POINTS
    ranks = [step.compression for step in screened if step.loss_points <= most]
    for ladder in storage_ladders(ways, ranks):
        search.follow(ladder, uncompressed)
    tried = tuple(search.tried.values())
    chosen = choose(tried, budget)
    if chosen is None:
        if budget.has_costs:
            # What is beyond the budget was not tried; the smallest tells how far beyond it is.
            search.consider(min(coming, key=lambda each: each[1])[0], uncompressed)
            tried = tuple(search.tried.values())
        raise _nothing_fits(spec, budget, tried, found)
    return Choice(
        budget=budget,
        device=state.info.name,
        virtual=state.info.virtual,
        energy_origin="simulated" if state.info.virtual else "measured",
        judged_by="labels" if judged_by_labels else "agreement",
        examples=examples,
        calibration=None if options.calibration is None else str(options.calibration),
        overlap=overlap,
        weights_are_drawn=spec.builder is not None and spec.weights_path is None,
        uncompressed=uncompressed,
        chosen=chosen,
        tried=tried,
        layers=found,
        screened=screened,
    )


def _look_at(options: DeployOptions, reporter: Reporter) -> DeviceState:
    """The device, once it is sure that its energy can be measured where that is asked for."""
    if options.energy and options.device == COMPUTER:
        raise UsageError(
            "This computer has no battery to measure energy with",
            fix="Leave --budget-mj out, or name a phone, or a virtual one: --device nexus7.",
        )
    with open_device_of(options, reporter) as opened:
        state = opened.state
    battery = state.battery
    if options.energy and (
        state.profile is None or battery is None or battery.plugged or battery.updates_stopped
    ):
        raise DeviceError(
            f"{state.info.name} does not run on a battery that tells what it gives",
            serial=state.info.serial,
            fix="A search measures many networks in a row: attach the phone over Wi-Fi (`adb "
            "tcpip 5555`, `adb connect ADDRESS`), pull its cable, and see `mobilekit doctor`.",
        )
    return state


def _whitening_examples(options: DeployOptions, overlap: int, reporter: Reporter) -> Path | None:
    """Those that ranks may be whitened by: none that judge them."""
    if options.calibration is not None and overlap:
        reporter.note("No ranks are whitened: --calibration has examples that are evaluated")
        return None
    return options.calibration


class _KeptCandidate(Record, frozen=True):
    measured_at_s: float
    """Unix time."""
    sha256: str
    """Of the program."""
    examples: int | None
    candidate: Candidate


class _Search(NamedTuple):
    """What has been tried, and how the next is."""

    options: DeployOptions
    budget: Budget
    data: Path | None
    store: Store
    reporter: Reporter
    kept: KeptLines
    tried: dict[str, Candidate]
    """By the variant's key."""
    left_out: set[Precision]
    """Of which no program can be made."""

    def foresee(
        self, layers: Sequence[Layer], screened: Sequence[Screened], uncompressed: Candidate
    ) -> list[tuple[Variant, int]]:
        """What is worth a try with the bytes that each takes at least: as many for each weight as
        its precision has, of what the uncompressed program takes for one. First the whole network
        in every precision, then what is cut: the largest first, or the smallest where that is the
        answer."""
        whole = self._foresee_whole(uncompressed)
        every = uncompressed.size_bytes // WEIGHT_BYTES["fp32"]
        all_weights = sum(layer.weights for layer in layers)
        most = self.budget.max_loss_points + SLACK_POINTS
        cut = [
            (
                Variant(precision=precision, compression=step.compression),
                WEIGHT_BYTES[precision]
                * (every - all_weights + count_weights(layers, step.compression)),
            )
            for step in screened
            for precision in PRECISIONS
            if step.compression is not None and step.loss_points <= most
        ]
        return whole + sorted(cut, key=lambda each: each[1], reverse=self.budget.has_costs)

    def _foresee_whole(self, uncompressed: Candidate) -> list[tuple[Variant, int]]:
        every = uncompressed.size_bytes // WEIGHT_BYTES["fp32"]
        return [(Variant(precision=each), WEIGHT_BYTES[each] * every) for each in PRECISIONS]

    def is_settled_whole(self, uncompressed: Candidate) -> bool:
        """Whether the size alone is bounded and a network with every layer whole keeps it, which
        goes before all larger ones with cut layers: those need no look at what layers bear."""
        budget = self.budget
        if budget.size_bytes is None or not (budget.latency_ns is budget.energy_j is None):
            return False
        for variant, size_bytes in self._foresee_whole(uncompressed):
            if not self.is_hopeless(variant, size_bytes):
                self.consider(variant, uncompressed)
        return choose(tuple(self.tried.values()), budget) is not None

    def has_answer(self, coming: Variant, size_bytes: int) -> bool:
        """Whether a network is found that comes before the coming one, and all that follow."""
        found = choose(tuple(self.tried.values()), self.budget)
        if found is None or coming.compression is None:
            return False
        is_larger = found.size_bytes >= size_bytes
        return is_larger if self.budget.has_costs else not is_larger

    def is_hopeless(self, coming: Variant, size_bytes: int) -> bool:
        """Whether a network that takes at least that needs no look: it cannot be exported, or is
        beyond the budget; or the size alone is bounded, and there is a smaller one that keeps it
        with every layer whole, and this one is cut."""
        bound = self.budget.size_bytes
        if coming.precision in self.left_out or (bound is not None and size_bytes > bound):
            return True
        only_size = self.budget.latency_ns is None and self.budget.energy_j is None
        if coming.compression is None or not only_size:
            return False
        return any(
            keeps(each, self.budget)
            for each in self.tried.values()
            if each.variant.compression is None and each.size_bytes < size_bytes
        )

    def is_too_slow(self, coming: Variant, layers: Sequence[CutLayer]) -> bool:
        """Whether by what its layers took alone it misses the time or the energy by far, beside the
        whole network of its precision."""
        whole = self.tried.get(replace(coming, compression=None).key)
        if whole is None or coming.compression is None:
            return False
        share = foresee_share(layers, coming.compression, self.tried[Variant().key].latency_p50_ns)
        return any(
            cost is not None and bound is not None and cost * share > FORESEEN_SLACK * bound
            for cost, bound in (
                (whole.latency_p50_ns, self.budget.latency_ns),
                (whole.energy_j, self.budget.energy_j),
            )
        )

    def recall(
        self, ways: Sequence[StorageWay], screened: Sequence[Screened], uncompressed: Candidate
    ) -> None:
        """Consider what searches have measured before for whatever budget: what this one would not
        come to, or leave out by what is foreseen, may be its answer.

        Of whitened ranks only what this one has ``screened``: another one, which allows more loss,
        whitens what surely keeps to that, and not surely to this."""
        allowed = {step.compression for step in screened}
        for kept in self.kept.records():
            found, storage = kept.candidate, kept.candidate.variant.storage
            if (
                stands_still(kept.measured_at_s)
                and found.accuracy is not None
                and not _lacks_run(found, self.budget)
                and (storage is None or storage.__struct_config__.tag in ways)
                and (found.variant.whitened_by is None or found.variant.compression in allowed)
            ):
                self.consider(found.variant, uncompressed)

    def look_through(
        self,
        coming: Sequence[tuple[Variant, int]],
        layers: Sequence[CutLayer],
        uncompressed: Candidate,
    ) -> None:
        """Consider what is foreseen, in its order, until the answer is certain."""
        for variant, size_bytes in coming:
            if self.has_answer(variant, size_bytes):
                break
            if not self.is_hopeless(variant, size_bytes) and not self.is_too_slow(variant, layers):
                self.consider(variant, uncompressed)

    def consider(self, variant: Variant, uncompressed: Candidate) -> None:
        """Find out of it as much as tells whether it keeps the budget.

        A precision of which no program can be made is left out; of a way to store the weights that
        raises ``ExportError``.
        """
        try:
            found = self.tried.get(variant.key) or self._try(variant)
        except ExportError as error:
            if variant.storage is not None:
                raise
            self.reporter.note(f"{variant.precision} is left out: {error.what}")
            self.left_out.add(variant.precision)
            return
        only_size = Budget(
            size_bytes=self.budget.size_bytes, latency_ns=None, energy_j=None, max_loss_points=0
        )
        if keeps_costs(found, only_size) and _lacks_run(found, self.budget):
            found = self._run(variant, found)
        self.tried[variant.key] = found
        if keeps_costs(found, self.budget) and found.accuracy is None:
            self.evaluate(variant, uncompressed)

    def follow(self, ladder: Sequence[Variant], uncompressed: Candidate) -> None:
        """Down to the first that keeps the budget, which is changed least, or to the smallest where
        that is the answer; until it is hopeless, or a step cannot be made or run. What was found
        before stands then."""
        for variant in ladder:
            try:
                self.consider(variant, uncompressed)
            except (ExportError, RunFailedError, UsageError) as error:
                self.reporter.note(f"{variant.text} and what follows it are left out: {error.what}")
                return
            found = self.tried[variant.key]
            if self.budget.has_costs and keeps(found, self.budget):
                return
            loss = found.loss_points
            if loss is not None and loss > self.budget.max_loss_points + SLACK_POINTS:
                return

    def evaluate(self, variant: Variant, uncompressed: Candidate | None) -> tuple[Candidate, int]:
        """With its accuracy, and how many examples that is of."""
        found = self.tried.get(variant.key) or self._try(variant)
        if _lacks_run(found, self.budget):
            found = self._run(variant, found)
        kept = self._known(variant)
        if found.accuracy is not None and kept is not None and kept.examples is not None:
            self.tried[variant.key] = found
            return found, kept.examples
        self.reporter.note(f"Evaluating {variant.text}")
        options = _as_variant(self.options, variant)._replace(energy=False)
        measurement = _sound(evaluate(options, self.data, self.store, self.reporter))
        answer = derive_answer(measurement)
        assert answer.accuracy is not None
        accuracy = answer.accuracy.device.top1
        before = accuracy if uncompressed is None else uncompressed.accuracy
        assert before is not None
        measured_ns = None if answer.latency is None else answer.latency.p50_ns
        found = replace(
            found,
            # By what it was accepted, where it was.
            latency_p50_ns=found.latency_p50_ns or measured_ns,
            accuracy=accuracy,
            loss_points=100 * (before.count - accuracy.count) / answer.accuracy.examples,
        )
        self._keep(variant, measurement.artifact.file.sha256, found, answer.accuracy.examples)
        return found, answer.accuracy.examples

    def _try(self, variant: Variant) -> Candidate:
        options, chosen = _as_variant(self.options, variant), self.options.format
        assert chosen != "auto"
        self.reporter.note(f"Trying network {len(self.tried) + 1}: {_told(variant)}")
        artifact = export_network(options, find_network(options), chosen, self.reporter)
        kept = self._known(variant)
        if kept is not None and kept.sha256 == artifact.file.sha256:
            return kept.candidate
        return Candidate(
            variant=variant,
            size_bytes=artifact.size_bytes,
            latency_p50_ns=None,
            energy_j=None,
            accuracy=None,
            loss_points=None,
        )

    def _run(self, variant: Variant, found: Candidate) -> Candidate:
        """With its latency and, where the budget is of energy too, that."""
        options = _as_variant(self.options, variant)
        measurement = _sound(deploy(options, self.store, self.reporter, purpose="pilot"))
        answer = derive_answer(measurement)
        if options.energy and answer.energy is None:
            raise DeviceError(
                "The run of a candidate told no energy",
                variant=variant.text,
                run=measurement.id,
                fix=f"`mobilekit results show {measurement.id}` tells why. Leave --budget-mj out, "
                "or calibrate the phone's gauge: `mobilekit energy calibrate`.",
            )
        found = replace(
            found,
            latency_p50_ns=None if answer.latency is None else answer.latency.p50_ns,
            energy_j=None if answer.energy is None else answer.energy.gross_j,
        )
        self._keep(variant, measurement.artifact.file.sha256, found, None)
        return found

    def _known(self, variant: Variant) -> _KeptCandidate | None:
        found: _KeptCandidate | None = self.kept.get(variant.key)
        return found if found and stands_still(found.measured_at_s) else None

    def _keep(self, variant: Variant, sha256: str, found: Candidate, examples: int | None) -> None:
        self.tried[variant.key] = found
        line = _KeptCandidate(
            measured_at_s=time.time(), sha256=sha256, examples=examples, candidate=found
        )
        self.kept.add(variant.key, line)


def _told(variant: Variant) -> str:
    """With its ranks, by which steps differ."""
    if variant.compression is None:
        return variant.text
    return f"{variant.text}, ranks {', '.join(str(cut.rank) for cut in variant.compression.ranks)}"


def _lacks_run(found: Candidate, budget: Budget) -> bool:
    """Whether what a run tells is bounded and not known yet."""
    return (budget.latency_ns is not None and found.latency_p50_ns is None) or (
        budget.energy_j is not None and found.energy_j is None
    )


def _measured_of(
    options: DeployOptions, spec: ModelSpec, state: DeviceState, examples_sha256: str
) -> list[str | int | None]:
    """All that what is measured in a search depends on, besides the variant."""
    calibration = options.calibration
    return [
        spec.content_sha256,
        examples_sha256,
        None if calibration is None else calibration_sha256(calibration),
        state.info.gauge_key,
        options.format,
        options.preset,
        options.threads,
    ]


def _as_variant(options: DeployOptions, variant: Variant) -> DeployOptions:
    calibration = options.calibration if variant.takes_calibration else None
    return options._replace(variant=variant, calibration=calibration)


def _sound(measurement: Measurement) -> Measurement:
    """Raises ``RunFailedError`` where the run did not get to its end."""
    if isinstance(measurement.result, RunFailure):
        raise RunFailedError(
            f"A candidate could not be run: {measurement.result.message}",
            variant=measurement.artifact.model.variant.text,
            phase=measurement.result.phase,
            fix=f"`mobilekit results show {measurement.id}` tells what was measured.",
        )
    return measurement


def _nothing_fits(
    spec: ModelSpec, budget: Budget, tried: Sequence[Candidate], layers: Sequence[CutLayer]
) -> NothingFitsError:
    """With the nearest, and what of the budget it misses."""
    found = nearest(tried, budget)
    assert found is not None  # the uncompressed one is among them
    closest, missed = found
    latency_ns, energy_j, loss = closest.latency_p50_ns, closest.energy_j, closest.loss_points
    whole = [each for each in layers if each.why_whole is not None]
    return NothingFitsError(
        f"No {spec.name} that was tried keeps the whole budget",
        tried=f"{len(tried)} networks",
        nearest=closest.variant.text,
        misses=", ".join(missed),
        size=format_bytes(closest.size_bytes),
        **({} if latency_ns is None else {"latency": format_duration(latency_ns)}),
        **({} if energy_j is None else {"energy": format_energy(energy_j)}),
        **({} if loss is None else {"loss": f"{loss:.1f} points"}),
        **({"left_whole": f"{len(whole)} of {len(layers)} layers"} if whole else {}),
        fix="Allow a larger, slower or less accurate network.",
    )
