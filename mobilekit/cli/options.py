"""Arguments and options that several commands share, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.errors import UsageError
from mobilekit.formats import BackendOrAuto, FormatOrAuto, formats_text
from mobilekit.presets import PresetName
from mobilekit.records.network import Precision, Variant, with_backend, with_level
from mobilekit.units import NS_PER_MS

if TYPE_CHECKING:
    from mobilekit.flow.prepare import DeployOptions
    from mobilekit.model.given import Given

MODEL_HELP = (
    "A name that `mobilekit models` lists, or a file: ./mynet.py, ./mynet.py:MyNet for a class or "
    "function of it, or an .onnx or .pt2."
)
ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP)]
DEVICE_HELP = "A serial, a profile's name (nexus7), auto, virtual:NAME, or pc for this computer."
DeviceOption = Annotated[str, typer.Option("--device", "-d", help=DEVICE_HELP)]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        help="Weights to load: a state dict or a checkpoint that holds one, as torch.save or "
        "safetensors write it, or a Hugging Face style directory.",
    ),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="An input in place of what the file declares: 1x3x96x96, or with its type "
        "int64:1x128. Again for each further input.",
        show_default=False,
    ),
]
InputsOption = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        help="Run it on these in place of generated inputs: a .npy file, or an .npz with one array "
        "for each input, in their order.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="A directory of labelled examples. [default: what comes with the model]",
        show_default=False,
    ),
]
FastFlag = Annotated[
    bool, typer.Option("--fast", help="A quick look: 0.5 s, 30 iterations, energy to 10 %.")
]
RigorousFlag = Annotated[
    bool,
    typer.Option("--rigorous", help="For publication: 60 s, 1,024 iterations, energy to 2 %."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="How many threads to use. [default: all]", show_default=False
    ),
]
FormatOption = Annotated[
    FormatOrAuto,
    typer.Option(
        "--format",
        help=f"{formats_text()}, or what the device can run.",
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision", help="The type of number that the program stores and computes with."
    ),
]
BackendOption = Annotated[
    BackendOrAuto,
    typer.Option(
        "--backend",
        help="What a .pte computes with: xnnpack on the processor, vulkan on the graphics "
        "processor, or auto, which measures both and keeps the faster.",
    ),
]
PlacementOption = Annotated[
    Path | None,
    typer.Option(
        "--placement",
        help="Which layers of a .pte leave XNNPACK for which backend: a file that `mobilekit "
        "partition --save` wrote.",
        show_default=False,
    ),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help="Example inputs for int8, and for ranks that were whitened by them, stacked on axis "
        "0: a .npy file or a directory of them. [default: of int8, generated inputs]",
        show_default=False,
    ),
]
CompressedOption = Annotated[
    Path | None,
    typer.Option(
        "--compressed",
        help="The file that `mobilekit compress -o` wrote: with its ranks and its precision.",
        show_default=False,
    ),
]
LevelOption = Annotated[
    str | None,
    typer.Option(
        "--level",
        metavar="N|auto",
        help="Which level of --compressed, from 1, the smallest; auto, of `deploy`, is the largest "
        "one that keeps to --budget-ms on the device. [default: the largest]",
        show_default=False,
    ),
]
ApkOption = Annotated[
    Path | None,
    typer.Option(
        "--apk",
        help="The companion app to install, where it is missing or of another version. "
        "[default: mobilekit's own, else the local build's]",
        show_default=False,
    ),
]
InstallOption = Annotated[
    bool,
    typer.Option("--install/--no-install", help="Install or update the companion app."),
]
RequirePhoneFlag = Annotated[
    bool,
    typer.Option(
        "--require-phone", envvar="MOBILEKIT_REQUIRE_PHONE", help="Refuse a virtual phone."
    ),
]
StrictFlag = Annotated[
    bool, typer.Option("--strict", help="Exit with 5 if any finding is a warning or an error.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="MOBILEKIT_STORE",
        help="SQLAlchemy URL of the results database. [default: SQLite in the user's data]",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """On which device, and what may be done to it for that."""

    device: DeviceOption = "auto"
    apk: ApkOption = None
    install: InstallOption = True
    require_phone: RequirePhoneFlag = False

    def __post_init__(self) -> None:
        if self.apk is not None and not self.install:
            raise UsageError(
                "--apk and --no-install contradict each other", fix="Give one of them."
            )
        if self.apk is not None and not self.apk.is_file():
            raise UsageError("There is no such APK", apk=self.apk, fix="Correct --apk.")


@dataclass(frozen=True, kw_only=True)
class DevicesOptions:
    """As ``DeviceOptions``, on any number of devices."""

    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            help=f"{DEVICE_HELP} Again for each further one. [default: auto]",
            show_default=False,
        ),
    ] = None
    apk: ApkOption = None
    install: InstallOption = True
    require_phone: RequirePhoneFlag = False

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(self.device or ("auto",))

    @property
    def first(self) -> DeviceOptions:
        return DeviceOptions(
            device=self.devices[0],
            apk=self.apk,
            install=self.install,
            require_phone=self.require_phone,
        )


@dataclass(frozen=True, kw_only=True)
class GivenOptions:
    """What is said of a network in place of its file."""

    weights: WeightsOption = None
    input: InputOption = None
    inputs: InputsOption = None

    @property
    def given(self) -> Given:
        from mobilekit.model.given import Given, parse_input

        return Given(self.weights, tuple(map(parse_input, self.input or ())), self.inputs)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(GivenOptions):
    """What is made of a network before its export."""

    precision: PrecisionOption = "fp32"
    calibration: CalibrationOption = None
    placement: PlacementOption = None
    compressed: CompressedOption = None
    level: LevelOption = None

    @property
    def chooses_level(self) -> bool:
        return self.level == "auto"

    def variant_of(self, model: str, among: Sequence[str] = ()) -> Variant:
        """Of the network of that name or file; raises ``UsageError`` where a file of it is of
        another one. Of several, which ``among`` are, a file changes the one that it was made
        for."""
        if self.placement is not None and self.compressed is not None:
            raise UsageError(
                "--placement names layers of the whole network, which --compressed cuts",
                fix="Give one of them.",
            )
        if self.level is not None and self.compressed is None:
            raise UsageError(
                "--level is of a file with levels, and there is no --compressed",
                fix="Give --compressed FILE too: `mobilekit compress MODEL --levels 4 -o FILE` "
                "writes one.",
            )
        file = self.placement or self.compressed
        if file is not None and len(among) > 1 and self._is_for_another(file, model, among):
            return Variant(precision=self.precision)
        if self.placement is not None:
            from mobilekit.model.zoo import network_name
            from mobilekit.results.saved import read_placement

            placement = read_placement(self.placement, network_name(model))
            return Variant(precision=self.precision, placement=placement)
        if self.compressed is None:
            return Variant(precision=self.precision)
        from mobilekit.model.zoo import network_name
        from mobilekit.results.saved import read_compressed

        variant = read_compressed(self.compressed, network_name(model))
        if self.precision not in ("fp32", variant.precision):
            raise UsageError(
                f"--precision {self.precision} contradicts --compressed, which is for "
                f"{variant.precision}",
                file=self.compressed,
                fix="Leave --precision out.",
            )
        return variant if self.level is None else self._at_level(variant)

    def calibration_of(self, model: str, among: Sequence[str] = ()) -> Path | None:
        """For the network of that name or file. Of several, which ``among`` are, what takes none
        has none where another takes it; where none does, each has it, to be refused. Raises what
        ``variant_of`` does."""
        if self.calibration is None or self.variant_of(model, among).takes_calibration:
            return self.calibration
        is_for_another = any(self.variant_of(each, among).takes_calibration for each in among)
        return None if is_for_another else self.calibration

    def _is_for_another(self, file: Path, model: str, among: Sequence[str]) -> bool:
        """Whether the file is of one of ``among``, and not of this one."""
        from mobilekit.model.zoo import network_name
        from mobilekit.results.saved import read_changed_network

        made_for = read_changed_network(file)
        return made_for != network_name(model) and made_for in map(network_name, among)

    def _at_level(self, variant: Variant) -> Variant:
        """Where the device chooses, the smallest: it is run where none keeps to the budget."""
        if variant.level is None:
            raise UsageError(
                "--level is of a file with levels, and this one has none",
                file=self.compressed,
                fix="Leave --level out; `mobilekit compress MODEL --levels 4 -o FILE` writes one "
                "with levels.",
            )
        number = 1 if self.chooses_level else parse_level(self.level, variant.level.of)
        return with_level(variant, number)


@dataclass(frozen=True, kw_only=True)
class FormatOptions(NetworkOptions):
    """As what a network runs, with whatever backend."""

    format: FormatOption = "auto"
    threads: ThreadsOption = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(FormatOptions):
    """As what a network runs."""

    backend: BackendOption = "xnnpack"


@dataclass(frozen=True, kw_only=True)
class PresetOptions:
    """How long a measurement takes."""

    fast: FastFlag = False
    rigorous: RigorousFlag = False

    def __post_init__(self) -> None:
        if self.fast and self.rigorous:
            raise UsageError("--fast and --rigorous contradict each other", fix="Give one of them.")

    @property
    def preset(self) -> PresetName:
        return "fast" if self.fast else "rigorous" if self.rigorous else "default"


@dataclass(frozen=True, kw_only=True)
class JsonOptions:
    """Whether a document is printed, and how much of a measurement it holds."""

    as_json: JsonFlag = False
    summary: Annotated[
        bool,
        typer.Option("--summary", help="With --json: what is derived, without the raw samples."),
    ] = False

    def __post_init__(self) -> None:
        if self.summary and not self.as_json:
            raise UsageError(
                "--summary is of the JSON document, and --json is not given",
                fix="Give both; what is printed for people has no raw samples.",
            )


FAST = PresetOptions(fast=True)
"""Of commands whose length the presets do not set."""


def parse_level(text: str | None, levels: int) -> int:
    """Raises ``UsageError`` for what is none of so many levels."""
    number = int(text) if text is not None and text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= levels:
        raise UsageError(
            f"--level {text!r} is none of the {levels} levels",
            fix=f"Give a number from 1, the smallest, to {levels}; or auto, with --budget-ms.",
        )
    return number


def refuse_shared_weights(models: Sequence[str], weights: Path | None) -> None:
    """Raise ``UsageError`` where one network's weights are given for several networks."""
    if weights is not None and len(models) > 1:
        raise UsageError(
            "--weights is for one network only",
            models=", ".join(models),
            fix="Measure the others in commands of their own.",
        )


