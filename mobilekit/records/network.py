"""A network: as its file declares it, what it costs, and its layers."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import replace

from mobilekit.contract.codec import Record, encode
from mobilekit.contract.protocol import Sha256

Activation = Literal["relu", "tanh", "sigmoid"]
Precision = Literal["fp32", "fp16", "int8"]
Backend = Literal["xnnpack", "vulkan"]
"""What an ExecuTorch program computes with: XNNPACK is the processor's, Vulkan the GPU's."""
PlacedBackend = Literal["vulkan", "portable"]
"""Portable is ExecuTorch's own kernels, one call for each operator."""


class Placed(Record, frozen=True):
    """Layers of an ExecuTorch program that are computed with something else than the rest."""

    backend: PlacedBackend
    layers: tuple[str, ...]
    """By ``LayerSpec.name``, in the network's order."""


class LayerRank(Record, frozen=True):
    """How many numbers a layer that is cut in two has between its parts."""

    layer: str
    """The module's path, ``features.0``."""
    rank: Annotated[int, Meta(ge=1)]


class Compression(Record, frozen=True, omit_defaults=True):
    """Which layers are two thinner ones, with how many numbers between them.

    What is left out of it where it is usual is in no key: what was cut before keeps its own.
    """

    ranks: Annotated[tuple[LayerRank, ...], Meta(min_length=1)]
    """In the order in which the network calls them."""
    whitened_by: Sha256 | None = None
    """The hash of the examples whose activations weigh what is nearest to each layer
    (``calibration_sha256``), without which the network is not to be had; ``None``: nothing does."""

    @property
    def key(self) -> str:
        way = "lowrank" if self.whitened_by is None else "whitened"
        return f"{way}{hashlib.sha256(encode(self)).hexdigest()[:8]}"

    @property
    def text(self) -> str:
        layers = len(self.ranks)
        whitened = "" if self.whitened_by is None else "whitened "
        return f"{whitened}low rank in {layers} layer{'s' if layers != 1 else ''}"


LEAST_LEVELS, MOST_LEVELS = 2, 16


class Level(Record, frozen=True):
    """One of the nested ranks in a program: of each cut layer it has the first of the numbers that
    the largest level has between its two."""

    number: Annotated[int, Meta(ge=1)]
    """From 1, the smallest."""
    ladder: Annotated[
        tuple[Compression, ...], Meta(min_length=LEAST_LEVELS, max_length=MOST_LEVELS)
    ]
    """The ranks of every level in the program, from the smallest: of the same layers, none falling
    and at least one rising from each level to the next."""
    apart: bool = False
    """Whether the weights are not in the program but in a file beside it, which has of them what
    this level needs."""

    def __post_init__(self) -> None:
        # The bounds above are the decoder's; this holds however it was made.
        if self.of < LEAST_LEVELS:
            raise ValueError("ladder: it has fewer than two levels")
        if self.number > self.of:
            raise ValueError(f"number: {self.number} is more than the {self.of} levels")
        # They are made without examples.
        if any(each.whitened_by is not None for each in self.ladder):
            raise ValueError("ladder: its levels are whitened, which levels are not")
        for lower, higher in pairwise(self.ladder):
            pairs = list(zip(lower.ranks, higher.ranks, strict=False))
            if [each.layer for each in lower.ranks] != [each.layer for each in higher.ranks]:
                raise ValueError("ladder: its levels are not of the same layers")
            if any(a.rank > b.rank for a, b in pairs) or all(a.rank == b.rank for a, b in pairs):
                raise ValueError("ladder: ranks do not rise from level to level")

    @property
    def of(self) -> int:
        """How many levels the program has."""
        return len(self.ladder)

    @property
    def method(self) -> str:
        """Of the program, that computes it."""
        return method_of_level(self.number)

    @property
    def key(self) -> str:
        ladder = hashlib.sha256(encode(self.ladder)).hexdigest()[:8]
        return f"level{self.number}of{self.of}-{ladder}{'-apart' if self.apart else ''}"

    @property
    def text(self) -> str:
        return f"level {self.number} of {self.of}{', weights apart' if self.apart else ''}"


def method_of_level(number: int) -> str:
    """The name that a level's method has in its program."""
    return f"level_{number}"


class SharedValues(Record, frozen=True, tag_field="way", tag="shared"):
    """Each layer's weights are a few values, and stored as which of them each is."""

    values: Annotated[int, Meta(ge=2, le=256)]

    @property
    def key(self) -> str:
        return f"shared{self.values}"

    @property
    def text(self) -> str:
        return f"{self.values} shared values a layer"


class Pruned(Record, frozen=True, tag_field="way", tag="pruned"):
    """The smallest weights of each layer are zero, and not stored."""

    percent: Annotated[int, Meta(ge=1, le=99)]

    @property
    def key(self) -> str:
        return f"pruned{self.percent}"

    @property
    def text(self) -> str:
        return f"{self.percent} % pruned"


