"""The formats that a network is exported to, in one table: what makes, runs and cuts each."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mobilekit.contract.protocol import Format
from mobilekit.records.network import Backend, Precision, Variant

FormatOrAuto = Literal["auto", Format]
"""``auto``: the first in ``FORMATS`` that the device runs."""
BackendOrAuto = Literal["auto", Backend]
"""``auto``: whichever is found to be faster."""
VULKAN_TEXTURE_TEXELS = 2048
"""A side of the largest texture in a program for Vulkan; larger tensors lie in buffers. ExecuTorch
takes 16,384 unless told, and drivers of phones that have 2,048 would not load the program."""

ONNX_EXACT_PRODUCTS = ("session.x64quantprecision", "1")
"""A setting of ONNX Runtime's: on x86 processors without VNNI, sums of two products of eight bits
would else be cut off at 16 bits, and int8 outputs be far from what a phone computes of the file."""


class FormatFacts(NamedTuple):
    """What is known of a format, whose name is its files' extension as well."""

    engine: str
    """What runs it, for people."""
    engine_package: str
    """The Python package of the engine on this computer."""
    backend: str
    """What the engine computes with, unless a ``Variant`` says otherwise."""
    export_packages: dict[Precision, tuple[str, ...]]
    """By the precisions that it is exported in: the packages whose versions an artifact depends
    on."""
    extra: str | None
    """Of mobilekit's optional dependencies, those that bring them; ``None``: none needed."""
    abis: tuple[str, ...]
    """Of the phones for which the companion app packs the engine: android-app/README.md."""
    arm_features: frozenset[str]
    """What an Arm processor must have, in the words of ``/proc/cpuinfo``: the packed library uses
    it without asking, and a processor that has not dies of it."""
    android_sdk: int
    android_release: str
    """The oldest Android that the engine runs on: its number, and its name for people."""
    has_tracer: bool
    """Whether the engine can record its operators' times anywhere."""
    computes_in_half: bool
    """Whether it computes in fp16, or keeps weights alone in it."""
    folded_activations: frozenset[str]
    """Operations that the engine computes inside the one before them; every other activation is an
    operator of its own."""


_CLAMPS = frozenset(
    ("relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_", "clamp", "clamp_min")
)
_PTE_PACKAGES = ("torch", "torchvision", "executorch", "torchao")
_ONNX_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime")
_TFLITE_PACKAGES = ("torch", "torchvision", "litert_torch", "ai_edge_litert")
_TFLITE_NARROW_PACKAGES = (*_TFLITE_PACKAGES, "ai_edge_quantizer")

FORMATS: dict[Format, FormatFacts] = {
    "pte": FormatFacts(
        engine="ExecuTorch",
        engine_package="executorch",
        backend="xnnpack",
        export_packages={"fp32": _PTE_PACKAGES, "fp16": _PTE_PACKAGES, "int8": _PTE_PACKAGES},
        extra=None,
        abis=("arm64-v8a", "x86_64"),
        arm_features=frozenset(("atomics",)),
        android_sdk=26,
        android_release="8.0",
        has_tracer=True,
        computes_in_half=True,
        folded_activations=_CLAMPS,
    ),
    "onnx": FormatFacts(
        engine="ONNX Runtime",
        engine_package="onnxruntime",
        backend="onnxruntime",
        export_packages={"fp32": _ONNX_PACKAGES, "fp16": _ONNX_PACKAGES, "int8": _ONNX_PACKAGES},
        extra="onnx",
        abis=("arm64-v8a", "armeabi-v7a", "x86", "x86_64"),
        arm_features=frozenset(),
        android_sdk=24,
        android_release="7.0",
        has_tracer=True,
        computes_in_half=True,
        folded_activations=_CLAMPS | {"sigmoid", "tanh", "leaky_relu", "hardsigmoid"},
    ),
    "tflite": FormatFacts(
        engine="LiteRT",
        engine_package="ai_edge_litert",
        backend="litert",
        export_packages={
            "fp32": _TFLITE_PACKAGES,
            "fp16": _TFLITE_NARROW_PACKAGES,
            "int8": _TFLITE_NARROW_PACKAGES,
        },
        extra="tflite",
        abis=("arm64-v8a", "armeabi-v7a", "x86", "x86_64"),
        arm_features=frozenset(),
        android_sdk=23,
        android_release="6.0",
        has_tracer=False,
        computes_in_half=False,
        folded_activations=_CLAMPS,
    ),
}
"""The usual one first: what a device gets that runs several."""


def backend_of(variant: Variant, artifact_format: Format) -> str:
    """What a program of that format computes with: ``xnnpack``, ``xnnpack+vulkan``."""
    usual = FORMATS[artifact_format].backend
    return variant.backend or "+".join((usual, *(one.backend for one in variant.placement)))


def formats_text() -> str:
    """``ExecuTorch's .pte, ...``"""
    return ", ".join(f"{facts.engine}'s .{name}" for name, facts in FORMATS.items())
