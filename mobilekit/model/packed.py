"""What a program needs of the engine that loads it, held against the library that the app packs.

That library may be older than the engine here, so that a program that was checked here may ask it
for a kernel that it has not got. ``packed.toml`` has what each can run.

Slots are those of ExecuTorch's ``program.fbs`` and TensorFlow's ``schema.fbs``: a field's is
4 + 2 x its number there. No engine's own reader comes without the engine, whose import takes
seconds.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

from mobilekit.contract.codec import decode_toml
from mobilekit.contract.protocol import ArtifactFile, Format, TensorFile
from mobilekit.errors import ExportError
from mobilekit.formats import FORMATS

_PROGRAM_PLANS = 6
_PLAN_OPERATORS, _PLAN_DELEGATES = 16, 18
_OPERATOR_NAME, _OPERATOR_OVERLOAD = 4, 6
_DELEGATE_ID = 4
_MODEL_CODES = 6
_CODE_BYTE, _CODE_CUSTOM, _CODE_VERSION, _CODE_NUMBER = 4, 6, 8, 10
_CUSTOM = 32
_MARKS: dict[Format, bytes] = {"pte": b"ET", "tflite": b"TF"}
"""What the identifiers begin with that stand behind the place of the first table."""


class _Executorch(msgspec.Struct, frozen=True):
    delegates: frozenset[str]
    vulkan: frozenset[str]
    """Of the operators that the exporter gives to Vulkan, those that Vulkan there has."""
    kernels: frozenset[str]


class _Operator(NamedTuple):
    number: int
    name: str
    newest_version: int


class _Litert(msgspec.Struct, frozen=True):
    operators: tuple[_Operator, ...]


class Packed(msgspec.Struct, frozen=True):
    """What the packed libraries have, by format."""

    pte: _Executorch
    tflite: _Litert


@cache
def read_packed() -> Packed:
    content = files("mobilekit").joinpath("model/packed.toml").read_bytes()
    return decode_toml(content, Packed)


class Lacking(NamedTuple):
    """What keeps a phone from running a program."""

    format: Format
    names: tuple[str, ...]
    """The engine's own: ``executorch_prim::sym_int.Scalar``, ``STABLEHLO_COMPOSITE``."""

    @property
    def text(self) -> str:
        engine = FORMATS[self.format].engine
        return f"the companion app's {engine} has no {', no '.join(self.names)}"

    @property
    def advice(self) -> str:
        others = " or ".join(f"--format {name}" for name in FORMATS if name != self.format)
        return f"Use {others}, or replace in the network what needs it."

    def refusal(self, name: str) -> ExportError:
        return ExportError(
            f"{name} cannot run on a phone as .{self.format}: {self.text}",
            fix=f"{self.advice} This computer runs it: --device pc.",
        )


def find_lacking(
    file: ArtifactFile, tensors: Sequence[TensorFile], directory: Path
) -> Lacking | None:
    """What the packed library lacks to run a program; ``None`` for most.

    ``tensors`` are its inputs and outputs. ``.onnx`` lacks nothing: ONNX Runtime here, which has
    run the program, is no newer than the packed one. Raises ``ExportError`` for a file that is no
    program of its format.
    """
    if file.format == "onnx":
        return None
    find = {"pte": _lacking_in_executorch, "tflite": _lacking_in_litert}[file.format]
    path = directory / Path(file.path).name
    try:
        with (
            path.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if content[4:6] != _MARKS[file.format]:
                raise ValueError(f"it begins with {content[:8]!r}")
            lacking = set(find(Table(content, _at(content, 0))))
    except (OSError, struct.error, IndexError, TypeError, ValueError) as error:
        raise ExportError(
            f"{path.name} in the cache is no .{file.format} program: {error}",
            fix="Delete it, then run the command again, which exports it anew.",
        ) from None
    if file.format == "pte" and any(tensor.dtype == "bool" for tensor in tensors):
        # Its Java classes have none: android-app's ExecuTorchEngine.
        lacking.add("boolean inputs or outputs")
    return Lacking(file.format, tuple(sorted(lacking))) if lacking else None


def _lacking_in_executorch(program: Table) -> Iterator[str]:
    packed = read_packed().pte
    for plan in _tables(program, _PROGRAM_PLANS):
        for operator in _tables(plan, _PLAN_OPERATORS):
            parts = _text(operator, _OPERATOR_NAME), _text(operator, _OPERATOR_OVERLOAD)
            kernel = ".".join(part for part in parts if part)
            if kernel not in packed.kernels:
                yield kernel
        for delegate in _tables(plan, _PLAN_DELEGATES):
            name = _text(delegate, _DELEGATE_ID)
            if name not in packed.delegates:
                yield name


def _lacking_in_litert(model: Table) -> Iterator[str]:
    operators = {each.number: each for each in read_packed().tflite.operators}
    for code in _tables(model, _MODEL_CODES):
        # Numbers beyond a byte have a field of their own, which files of before leave out.
        number = max(
            _number(code, _CODE_BYTE, number_types.Int8Flags, 0),
            _number(code, _CODE_NUMBER, number_types.Int32Flags, 0),
        )
        version = _number(code, _CODE_VERSION, number_types.Int32Flags, 1)
        known = operators.get(number)
        if number == _CUSTOM:
            yield f"custom operator {_text(code, _CODE_CUSTOM)}"
        elif known is None:
            yield f"operator {number}"
        elif not known.newest_version:
            yield known.name
        elif version > known.newest_version:
            yield f"{known.name} in version {version} (but up to {known.newest_version})"


def _at(content: Any, position: int) -> int:
    return int(encode.Get(packer.uoffset, content, position))


def _tables(table: Table, slot: int) -> Iterator[Table]:
    offset = table.Offset(slot)
    if offset:
        start = table.Vector(offset)
        for index in range(table.VectorLen(offset)):
            yield Table(table.Bytes, table.Indirect(start + 4 * index))


def _text(table: Table, slot: int) -> str:
    offset = table.Offset(slot)
    return bytes(table.String(offset + table.Pos)).decode() if offset else ""


def _number(table: Table, slot: int, flags: Any, default: int) -> int:
    offset = table.Offset(slot)
    return int(table.Get(flags, offset + table.Pos)) if offset else default
