"""Writes ``tests/vectors``: the contract's shared messages, encoded by ``mobilekit.contract``.

Run it after a change of the protocol, and look at the difference before committing it::

    python scripts/make_vectors.py
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
from executorch_files import Delegate, make_again, make_program, make_weights

from mobilekit.contract import protocol as p
from mobilekit.contract.codec import encode, encode_pretty
from mobilekit.contract.condensed import (
    BLOCK,
    HEAD,
    MAGIC,
    PLAIN,
    SHARED,
    Block,
    sums_of_atoms,
)
from mobilekit.contract.samples import collect_samples
from mobilekit.model.condense import Dictionary, Form, condense

VECTORS = Path(__file__).parent.parent / "tests" / "vectors"
MISSING = object()
LONG_TEXT = "x" * (p.MAX_TEXT_CHARACTERS + 1)
LONG_NAME = "é" * (p.MAX_NAME_CHARACTERS + 1)
NEWER = p.PROTOCOL_VERSION + 1

COMPANION = p.CompanionInfo(
    name="mobilekit android",
    version="0.1.0",
    engine="executorch",
    engine_version="1.5.1",
    abi="arm64-v8a",
    threads=4,
    debuggable=False,
    battery="gauge",
)
BATTERY = p.BatterySample(
    at_ns=0,
    charge_counter_uah=2_345_000,
    current_now_ua=-412_500,
    energy_counter_nwh=8_912_000_000,
    voltage_mv=3801,
    temperature_decicelsius=284,
    level_percent=74,
    plugged=False,
)
BARE_BATTERY = p.BatterySample(
    at_ns=3_000_000_000,
    charge_counter_uah=None,
    current_now_ua=None,
    energy_counter_nwh=None,
    voltage_mv=None,
    temperature_decicelsius=None,
    level_percent=None,
    plugged=True,
)
THERMAL = p.ThermalSample(at_ns=1_500_000, status=0, headroom=0.625, cpu_khz=(1_516_800, 2_419_200))
BARE_THERMAL = p.ThermalSample(at_ns=1_500_000, status=None, headroom=None, cpu_khz=())
MEMORY = p.MemorySample(
    at_ns=9_000_000_000,
    stage="inferred",
    pss_bytes=71_303_168,
    rss_bytes=104_857_600,
    peak_rss_bytes=109_051_904,
)
BARE_MEMORY = p.MemorySample(
    at_ns=0, stage="closed", pss_bytes=None, rss_bytes=None, peak_rss_bytes=None
)
CHECK = p.OutputCheck(matches=True, max_absolute_error=1.5e-06, max_relative_error=2.5e-07)
IDLE = p.Window(
    kind="idle",
    started_ns=10_000_000_000,
    ended_ns=10_200_000_000,
    iterations=0,
    battery=(BATTERY, msgspec.structs.replace(BATTERY, at_ns=10_200_000_000)),
    rails=(),
    thermal=BARE_THERMAL,
)
LOAD = p.Window(
    kind="load",
    started_ns=10_200_000_000,
    ended_ns=10_413_000_000,
    iterations=16,
    battery=(BATTERY,),
    rails=(),
    thermal=THERMAL,
)
# The first readings were taken before the run began.
RAILS = msgspec.structs.replace(
    LOAD,
    rails=(
        p.RailSample(at_ns=-1_750_000_000, name="[VSYS_PWR_MMWAVE]:modem", energy_uj=0),
        p.RailSample(at_ns=-1_750_000_000, name="S2M_VDD_CPUCL2", energy_uj=7_345_678_901),
        p.RailSample(at_ns=10_250_000_000, name="[VSYS_PWR_MMWAVE]:modem", energy_uj=12),
        p.RailSample(at_ns=10_250_000_000, name="S2M_VDD_CPUCL2", energy_uj=7_345_912_345),
    ),
)
TRACE = p.Trace(
    kind="etdump", sha256="e" * 64, size_bytes=40_960, latency_ns=(13_100_000, 13_200_000)
)
TRIALS = (
    p.MethodTrial(method="level_3", load_ns=70_000_000, latency_ns=(31_000_000, 29_000_000)),
    p.MethodTrial(method="level_2", load_ns=61_000_000, latency_ns=(20_000_001, 19_999_999)),
)
SEGMENT = p.SegmentLatency(segment=1, latency_ns=(4_100_000, 4_200_000))
EVALUATION = p.Evaluation(
    outputs=p.TensorFile(sha256="f" * 64, dtype="float32", shape=(2, 1, 10)),
    latency_ns=(13_000_000, 13_000_001),
)
WAIT = p.Wait(reason="unplug", started_ns=9_100_000_000, ended_ns=9_900_000_000, passed=True)
SYNC = p.SyncPattern(edges_ns=tuple(10_000_000_000 + index * 2_000_000_000 for index in range(6)))
REQUEST = p.RunRequest(
    protocol_version=p.PROTOCOL_VERSION,
    run_id="20260814-091500-nin-4f2a",
    artifact=p.ArtifactFile(
        sha256="0123456789abcdef" * 4, format="pte", size_bytes=30_408_704, method="forward"
    ),
    inputs=(p.TensorFile(sha256="a" * 64, dtype="float32", shape=(1, 3, 224, 224)),),
    reference_outputs=(p.TensorFile(sha256="b" * 64, dtype="float32", shape=(1, 1000)),),
    relative_tolerance=0.001,
    choice=p.MethodChoice(
        budget_ns=20_000_000,
        iterations=2,
        candidates=(
            p.Candidate(
                method="level_3",
                reference_outputs=(
                    p.TensorFile(sha256="5" * 64, dtype="float32", shape=(1, 1000)),
                ),
            ),
            p.Candidate(method="level_2", reference_outputs=()),
        ),
    ),
    threads=4,
    cold_loads=3,
    warmup=p.WarmupRule(
        window_iterations=10, tolerance=0.02, max_iterations=200, max_duration_ns=20_000_000_000
    ),
    min_iterations=200,
    min_duration_ns=2_000_000_000,
    max_duration_ns=60_000_000_000,
    profile_iterations=20,
    segments=(
        p.Segment(
            artifact=p.ArtifactFile(
                sha256="1" * 64, format="pte", size_bytes=1_200_000, method="forward"
            ),
            inputs=(p.TensorFile(sha256="a" * 64, dtype="float32", shape=(1, 3, 224, 224)),),
        ),
        p.Segment(
            artifact=p.ArtifactFile(sha256="2" * 64, format="pte", size_bytes=1, method="forward"),
            inputs=(
                p.TensorFile(sha256="3" * 64, dtype="float32", shape=(1, 96, 54, 54)),
                p.TensorFile(sha256="4" * 64, dtype="float32", shape=(1, 96, 54, 54)),
            ),
        ),
    ),
    evaluation=p.TensorFile(sha256="d" * 64, dtype="float32", shape=(300, 1, 3, 224, 224)),
    energy=p.EnergyPlan(
        blocks=5,
        idle_ns=60_000_000_000,
        load_ns=60_000_000_000,
        sample_period_ns=100_000_000,
        unplug_timeout_ns=600_000_000_000,
        rest_ns=30_000_000_000,
        temperature_gate=p.TemperatureGate(max_decicelsius=350, timeout_ns=300_000_000_000),
        sync_pattern=True,
    ),
    weights=p.WeightsFile(sha256="e" * 64, size_bytes=731_048),
)
BARE_REQUEST = msgspec.structs.replace(
    REQUEST,
    run_id="-",
    artifact=p.ArtifactFile(sha256="f" * 64, format="tflite", size_bytes=1, method="main_2"),
    inputs=(),
    reference_outputs=(
        p.TensorFile(sha256="c" * 64, dtype="int64", shape=()),
        p.TensorFile(sha256="d" * 64, dtype="bool", shape=(2,)),
    ),
    relative_tolerance=0.0,
    choice=None,
    threads=None,
    min_duration_ns=1,
    max_duration_ns=2**63 - 1,
    profile_iterations=None,
    segments=(),
    evaluation=None,
    energy=None,
    weights=None,
)
BARE_ENERGY_REQUEST = msgspec.structs.replace(
    BARE_REQUEST,
    energy=p.EnergyPlan(
        blocks=1,
        idle_ns=1,
        load_ns=1,
        sample_period_ns=1,
        unplug_timeout_ns=None,
        rest_ns=None,
        temperature_gate=None,
        sync_pattern=False,
    ),
)
EVENTS: dict[str, list[p.ProgressEvent]] = {
    "bare": [],
    "all": [
        p.PhaseStarted(phase="verify", at_ns=0),
        p.CompanionStarted(companion=COMPANION),
        p.StateSampled(battery=BATTERY, thermal=THERMAL),
        p.PhaseStarted(phase="choose", at_ns=1_600_000),
        p.MethodTried(trial=TRIALS[0]),
        p.MethodTried(trial=TRIALS[1]),
        p.PhaseStarted(phase="load", at_ns=2_000_000),
        p.LoadMeasured(load_ns=64_100_000),
        p.LoadMeasured(load_ns=63_900_000),
        p.PhaseStarted(phase="warmup", at_ns=130_000_000),
        p.WarmupMeasured(latency_ns=(15_000_000, 13_100_000), settled=True),
        p.PhaseStarted(phase="iterate", at_ns=160_000_000),
        p.IterationsMeasured(latency_ns=(13_000_000, 13_000_001, 12_999_999)),
        p.PhaseStarted(phase="check", at_ns=200_000_000),
        p.OutputsChecked(check=CHECK),
        p.PhaseStarted(phase="memory", at_ns=210_000_000),
        p.MemoryMeasured(sample=BARE_MEMORY),
        p.MemoryMeasured(sample=MEMORY),
        p.PhaseStarted(phase="profile", at_ns=9_050_000_000),
        p.TraceMade(trace=TRACE),
        p.ProfileRefused(reason="the engine cannot trace"),
        p.SegmentMeasured(latency=msgspec.structs.replace(SEGMENT, segment=0)),
        p.SegmentMeasured(latency=SEGMENT),
        p.PhaseStarted(phase="evaluate", at_ns=9_080_000_000),
        p.EvaluationMade(evaluation=EVALUATION),
        p.PhaseStarted(phase="energy", at_ns=9_100_000_000),
        p.WaitStarted(reason="unplug", at_ns=9_100_000_000),
        p.WaitEnded(wait=WAIT),
        p.SyncPatternMade(pattern=SYNC),
        p.WindowMeasured(window=IDLE),
        p.WindowMeasured(window=LOAD),
        p.EnergyRefused(reason="the phone is plugged in"),
        p.StateSampled(battery=BARE_BATTERY, thermal=BARE_THERMAL),
        p.RunEnded(at_ns=10_500_000_000),
    ],
}


def success(case: str) -> p.RunSuccess:
    return p.RunSuccess(
        protocol_version=p.PROTOCOL_VERSION,
        run_id=REQUEST.run_id,
        samples=collect_samples(EVENTS[case]),
    )


def failure(code: p.FailureCode, phase: p.Phase, message: str, events: int) -> p.RunFailure:
    return p.RunFailure(
        protocol_version=p.PROTOCOL_VERSION,
        run_id=REQUEST.run_id,
        phase=phase,
        code=code,
        message=message,
        samples=collect_samples(EVENTS["all"][:events]),
    )


VALID: dict[str, object] = {
    "run_request-full": REQUEST,
    "run_request-bare": BARE_REQUEST,
    "run_request-bare-energy": BARE_ENERGY_REQUEST,
    "run_success-full": success("all"),
    "run_failure-early": failure("bad_request", "verify", "$.threads: 0 is not in [1, 2^63)", 0),
    "run_failure-midway": failure("inference_failed", "iterate", 'it said "no"\n\tdépassé 🔋', 12),
    "run_failure-longest": failure("internal", "verify", "🔋" * p.MAX_TEXT_CHARACTERS, 0),
    **{
        f"run_failure-{code.replace('_', '-')}": failure(code, "verify", "why", 0)
        for code in get_args(p.FailureCode)
    },
    **{
        f"run_request-{artifact_format}": msgspec.structs.replace(
            BARE_REQUEST,
            artifact=p.ArtifactFile(
                sha256="e" * 64, format=artifact_format, size_bytes=1, method="forward"
            ),
            inputs=tuple(
                p.TensorFile(sha256=f"{number:064x}", dtype=dtype, shape=(number + 1,))
                for number, dtype in enumerate(get_args(p.DType))
            ),
        )
        for artifact_format in get_args(p.Format)
    },
    "run_taken-first": p.RunTaken(pid=12_345),
    "companion_started-gauge": p.CompanionStarted(companion=COMPANION),
    "companion_started-no-battery": p.CompanionStarted(
        companion=msgspec.structs.replace(COMPANION, battery=None, debuggable=True)
    ),
    "companion_started-simulated": p.CompanionStarted(
        companion=msgspec.structs.replace(COMPANION, battery="simulated")
    ),
    **{
        f"phase_started-{phase}": p.PhaseStarted(phase=phase, at_ns=at_ns)
        for at_ns, phase in enumerate(get_args(p.Phase))
    },
    "method_tried-two": p.MethodTried(trial=TRIALS[0]),
    "load_measured-one": p.LoadMeasured(load_ns=64_100_000),
    "warmup_measured-settled": p.WarmupMeasured(latency_ns=(15_000_000, 13_100_000), settled=True),
    "warmup_measured-empty": p.WarmupMeasured(latency_ns=(), settled=False),
    "iterations_measured-three": p.IterationsMeasured(latency_ns=(13, 2**63 - 1, 1)),
    "outputs_checked-match": p.OutputsChecked(check=CHECK),
    "outputs_checked-not-finite": p.OutputsChecked(
        check=p.OutputCheck(
            matches=False,
            max_absolute_error=1.7976931348623157e308,
            max_relative_error=1.7976931348623157e308,
        )
    ),
    "memory_measured-full": p.MemoryMeasured(sample=MEMORY),
    "memory_measured-bare": p.MemoryMeasured(sample=BARE_MEMORY),
    "state_sampled-full": p.StateSampled(battery=BATTERY, thermal=THERMAL),
    "state_sampled-bare": p.StateSampled(battery=None, thermal=BARE_THERMAL),
    "state_sampled-bare-battery": p.StateSampled(battery=BARE_BATTERY, thermal=THERMAL),
    "trace_made-etdump": p.TraceMade(trace=TRACE),
    "trace_made-onnxruntime": p.TraceMade(
        trace=msgspec.structs.replace(TRACE, kind="onnxruntime", latency_ns=())
    ),
    "profile_refused-why": p.ProfileRefused(reason="the engine cannot trace"),
    "segment_measured-two": p.SegmentMeasured(latency=SEGMENT),
    "evaluation_made-two": p.EvaluationMade(evaluation=EVALUATION),
    **{
        f"wait_started-{reason}": p.WaitStarted(reason=reason, at_ns=at_ns)
        for at_ns, reason in enumerate(get_args(p.WaitReason))
    },
    "wait_ended-passed": p.WaitEnded(wait=WAIT),
    "wait_ended-timed-out": p.WaitEnded(
        wait=msgspec.structs.replace(WAIT, reason="temperature", passed=False)
    ),
    "sync_pattern_made-six": p.SyncPatternMade(pattern=SYNC),
    "window_measured-idle": p.WindowMeasured(window=IDLE),
    "window_measured-load": p.WindowMeasured(window=LOAD),
    "window_measured-rails": p.WindowMeasured(window=RAILS),
    "energy_refused-plugged": p.EnergyRefused(reason="the phone is plugged in"),
    "run_ended-late": p.RunEnded(at_ns=10_500_000_000),
}

# Of a valid message: its name, the case's, the path to change, the value, what the error names.
CHANGES: list[tuple[str, str, list[str | int], Any, str]] = [
    ("run_request-full", "unknown", ["colour"], "blue", "colour"),
    ("run_request-full", "unknown-nested", ["energy", "watts"], 2, "watts"),
    ("run_request-full", "missing", ["cold_loads"], MISSING, "cold_loads"),
    ("run_request-full", "missing-nullable", ["threads"], MISSING, "threads"),
    ("run_request-full", "missing-nested", ["inputs", 0, "dtype"], MISSING, "dtype"),
    ("run_request-full", "null", ["cold_loads"], None, "$.cold_loads"),
    ("run_request-full", "null-array", ["inputs"], None, "$.inputs"),
    ("run_request-full", "float-for-int", ["threads"], 4.0, "$.threads"),
    ("run_request-full", "float-for-nested-int", ["energy", "blocks"], 5.0, "$.energy.blocks"),
    ("run_request-full", "text-for-int", ["cold_loads"], "3", "$.cold_loads"),
    ("run_request-full", "bool-for-int", ["cold_loads"], True, "$.cold_loads"),
    ("run_request-full", "text-for-float", ["relative_tolerance"], "0.1", "$.relative_tolerance"),
    ("run_request-full", "int-for-text", ["run_id"], 7, "$.run_id"),
    ("run_request-full", "array-for-object", ["warmup"], [], "$.warmup"),
    ("run_request-full", "object-for-array", ["inputs"], {}, "$.inputs"),
    ("run_request-full", "float-in-shape", ["inputs", 0, "shape", 2], 1.5, "$.inputs[0].shape[2]"),
    ("run_request-full", "other-format", ["artifact", "format"], "tfl", "$.artifact.format"),
    ("run_request-full", "format-case", ["artifact", "format"], "PTE", "$.artifact.format"),
    ("run_request-full", "other-dtype", ["inputs", 0, "dtype"], "float", "$.inputs[0].dtype"),
    ("run_request-full", "older-version", ["protocol_version"], 0, "$.protocol_version"),
    (
        "run_request-full",
        "newer-version",
        ["protocol_version"],
        NEWER,
        "$.protocol_version",
    ),
    ("run_request-full", "path-as-run-id", ["run_id"], "../x", "$.run_id"),
    ("run_request-full", "long-run-id", ["run_id"], "a" * 65, "$.run_id"),
    ("run_request-full", "run-id-with-line-end", ["run_id"], "a\n", "$.run_id"),
    ("run_request-full", "path-as-sha256", ["artifact", "sha256"], "../x", "$.artifact.sha256"),
    ("run_request-full", "upper-sha256", ["inputs", 0, "sha256"], "A" * 64, "$.inputs[0].sha256"),
    ("run_request-full", "method", ["artifact", "method"], "a b", "$.artifact.method"),
    ("run_request-full", "no-candidates", ["choice", "candidates"], [], "$.choice.candidates"),
    ("run_request-full", "null-candidates", ["choice", "candidates"], None, "$.choice.candidates"),
    (
        "run_request-full",
        "candidate-method",
        ["choice", "candidates", 0, "method"],
        "a b",
        "$.choice.candidates[0].method",
    ),
    (
        "run_request-full",
        "candidate-outputs",
        ["choice", "candidates", 1, "reference_outputs"],
        MISSING,
        "reference_outputs",
    ),
    ("run_request-full", "zero-budget", ["choice", "budget_ns"], 0, "$.choice.budget_ns"),
    ("run_request-full", "no-choice", ["choice"], MISSING, "choice"),
    ("run_request-full", "no-weights", ["weights"], MISSING, "weights"),
    ("run_request-full", "weights-hash", ["weights", "sha256"], "x", "$.weights.sha256"),
    ("run_request-full", "weights-size", ["weights", "size_bytes"], 0, "$.weights.size_bytes"),
    (
        "run_request-bare",
        "weights-of-another-format",
        ["weights"],
        {"sha256": "e" * 64, "size_bytes": 1},
        "$.weights",
    ),
    ("run_request-full", "zero-loads", ["cold_loads"], 0, "$.cold_loads"),
    ("run_request-full", "zero-threads", ["threads"], 0, "$.threads"),
    ("run_request-full", "negative-duration", ["min_duration_ns"], -1, "$.min_duration_ns"),
    ("run_request-full", "too-large", ["max_duration_ns"], 2**63, "$.max_duration_ns"),
    ("run_request-full", "zero-axis", ["inputs", 0, "shape", 0], 0, "$.inputs[0].shape[0]"),
    ("run_request-full", "zero-period", ["energy", "sample_period_ns"], 0, "sample_period_ns"),
    ("run_request-full", "large-tolerance", ["relative_tolerance"], 1.5, "$.relative_tolerance"),
    ("run_request-full", "negative-tolerance", ["warmup", "tolerance"], -0.5, "$.warmup.tolerance"),
    ("run_request-full", "zero-iterations", ["profile_iterations"], 0, "$.profile_iterations"),
    ("run_request-full", "no-profile", ["profile_iterations"], MISSING, "profile_iterations"),
    ("run_request-full", "no-segments", ["segments"], MISSING, "segments"),
    ("run_request-full", "null-segments", ["segments"], None, "$.segments"),
    ("run_request-full", "segment-hash", ["segments", 1, "artifact", "sha256"], "x", "segments[1]"),
    (
        "run_request-full",
        "segment-method",
        ["segments", 0, "artifact", "method"],
        "",
        "segments[0]",
    ),
    (
        "run_request-full",
        "segment-size",
        ["segments", 1, "artifact", "size_bytes"],
        0,
        "size_bytes",
    ),
    ("run_request-full", "segment-format", ["segments", 1, "artifact", "format"], "onnx", "format"),
    ("run_request-full", "segment-axis", ["segments", 1, "inputs", 1, "shape", 3], 0, "inputs[1]"),
    ("run_request-full", "segment-unknown", ["segments", 0, "name"], "conv1", "name"),
    ("run_request-full", "unprofiled-segments", ["profile_iterations"], None, "$.segments"),
    ("run_request-full", "evaluation-hash", ["evaluation", "sha256"], "x", "$.evaluation.sha256"),
    ("run_request-full", "evaluation-axis", ["evaluation", "shape", 0], 0, "$.evaluation.shape[0]"),
    ("run_request-full", "evaluation-shape", ["evaluation", "shape", 4], 9, "$.evaluation"),
    ("run_request-full", "evaluation-dtype", ["evaluation", "dtype"], "int8", "$.evaluation"),
    ("run_request-full", "evaluation-inputs", ["inputs"], [], "$.evaluation"),
    ("run_request-full", "zero-rest", ["energy", "rest_ns"], 0, "$.energy.rest_ns"),
    ("run_request-full", "negative-wait", ["energy", "unplug_timeout_ns"], -1, "unplug_timeout_ns"),
    (
        "run_request-full",
        "zero-gate",
        ["energy", "temperature_gate", "timeout_ns"],
        0,
        "$.energy.temperature_gate.timeout_ns",
    ),
    (
        "run_request-full",
        "missing-in-gate",
        ["energy", "temperature_gate", "max_decicelsius"],
        MISSING,
        "max_decicelsius",
    ),
    ("run_request-full", "null-sync", ["energy", "sync_pattern"], None, "$.energy.sync_pattern"),
    ("run_success-full", "other-type", ["type"], "triumph", "$.type"),
    ("run_success-full", "no-type", ["type"], MISSING, "type"),
    (
        "run_success-full",
        "newer-version",
        ["protocol_version"],
        NEWER,
        "$.protocol_version",
    ),
    ("run_success-full", "null-samples", ["samples"], None, "$.samples"),
    ("run_success-full", "code-of-failure", ["code"], "internal", "code"),
    ("run_success-full", "float-latency", ["samples", "iteration_ns", 1], 13.0, "iteration_ns[1]"),
    ("run_success-full", "unknown-deep", ["samples", "windows", 0, "battery", 0, "x"], 1, "x"),
    ("run_failure-early", "other-code", ["code"], "bad_luck", "$.code"),
    ("run_failure-early", "other-phase", ["phase"], "sleep", "$.phase"),
    ("run_failure-early", "no-message", ["message"], MISSING, "message"),
    ("run_taken-first", "null", ["pid"], None, "$.pid"),
    ("companion_started-gauge", "other-battery", ["companion", "battery"], "lemon", "battery"),
    ("companion_started-gauge", "null-engine", ["companion", "engine"], None, "$.companion.engine"),
    ("companion_started-gauge", "int-for-bool", ["companion", "debuggable"], 0, "debuggable"),
    ("phase_started-load", "other-phase", ["phase"], "Load", "$.phase"),
    ("phase_started-load", "float-time", ["at_ns"], 1.0, "$.at_ns"),
    ("method_tried-two", "no-latencies", ["trial", "latency_ns"], [], "$.trial.latency_ns"),
    ("method_tried-two", "range-load", ["trial", "load_ns"], 0, "$.trial.load_ns"),
    ("method_tried-two", "null-method", ["trial", "method"], None, "$.trial.method"),
    ("load_measured-one", "null", ["load_ns"], None, "$.load_ns"),
    ("warmup_measured-settled", "null-item", ["latency_ns", 0], None, "$.latency_ns[0]"),
    ("warmup_measured-settled", "text-for-bool", ["settled"], "true", "$.settled"),
    ("iterations_measured-three", "missing", ["latency_ns"], MISSING, "latency_ns"),
    ("outputs_checked-match", "null-error", ["check", "max_absolute_error"], None, "$.check.max_"),
    ("memory_measured-full", "other-stage", ["sample", "stage"], "open", "$.sample.stage"),
    ("memory_measured-full", "missing-nullable", ["sample", "pss_bytes"], MISSING, "pss_bytes"),
    ("state_sampled-full", "null-thermal", ["thermal"], None, "$.thermal"),
    ("state_sampled-full", "float-charge", ["battery", "charge_counter_uah"], 1.0, "$.battery.ch"),
    ("state_sampled-full", "null-plugged", ["battery", "plugged"], None, "$.battery.plugged"),
    ("window_measured-idle", "other-kind", ["window", "kind"], "rest", "$.window.kind"),
    ("window_measured-idle", "null-battery", ["window", "battery"], None, "$.window.battery"),
    ("window_measured-idle", "no-rails", ["window", "rails"], MISSING, "rails"),
    ("window_measured-idle", "null-rails", ["window", "rails"], None, "$.window.rails"),
    ("window_measured-rails", "float-rail", ["window", "rails", 1, "energy_uj"], 1.0, "energy_uj"),
    ("window_measured-rails", "null-rail", ["window", "rails", 0, "energy_uj"], None, "energy_uj"),
    ("window_measured-rails", "rail-time", ["window", "rails", 3, "at_ns"], "1", "rails[3].at_ns"),
    ("window_measured-idle", "null-thermal", ["window", "thermal"], None, "$.window.thermal"),
    ("trace_made-etdump", "other-kind", ["trace", "kind"], "perfetto", "$.trace.kind"),
    ("trace_made-etdump", "float-size", ["trace", "size_bytes"], 1.0, "$.trace.size_bytes"),
    ("profile_refused-why", "null", ["reason"], None, "$.reason"),
    ("segment_measured-two", "float-place", ["latency", "segment"], 1.0, "$.latency.segment"),
    ("segment_measured-two", "null-latency", ["latency", "latency_ns"], None, "latency_ns"),
    ("evaluation_made-two", "null-outputs", ["evaluation", "outputs"], None, "evaluation.outputs"),
    ("wait_started-rest", "other-reason", ["reason"], "tea", "$.reason"),
    ("wait_ended-passed", "int-for-bool", ["wait", "passed"], 1, "$.wait.passed"),
    ("sync_pattern_made-six", "float-edge", ["pattern", "edges_ns", 3], 1.5, "edges_ns[3]"),
    ("energy_refused-plugged", "null", ["reason"], None, "$.reason"),
    ("run_ended-late", "other-type", ["type"], "over", "$.type"),
    ("run_ended-late", "unknown", ["at_ms"], 1, "at_ms"),
    *(
        (message, f"range-{case}", path, value, f"$.{field}")
        for message, case, path, value, field in (
            ("run_taken-first", "pid", ["pid"], 0, "pid"),
            ("phase_started-load", "time", ["at_ns"], -1, "at_ns"),
            ("phase_started-load", "time-of-65-bits", ["at_ns"], 2**63, "at_ns"),
            ("load_measured-one", "zero", ["load_ns"], 0, "load_ns"),
            ("load_measured-one", "huge", ["load_ns"], 10**40, "load_ns"),
            ("warmup_measured-settled", "zero", ["latency_ns", 1], 0, "latency_ns[1]"),
            ("iterations_measured-three", "zero", ["latency_ns", 1], 0, "latency_ns[1]"),
            ("iterations_measured-three", "negative", ["latency_ns", 0], -5, "latency_ns[0]"),
            ("iterations_measured-three", "huge", ["latency_ns", 2], 10**40, "latency_ns[2]"),
            ("outputs_checked-match", "error", ["check", "max_absolute_error"], -1e-9, "check.max"),
            ("memory_measured-full", "size", ["sample", "pss_bytes"], -1, "sample.pss_bytes"),
            ("memory_measured-full", "time", ["sample", "at_ns"], -1, "sample.at_ns"),
            ("state_sampled-full", "status", ["thermal", "status"], 7, "thermal.status"),
            ("state_sampled-full", "time", ["battery", "at_ns"], -1, "battery.at_ns"),
            ("state_sampled-full", "khz", ["thermal", "cpu_khz", 1], -1, "thermal.cpu_khz[1]"),
            (
                "state_sampled-full",
                "charge",
                ["battery", "charge_counter_uah"],
                2**63,
                "battery.charge_counter_uah",
            ),
            ("trace_made-etdump", "hash", ["trace", "sha256"], "../../x", "trace.sha256"),
            ("trace_made-etdump", "size", ["trace", "size_bytes"], 2**28 + 1, "trace.size_bytes"),
            ("trace_made-etdump", "latency", ["trace", "latency_ns", 0], 0, "trace.latency_ns[0]"),
            ("segment_measured-two", "place", ["latency", "segment"], -1, "latency.segment"),
            (
                "segment_measured-two",
                "latency",
                ["latency", "latency_ns", 0],
                0,
                "latency.latency_ns[0]",
            ),
            (
                "evaluation_made-two",
                "hash",
                ["evaluation", "outputs", "sha256"],
                "/etc/x",
                "evaluation.outputs.sha256",
            ),
            (
                "evaluation_made-two",
                "axis",
                ["evaluation", "outputs", "shape", 1],
                0,
                "evaluation.outputs.shape[1]",
            ),
            (
                "evaluation_made-two",
                "latency",
                ["evaluation", "latency_ns", 1],
                0,
                "evaluation.latency_ns[1]",
            ),
            ("companion_started-gauge", "threads", ["companion", "threads"], 0, "companion.thr"),
            ("wait_started-rest", "time", ["at_ns"], -1, "at_ns"),
            ("sync_pattern_made-six", "edge", ["pattern", "edges_ns", 0], -1, "pattern.edges_ns"),
            ("window_measured-load", "times", ["window", "iterations"], -1, "window.iterations"),
            (
                "window_measured-rails",
                "rail",
                ["window", "rails", 0, "energy_uj"],
                -1,
                "window.rails[0].energy_uj",
            ),
            ("run_ended-late", "time", ["at_ns"], -1, "at_ns"),
            (
                "run_success-full",
                "deep",
                ["samples", "iteration_ns", 2],
                0,
                "samples.iteration_ns[2]",
            ),
            ("run_success-full", "id", ["run_id"], "../x", "run_id"),
            ("run_failure-early", "message", ["message"], LONG_TEXT, "message"),
            (
                "run_success-full",
                "energy-refusal",
                ["samples", "energy_refusal"],
                LONG_TEXT,
                "samples.energy_refusal",
            ),
            (
                "run_success-full",
                "profile-refusal",
                ["samples", "profile_refusal"],
                LONG_TEXT,
                "samples.profile_refusal",
            ),
            ("profile_refused-why", "reason", ["reason"], LONG_TEXT, "reason"),
            ("energy_refused-plugged", "reason", ["reason"], LONG_TEXT, "reason"),
            *(
                (
                    "companion_started-gauge",
                    field,
                    ["companion", field],
                    LONG_NAME,
                    f"companion.{field}",
                )
                for field in ("name", "version", "engine", "engine_version", "abi")
            ),
            (
                "window_measured-rails",
                "rail-name",
                ["window", "rails", 1, "name"],
                LONG_NAME,
                "window.rails[1].name",
            ),
            (
                "state_sampled-full",
                "processors",
                ["thermal", "cpu_khz"],
                [1] * (p.MAX_PROCESSORS + 1),
                "thermal.cpu_khz",
            ),
            (
                "sync_pattern_made-six",
                "edges",
                ["pattern", "edges_ns"],
                [1] * (2 * p.SYNC_PULSES + 1),
                "pattern.edges_ns",
            ),
        )
    ),
    ("window_measured-load", "no-duration", ["window", "ended_ns"], 10_200_000_000, "ended_ns"),
    ("window_measured-load", "backwards", ["window", "ended_ns"], 1, "ended_ns"),
    ("wait_ended-passed", "backwards", ["wait", "ended_ns"], 1, "ended_ns"),
]

TEXTS = {
    "run_request-empty": "",
    "run_request-cut-off": '{"protocol_version": 1, "run_id": "a',
    "run_request-not-an-object": "[]",
    "run_request-byte-order-mark": "\ufeff{}",
    "run_request-comment": "{} // none",
    "run_success-nothing": "null",
    "run_ended-two-values": '{"type": "end", "at_ns": 1} {}',
    "run_ended-trailing-comma": '{"type": "end", "at_ns": 1,}',
    "run_ended-leading-zero": '{"type": "end", "at_ns": 01}',
    "run_ended-single-quotes": "{'type': 'end', 'at_ns': 1}",
    "outputs_checked-nan": '{"type": "check", "check": {"matches": false, '
    '"max_absolute_error": NaN, "max_relative_error": 1.0}}',
    "outputs_checked-infinity": '{"type": "check", "check": {"matches": false, '
    '"max_absolute_error": 1e999, "max_relative_error": 1.0}}',
    "energy_refused-control-character": '{"type": "energy_refused", "reason": "a\u0001b"}',
    "energy_refused-lone-surrogate": '{"type": "energy_refused", "reason": "\\ud800"}',
}


def rule(window: int, tolerance: float, iterations: int, duration_ns: int) -> dict[str, Any]:
    return json.loads(
        encode(
            p.WarmupRule(
                window_iterations=window,
                tolerance=tolerance,
                max_iterations=iterations,
                max_duration_ns=duration_ns,
            )
        )
    )


def warmup(
    name: str, warmup_rule: dict[str, Any], latency_ns: list[int], iterations: int, settled: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "rule": warmup_rule,
        "latency_ns": latency_ns,
        "iterations": iterations,
        "settled": settled,
    }


# What is expected is written by hand: it is the rule's text, not an implementation's answer.
WARMUP = [
    warmup("steady from the start", rule(3, 0.1, 100, 10**9), [100] * 8, 6, True),
    warmup(
        "exactly at the tolerance is settled",
        rule(1, 0.25, 100, 10**9),
        [200, 149, 100, 75],
        4,
        True,
    ),
    warmup(
        "just below the tolerance is not settled",
        rule(1, 0.25, 4, 10**9),
        [10_000, 7_499, 5_624, 4_217],
        4,
        False,
    ),
    warmup("getting slower is settled", rule(2, 0.0, 100, 10**9), [10, 10, 20, 30], 4, True),
    warmup(
        "an even window's median is the mean of the middle two",
        rule(4, 0.0, 100, 10**9),
        # 10 20 30 40: 25; then 25 25 1 99: 25.
        [40, 10, 30, 20, 99, 25, 1, 25],
        8,
        True,
    ),
    warmup(
        "half a nanosecond counts in an even window",
        rule(2, 0.0, 100, 10**9),
        # 10 after 10.5, twice; then 10 after 10.
        [10, 11, 10, 10, 10, 10],
        6,
        True,
    ),
    warmup(
        "the median of an odd window ignores an outlier",
        rule(3, 0.0, 100, 10**9),
        [10, 9_000, 10, 10, 1, 10],
        6,
        True,
    ),
    warmup(
        "the windows slide",
        rule(2, 0.1, 100, 10**9),
        [900, 700, 500, 300, 200, 200, 200, 200, 200],
        8,
        True,
    ),
    warmup("ends at the count", rule(2, 0.0, 5, 10**9), [900, 800, 700, 600, 500, 400], 5, False),
    warmup(
        "settled at the very last iteration counts",
        rule(2, 0.0, 4, 10**9),
        [100, 100, 100, 100],
        4,
        True,
    ),
    warmup("ends when the durations reach the limit", rule(5, 0.0, 99, 300), [150, 150], 2, False),
    warmup("one nanosecond less goes on", rule(5, 0.0, 99, 300), [150, 149, 1], 3, False),
    warmup(
        "settled in the iteration that reaches the duration",
        rule(1, 0.0, 99, 200),
        [100, 100],
        2,
        True,
    ),
    warmup(
        "a window longer than the count never fills", rule(50, 1.0, 3, 10**9), [1] * 3, 3, False
    ),
    warmup("a tolerance of 1 settles with two windows", rule(1, 1.0, 9, 10**9), [900, 1], 2, True),
    warmup("one iteration may be all", rule(1, 0.0, 1, 10**9), [5], 1, False),
]
LARGEST = 1.7976931348623157e308


def check(
    name: str,
    outputs: list[list[float | str]],
    reference: list[list[float | str]],
    matches: bool,
    absolute: float,
    relative: float,
    tolerance: float = 0.125,
) -> dict[str, Any]:
    return {
        "name": name,
        "relative_tolerance": tolerance,
        "outputs": outputs,
        "reference_outputs": reference,
        "matches": matches,
        "max_absolute_error": absolute,
        "max_relative_error": relative,
    }


OUTPUT_CHECK = [
    check("equal", [[1.0, -2.0]], [[1.0, -2.0]], True, 0.0, 0.0),
    check("exactly at the tolerance", [[3.5, 0.0]], [[4.0, 0.0]], True, 0.5, 0.125),
    check("above the tolerance", [[3.25]], [[4.0]], False, 0.75, 0.1875),
    check("no tolerance", [[1.0]], [[1.0]], True, 0.0, 0.0, tolerance=0.0),
    check("scaled by the largest magnitude", [[-8.0, 2.0]], [[-8.0, 1.0]], True, 1.0, 0.125),
    check("over all tensors", [[8.0], [2.0]], [[8.0], [1.0]], True, 1.0, 0.125),
    check("reference all zero", [[0.0625]], [[0.0]], True, 0.0625, 0.0625),
    check("reference all zero, beyond", [[0.25]], [[0.0]], False, 0.25, 0.25),
    check("both all zero", [[0.0, 0.0]], [[0.0, -0.0]], True, 0.0, 0.0),
    check("NaN in the output", [[1.0, "nan"]], [[1.0, 2.0]], False, LARGEST, LARGEST),
    check(
        "NaN in the output with full tolerance", [["nan"]], [[2.0]], False, LARGEST, LARGEST, 1.0
    ),
    check("NaN on both sides", [["nan"]], [["nan"]], False, LARGEST, LARGEST),
    check("NaN in the reference", [[1.0]], [["nan"]], False, LARGEST, LARGEST),
    check("infinity in the output", [["inf"]], [[2.0]], False, LARGEST, LARGEST),
    check("infinity on both sides", [["-inf"]], [["-inf"]], False, LARGEST, LARGEST),
    check("another number of tensors", [[1.0]], [[1.0], [2.0]], False, LARGEST, LARGEST),
    check("another shape", [[1.0, 2.0]], [[1.0]], False, LARGEST, LARGEST),
    check("no outputs", [], [], True, 0.0, 0.0),
]


# --- answers -------------------------------------------------------------------------------------

ANSWERED = msgspec.structs.replace(
    REQUEST,
    run_id="answer-1",
    cold_loads=2,
    min_iterations=3,
    profile_iterations=2,
    segments=(),
    evaluation=p.TensorFile(sha256="d" * 64, dtype="float32", shape=(2, 1, 3, 224, 224)),
    energy=msgspec.structs.replace(REQUEST.energy, blocks=1),
)
SEGMENTED = msgspec.structs.replace(
    ANSWERED, segments=REQUEST.segments, evaluation=None, energy=None
)
BARELY_ASKED = msgspec.structs.replace(
    ANSWERED, choice=None, profile_iterations=None, evaluation=None, energy=None
)
_THIRD_IDLE = msgspec.structs.replace(IDLE, started_ns=10_413_000_000, ended_ns=10_480_000_000)
_THIRD_IDLE = msgspec.structs.replace(_THIRD_IDLE, battery=(BATTERY,))


def answer_of(request: p.RunRequest) -> p.RunSuccess:
    """What a companion may say to it: all that was asked for, and no more."""
    unasked: set[type] = {p.ProfileRefused, p.EnergyRefused}
    if request.choice is None:
        unasked.add(p.MethodTried)
    if request.profile_iterations is None or request.segments:
        unasked.add(p.TraceMade)
    if not request.segments:
        unasked.add(p.SegmentMeasured)
    if request.evaluation is None:
        unasked.add(p.EvaluationMade)
    if request.energy is None:
        unasked |= {p.WaitEnded, p.SyncPatternMade, p.WindowMeasured}
    asked = {
        "choose": request.choice is not None,
        "profile": request.profile_iterations is not None,
        "evaluate": request.evaluation is not None,
        "energy": request.energy is not None,
    }
    events = [
        event
        for event in EVENTS["all"]
        if type(event) not in unasked
        and not (isinstance(event, p.PhaseStarted) and not asked.get(event.phase, True))
    ]
    samples = collect_samples(events)
    loaded = msgspec.structs.replace(MEMORY, at_ns=8_000_000_000, stage="loaded")
    samples = msgspec.structs.replace(
        samples,
        iteration_ns=(13_000_000, 13_000_001, 12_999_998),
        memory=(samples.memory[0], loaded, samples.memory[1]),
        windows=(*samples.windows, _THIRD_IDLE) if samples.windows else (),
    )
    return p.RunSuccess(protocol_version=p.PROTOCOL_VERSION, run_id=request.run_id, samples=samples)


def failed_answer(events: int, phase: p.Phase) -> p.RunFailure:
    return p.RunFailure(
        protocol_version=p.PROTOCOL_VERSION,
        run_id=ANSWERED.run_id,
        phase=phase,
        code="inference_failed",
        message="why",
        samples=collect_samples(EVENTS["all"][:events]),
    )


SOUND_ANSWERS: dict[str, tuple[p.RunRequest, p.RunResult]] = {
    "full": (ANSWERED, answer_of(ANSWERED)),
    "segments": (SEGMENTED, answer_of(SEGMENTED)),
    "bare": (BARELY_ASKED, answer_of(BARELY_ASKED)),
    "failure-early": (ANSWERED, failed_answer(0, "verify")),
    "failure-midway": (ANSWERED, failed_answer(12, "iterate")),
}
UNSOUND_ANSWERS: list[tuple[str, str, list[str | int], Any, str]] = [
    ("full", "other-id", ["run_id"], "answer-2", "$.run_id"),
    ("full", "no-companion", ["samples", "companion"], None, "$.samples.companion"),
    ("full", "no-phases", ["samples", "phases"], [], "$.samples.phases"),
    ("full", "phase-twice", ["samples", "phases", 1, "phase"], "verify", "$.samples.phases"),
    ("full", "phases-go-back", ["samples", "phases", 1, "at_ns"], 140_000_000, "$.samples.phases"),
    ("full", "no-end", ["samples", "ended_ns"], None, "$.samples.ended_ns"),
    ("full", "early-end", ["samples", "ended_ns"], 1, "$.samples.phases"),
    ("full", "no-trials", ["samples", "trials"], [], "$.samples.trials"),
    ("full", "other-trial", ["samples", "trials", 1, "method"], "level_1", "$.samples.trials"),
    (
        "full",
        "short-trial",
        ["samples", "trials", 0, "latency_ns"],
        [31_000_000],
        "$.samples.trials[0].latency_ns",
    ),
    (
        "full",
        "trial-after-choice",
        ["samples", "trials", 0, "latency_ns"],
        [11_000_000, 29_000_000],
        "$.samples.trials",
    ),
    (
        "full",
        "none-chosen",
        ["samples", "trials"],
        json.loads(encode(TRIALS[:1])),
        "$.samples.trials",
    ),
    ("bare", "unasked-trials", ["samples", "trials"], json.loads(encode(TRIALS)), "$.samples.tr"),
    ("full", "a-load-too-few", ["samples", "load_ns"], [1], "$.samples.load_ns"),
    ("full", "a-load-too-many", ["samples", "load_ns"], [1, 1, 1], "$.samples.load_ns"),
    ("full", "no-warm-up", ["samples", "warmup_ns"], [], "$.samples.warmup_ns"),
    ("full", "long-warm-up", ["samples", "warmup_ns"], [1] * 201, "$.samples.warmup_ns"),
    ("full", "no-iterations", ["samples", "iteration_ns"], [], "$.samples.iteration_ns"),
    ("full", "few-iterations", ["samples", "iteration_ns"], [1, 1], "$.samples.iteration_ns"),
    (
        "full",
        "longer-than-its-phase",
        ["samples", "iteration_ns", 0],
        40_000_000,
        "$.samples.iteration_ns",
    ),
    (
        "full",
        "many-readings",
        ["samples", "battery"],
        json.loads(encode((BATTERY, BATTERY, BATTERY))),
        "$.samples.battery",
    ),
    (
        "full",
        "many-states",
        ["samples", "thermal"],
        json.loads(encode((THERMAL, THERMAL, THERMAL))),
        "$.samples.thermal",
    ),
    (
        "full",
        "many-patterns",
        ["samples", "sync_patterns"],
        json.loads(encode((SYNC, SYNC, SYNC))),
        "$.samples.sync_patterns",
    ),
    ("full", "no-check", ["samples", "output_check"], None, "$.samples.output_check"),
    ("full", "no-memory", ["samples", "memory"], [], "$.samples.memory"),
    ("full", "memory-order", ["samples", "memory", 1, "stage"], "closed", "$.samples.memory"),
    ("full", "no-trace", ["samples", "trace"], None, "$.samples.trace"),
    ("full", "trace-and-refusal", ["samples", "profile_refusal"], "no", "$.samples.profile_ref"),
    ("full", "short-trace", ["samples", "trace", "latency_ns"], [1], "$.samples.trace.latency_ns"),
    (
        "full",
        "unasked-segments",
        ["samples", "segments"],
        [{"segment": 0, "latency_ns": [1, 1]}],
        "$.samples.segments",
    ),
    ("full", "no-evaluation", ["samples", "evaluation"], None, "$.samples.evaluation"),
    (
        "full",
        "examples",
        ["samples", "evaluation", "latency_ns"],
        [1],
        "$.samples.evaluation.latency_ns",
    ),
    (
        "full",
        "outputs",
        ["samples", "evaluation", "outputs", "shape"],
        [3, 1, 10],
        "$.samples.evaluation.outputs.shape",
    ),
    ("full", "no-windows", ["samples", "windows"], [], "$.samples.windows"),
    (
        "full",
        "spoiled-windows",
        ["samples", "windows", 1, "battery", 0, "plugged"],
        True,
        "$.samples.windows",
    ),
    ("full", "overlap", ["samples", "windows", 1, "started_ns"], 10_100_000_000, "samples.windows"),
    (
        "full",
        "work-in-idle",
        ["samples", "windows", 0, "iterations"],
        3,
        "$.samples.windows[0].iterations",
    ),
    (
        "full",
        "no-work-in-load",
        ["samples", "windows", 1, "iterations"],
        0,
        "$.samples.windows[1].iterations",
    ),
    (
        "full",
        "no-samples",
        ["samples", "windows", 1, "battery"],
        [],
        "$.samples.windows[1].battery",
    ),
    (
        "full",
        "samples-go-back",
        ["samples", "windows", 0, "battery", 0, "at_ns"],
        10_300_000_000,
        "$.samples.windows[0].battery",
    ),
    (
        "full",
        "edges-go-back",
        ["samples", "sync_patterns", 0, "edges_ns", 1],
        1,
        "$.samples.sync_patterns[0].edges_ns",
    ),
    ("segments", "one-too-few", ["samples", "segments", 1], MISSING, "$.samples.segments"),
    (
        "segments",
        "places",
        ["samples", "segments", 0, "segment"],
        1,
        "$.samples.segments[0].segment",
    ),
    (
        "segments",
        "latencies",
        ["samples", "segments", 0, "latency_ns"],
        [1],
        "$.samples.segments[0].latency_ns",
    ),
    ("segments", "unasked-refusal", ["samples", "profile_refusal"], "no", "$.samples.profile_ref"),
    ("bare", "unasked-refusal", ["samples", "energy_refusal"], "no", "$.samples.energy_refusal"),
    ("failure-midway", "other-phase", ["phase"], "load", "$.phase"),
    ("failure-midway", "many-loads", ["samples", "load_ns"], [1, 1, 1], "$.samples.load_ns"),
]


def answers() -> Iterable[tuple[str, dict[str, Any]]]:
    for name, pair in SOUND_ANSWERS.items():
        request, result = (json.loads(encode(each)) for each in pair)
        yield name, {"field": None, "request": request, "result": result}
    for name, case, path, value, field in UNSOUND_ANSWERS:
        request, result = (json.loads(encode(each)) for each in SOUND_ANSWERS[name])
        vector = {"field": field, "request": request, "result": changed(result, path, value)}
        yield f"{name}-{case}", vector


# A text is its unit so many times; so many of its characters are kept, before the ending.
TEXTS_TO_CUT: list[dict[str, Any]] = [
    {"unit": "", "times": 1, "kept": 0, "ending": ""},
    {"unit": "x", "times": 4096, "kept": 4096, "ending": ""},
    {"unit": "x", "times": 4097, "kept": 4057, "ending": " ... (the beginning of 4097 characters)"},
    {"unit": "é🔋", "times": 2048, "kept": 4096, "ending": ""},
    {
        "unit": "é🔋",
        "times": 4096,
        "kept": 4057,
        "ending": " ... (the beginning of 8192 characters)",
    },
    {
        "unit": "🔋",
        "times": 10000,
        "kept": 4056,
        "ending": " ... (the beginning of 10000 characters)",
    },
]


ENGINES_FAILURES = ("refused", "unexpected", "assertion", "io")
OTHER_FAILURES = ("unexpected", "assertion", "io")
ALL_PHASES = get_args(p.Phase)


def failing(
    call: str, phases: Iterable[str], code: str, failures: tuple[str, ...] = ENGINES_FAILURES
) -> dict[str, Any]:
    """What a run ends with when a call throws: ``code``, or what is the same wherever it is."""
    codes = dict.fromkeys(failures, code)
    if failures == ENGINES_FAILURES:
        codes["library_missing"] = "engine_missing"
    codes |= {"out_of_memory": "out_of_memory", "storage_full": "storage_full"}
    return {"call": call, "phases": list(phases), "codes": codes}


FAILURES = [
    failing("make_engine", ["verify"], "engine_missing"),
    failing("load", ["choose", "load", "memory", "profile"], "load_failed"),
    failing("load_traced", ["profile"], "load_failed"),
    failing("bind", ["choose", "warmup", "memory", "profile", "evaluate"], "inference_failed"),
    failing(
        "infer",
        ["choose", "warmup", "iterate", "memory", "profile", "evaluate", "energy"],
        "inference_failed",
    ),
    failing("outputs", ["warmup", "evaluate"], "inference_failed"),
    failing("write_trace", ["profile"], "inference_failed"),
    failing("read_battery", ["verify", "energy"], "internal", OTHER_FAILURES),
    failing("record", ALL_PHASES, "internal", OTHER_FAILURES),
]


def changed(message: Any, path: list[str | int], value: Any) -> Any:
    message = copy.deepcopy(message)
    target = message
    for key in path[:-1]:
        target = target[key]
    if value is MISSING:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return message


def invalid() -> Iterable[tuple[str, dict[str, Any]]]:
    for valid_name, case, path, value, field in CHANGES:
        message = changed(json.loads(encode(VALID[valid_name])), path, value)
        yield f"{valid_name.partition('-')[0]}-{case}", {"field": field, "message": message}
    for name, text in TEXTS.items():
        yield name, {"field": "", "text": text}


def condensed() -> Iterable[dict[str, Any]]:
    """Condensed programs, and what is wrong with those that are none."""
    random = np.random.default_rng(3)
    few = random.choice([-1.5, -0.0, 0.25, 3.0, 1e-40], (30, 9)).astype("f4")
    many = (np.arange(70_001) % 256).astype("f4")
    sparse = np.where(np.arange(70_001) % 97 == 0, np.arange(70_001), 0).astype("f4")
    dictionary = Dictionary(
        scale=np.float32(0.01),
        atoms=random.integers(-127, 128, (40, 7), np.int8),
        indices=random.permuted(np.tile(np.arange(7), (30, 1)), axis=1)[:, :3],
        codes=random.integers(-127, 128, (30, 3), np.int8),
    )
    wide = Dictionary(
        scale=np.float32(1.0),
        atoms=(np.arange(300) % 3).astype(np.int8)[np.newaxis].repeat(2, axis=0),
        indices=np.arange(70_000).reshape(70_000, 1) % 300,
        codes=np.ones((70_000, 1), np.int8),
    )
    sound = {
        "plain": (b"no weights" * 3, ()),
        "nothing": (b"", ()),
        "shared": (b"head" + few.tobytes() + b"tail", (few,)),
        "shared-256-in-pieces": (many.tobytes(), (many,)),
        "sparse-in-pieces": (sparse.tobytes() + b"tail", (sparse,)),
        "dictionary": (None, (dictionary,)),
        "dictionary-of-two-bytes-in-pieces": (None, (wide,)),
    }
    made = {}
    for name, (program, weights) in sound.items():
        forms = []
        for each in weights:
            if isinstance(each, Dictionary):
                sums = sums_of_atoms(each.scale, each.atoms, each.indices, each.codes)
                forms.append(Form(name, sums, each))
                program = sums.tobytes()
            else:
                forms.append(Form(name, each, None))
        with tempfile.TemporaryDirectory() as directory:
            target = Path(directory) / "condensed"
            assert condense(program, forms, target) == ()
            made[name] = target.read_bytes()
        yield {"name": name, "condensed": made[name].hex(), "error": None}
    for name, data, error in broken_condensed(made):
        yield {"name": name, "condensed": data.hex(), "error": error}


def broken_condensed(made: dict[str, bytes]) -> Iterable[tuple[str, bytes, str]]:
    plain, atoms, start = made["plain"], made["dictionary"], HEAD.size

    def one(block: Block, content: bytes, size: int | None = None) -> bytes:
        stream = zlib.compress(content)
        size = block.expanded_bytes if size is None else size
        head = HEAD.pack(MAGIC, size, bytes(32), 1)
        return head + BLOCK.pack(*block._replace(stream_bytes=len(stream))) + stream

    def altered(data: bytes, **fields: int) -> bytes:
        block = Block(*BLOCK.unpack_from(data, start))._replace(**fields)
        return data[:start] + BLOCK.pack(*block) + data[start + BLOCK.size :]

    yield "other-file", b"PK" + plain[2:], "it does not begin as one"
    yield "head-cut-off", plain[:40], "it is cut off"
    yield "cut-off", plain[:-3], "it is cut off"
    yield "block-cut-off", plain[: start + 9], "it is cut off"
    yield "surplus", plain + b"x", "something follows its blocks"
    yield "huge", plain[:8] + b"\xff" * 8 + plain[16:], "its program would have"
    yield "too-short", one(Block(PLAIN, 0, 0, 0, 0, 3, 0), b"abc", 4), "blocks are shorter"
    yield "too-long", one(Block(PLAIN, 0, 0, 0, 0, 3, 0), b"abc", 2), "blocks are longer"
    yield "negative", altered(plain, expanded_bytes=2**64 - 1), "blocks are longer"
    yield "stream-too-long", one(Block(PLAIN, 0, 0, 0, 0, 2, 0), b"abc"), "longer than its block"
    yield "stream-too-short", one(Block(PLAIN, 0, 0, 0, 0, 4, 0), b"abc"), "shorter than its block"
    yield "bomb", one(Block(PLAIN, 0, 0, 0, 0, 9, 0), bytes(10**6)), "longer than its block"
    yield (
        "damaged",
        plain[: start + BLOCK.size] + b"\xff" + plain[start + BLOCK.size + 1 :],
        "damaged",
    )
    yield "check-sum", plain[:-1] + bytes([plain[-1] ^ 1]), "damaged"
    yield "stream-cut", altered(plain, stream_bytes=9)[: start + BLOCK.size + 9], "shorter"
    yield "kind", one(Block(4, 0, 0, 0, 0, 4, 0), b"abcd"), "no blocks of kind 4"
    yield "half-an-element", one(Block(SHARED, 1, 1, 0, 0, 6, 0), bytes(5)), "within an element"
    yield "no-values", one(Block(SHARED, 1, 0, 0, 0, 4, 0), bytes(1)), "0 shared values of 1 bits"
    yield "no-bits", one(Block(SHARED, 0, 1, 0, 0, 4, 0), bytes(4)), "1 shared values of 0 bits"
    yield "values", one(Block(SHARED, 1, 257, 0, 0, 4, 0), bytes(1029)), "257 shared values"
    yield "index", one(Block(SHARED, 2, 3, 0, 0, 4, 0), bytes(12) + b"\x03"), "beyond the shared"
    yield "no-atoms", altered(atoms, entries=0), "0 atoms for 40 x 30"
    yield "no-codes", altered(atoms, bits=0), "0 for each column"
    yield "rows", altered(atoms, rows=41), "7 atoms for 41 x 30"
    yield "rows-beyond", altered(atoms, rows=2**32 - 1, columns=2**32 - 1), "7 atoms for 4294967295"
    yield "large", altered(atoms, entries=65535), "larger than what it stands for"
    index = bytearray(zlib.decompress(atoms[start + BLOCK.size :]))
    index[4 + 40 * 7] = 7
    block = Block(*BLOCK.unpack_from(atoms, start))
    yield "atom", one(block, bytes(index)), "beyond the atoms"


def apart() -> Iterable[dict[str, Any]]:
    """Programs, their weights, and what these lack."""
    one = make_program({"level_1": [Delegate([("a", 8)])], "level_2": [Delegate([("a", 16)])]})
    two = {
        "level_1": [
            Delegate([("a", 8), ("b", 4)]),
            Delegate([("", 99), ("c", 2)], is_inline=True),
            Delegate([("a", 99)], backend="VulkanBackend"),
        ]
    }
    enough = make_weights({"a": 8, "b": 4, "c": 2})
    short = make_weights({"b": 4, "a": 7})
    both = ["level_1", "level_2"]
    known = "level_1 reads 8 bytes of the constant a, of which"
    for name, program, methods, weights, lack in (
        ("enough", one, ["level_1"], enough, None),
        ("more-than-enough", one, both, make_weights({"a": 16}), None),
        (
            "a-lower-levels",
            one,
            ["level_2"],
            enough,
            "level_2 reads 16 bytes of the constant a, of",
        ),
        ("a-candidate", one, both, enough, "level_2 reads 16 bytes of the constant a, of which"),
        ("short-by-a-byte", one, ["level_1"], short, known),
        ("none", one, ["level_1"], make_weights({}), "level_1 reads the constant a, which"),
        ("no-such-method", one, ["forward"], make_weights({}), None),
        ("several-delegates", make_program(two), ["level_1"], enough, None),
        (
            "in-the-flatbuffer",
            make_program(two),
            ["level_1"],
            make_weights({"a": 8, "b": 4}),
            "constant c",
        ),
        ("shared-data", make_again(1, 60, 60), ["level_1"], enough, None),
        ("its-own", make_program(two, {"c": 2}), ["level_1"], make_weights({"a": 8, "b": 4}), None),
        (
            "its-own-is-short",
            make_program(two, {"c": 1}),
            ["level_1"],
            make_weights({"a": 8, "b": 4}),
            "2 bytes of the constant c",
        ),
    ):
        files = {"program": program.hex(), "weights": weights.hex()}
        yield {"name": name, **files, "methods": methods, "lack": lack, "error": None}
    for name, program, weights, error in broken_apart(one, enough):
        files = {"program": program.hex(), "weights": weights.hex()}
        yield {"name": name, **files, "methods": both, "lack": None, "error": error}


def broken_apart(program: bytes, weights: bytes) -> Iterable[tuple[str, bytes, bytes, str]]:
    no_program, no_weights = "no program of ExecuTorch", "no weights of ExecuTorch"
    yield "empty-program", b"", weights, no_program
    yield "empty-weights", program, b"", no_weights
    yield "weights-as-program", weights, weights, no_program
    yield "program-as-weights", program, program, no_weights
    yield "root-beyond", b"\xff\xff\xff\x7f" + program[4:], weights, no_program
    yield "root-far-beyond", b"\xff\xff\xff\xff" + program[4:], weights, no_program
    yield "segments-beyond", program[:24] + b"\xff" * 8 + program[32:], weights, no_program
    yield "segments-elsewhere", program[:24] + bytes(8) + program[32:], weights, no_program
    yield "cut-off", program[: len(program) // 2], weights, no_program
    yield "weights-cut-off", program, weights[:60], no_weights
    yield "plans-again-and-again", make_again(60, 60, 60), weights, "hold more than it does"
    yield "delegates-again-and-again", make_again(9, 60, 1), weights, "hold more than it does"
    root = int.from_bytes(weights[:4], "little")
    before = weights[:root] + (2**31 - 1).to_bytes(4, "little") + weights[root + 4 :]
    yield "fields-before-the-data", program, before, no_weights


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    for folder in ("valid", "invalid", "answers"):
        shutil.rmtree(VECTORS / folder, ignore_errors=True)
    (VECTORS / "valid").mkdir(parents=True)
    for name, record in VALID.items():
        (VECTORS / "valid" / f"{name}.json").write_bytes(encode_pretty(record))
    for name, vector in invalid():
        write(VECTORS / "invalid" / f"{name}.json", vector)
    for name, vector in answers():
        write(VECTORS / "answers" / f"{name}.json", vector)
    write(VECTORS / "warmup.json", WARMUP)
    write(VECTORS / "output_check.json", OUTPUT_CHECK)
    write(VECTORS / "failures.json", FAILURES)
    write(VECTORS / "texts.json", TEXTS_TO_CUT)
    write(VECTORS / "condensed.json", list(condensed()))
    write(VECTORS / "apart.json", list(apart()))


if __name__ == "__main__":
    main()