def check_level_choice(network: NetworkOptions, budget_ms: float | None = None) -> None:
    """Raises ``UsageError`` for a level to be chosen without a budget, and a budget of nothing."""
    if network.chooses_level and budget_ms is None:
        raise UsageError(
            "--level auto is chosen by a budget",
            fix="`mobilekit deploy MODEL --compressed FILE --level auto --budget-ms 20` does; "
            "`mobilekit tradeoff` measures every level.",
        )
    if budget_ms is None:
        return
    if not network.chooses_level:
        raise UsageError(
            "--budget-ms is what --level auto chooses by",
            fix="Give --compressed FILE --level auto too, or leave it out.",
        )
    if not 1e-6 <= budget_ms < 1e6:
        raise UsageError(
            "--budget-ms must be a nanosecond at least, and below 1e6", fix="Correct --budget-ms."
        )


def deploy_options(
    model: str,
    on: DeviceOptions,
    run: FormatOptions,
    length: PresetOptions = FAST,
    *,
    energy: bool = True,
    backend: BackendOrAuto = "xnnpack",
    budget_ms: float | None = None,
    among: Sequence[str] = (),
) -> DeployOptions:
    """What a command's options ask for; ``budget_ms`` is what --level auto chooses by, ``among``
    are all networks that it is about."""
    check_level_choice(run, budget_ms)
    from mobilekit.flow.prepare import DeployOptions

    return DeployOptions(
        model=model,
        given=run.given,
        device=on.device,
        preset=length.preset,
        threads=run.threads,
        energy=energy,
        require_phone=on.require_phone,
        format=run.format,
        variant=with_backend(
            run.variant_of(model, among), "xnnpack" if backend == "auto" else backend
        ),
        seek_backend=backend == "auto",
        calibration=run.calibration_of(model, among),
        apk=on.apk,
        install=on.install,
        budget_ns=None if budget_ms is None else int(budget_ms * NS_PER_MS),
    )
