"""An exported network: its manifest, and the segments that it can be cut into."""

from __future__ import annotations

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import (
    ArtifactFile,
    File,
    TensorFile,
    WeightsFile,
)
from mobilekit.records.network import Description, ModelCost, ModelSpec, Precision


class ProgramOperator(Record, frozen=True):
    """One operator of an exported program, in the program's order, and the layer that it is of."""

    part: int | None
    """Of an ExecuTorch program, which of its calls, counted from 0, of kernels and delegates runs
    it; ``None`` in ONNX."""
    delegated: bool
    name: str
    """In ONNX the node's own; elsewhere empty."""
    kind: str
    """``aten.convolution``, or ONNX's ``Conv``."""
    inputs: tuple[str, ...]
    """In ONNX, the values that it reads; elsewhere empty."""
    outputs: tuple[str, ...]
    """In ONNX, the values that it yields; elsewhere empty."""
    layer: str | None
    """``None`` where the export lost track of it."""


class Delegation(Record, frozen=True):
    """How much of a program runs in the backend's delegate and how much on portable kernels."""

    delegated_operators: int
    portable_operators: int
    delegated_macs: int
    total_macs: int
    portable_operator_counts: dict[str, int]
    """Name of each operator left on portable kernels, and how often it occurs."""

    @property
    def portable_text(self) -> str:
        """What is left on portable kernels, for people; empty where nothing is."""
        return ", ".join(
            f"{count} x {name}" for name, count in self.portable_operator_counts.items()
        )

    @property
    def operator_fraction(self) -> float:
        total = self.delegated_operators + self.portable_operators
        return self.delegated_operators / total if total else 0.0

    @property
    def mac_fraction(self) -> float:
        """1.0 for a network without MACs: none of them is left out."""
        return self.delegated_macs / self.total_macs if self.total_macs else 1.0


LARGEST_ERRORS: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.3, "int8": 0.9}
"""Of a program's outputs, relative to the largest absolute output of eager PyTorch in float32.

fp32: kernels add the same products in another order, which moved the outputs of the networks of
``models`` by less than 5e-5: twenty times that leaves room for deeper networks and other
processors. Leaving a single ReLU or normalization out of one of them moved the outputs by 1.3e-3
at least, so that this still notices it.

fp16, int8: what is lost depends on the network. Of an untrained MobileNet v2, whose many thin
layers amplify any error, int8 leaves 0.6 and fp16 0.06, where Deep KWS has 0.01 and 0.0007. Beyond
these bounds nothing is left: outputs that are all zero have an error of 1.
"""

LARGEST_TOLERANCES: dict[Precision, float] = {**LARGEST_ERRORS, "fp16": 0.4}
"""What a device may differ by at most. Where it keeps sums in half it loses more than the computer
that exports (``model/half.py``), and another network's outputs are further off than this."""


class Calibration(Record, frozen=True):
    """The examples that an int8 program's activation ranges are from."""

    path: str | None
    """As it was given; ``None``: generated inputs, which resemble nothing."""
    examples: int
    """Without the one that the program is checked with."""
    whole_bytes: bool = False
    """All values are whole numbers of 0 to 255, as of pictures that nothing has preprocessed, and
    nothing tells that the network takes such."""


class Artifact(Record, frozen=True):
    """An exported program's manifest; its files lie in ``directory`` under their content's hash."""

    model: ModelSpec
    cost: ModelCost
    file: ArtifactFile
    backend: str
    calibration: Calibration | None
    """``None`` where nothing is quantized."""
    delegation: Delegation
    inputs: tuple[TensorFile, ...]
    reference_outputs: tuple[TensorFile, ...]
    """Eager PyTorch's outputs for ``inputs``."""
    relative_tolerance: float
    relative_error: float | None
    """Of the outputs on the computer that exported it; as in ``protocol.OutputCheck``. ``None``: no
    engine there runs it, and only a device's run tells."""
    tool_versions: dict[str, str]
    export_ns: int
    dense: ArtifactFile | None = None
    """The program that ``file`` is expanded into before it is loaded, where it is stored condensed;
    ``None``: ``file`` is the program. No device is sent it."""
    weights: WeightsFile | None = None
    """What the program needs of weights that it has not itself; ``None``: it has them."""

    @property
    def precision(self) -> Precision:
        return self.model.variant.precision

    @property
    def program(self) -> ArtifactFile:
        """What the engine loads."""
        return self.dense or self.file

    @property
    def size_bytes(self) -> int:
        """Of the program and its weights, wherever they are."""
        return self.file.size_bytes + (0 if self.weights is None else self.weights.size_bytes)

    @property
    def files(self) -> tuple[File, ...]:
        """Every file that a run needs; each name is its content's hash."""
        weights = () if self.weights is None else (self.weights,)
        return (self.file, *weights, *self.inputs, *self.reference_outputs)

    @property
    def kept(self) -> tuple[File, ...]:
        """Every file that a host keeps of it."""
        return self.files if self.dense is None else (*self.files, self.dense)


class SegmentArtifact(Record, frozen=True):
    """A part of a network, exported by itself with the values that flow into it in the whole."""

    layers: tuple[str, ...]
    """What it computes: the layer that does the work first, then those computed inside it; none
    for ``Cut.call``."""
    file: ArtifactFile
    inputs: tuple[TensorFile, ...]
    relative_error: float | None
    """Of its outputs on the computer that exported it, against eager PyTorch's; ``None`` where
    no engine there runs it."""

    @property
    def files(self) -> tuple[File, ...]:
        return (self.file, *self.inputs)


class Cut(Record, frozen=True):
    """A network in segments, in an order in which they could run."""

    description: Description
    segments: tuple[SegmentArtifact, ...]
    call: SegmentArtifact
    """One operator on one number, whose time is that of a call of the engine."""

    @property
    def programs(self) -> tuple[SegmentArtifact, ...]:
        """What is run, in this order: the segments, then the call."""
        return (*self.segments, self.call)

    @property
    def files(self) -> tuple[File, ...]:
        """Every file that a run of all programs needs, once."""
        return tuple({file.path: file for each in self.programs for file in each.files}.values())
