"""From a meter's file to energy per inference: read in one pass, then find windows and add up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilekit.errors import MeterFileError, UsageError
from mobilekit.meter.clocks import align
from mobilekit.meter.columns import FileOptions
from mobilekit.meter.envelope import Bins, Envelope, Reading, Span, TraceFacts
from mobilekit.meter.estimate import estimate_meter_energy
from mobilekit.meter.instrument import doubt_zero, judge_instrument, measure_offset
from mobilekit.meter.joulescope import Recording
from mobilekit.meter.supply import MAX_SCATTER, judge_side, supply_scatter, with_side
from mobilekit.meter.table import Table
from mobilekit.meter.windows import (
    Block,
    RunWindows,
    TraceBlocks,
    find_marked,
    find_steps,
    place_windows,
)
from mobilekit.records.energy import Plane
from mobilekit.records.meter import ClockFit, MeterEstimate, MeterTrace, MeterWindowsFrom

USB_V = (4.6, 5.5)
"""Between a lithium cell at its fullest and USB's 5 V with its tolerance."""
CELL_V = (2.5, 4.6)


class TraceOptions(NamedTuple):
    """What a person says of a trace, apart from its file's layout."""

    iterations: int | None
    """In all load windows; ``None`` only with ``run``."""
    zero: Span | None = None
    """Where nothing was drawn, in seconds since the first sample."""
    offset: float | None = None
    """Of the reading, in its SI unit; not with ``zero``."""
    gain_uncertainty: float | None = None
    run: RunWindows | None = None


class Imported(NamedTuple):
    trace: MeterTrace
    estimate: MeterEstimate
    bins: Bins
    """Its offset is taken away."""
    blocks: tuple[Block, ...]


def import_trace(
    path: Path,
    file_options: FileOptions,
    options: TraceOptions,
    *,
    on_bytes: Callable[[int, int], None],
) -> Imported:
    """Read the trace and estimate; ``on_bytes`` is told how many bytes of how many are read.

    Raises ``MeterFileError`` for a file that cannot be understood, ``MeterTraceError`` for a
    trace from which no energy can be told and ``UsageError`` for iterations that contradict the
    run's.
    """
    iterations = _iterations(options)
    if path.suffix.lower() == ".jls" or file_options.format == "joulescope":
        _check_unused(file_options)
        file: Table | Recording = Recording(path)
    else:
        file = Table(path, file_options)
    envelope = Envelope(Reading(file.kind, file_options.shunt_ohm or 1.0, file_options.supply_volt))
    volts, samples = 0.0, 0
    for chunk in file.chunks(lambda done: on_bytes(done, file.size_bytes)):
        envelope.add(*chunk)
        if chunk.supply_v is not None:
            volts += float(np.nansum(chunk.supply_v))
            samples += int(np.count_nonzero(np.isfinite(chunk.supply_v)))
    bins, facts = envelope.finish()
    supply_volt = volts / samples if samples else file_options.supply_volt
    plane = file_options.plane or _plane_of(file.on_usb, supply_volt, path, file.notes)
    offset, offset_uncertainty = options.offset or 0.0, None
    if options.zero is not None:
        offset, offset_uncertainty = measure_offset(bins, options.zero)
    bins = bins.zeroed(offset)
    if isinstance(file, Table) and samples and not file.columns.voltage_is_sure:
        _check_supply(bins, file, path)
    found, windows_from, clock = _find_windows(bins, file_options, options)
    instrument = judge_instrument(
        file.source,
        file.kind,
        gain=options.gain_uncertainty,
        given_offset=options.offset,
        measured_offset_uncertainty=offset_uncertainty,
        constant_voltage=file.kind != "power" and samples == 0,
    )
    if file.kind == "shunt voltage" and samples:
        side = judge_side(bins, found.blocks)
        bins, instrument = side.bins, with_side(instrument, side)
        file.notes += [side.note] if side.note is not None else []
    estimate = estimate_meter_energy(
        bins,
        found,
        iterations=iterations,
        instrument=instrument,
        plane=plane,
        source=file.source,
        windows_from=windows_from,
        clock=clock,
    )
    if options.zero is not None:
        file.notes += doubt_zero(bins, found.blocks, offset)
    return Imported(_describe(path, file, facts, bins, offset), estimate, bins, tuple(found.blocks))


