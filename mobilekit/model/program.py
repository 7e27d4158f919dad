"""A program of any format: made of a network, written, and checked against PyTorch.

What differs between formats lies in a module of each format's own: ``pte``, ``onnx``, ``tflite``.
Torch is imported when a program is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mobilekit.contract.protocol import ArtifactFile, OutputCheck
from mobilekit.errors import ExportError
from mobilekit.formats import FORMATS, FormatFacts, backend_of
from mobilekit.hashing import file_sha256
from mobilekit.model.artifact_cache import Target
from mobilekit.model.files import put_in_place, written_aside
from mobilekit.records.artifact import LARGEST_ERRORS, Delegation, ProgramOperator
from mobilekit.records.network import ModelSpec, Precision, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn


class Program(Protocol):
    """A program of any format, ready to be written."""

    @property
    def operators(self) -> tuple[ProgramOperator, ...]: ...

    def write(self, path: Path) -> None: ...

    def run_once(
        self, spec: ModelSpec, path: Path, inputs: Sequence[Tensor]
    ) -> tuple[Tensor, ...]: ...

    def delegation(self, total_macs: int) -> Delegation: ...


def check_packages(facts: FormatFacts, packages: Sequence[str]) -> None:
    """Before the import of torch, which takes seconds."""
    missing = [package for package in packages if find_spec(package) is None]
    if facts.extra is not None and missing:
        raise ExportError(
            f"Exporting for {facts.engine} needs packages that are not installed",
            missing=", ".join(missing),
            fix=f"pip install 'mobilekit[{facts.extra}]'",
        )


def trace_for(spec: ModelSpec, target: Target, module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """The graph (a ``torch.export.ExportedProgram``) that the program is made from, of the whole
    network or of a part of it."""
    from mobilekit.model.graph import make_graph

    if is_halved(spec, target):
        from mobilekit.model.pt2e import Halved

        module = Halved(module)
    return make_graph(spec, module, inputs)


def is_halved(spec: ModelSpec, target: Target) -> bool:
    """Whether the network is put in half precision before it is traced; else the program is."""
    variant = spec.variant
    return target.format == "pte" and variant.precision == "fp16" and variant.backend is None


def runs_here(variant: Variant) -> bool:
    """Whether this computer's engines can run such programs: its ExecuTorch has no Vulkan."""
    return not variant.needs_vulkan


def make_program(
    spec: ModelSpec,
    target: Target,
    exported: Any,
    examples: Sequence[Sequence[Tensor]],
    on_progress: Callable[[str], None],
    *,
    is_part: bool = False,
) -> Program:
    """From ``trace_for`` an input like ``examples``, with all of which int8 is calibrated."""
    precision = spec.variant.precision
    quantizing = f"Quantizing it with {len(examples)} examples"
    if target.format == "pte":
        from mobilekit.model import pt2e, pte

        if precision == "int8":
            on_progress(quantizing)
            exported = pt2e.quantize(spec, exported, examples)
        names = {"xnnpack": "XNNPACK", "vulkan": "Vulkan", "portable": "portable kernels"}
        backends = backend_of(spec.variant, target.format).split("+")
        on_progress(f"Lowering it to {' and '.join(names[each] for each in backends)}")
        return pte.lower(spec, exported, on_progress)
    if target.format == "onnx":
        from mobilekit.model import onnx

        on_progress("Translating it to ONNX")
        as_it_is = not is_part and onnx.is_onnx_file(spec)
        translated = onnx.take_over(spec) if as_it_is else onnx.translate(spec, exported)
        if precision == "int8":
            on_progress(quantizing)
            return onnx.quantize(spec, translated, examples)
        return onnx.halve(spec, translated) if precision == "fp16" else translated
    from mobilekit.model import tflite

    on_progress("Converting it to LiteRT's format")
    converted = tflite.convert(spec, exported, examples[0])
    if precision == "int8":
        on_progress(quantizing)
        return tflite.quantize(spec, converted, examples)
    return tflite.halve(spec, converted) if precision == "fp16" else converted


