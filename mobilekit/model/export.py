"""Turns a network into an artifact: a program, its inputs and the outputs to expect of it.

An artifact is cached by everything that it depends on, so that asking for it again costs neither
an export nor the import of torch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import mobilekit
from mobilekit.contract.protocol import Format
from mobilekit.errors import ExportError, UsageError
from mobilekit.formats import FORMATS, FormatOrAuto, backend_of
from mobilekit.model.artifact_cache import (
    DamagedError,
    Target,
    cache_key,
    operators_path,
    read_cached,
    version_of,
    write_tensor,
    write_weights,
)
from mobilekit.model.calibration import read_examples
from mobilekit.model.files import reporting_full_disk, write_record
from mobilekit.model.program import (
    Written,
    check_packages,
    condense_program,
    is_halved,
    make_program,
    runs_here,
    trace_for,
    write_methods,
    write_program,
)
from mobilekit.records.artifact import (
    LARGEST_ERRORS,
    LARGEST_TOLERANCES,
    Artifact,
    Calibration,
)
from mobilekit.records.network import (
    Level,
    ModelSpec,
    Precision,
    Pruned,
    Variant,
    with_level,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

GENERATED_EXAMPLES = 4
"""Besides the inputs that a program is checked with, which it is not calibrated with. They tell
ranges of the right order and no more, so that more of them would only take time."""


def relative_tolerance(
    precision: Precision, relative_error: float | None, foreseen_error: float = 0.0
) -> float:
    """What a device may differ by, of a program that has ``relative_error`` where it was exported,
    if it runs there.

    Below fp32 twice that, and at least 0.01: other kernels round other values up. Twice
    ``foreseen_error`` too, what kernels lose that compute in half throughout
    (``half.foresee_error``), as none do here: it is the worst of a few random runs.
    """
    if precision == "fp32":
        return LARGEST_ERRORS["fp32"]
    needed = max(2 * max(relative_error or 0.0, foreseen_error), 0.01)
    return min(needed, LARGEST_TOLERANCES[precision])


def check_request(spec: ModelSpec, artifact_format: FormatOrAuto, calibration: Path | None) -> None:
    """What can be known before a network is built: raises ``UsageError`` for what ``variant`` does
    not go together with, and for examples that are not wanted, not there or do not fit,
    ``ExportError`` for packages that are missing."""
    precision = spec.variant.precision
    obstacle = refuse_variant(spec.variant, artifact_format)
    if obstacle is not None:
        raise obstacle
    if calibration is not None and not spec.variant.takes_calibration:
        raise UsageError(
            f"--calibration is for int8 and whitened ranks, and this is {spec.variant.text}",
            fix="Add --precision int8, or leave --calibration out.",
        )
    if calibration is not None:
        read_examples(calibration, spec)
    if artifact_format != "auto":
        facts = FORMATS[artifact_format]
        check_packages(facts, facts.export_packages[precision])


def refuse_variant(variant: Variant, artifact_format: FormatOrAuto) -> UsageError | None:
    """What it does not go together with, in itself or with that format."""
    return (
        refuse_backend(variant, artifact_format)
        or _refuse_level(variant, artifact_format)
        or _refuse_storage(variant)
    )


def refuse_backend(variant: Variant, artifact_format: FormatOrAuto) -> UsageError | None:
    """Why a program for Vulkan, or for several backends, cannot be of that format and precision;
    ``None`` too for a variant that is for neither."""
    if variant.has_usual_backend:
        return None
    if variant.placement:
        return _refuse_placement(variant, artifact_format)
    if artifact_format not in ("auto", "pte"):
        return UsageError(
            f"--backend vulkan is for .pte, and --format {artifact_format} asks for another",
            fix="Leave --format out, or use --backend xnnpack, which leaves other formats' engines "
            "as they are.",
        )
    if variant.precision == "int8":
        return UsageError(
            "--backend vulkan takes no int8: ExecuTorch's quantizer for Vulkan leaves convolutions "
            "in float, and nothing on this computer could check what another would give",
            fix="Use --precision fp16, or --backend xnnpack.",
        )
    return None


def _refuse_storage(variant: Variant) -> UsageError | None:
    storage, precision = variant.storage, variant.precision
    if storage is None:
        return None
    if variant.level is not None:
        return UsageError(
            "--level does not go together with weights stored in less room: nothing checks that "
            "levels still share them",
            fix="Leave --level out, or give a --compressed without storage.",
        )
    if precision == "fp32" or isinstance(storage, Pruned):
        return None
    return UsageError(
        f"{storage.text} are for fp32, and this is {precision}, which rounds weights to others",
        fix="Use --precision fp32, or pruned weights.",
    )


def _refuse_placement(variant: Variant, artifact_format: FormatOrAuto) -> UsageError | None:
    if artifact_format not in ("auto", "pte"):
        return UsageError(
            f"A placement is for .pte, and --format {artifact_format} asks for another",
            fix="Leave --format out, or --placement.",
        )
    if variant.backend is not None:
        return UsageError(
            f"A placement puts layers on backends, and --backend {variant.backend} all of them",
            fix="Give one of the two.",
        )
    if variant.precision != "fp32":
        return UsageError(
            f"A placement is for fp32, and this is {variant.precision}: what flows from one "
            "backend to another would be quantized or halved for one of them alone",
            fix="Use --precision fp32, or leave --placement out.",
        )
    return None


def _refuse_level(variant: Variant, artifact_format: FormatOrAuto) -> UsageError | None:
    """Why a program of several levels cannot be of that format, backend and precision."""
    if variant.level is None:
        return None
    if artifact_format not in ("auto", "pte"):
        return UsageError(
            f"--level is for .pte, whose methods share their weights, and --format "
            f"{artifact_format} asks for another",
            fix="Leave --format out, or --level.",
        )
    if variant.precision == "fp16" or not variant.has_usual_backend:
        backend = "--placement" if variant.placement else "--backend vulkan"
        other = "--precision fp16" if variant.has_usual_backend else backend
        return UsageError(
            f"--level does not go together with {other}: only weights of XNNPACK in fp32 and int8 "
            "were seen to be shared between methods",
            fix=f"Leave {other} out, or --level.",
        )
    return None


def export_artifact(
    spec: ModelSpec,
    artifact_format: Format = "pte",
    *,
    calibration: Path | None = None,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Artifact:
    """The network's artifact in a format, from the cache or exported now.

    ``calibration`` is the examples' ``.npy`` file or the directory of such, for int8; without it
    ranges are those of generated inputs. The first example takes the place of the generated
    inputs then, which may lie far outside the range that the program is made for; it is left out
    of the calibration, so that the check sees what the ranges do to an input that is not in them.

    ``on_progress`` is told each stage as it begins. A cached artifact whose files are not what
    its manifest says is exported anew.

    Raises ``ModelFileError``, ``WeightsError``, ``ExportError``, or ``UsageError`` for
    calibration examples that do not fit.
    """
    check_request(spec, artifact_format, calibration)
    # What the ranks are whitened by is the network's, not its program's.
    target = Target(artifact_format, calibration if spec.variant.precision == "int8" else None)
    manifest = cache_directory / f"{cache_key(spec, target)}.json"
    try:
        cached = read_cached(manifest, cache_directory)
        # The same content may be asked for under other names.
        found = cached.calibration
        return msgspec.structs.replace(
            cached,
            model=spec,
            calibration=found and msgspec.structs.replace(found, path=_path_text(calibration)),
        )
    except FileNotFoundError:
        pass
    except DamagedError as damage:
        on_progress(f"The cached artifact is damaged ({damage}): exporting it anew")
    if spec.variant.level is None:
        artifacts = [_export(spec, target, cache_directory, on_progress)]
    else:
        artifacts = _export_levels(spec, target, cache_directory, on_progress)
    with reporting_full_disk(cache_directory):
        for each in artifacts:
            write_record(cache_directory / f"{cache_key(each.model, target)}.json", each)
    return next(each for each in artifacts if each.model == spec)


def _export_levels(
    spec: ModelSpec,
    target: Target,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> list[Artifact]:
    """All levels of one program, from the smallest."""
    started_ns = time.perf_counter_ns()
    assert spec.variant.level is not None
    with reporting_full_disk(cache_directory):  # before the work, not after it
        cache_directory.mkdir(parents=True, exist_ok=True)
    on_progress("Importing PyTorch")
    from mobilekit.model import describe, load, nested, pt2e, pte, reference

    on_progress(f"Splitting {spec.name} into {spec.variant.level.of} levels")
    module = load.load_module(spec)
    (inputs, *others), whole_bytes = _make_examples(spec, target, module)
    specs = [
        msgspec.structs.replace(spec, variant=with_level(spec.variant, number))
        for number in range(1, spec.variant.level.of + 1)
    ]
    references, graphs, costs = [], {}, []
    for each in specs:
        level = _level_of(each)
        nested.set_level(module, level.number)
        references.append(reference.run_eager(each, module, inputs))
        state = reference.find_state(each, module, inputs, references[-1])
        if state:
            raise ExportError(
                f"{spec.name} keeps a state from one inference to the next, which its levels would "
                "not share",
                fix="Export it without --level, or make the state an input and an output of "
                "forward().",
                state=", ".join(state),
                at=spec.path,
            )
        on_progress(f"Tracing level {level.number}")
        graph = trace_for(each, target, module, inputs)
        costs.append(describe.count_cost(module, graph))
        with suppress(ExportError):
            description = describe.describe(each, graph, costs[-1])
            describe.keep_description(each, description, cache_directory=cache_directory)
        if spec.variant.precision == "int8":
            graph = pt2e.quantize(
                each, graph, others or [inputs], nested.find_largest_weights(module)
            )
        graphs[level.method] = graph
    on_progress("Lowering all levels to XNNPACK")
    # From the largest, whose weights the others' are the beginnings of.
    programs = pte.lower_all(spec, dict(reversed(graphs.items())), on_progress)
    on_progress(f"Checking their outputs in {FORMATS[target.format].engine}")
    methods = [
        Written(each, _level_of(each).method, programs[_level_of(each).method], wanted)
        for each, wanted in zip(specs, references, strict=True)
    ]
    artifacts = []
    with reporting_full_disk(cache_directory):
        written = write_methods(target, methods, inputs, cache_directory)
        input_files = tuple(write_tensor(tensor, cache_directory) for tensor in inputs)
        for (each, method, _, wanted), cost, (file, check) in zip(
            methods, costs, written, strict=True
        ):
            program = programs[method]
            write_record(operators_path(each, file, cache_directory), program.operators)
            made = Artifact(
                model=each,
                cost=cost,
                file=file,
                backend=backend_of(each.variant, target.format),
                calibration=_calibration(spec, target, others, whole_bytes),
                delegation=program.delegation(cost.macs),
                inputs=input_files,
                reference_outputs=tuple(write_tensor(tensor, cache_directory) for tensor in wanted),
                relative_tolerance=relative_tolerance(
                    spec.variant.precision, None if check is None else check.max_relative_error
                ),
                relative_error=None if check is None else check.max_relative_error,
                weights=write_weights(program.weights, cache_directory),
                tool_versions=_tool_versions(spec, target),
                export_ns=time.perf_counter_ns() - started_ns,
            )
            artifacts.append(made)
    return artifacts


def _level_of(spec: ModelSpec) -> Level:
    assert spec.variant.level is not None
    return spec.variant.level


def _export(
    spec: ModelSpec,
    target: Target,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Artifact:
    started_ns = time.perf_counter_ns()
    facts = FORMATS[target.format]
    with reporting_full_disk(cache_directory):  # before the work, not after it
        cache_directory.mkdir(parents=True, exist_ok=True)
    on_progress("Importing PyTorch")
    from mobilekit.model import describe, half, load, reference

    on_progress(f"Building {spec.name}")
    module = load.load_module(spec, on_progress)
    (inputs, *others), whole_bytes = _make_examples(spec, target, module)
    calibrating = others or [inputs]
    on_progress("Computing the reference outputs in PyTorch")
    references = reference.run_eager(spec, module, inputs)
    state = reference.find_state(spec, module, inputs, references)
    if state and target.format != "pte":
        raise ExportError(
            f"{spec.name} keeps a state from one inference to the next, and {facts.engine} would "
            "begin each with the first",
            fix="Export it with --format pte, or make the state an input and an output of "
            "forward().",
            state=", ".join(state),
            at=spec.path,
        )
    foreseen_error = 0.0
    if spec.variant.precision == "fp16" and facts.computes_in_half:
        on_progress("Foreseeing what a phone loses in half precision")
        foreseen_error = half.foresee_error(spec, module, inputs, references)
    on_progress("Tracing the network")
    exported = trace_for(spec, target, module, inputs)
    on_progress("Counting its layers")
    cost = describe.count_cost(module, exported)
    # A deploy looks at them without torch; what cannot be described runs all the same.
    description = None
    if not is_halved(spec, target) and target.calibration is None:
        with suppress(ExportError):
            description = describe.describe(spec, exported, cost)
    with reporting_full_disk(cache_directory):
        try:
            program = make_program(spec, target, exported, calibrating, on_progress)
            on_progress("Writing the program")
            if runs_here(spec.variant):
                on_progress(f"Checking its outputs in {facts.engine}")
            file, check = write_program(spec, target, program, inputs, references, cache_directory)
            dense = None
            if spec.variant.storage is not None:
                dense = file
                file = condense_program(spec, dense, module, cache_directory, on_progress)
        except ExportError as error:
            if state or not _onnx_takes(
                spec, target, exported, inputs, calibrating, references, on_progress
            ):
                raise
            raise ExportError(
                error.what,
                fix=f"`--format onnx` takes it. For this one: {error.fix}",
                **error.facts,
            ) from error
        write_record(operators_path(spec, file, cache_directory), program.operators)
        input_files = tuple(write_tensor(tensor, cache_directory) for tensor in inputs)
        reference_files = tuple(write_tensor(tensor, cache_directory) for tensor in references)
    with suppress(ExportError):
        if description is None:
            describe.read_description(spec, cache_directory=cache_directory, module=module)
        else:
            describe.keep_description(spec, description, cache_directory=cache_directory)
    relative_error = None if check is None else check.max_relative_error
    return Artifact(
        model=spec,
        cost=cost,
        file=file,
        dense=dense,
        backend=backend_of(spec.variant, target.format),
        calibration=_calibration(spec, target, others, whole_bytes),
        delegation=program.delegation(cost.macs),
        inputs=input_files,
        reference_outputs=reference_files,
        relative_tolerance=relative_tolerance(
            spec.variant.precision, relative_error, foreseen_error
        ),
        relative_error=relative_error,
        tool_versions=_tool_versions(spec, target),
        export_ns=time.perf_counter_ns() - started_ns,
    )


def _calibration(
    spec: ModelSpec, target: Target, examples: Sequence[object], whole_bytes: bool
) -> Calibration | None:
    if spec.variant.precision != "int8":
        return None
    return Calibration(
        path=_path_text(target.calibration), examples=len(examples), whole_bytes=whole_bytes
    )


def _tool_versions(spec: ModelSpec, target: Target) -> dict[str, str]:
    packages = FORMATS[target.format].export_packages[spec.variant.precision]
    versions = {package: version_of(package) for package in packages}
    return {name: number for name, number in versions.items() if number is not None} | {
        "mobilekit": mobilekit.__version__
    }


def _path_text(calibration: Path | None) -> str | None:
    return None if calibration is None else str(calibration.resolve())


def _onnx_takes(
    spec: ModelSpec,
    target: Target,
    exported: Any,
    inputs: tuple[Tensor, ...],
    calibrating: list[tuple[Tensor, ...]],
    references: tuple[Tensor, ...],
    on_progress: Callable[[str], None],
) -> bool:
    """Whether ONNX is another format than this one, and its program computes what PyTorch does."""
    other = target._replace(format="onnx")
    facts = FORMATS[other.format]
    if target.format == other.format or not spec.variant.has_usual_backend:
        return False
    try:
        check_packages(facts, facts.export_packages[spec.variant.precision])
        on_progress("Trying whether ONNX takes it")
        program = make_program(spec, other, exported, calibrating, lambda _: None)
        with tempfile.TemporaryDirectory() as directory:
            write_program(spec, other, program, inputs, references, Path(directory))
    except ExportError:
        return False
    return True


def _make_examples(
    spec: ModelSpec, target: Target, module: nn.Module
) -> tuple[list[tuple[Tensor, ...]], bool]:
    """Inputs to check with, and after them what int8 is calibrated with; then as
    ``check_examples``."""
    from mobilekit.model import reference

    if target.calibration is None:
        count = 1 + GENERATED_EXAMPLES if spec.variant.precision == "int8" else 1
        return [reference.make_inputs(spec, seed) for seed in range(count)], False
    import torch

    from mobilekit.model.calibration_check import check_examples

    examples = [
        tuple(torch.from_numpy(array) for array in example)
        for example in read_examples(target.calibration, spec)
    ]
    whole_bytes = check_examples(spec, module, examples, target.calibration)
    # A person's own inputs are what is checked and run, and no example is kept from calibration.
    given = [] if spec.inputs_path is None else [reference.make_inputs(spec)]
    return [*given, *examples], whole_bytes
