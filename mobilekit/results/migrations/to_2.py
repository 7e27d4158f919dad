"""From schema version 1 to 2.

Version 1 was not counted on while its records grew, so that its documents have several shapes. They
only ever gained fields: each that is missing gets what its absence meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

OF_MEASUREMENT: Json = {
    "airplane_mode": None,
    "gauge": None,
    "gain": None,
    "full_charge_uah": None,
    "layer_trace": None,
    "cut": None,
    "examples": None,
    "classification": None,
}
OF_DEVICE: Json = {"hardware_serial": "", "available_bytes": None}
OF_REQUEST: Json = {"profile_iterations": None, "segments": [], "evaluation": None}
OF_PLAN: Json = {
    "unplug_timeout_ns": None,
    "rest_ns": None,
    "temperature_gate": None,
    "sync_pattern": False,
}
OF_SAMPLES: Json = {
    "waits": [],
    "sync_patterns": [],
    "trace": None,
    "profile_refusal": None,
    "segments": [],
    "evaluation": None,
}
NO_OVERRIDES = [None, None, None]


def with_all_fields(measurement: Json) -> Json:
    artifact, request = measurement["artifact"], measurement["request"]
    samples = measurement["result"]["samples"]
    plan, cut = request["energy"], measurement.get("cut")
    return {
        **OF_MEASUREMENT,
        **measurement,
        "artifact": {
            "calibration": None,
            # It was not kept; a program beyond the tolerance was refused.
            "relative_error": artifact["relative_tolerance"],
            **artifact,
            "model": {"activation": None, **artifact["model"]},
        },
        "device": {**OF_DEVICE, **measurement["device"]},
        "request": {**OF_REQUEST, **request, "energy": plan and {**OF_PLAN, **plan}},
        "result": {
            **measurement["result"],
            "samples": {
                **OF_SAMPLES,
                **samples,
                "windows": [_with_thermal(window) for window in samples["windows"]],
            },
        },
        # One without the call cannot be told apart from its overhead, and was of a few hours.
        "cut": cut if cut and "call" in cut else None,
    }


def _with_thermal(window: Json) -> Json:
    untold = {"at_ns": window["ended_ns"], "status": None, "headroom": None, "cpu_khz": []}
    return {"rails": [], "thermal": untold, **window}


def _step_measurement(row: Json) -> Json:
    return {**row, "document": with_all_fields(row["document"])}


def _step_pending(row: Json) -> Json:
    document = row["document"]
    measurement, overrides = document if isinstance(document, list) else (document, NO_OVERRIDES)
    return {**row, "document": [with_all_fields(measurement), overrides]}


STEPS: dict[str, Callable[[Json], Json]] = {
    "measurements": _step_measurement,
    "pending_runs": _step_pending,
}