def _check_supply(bins: Bins, file: Table, path: Path) -> None:
    """Raises ``MeterFileError`` for a column that was wrongly taken as the supply's voltage."""
    scatter = supply_scatter(bins)
    if file.columns.voltage is None or scatter <= MAX_SCATTER:
        return
    raise MeterFileError(
        f"Column {file.title_of(file.columns.voltage)!r} is no supply's voltage: it varies by "
        f"{scatter:.0%}",
        path=path,
        fix="Name the supply's voltage with --voltage-column, or give it with --supply-volt.",
    )


def _iterations(options: TraceOptions) -> tuple[int, ...] | int:
    """Of each load window where the run tells them, else of all together."""
    if options.run is not None:
        told = options.run.iterations
        if options.iterations not in (None, sum(told)):
            raise UsageError(
                f"The run's load windows have {sum(told)} iterations, not {options.iterations}",
                fix="Leave --iterations out: with --run they are known.",
            )
        return told
    if options.iterations is None:
        raise UsageError(
            "Nothing says how many inferences are in the trace",
            fix="Give --iterations, or the stored run that it is of with --run.",
        )
    return options.iterations


def _check_unused(file_options: FileOptions) -> None:
    given = [
        f"--{name.replace('_', '-')}"
        for name, value in file_options._asdict().items()
        if value is not None and name not in ("format", "plane")
    ]
    if given:
        raise UsageError(
            "A Joulescope's recording needs no description",
            options=", ".join(given),
            fix="Leave these options out.",
        )


def _find_windows(
    bins: Bins, file_options: FileOptions, options: TraceOptions
) -> tuple[TraceBlocks, MeterWindowsFrom, ClockFit | None]:
    if options.run is not None:
        alignment = align(bins, options.run.patterns)
        return place_windows(alignment, options.run.windows), "synchronisation", alignment.fit
    if file_options.load_channel is not None:
        return find_marked(bins, file_options.load_channel), "digital channel", None
    return find_steps(bins, leave_out=options.zero), "steps", None


def _plane_of(
    on_usb: bool | None, supply_volt: float | None, path: Path, notes: list[str]
) -> Plane:
    """By the meter's channel, else by the voltage: a single cell or USB's 5 V."""
    if on_usb is not None:
        return "usb" if on_usb else "battery"
    for plane, (low_v, high_v) in (("usb", USB_V), ("battery", CELL_V)):
        if supply_volt is not None and low_v <= supply_volt < high_v:
            notes.append(f"the {plane} plane is taken from {supply_volt:.3g} V (--plane)")
            return "usb" if plane == "usb" else "battery"
    raise MeterFileError(
        "It cannot be told on which side of the charger the meter was",
        path=path,
        supply=f"{supply_volt:.3g} V" if supply_volt is not None else "not known",
        fix="Give --plane usb for a meter in the USB cable, --plane battery for one at the cell.",
    )


def _describe(
    path: Path, file: Table | Recording, facts: TraceFacts, bins: Bins, offset: float
) -> MeterTrace:
    return MeterTrace(
        file=path.name,
        sha256=file.sha256,
        format=file.format,
        kind=file.kind,
        reading=file.reading,
        samples=facts.samples,
        missing=facts.missing,
        misplaced=facts.misplaced,
        duration_s=bins.duration_s,
        period_s=facts.period_s,
        gaps=facts.gaps,
        gap_s=facts.gap_s,
        bin_s=bins.width_s,
        offset=offset,
        notes=tuple(file.notes),
    )
