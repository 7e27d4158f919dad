"""From schema version 2 to 3: what a run is for is in its record, that a person stopped it is a
code, what changes a network before its export is one record, a virtual phone's gauge a field, a
charge counter is kept as it was told too, a network tells what makes it in its file, and which
inputs it was given, a layer how it looks at its input, a run what had been predicted of it, and
texts for people have a longest.

The companion's protocol went from 1 to 3 at the same time, by the code ``stopped`` and the choice
of a method, which no run of before had.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

PROTOCOL_VERSION = 3
STOPPED = "interrupted from the keyboard"
NAMED = re.compile(r"-(pilot|calibrate)-\d{8}-\d{6}-[0-9a-f]{4}$")
"""The end of an id that says what its run was for ..."""
LONGEST_ID = 61
"""... where the model's name left room for it; else its plan tells:"""
PLANS = {
    "pilot": {"blocks": 2, "sample_period_ns": 193_000_000},
    "calibrate": {"blocks": 3, "sample_period_ns": 47_000_000},
}
LONGEST_TEXT = 4096
"""Of what is for people, in characters: as much as a record of version 3 takes."""
REFUSALS = ("profile_refusal", "energy_refusal")
UNPLANNED = {"CHARGING", "NO-PROFILE", "GAUGE-REFUSED"}
"""Findings where energy was asked for and the run had no plan of it."""


def purpose_of(measurement: Json) -> str:
    request, plan = measurement["request"], measurement["request"]["energy"]
    named = NAMED.search(measurement["id"])
    if named:
        return named[1]
    if plan and len(measurement["id"]) == LONGEST_ID:
        for purpose, told in PLANS.items():
            if told.items() <= plan.items():
                return purpose
    if measurement["examples"] is not None:
        return "evaluate"
    return "measure" if request["profile_iterations"] is None else "profile"


def gauge_of(device: Json) -> str | None:
    """A virtual phone's serial number held the name of the gauge that it was started with."""
    start = f"virtual-{device['name']}-"
    serial: str = device["hardware_serial"]
    return serial.removeprefix(start) if device["virtual"] and serial.startswith(start) else None


def with_purpose(measurement: Json) -> Json:
    purpose = purpose_of(measurement)
    planned = measurement["request"]["energy"] is not None
    asked = any(finding["id"] in UNPLANNED for finding in measurement["findings"])
    host, device = measurement["host"], measurement["device"]
    return {
        **measurement,
        "purpose": purpose,
        "campaign": None,
        "predicted": None,
        "candidates": [],
        "energy_wanted": purpose == "measure" and (planned or asked),
        "request": {
            **measurement["request"],
            "protocol_version": PROTOCOL_VERSION,
            "choice": None,
        },
        "result": _result_of(measurement["result"]),
        # Of a phone's run, which computer it was is not known.
        "host": {**host, "name": device["serial"] if device["name"] == "pc" else None},
        "device": {**device, "gauge": gauge_of(device), "cpu_features": None},
    }


def with_variant(artifact: Json) -> Json:
    """Activation and precision in one record, and the name without them."""
    model = {**artifact["model"]}
    activation = model.pop("activation")
    if activation is not None:
        model["name"] = model["name"].removesuffix(f"-{activation}")
    model["variant"] = {"activation": activation, "precision": artifact["precision"]}
    return {name: value for name, value in artifact.items() if name != "precision"} | {
        "model": model
    }


def with_origin(artifact: Json) -> Json:
    """What made the network in its file, and that its inputs were generated."""
    model = artifact["model"]
    builder = "build" if model["path"].endswith(".py") else None
    return {**artifact, "model": {**model, "builder": builder, "inputs_path": None}}


def _result_of(result: Json) -> Json:
    stopped = result["type"] == "failure" and result["message"].startswith(STOPPED)
    code = {"code": "stopped"} if stopped else {}
    message = {"message": cut(result["message"])} if result["type"] == "failure" else {}
    told = result["samples"]
    refusals = {name: cut(told[name]) for name in REFUSALS if told.get(name) is not None}
    samples = {**told, **refusals, "trials": []}
    return {
        **result,
        **code,
        **message,
        "protocol_version": PROTOCOL_VERSION,
        "samples": samples,
    }


def cut(text: str) -> str:
    """A text may have been of any length: its beginning, and how long it was."""
    if len(text) <= LONGEST_TEXT:
        return text
    ending = f" ... (the beginning of {len(text)} characters)"
    return text[: LONGEST_TEXT - len(ending)] + ending


def with_told_counter(battery: Json | None) -> Json | None:
    """Until then a charge counter was taken for microampere-hours, whatever it was."""
    if battery is None:
        return None
    return {**battery, "told_counter": battery["charge_counter_uah"], "updates_stopped": False}


def with_windows(described: Json | None) -> Json | None:
    """A trace or a cut: how its network's layers look at their input was not counted."""
    if described is None:
        return None
    description = described["description"]
    layers = [{**layer, "window": None} for layer in description["layers"]]
    return {**described, "description": {**description, "layers": layers}}


def _carried(measurement: Json) -> Json:
    return {
        **with_purpose(measurement),
        "layer_trace": with_windows(measurement["layer_trace"]),
        "cut": with_windows(measurement["cut"]),
        "artifact": with_origin(with_variant(measurement["artifact"])),
        "battery_before": with_told_counter(measurement["battery_before"]),
    }


def _step_measurement(row: Json) -> Json:
    return {**row, "document": _carried(row["document"])}


def _step_pending(row: Json) -> Json:
    measurement, overrides = row["document"]
    measurement = _carried(measurement)
    if row["purpose"] == "calibrate":
        measurement = {**measurement, "purpose": "calibrate", "energy_wanted": False}
    return {**row, "document": [measurement, overrides]}


STEPS: dict[str, Callable[[Json], Json]] = {
    "measurements": _step_measurement,
    "pending_runs": _step_pending,
}
