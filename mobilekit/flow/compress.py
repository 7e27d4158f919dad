"""The search for the network that keeps within a budget: every candidate is exported, and what is
told of it is measured on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.answer import derive_answer
from mobilekit.contract.protocol import RunFailure
from mobilekit.errors import NothingFitsError, RunFailedError
from mobilekit.flow.deploy import deploy
from mobilekit.flow.evaluate import evaluate
from mobilekit.flow.prepare import DeployOptions, find_network
from mobilekit.flow.reporter import Reporter
from mobilekit.model.examples import check_examples, split_examples, write_agreement
from mobilekit.model.export import export_artifact
from mobilekit.model.ranks import make_ladder
from mobilekit.model.zoo import read_front_end
from mobilekit.records.compression import Budget, Candidate, Choice
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Compression, ModelSpec, Precision, Variant
from mobilekit.results.store import Store
from mobilekit.units import format_bytes, format_duration

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


def compress(
    options: DeployOptions, budget: Budget, data: Path | None, store: Store, reporter: Reporter
) -> Choice:
    """The smallest network of those that keep the budget: of each precision the least cut one that
    fits is evaluated, and accepted where it loses no more accuracy than allowed.

    ``data`` as in ``evaluate``; some of it calibrates int8 and is not evaluated, unless
    ``options`` have other examples for that. Where there is none, what counts is how often a
    network agrees with the uncompressed one on generated inputs. ``options`` are for this computer.

    A budget that is tighter in size never gives a larger network: as long as a precision's
    candidate fits, it stays the same.

    Raises ``NothingFitsError``, and what ``evaluate`` raises.
    """
    spec = find_network(_as_variant(options, Variant()))
    judged_by_labels = data is not None or _has_examples(spec)
    if judged_by_labels:
        check_examples(spec, data)
    reporter.note("Importing PyTorch")
    from mobilekit.model.load import load_module
    from mobilekit.model.lowrank import find_layers
    from mobilekit.model.reference import make_inputs

    if not judged_by_labels:
        data = write_agreement(spec, places.artifacts_directory())
    elif options.calibration is None:
        calibration, data = split_examples(spec, data, cache_directory=places.artifacts_directory())
        options = options._replace(calibration=calibration)
    reporter.note("Decomposing its layers")
    layers = find_layers(load_module(spec), make_inputs(spec))
    ladder = make_ladder(layers)
    search = _Search(options, budget, data, store, reporter, {})
    # Timed as all others are, where time counts.
    search.fits(Variant())
    uncompressed, examples = search.evaluate(Variant(), None)
    evaluated = [
        uncompressed if found == Variant() else search.evaluate(found, uncompressed)[0]
        for precision in PRECISIONS
        if (found := _least_cut(search, ladder, precision)) is not None
    ]
    tried = tuple(search.tried.values())
    kept = [each for each in evaluated if _loss(each) <= budget.max_loss_points]
    if not kept:
        raise _nothing_fits(spec, budget, evaluated, tried)
    return Choice(
        budget=budget,
        judged_by="labels" if judged_by_labels else "agreement",
        examples=examples,
        calibration=None if options.calibration is None else str(options.calibration),
        weights_are_drawn=spec.builder is not None and spec.weights_path is None,
        uncompressed=uncompressed,
        chosen=min(kept, key=lambda each: each.size_bytes),
        tried=tried,
    )


class _Search(NamedTuple):
    """What has been tried, and how the next is."""

    options: DeployOptions
    budget: Budget
    data: Path | None
    store: Store
    reporter: Reporter
    tried: dict[str, Candidate]
    """By the variant's key."""

    def fits(self, variant: Variant) -> bool:
        """Whether its program keeps within the budget, accuracy aside."""
        if variant.key not in self.tried:
            self.reporter.note(f"Trying {variant.text}")
            self.tried[variant.key] = self._try(variant)
        found = self.tried[variant.key]
        size, latency = self.budget.size_bytes, self.budget.latency_ns
        if size is not None and found.size_bytes > size:
            return False
        if latency is None:
            return True
        if found.latency_p50_ns is None:
            found = replace(found, latency_p50_ns=self._latency(variant))
            self.tried[variant.key] = found
        return found.latency_p50_ns is not None and found.latency_p50_ns <= latency

    def evaluate(self, variant: Variant, uncompressed: Candidate | None) -> tuple[Candidate, int]:
        """With its accuracy, and how many examples that is of."""
        options = _as_variant(self.options, variant)
        measurement = _sound(evaluate(options, self.data, self.store, self.reporter))
        answer = derive_answer(measurement)
        assert answer.accuracy is not None
        accuracy = answer.accuracy.device.top1
        before = accuracy if uncompressed is None else uncompressed.accuracy
        assert before is not None
        known = self.tried.get(variant.key)
        measured_ns = None if answer.latency is None else answer.latency.p50_ns
        found = Candidate(
            variant=variant,
            size_bytes=measurement.artifact.file.size_bytes,
            # By what it was accepted, where it was.
            latency_p50_ns=(known and known.latency_p50_ns) or measured_ns,
            accuracy=accuracy,
            loss_points=100 * (before.count - accuracy.count) / answer.accuracy.examples,
        )
        self.tried[variant.key] = found
        return found, answer.accuracy.examples

    def _try(self, variant: Variant) -> Candidate:
        options, chosen = _as_variant(self.options, variant), self.options.format
        assert chosen != "auto"
        artifact = export_artifact(
            find_network(options),
            chosen,
            calibration=options.calibration,
            cache_directory=places.artifacts_directory(),
            on_progress=self.reporter.note,
        )
        return Candidate(
            variant=variant,
            size_bytes=artifact.file.size_bytes,
            latency_p50_ns=None,
            accuracy=None,
            loss_points=None,
        )

    def _latency(self, variant: Variant) -> float | None:
        options = _as_variant(self.options, variant)
        measurement = _sound(deploy(options, self.store, self.reporter, purpose="pilot"))
        latency = derive_answer(measurement).latency
        return None if latency is None else latency.p50_ns


