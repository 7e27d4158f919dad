"""What goes on while a run goes on, in words."""

from __future__ import annotations

STEP_TEXTS = {
    "model": "Looking the model up",
    "device": "Looking for the device",
    "export": "Exporting",
    "layers": "Counting the layers",
    "segments": "Exporting the segments",
    "push": "Pushing",
    "examples": "Reading the examples",
    "run": "Running",
}
PHASE_TEXTS = {
    "verify": "checking the files",
    "choose": "choosing the level",
    "load": "cold loads",
    "warmup": "warming up",
    "iterate": "timing inferences",
    "check": "checking the outputs",
    "memory": "measuring memory",
    "profile": "timing the layers",
    "evaluate": "running the examples",
    "energy": "measuring energy",
}
WAIT_TEXTS = {
    "unplug": "Pull the cable now, with airplane mode on: the phone goes on by itself.",
    "rest": "The phone rests before its energy is measured.",
    "temperature": "The phone's battery is warm: waiting until it has cooled down.",
}
TIMEOUT_TEXTS = {
    "unplug": "The cable was not pulled in time.",
    "rest": "The phone did not rest for as long as was asked.",
    "temperature": "The battery did not cool down in time: measuring all the same.",
}
