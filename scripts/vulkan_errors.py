"""Run programs for Vulkan in the app's own library on this computer, and print how far they err.

    python scripts/vulkan_errors.py [--precision P,...] [MODEL...]

Prints a table: each network's largest error, relative to its largest output in eager PyTorch's
fp32, and its tolerance; a run that is not right makes the exit code 1. Nothing is said of a phone's
time: Vulkan in software takes seconds for an inference of a large network.

Wants the app's libraries built (`make native`) and a Vulkan of this computer (Debian and Ubuntu:
``apt-get install libvulkan1 mesa-vulkan-drivers``).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from arm_cores import Outcome, run_core

from mobilekit import places
from mobilekit.errors import MobilekitError
from mobilekit.model.export import export_artifact
from mobilekit.model.given import NOTHING
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import Precision, Variant
from mobilekit.runner.abi import this_abi
from mobilekit.virtual.companion_settings import native_java
from mobilekit.virtual.gpus import find_gpus

MODELS = (
    *("digits", "deep_kws_digits", "deepear", "svhn", "all_cnn_c", "squeezenet", "nin"),
    *("alexnet", "resnet18", "mobilenet_v1", "mobilenet_v2", "googlenet"),
    *("inception_bn", "places_cnds_8", "resnet50", "vgg16"),
)
TIMEOUT_S = 1800


def run_here(made: Artifact, cache: Path) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        report = Path(scratch, "crash.log")
        java = [*native_java(places.built_native_libraries(this_abi()), report)]
        return run_core(java, made, cache, Path(scratch), report, TIMEOUT_S)


def export_for_vulkan(model: str, precision: Precision) -> Artifact:
    return export_artifact(
        with_variant(find_model(model, NOTHING), Variant(precision=precision, backend="vulkan")),
        "pte",
        cache_directory=places.artifacts_directory(),
        on_progress=lambda _: None,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--precision", default="fp32,fp16")
    asked = parser.parse_args()
    gpus, sound = find_gpus(), True
    if not gpus:
        raise SystemExit(
            "this computer has no Vulkan: apt-get install libvulkan1 "
            "mesa-vulkan-drivers has one in software"
        )
    print(f"On {gpus[0]}:\n")
    precisions = asked.precision.split(",")
    print(f"| |{''.join(f' {each} | tolerance |' for each in precisions)}")
    print(f"|---|{'--:|--:|' * len(precisions)}")
    for model in asked.models:
        cells = []
        for precision in precisions:
            try:
                made = export_for_vulkan(model, precision)
            except MobilekitError as error:
                sound = False
                cells += [f"not exported: {error}", ""]
                continue
            outcome = run_here(made, places.artifacts_directory())
            sound = sound and outcome.kind == "right"
            error = outcome.text if outcome.kind == "right" else f"{outcome.kind}: {outcome.text}"
            cells += [error, f"{made.relative_tolerance:.2g}"]
        print(f"| {model} | {' | '.join(cells)} |", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