class Dictionary(Record, frozen=True, tag_field="way", tag="dictionary"):
    """Each column of a layer's weights is a sum of a few atoms, out of a dictionary of them."""

    atoms_percent: Annotated[int, Meta(ge=1, le=200)]
    """How many atoms there are, of the layer's outputs."""
    codes: Annotated[int, Meta(ge=1, le=255)]
    """How many of them a column is a sum of."""

    @property
    def key(self) -> str:
        return f"dictionary{self.atoms_percent}x{self.codes}"

    @property
    def text(self) -> str:
        return f"a dictionary of {self.atoms_percent} % atoms, {self.codes} codes a column"


Storage = SharedValues | Pruned | Dictionary
"""How a program's weights are stored in less room than they take where it runs."""
StorageWay = Literal["shared", "pruned", "dictionary"]


class Variant(Record, frozen=True):
    """All that makes a network's program another one; by default nothing does.

    What is added here has a default, so that what was stored before stays readable.
    """

    activation: Activation | None = None
    """What takes the place of every activation, gates included; ``None``: they are left."""
    precision: Precision = "fp32"
    """What the program stores and computes with; the network itself stays in fp32."""
    backend: Literal["vulkan"] | None = None
    """What an ExecuTorch program computes with in place of XNNPACK; ``None``: with what programs
    of its format usually do."""
    level: Level | None = None
    """Of a program with several levels, the one that is run; ``None``: it has one method alone.
    Not together with ``compression``, which the ladder takes the place of."""
    placement: tuple[Placed, ...] = ()
    """Which layers of an ExecuTorch program leave XNNPACK for which backend; only where ``backend``
    is ``None``. An entry for a backend, no layer twice."""
    compression: Compression | None = None
    """Which layers are cut to a lower rank; ``None``: they are whole."""
    storage: Storage | None = None
    """How the weights are stored, and changed for that; ``None``: as they are computed with."""

    @property
    def whitened_by(self) -> str | None:
        """The hash of the examples that the network cannot be made without; ``None``: of none."""
        return None if self.compression is None else self.compression.whitened_by

    @property
    def takes_calibration(self) -> bool:
        """Whether examples of its inputs change anything of its program."""
        return self.precision == "int8" or self.whitened_by is not None

    @property
    def has_usual_backend(self) -> bool:
        """Whether all of it is computed with what programs of its format usually are."""
        return self.backend is None and not self.placement

    @property
    def is_by_file(self) -> bool:
        """Whether a file of `compress` or `partition` says what it changes."""
        return bool(self.compression or self.level or self.storage or self.placement)

    @property
    def needs_vulkan(self) -> bool:
        """Whether the graphics processor computes any of it."""
        return self.backend == "vulkan" or any(one.backend == "vulkan" for one in self.placement)

    @property
    def key(self) -> str:
        """For names and caches: ``tanh-int8``, ``fp16-vulkan``, ``placed-1f2e3d4c``,
        ``level2of4-1f2e3d4c``; empty where nothing is changed."""
        level = () if self.level is None else (self.level.key,)
        compression = () if self.compression is None else (self.compression.key,)
        storage = () if self.storage is None else (self.storage.key,)
        precision = () if self.precision == "fp32" else (self.precision,)
        backend = () if self.backend is None else (self.backend,)
        return "-".join(
            (
                *(*level, *self._activation, *compression, *storage),
                *(*precision, *backend, *self._placement_key),
            )
        )

    @property
    def _placement_key(self) -> tuple[str, ...]:
        if not self.placement:
            return ()
        return (f"placed-{hashlib.sha256(encode(self.placement)).hexdigest()[:8]}",)

    @property
    def text(self) -> str:
        """For people, who are always told the precision: ``tanh, fp32``. An artifact tells its
        backend itself."""
        level = () if self.level is None else (self.level.text,)
        compression = () if self.compression is None else (self.compression.text,)
        storage = () if self.storage is None else (self.storage.text,)
        return ", ".join((*level, *self._activation, *compression, *storage, self.precision))

    @property
    def _activation(self) -> tuple[str, ...]:
        return () if self.activation is None else (self.activation,)


def with_level(variant: Variant, number: int) -> Variant:
    """Another level of the same program."""
    assert variant.level is not None
    return replace(variant, level=replace(variant.level, number=number))


def with_backend(variant: Variant, backend: Backend) -> Variant:
    return replace(variant, backend=None if backend == "xnnpack" else backend)