def _least_cut(
    search: _Search, ladder: tuple[Compression | None, ...], precision: Precision
) -> Variant | None:
    """The first of a ladder that fits, by bisection, for what follows is smaller; ``None`` where
    the last does not fit either."""
    variants = [Variant(precision=precision, compression=each) for each in ladder]
    if search.fits(variants[0]):
        return variants[0]
    if not search.fits(variants[-1]):
        return None
    too_large, fitting = 0, len(variants) - 1
    while fitting - too_large > 1:
        middle = (too_large + fitting) // 2
        if search.fits(variants[middle]):
            fitting = middle
        else:
            too_large = middle
    return variants[fitting]


def _as_variant(options: DeployOptions, variant: Variant) -> DeployOptions:
    calibration = options.calibration if variant.precision == "int8" else None
    return options._replace(variant=variant, calibration=calibration)


def _has_examples(spec: ModelSpec) -> bool:
    return spec.path.endswith(".py") and read_front_end(spec).data is not None


def _loss(candidate: Candidate) -> float:
    assert candidate.loss_points is not None
    return candidate.loss_points


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
    spec: ModelSpec, budget: Budget, evaluated: list[Candidate], tried: tuple[Candidate, ...]
) -> NothingFitsError:
    """With the nearest: of those that fit, the most accurate; else the smallest or fastest."""
    if evaluated:
        nearest = min(evaluated, key=_loss)
        return NothingFitsError(
            f"Every {spec.name} within the budget loses more than {budget.max_loss_points:g} "
            "points of accuracy",
            nearest=nearest.variant.text,
            size=format_bytes(nearest.size_bytes),
            loss=f"{_loss(nearest):.1f} points",
            fix="Allow a larger network or a greater loss.",
        )
    if budget.latency_ns is None:
        nearest = min(tried, key=lambda each: each.size_bytes)
    else:
        nearest = min(tried, key=lambda each: each.latency_p50_ns or float("inf"))
    latency_ns = nearest.latency_p50_ns
    return NothingFitsError(
        f"No {spec.name} keeps within the budget, whatever its accuracy",
        nearest=nearest.variant.text,
        size=format_bytes(nearest.size_bytes),
        **({} if latency_ns is None else {"latency": format_duration(latency_ns)}),
        fix="Allow a larger or slower network.",
    )