def write_program(
    spec: ModelSpec,
    target: Target,
    program: Program,
    inputs: Sequence[Tensor],
    references: Sequence[Tensor],
    cache_directory: Path,
) -> tuple[ArtifactFile, OutputCheck | None]:
    """Write a program under its content's hash, once its outputs have been checked; ``None`` where
    no engine of this computer runs it."""
    from mobilekit.model.graph import METHOD

    (found,) = write_methods(
        target, [Written(spec, METHOD, program, references)], inputs, cache_directory
    )
    return found


class Written(NamedTuple):
    """A method of a program that is written, and what it should yield."""

    spec: ModelSpec
    method: str
    program: Program
    references: Sequence[Tensor]


def write_methods(
    target: Target, methods: Sequence[Written], inputs: Sequence[Tensor], cache_directory: Path
) -> list[tuple[ArtifactFile, OutputCheck | None]]:
    """As ``write_program``, for the methods of one program."""
    with written_aside(cache_directory) as aside:
        methods[0].program.write(aside)
        checks = [
            _check(spec, target, program.run_once(spec, aside, inputs), references)
            if runs_here(spec.variant)
            else None
            for spec, _, program, references in methods
        ]
        sha256 = file_sha256(aside)
        size_bytes = aside.stat().st_size
        files = [
            ArtifactFile(
                sha256=sha256, format=target.format, size_bytes=size_bytes, method=each.method
            )
            for each in methods
        ]
        put_in_place(aside, cache_directory / Path(files[0].path).name)
    return list(zip(files, checks, strict=True))


def condense_program(
    spec: ModelSpec,
    program: ArtifactFile,
    module: nn.Module,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> ArtifactFile:
    """Write the small form of a program, of a network whose ``variant`` stores its weights so."""
    from mobilekit.contract.condensed import expand
    from mobilekit.model.condense import condense
    from mobilekit.model.storage import find_forms

    on_progress("Condensing the program")
    dense = cache_directory / Path(program.path).name
    with written_aside(cache_directory) as aside, written_aside(cache_directory) as again:
        # An int8 program has other numbers; where many are 0, a plain stream is small.
        forms = find_forms(module) if spec.variant.precision == "fp32" else ()
        missing = condense(dense.read_bytes(), forms, aside)
        if missing:
            on_progress(
                f"The program has the weights of {', '.join(missing)} in another form: they are "
                "stored as they are"
            )
        expand(aside, again)
        if file_sha256(again) != program.sha256:
            raise ExportError(
                f"The condensed {spec.name} does not expand to its program",
                fix="Report this, with the network, to the makers of mobilekit.",
                model=spec.path,
            )
        file = ArtifactFile(
            sha256=file_sha256(aside),
            format=program.format,
            size_bytes=aside.stat().st_size,
            method=program.method,
        )
        put_in_place(aside, cache_directory / Path(file.path).name)
    return file


def _check(
    spec: ModelSpec,
    target: Target,
    outputs: Sequence[Tensor],
    references: Sequence[Tensor],
) -> OutputCheck:
    from mobilekit.contract.outputs import check_outputs

    precision = spec.variant.precision
    tolerance = LARGEST_ERRORS[precision]
    check = check_outputs(
        [tensor.numpy() for tensor in outputs],
        [tensor.numpy() for tensor in references],
        tolerance,
    )
    if not check.matches:
        raise ExportError(
            f"The exported {spec.name} does not compute what PyTorch does"
            if precision == "fp32"
            else f"{spec.name} in {precision} is too far from PyTorch in fp32",
            fix=_fix_of_difference(precision, target),
            relative_error=f"{check.max_relative_error:.3g}",
            relative_tolerance=tolerance,
            model=spec.path,
        )
    return check


def _fix_of_difference(precision: Precision, target: Target) -> str:
    if precision == "fp32":
        return (
            "The lowering of some operator is wrong: halve the network until it agrees, and "
            f"report that operator to the makers of {FORMATS[target.format].engine}."
        )
    if precision == "int8" and target.calibration is None:
        return (
            "Give examples of its real inputs with --calibration, or use --precision fp32: not "
            "every network tolerates int8."
        )
    return "Use --precision fp32: not every network tolerates less."