class ModelSpec(Record, frozen=True):
    """A network as its file declares it, read without running it, and what to change of it."""

    name: str
    """The file's, and what makes the network in it if that is not ``build``: ``unet.UNet``,
    whatever the variant."""
    path: str
    builder: str | None
    """The function or class of the file that makes it; ``None``: the file is another tool's."""
    title: str
    source: str
    license: str
    input_shapes: tuple[tuple[int, ...], ...]
    input_dtypes: tuple[str, ...]
    inputs_path: str | None
    """The arrays that it is run on; ``None``: they are generated."""
    weights_path: str | None
    """The weights that the file itself names, or those given by the user; ``None``: untrained."""
    variant: Variant
    content_sha256: str
    """Of the file, the local modules that it imports, what makes the network in it, the weights,
    the inputs that a command gave in place of the file's, and what ``variant`` changes of the
    network itself: all but the precision, the backend and which of its levels is run."""
    calibration_path: str | None = None
    """The examples that ``variant`` is whitened by; ``None``: it is by none."""

    @property
    def content_key(self) -> str:
        """For caches of what is counted of it, level by level."""
        level = self.variant.level
        return self.content_sha256 if level is None else f"{self.content_sha256}.{level.method}"

    @property
    def label(self) -> str:
        """What tells it from its other variants: ``deepear-tanh-int8``."""
        return f"{self.name}-{self.variant.key}" if self.variant.key else self.name

    @property
    def network_label(self) -> str:
        """As ``label``, in whatever precision and on whatever backend."""
        key = replace(self.variant, precision="fp32", backend=None).key
        return f"{self.name}-{key}" if key else self.name


class ModelCard(Record, frozen=True):
    """What a model's file says of it to people; ``None`` where it says nothing."""

    task: str | None
    input: str | None
    published_accuracy: str | None
    """Of whoever is named in it, with their weights; never measured here."""
    measured_accuracy: str | None
    """What the file's own weights reach, on which data."""
    note: str | None


class ModelCost(Record, frozen=True):
    """Static counts of a network for one inference."""

    parameters: int
    macs: int
    """Multiply-accumulates of convolutions and matrix products only, as the literature counts."""


LayerType = Literal[
    "convolution",
    "feed-forward",
    "pooling",
    "normalization",
    "non-linear",
    "softmax",
    "dropout",
    "concatenation",
    "addition",
    "multiplication",
    "attention",
    "recurrent",
    "embedding",
    "reshape",
    "other",
]
"""Lane et al. 2015's words where they have one; ``reshape`` moves elements and computes nothing."""


class Window(Record, frozen=True):
    """How a convolution or a pooling looks at its input, a number for each spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    """1 for a pooling, which looks at each channel alone."""
    transposed: bool


class LayerSpec(Record, frozen=True):
    """One layer: one call of a module of ``torch.nn``, or one operation between modules."""

    name: str
    """The module's path, ``features.0``; of an operation, the path and what it is, ``3.cat``."""
    type: LayerType
    output_shapes: tuple[tuple[int, ...], ...]
    """Of each tensor that another layer or the caller reads."""
    window: Window | None
    """Of a convolution or a pooling; of several in one layer the first one's."""
    parameters: int
    """Trained numbers; those that several layers share are the first one's."""
    macs: int
    weights_bytes: int
    """Parameters and buffers that it reads, counted like ``parameters``."""
    input_bytes: int
    """Activations that it reads, each once."""
    output_bytes: int
    """Activations that it yields."""
    in_place: bool
    """Whether its output is its input's memory: a view; dropout, which rests at inference; what the
    network itself writes over its input (``inplace=True``, ``+=``)."""
    reads: tuple[str, ...]
    """The layers whose outputs it reads."""

    @property
    def alone_bytes(self) -> int:
        """What running this layer alone needs: its weights, its input and its output."""
        return self.weights_bytes + self.input_bytes + (0 if self.in_place else self.output_bytes)

    @property
    def macs_per_byte(self) -> float:
        """Arithmetic intensity: MACs (not FLOPs) for each byte read or written once."""
        return self.macs / self.alone_bytes if self.alone_bytes else 0.0


class Description(Record, frozen=True):
    """A network's layers in the order in which they run, and its totals."""

    cost: ModelCost
    layers: tuple[LayerSpec, ...]
    unused_parameters: int
    """Of ``cost.parameters``, those that no layer of the inference reads."""
    input_bytes: int
    peak_activation_bytes: int
    """The largest sum, over the layers, of tensors that are alive while one runs: those that it
    reads, those that it writes, and those that a later layer still reads. Scratch memory inside
    a kernel is not in it, and no layer but one ``in_place`` writes over its input."""
    peak_layer: str
    """Where that is."""


class Footprint(Record, frozen=True):
    """How much memory a network needs; derived from a ``Description``."""

    weights_bytes: int
    whole_bytes: int
    """With everything held at once: weights, the input and every layer's output."""
    planned_bytes: int
    """Weights, and of the activations only what is alive together (``peak_activation_bytes``)."""
    alone_bytes: int
    """The most that one layer needs if the network is run one layer at a time: that layer's
    weights, input and output."""
    alone_layer: str
    heaviest: tuple[str, ...]
    """The fewest layers that together need ``FOOTPRINT_SHARE`` of ``whole_bytes``, heaviest first;
    what two of them share counts once."""
    heaviest_share: float
    """What they need, relative to ``whole_bytes``."""
