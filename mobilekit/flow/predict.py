"""Predictions of networks on phones that are not here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.predict.chips import parse_chip, with_bandwidth
from mobilekit.analysis.predict.costs import costs_of
from mobilekit.analysis.predict.energy import battery_of, predict_network
from mobilekit.analysis.predict.fits import judge, parse_criteria
from mobilekit.analysis.predict.latency import Predictor, refuse_all
from mobilekit.analysis.predict.own import OwnPhone, Wanted
from mobilekit.analysis.predict.power import (
    OwnRun,
    arithmetic_share,
    power_of_chip,
    power_of_runs,
)
from mobilekit.analysis.predict.stored import latency_of
from mobilekit.analysis.predict.work import work_of
from mobilekit.contract.protocol import Format
from mobilekit.errors import CannotTellError, DataError, MobilekitError, UsageError
from mobilekit.flow.memory import with_memory
from mobilekit.flow.own import (
    OwnRunsOf,
    chip_of,
    find_own,
    of_population,
    predict_from_own,
)
from mobilekit.flow.shipped import load_power_model, load_predictor
from mobilekit.formats import FORMATS
from mobilekit.model.describe import find_description, read_description
from mobilekit.model.given import NOTHING, Given
from mobilekit.model.layer_table import read_known, read_layer_table
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.phone.chips import find_chip, load_cores, named
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.chip import Chip
from mobilekit.records.device import (
    VIRTUAL_PREFIX,
    DeviceProfile,
)
from mobilekit.records.network import Description, ModelSpec, Precision, Variant
from mobilekit.records.prediction import (
    Criterion,
    KnownLatency,
    LatencyPrediction,
    LayerPrediction,
    NetworkPrediction,
    NetworkWork,
    PhonePower,
    PredictedDevice,
    Predictions,
    Setting,
)
from mobilekit.runner.host import COMPUTER

if TYPE_CHECKING:
    from mobilekit.records.energy import EnergyEstimate
    from mobilekit.records.measurement import Measurement
    from mobilekit.results.own_latencies import OwnResults
    from mobilekit.results.store import Store


@dataclass(frozen=True, kw_only=True)
class PhoneOptions:
    """What is said of the phone that is predicted, besides its chip."""

    threads: int | None = None
    """As many as the chip has cores, unless they are told."""
    dram_gbps: float | None = None
    known: Path | None = None
    """A table of latencies that were measured on it; goes before one's own runs."""
    layers: bool = False
    """Whether each layer's part of the latency is told."""
    fits: str | None = None
    """What networks have to keep within: ``latency<100ms, charge>10000``."""
    format: Format | None = None
    precision: Precision | None = None
    """``None`` in both: as most of one's own runs on it were, else as of the shipped model."""
    file_precision: Precision | None = None
    """Of the file that changes the network. Other than ``precision`` it asks for no own runs."""

    @property
    def are_of_one_phone(self) -> bool:
        return self.dram_gbps is not None or self.known is not None


class Phone(NamedTuple):
    """A phone that is predicted."""

    device: str
    """As it was asked for."""
    chip: Chip
    profile: DeviceProfile | None
    """``None`` for a chip alone."""


def read_phone(device: str, *, dram_gbps: float | None = None) -> Phone:
    """The phone of a profile, a chip of the table by any of its names, or one that is described.

    Raises what ``parse_chip`` and ``load_profiles`` do, and ``UsageError`` for a profile whose
    chip is not in the table, or is one of several.
    """
    profile = load_profiles().get(device)
    known = find_chip(profile.hardware.soc if profile else device)
    if profile is not None and known is None:
        raise UsageError(
            f"The profile {device} does not tell one chip",
            soc=profile.hardware.soc,
            fix="Name the SoC, SM8350, or the cores, 4xA76@2.4,4xA55@1.8, in its place.",
        )
    chip = parse_chip(known.clusters if known else device, load_cores(), dram_gbps=dram_gbps)
    return Phone(device, chip if known is None else named(chip, known, dram_gbps), profile)


class _Told(NamedTuple):
    """All networks on one phone."""

    device: PredictedDevice
    chip: Chip | None
    """``None``: it is not known."""
    predictions: list[NetworkPrediction]


OpenOwn = Callable[[], "OwnResults | None"]
"""The results that a phone's own runs may be in; ``None``: nothing was stored."""


def _opening(given: str | None) -> OpenOwn:
    """They are looked for where they can tell something."""

    def open_own_results() -> OwnResults | None:
        from mobilekit.results.own_latencies import open_own

        return open_own(given)

    return open_own_results


def predict_models(
    models: Sequence[str],
    devices: Sequence[str],
    options: PhoneOptions,
    *,
    given: Given = NOTHING,
    variant: Variant = Variant(),  # noqa: B008  # it is frozen
    calibration: Path | None = None,
    cache_directory: Path,
    store: str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Predictions:
    """Networks by name or file on phones, as ``predict_table`` has it.

    ``calibration`` are the examples that ``variant`` is whitened by. ``on_progress`` hears of what
    takes seconds: a network that has not been described before is built and traced. Raises what
    ``predict_table``, ``find_model`` and ``read_description`` do.
    """
    found = (find_model(model, given) for model in dict.fromkeys(models))
    specs = [with_variant(each, variant, calibration) for each in found]
    return predict_specs(
        specs,
        devices,
        options,
        cache_directory=cache_directory,
        store=store,
        on_progress=on_progress,
    )


def predict_specs(
    specs: Sequence[ModelSpec],
    devices: Sequence[str],
    options: PhoneOptions,
    *,
    cache_directory: Path,
    store: str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Predictions:
    """Networks that were found, as ``predict_models`` has it."""
    described = {
        spec.label: read_description(spec, cache_directory=cache_directory, on_progress=on_progress)
        for spec in specs
    }
    networks = [work_of(name, description) for name, description in described.items()]
    return _predict(networks, devices, options, _opening(store), cache_directory, described)


def predict_table(
    layers: Path,
    devices: Sequence[str],
    options: PhoneOptions,
    *,
    cache_directory: Path,
    store: str | None = None,
) -> Predictions:
    """Every network of a table of layers, on phones by their profile, their chip or its cores.

    A core that is not known refuses every network. ``store`` is the URL of the results that a
    phone's own energy runs are in, unless it is the default one.

    Raises ``DataError`` for a table that cannot be read, and ``UsageError`` for a chip, threads or
    known latencies that make no sense, and for what is of one phone and said of several.
    """
    networks = read_layer_table(layers)
    return _predict(networks, devices, options, _opening(store), cache_directory, {})


def predict_each(runs: Iterable[Measurement], store: Store) -> list[Predictions]:
    """Of each phone that a virtual one stands in for, each network on it once."""
    told: dict[tuple[str, str], Predictions] = {}
    for run in runs:
        key = (run.artifact.model.label, run.device.name)
        predicted = None if key in told else predict_real(run, store)
        if predicted is not None:
            told[key] = predicted
    return list(told.values())


def predict_real(measurement: Measurement, store: Store) -> Predictions | None:
    """What the network would need on the phone that a virtual one stands in for, in fp32 on all of
    its cores, unless threads were asked for, or as most runs were where one's own phone of that
    name was measured; ``None`` for what was not measured on a virtual phone.

    What keeps it from being told is the reason of its one prediction; nothing is raised.
    """
    if not measurement.virtual:
        return None
    device, spec = measurement.device.name, measurement.artifact.model
    network = spec.network_label
    options = PhoneOptions(threads=measurement.request.threads)
    if measurement.artifact.precision != "fp32":
        return _untold(device, network, f"no phone was measured in {spec.variant.precision}")
    if not spec.variant.has_usual_backend:
        return _untold(device, network, "no phone's graphics processor was measured")
    directory = places.artifacts_directory()
    description = find_description(spec, cache_directory=directory)
    if description is None:
        reason = f"its layers are not counted, which `mobilekit predict {spec.name}` does"
        return _untold(device, network, reason)
    try:
        return _predict(
            [work_of(network, description)],
            [device],
            options,
            lambda: store,
            directory,
            {network: description},
        )
    except MobilekitError as error:
        return _untold(device, network, error.what[0].lower() + error.what[1:])


def _untold(device: str, network: str, reason: str) -> Predictions:
    """One network that cannot be told, on a phone of which nothing more is known."""
    phone = PredictedDevice(
        device=device,
        chip=device,
        threads=None,
        engine=load_predictor().model.engine,
        power=None,
        battery=None,
    )
    (latency,) = refuse_all([NetworkWork(name=network, layers=())], 0, reason)
    return Predictions(
        devices=(phone,), predictions=(predict_network(latency, phone),), past_errors=()
    )


def _predict(
    networks: Sequence[NetworkWork],
    devices: Sequence[str],
    options: PhoneOptions,
    open_own: OpenOwn,
    cache_directory: Path,
    described: Mapping[str, Description],
) -> Predictions:
    devices = list(dict.fromkeys(devices))
    if len(devices) > 1 and options.are_of_one_phone:
        raise UsageError(
            "--known and --dram-gbps are of one phone",
            devices=", ".join(devices),
            fix="Predict the others in commands of their own.",
        )
    known = read_known(options.known) if options.known is not None else ()
    if options.known is not None and not known:
        raise DataError("No latency is known there", path=options.known, fix="Leave --known out.")
    criteria = _read_criteria(options.fits)
    predictor = load_predictor()
    told = [
        _predict_on(device, networks, options, known, predictor, open_own, cache_directory)
        for device in devices
    ]
    works = {network.name: network for network in networks}
    predictions = [
        replace(
            with_memory(
                each,
                described.get(each.network),
                chip,
                artifact_format=device.own.setting.format if device.own else options.format,
                precision=(device.own.setting.precision if device.own else options.precision)
                or "fp32",
            ),
            layers=(
                _layers_of(each, works[each.network], chip, device.threads, predictor)
                if options.layers
                else ()
            ),
        )
        for device, chip, of_device in told
        for each in of_device
    ]
    phones = {each.device.device: each.device for each in told}
    if criteria:
        predictions = [
            replace(each, fits=judge(each, phones[each.device], criteria)) for each in predictions
        ]
    kinds = {
        (each.known, each.seen, each.extrapolation is not None)
        for each in predictions
        # Of one's own runs `predict --score` tells.
        if each.latency_ms is not None and phones[each.device].own is None
    }
    return Predictions(
        devices=tuple(each.device for each in told),
        predictions=tuple(predictions),
        past_errors=tuple(
            predictor.past_error(count, seen=seen, extrapolated=extrapolated)
            for count, seen, extrapolated in sorted(kinds, reverse=True)
        ),
    )


def _layers_of(
    prediction: NetworkPrediction,
    network: NetworkWork,
    chip: Chip | None,
    threads: int | None,
    predictor: Predictor,
) -> tuple[LayerPrediction, ...]:
    """Each layer's part of the latency; none where that cannot be told."""
    latency_ms = prediction.latency_ms
    if latency_ms is None:
        return ()
    shares = predictor.layer_shares(network, chip, threads or 1)
    return tuple(
        LayerPrediction(
            name=layer.name,
            kind=layer.kind,
            share=float(share),
            latency_ms=float(share) * latency_ms,
        )
        for layer, share in zip(network.layers, shares, strict=True)
    )


def _predict_on(
    device: str,
    networks: Sequence[NetworkWork],
    options: PhoneOptions,
    known: Sequence[KnownLatency],
    predictor: Predictor,
    open_own: OpenOwn,
    cache_directory: Path,
) -> _Told:
    """All of them on one phone; one whose cores are not known refuses every network."""
    try:
        if not known:
            from_own = _predict_from_own(
                device, networks, options, predictor, open_own, cache_directory
            )
            if from_own is not None:
                return from_own
        phone = read_phone(device, dram_gbps=options.dram_gbps)
    except CannotTellError as error:
        latencies = refuse_all(networks, len(known), str(error).removesuffix("."))
        chip, threads, power, battery = None, options.threads, None, None
    else:
        chip = phone.chip
        threads = chip.cores if options.threads is None else options.threads
        latencies = predictor.predict(networks, chip, threads, known)
        power = _power_of(phone, threads, open_own, predictor, cache_directory)
        battery = battery_of(phone.profile)
    described = PredictedDevice(
        device=device,
        chip=device if chip is None else chip.text,
        threads=threads,
        engine="what the known latencies are of" if known else predictor.model.engine,
        power=power,
        battery=battery,
    )
    return _Told(described, chip, _with_energy(networks, latencies, described, predictor))


def _read_criteria(fits: str | None) -> tuple[Criterion, ...]:
    if fits is None:
        return ()
    from mobilekit.meter.quantities import read_amount

    return parse_criteria(fits, read_amount)


def _with_energy(
    networks: Sequence[NetworkWork],
    latencies: Sequence[LatencyPrediction],
    device: PredictedDevice,
    predictor: Predictor,
) -> list[NetworkPrediction]:
    """What else follows from each latency; how a network's time divides is told only where the
    phone's power depends on it."""
    if device.power is None or device.power.by_kind is None:
        return [predict_network(each, device) for each in latencies]
    return [
        predict_network(
            each,
            device,
            None if each.latency_ms is None else _arithmetic_of(network, predictor),
        )
        for network, each in zip(networks, latencies, strict=True)
    ]


def _arithmetic_of(network: NetworkWork, predictor: Predictor) -> float:
    return arithmetic_share(predictor.shares(costs_of(network.layers)))


def _power_of(
    phone: Phone,
    threads: int,
    open_own: OpenOwn,
    predictor: Predictor,
    cache_directory: Path,
) -> PhonePower | None:
    """By its own energy runs with so many threads, the newest of each network, else by its chip;
    ``None``: neither tells it, since no chip like it was measured."""
    newest: dict[str, OwnRun] = {}
    for run, energy in _energy_runs(phone, open_own):
        latency, name = latency_of(run), run.artifact.model.name
        if latency is None or latency.threads != threads or name in newest:
            continue
        if energy.origin == "measured" and energy.plane != "rails":
            spec = run.artifact.model
            description = find_description(spec, cache_directory=cache_directory)
            arithmetic = None
            if description is not None:
                arithmetic = _arithmetic_of(work_of(name, description), predictor)
            newest[name] = OwnRun(energy, arithmetic)
    of_runs = power_of_runs(list(newest.values()))
    if of_runs is not None or predictor.reason_against(phone.chip, threads) is not None:
        return of_runs
    return power_of_chip(phone.chip, threads, load_power_model())


def _energy_runs(phone: Phone, open_own: OpenOwn) -> Iterator[tuple[Measurement, EnergyEstimate]]:
    """None of a chip alone."""
    own = None if is_chip(phone.device) else open_own()
    if own is None:
        return
    for run in own.energy_of_device(phone.device):
        # Most phones have none, and this takes longer than asking for them.
        from mobilekit.analysis.energy.estimate import energy_of

        energy = energy_of(run)
        if energy is not None:
            yield run, energy


def _predict_from_own(
    device: str,
    networks: Sequence[NetworkWork],
    options: PhoneOptions,
    predictor: Predictor,
    open_own: OpenOwn,
    cache_directory: Path,
) -> _Told | None:
    """From one's own runs, where any was on this phone, or a format or precision is asked for, of
    which no others tell; ``None`` where there are none."""
    is_asked = options.format is not None or options.precision is not None
    if not is_asked and is_chip(device):
        return None
    results = open_own()
    latencies = [] if results is None else results.list_latencies()
    runs = find_own(device, latencies)
    if runs is None and device.startswith(VIRTUAL_PREFIX):
        runs = of_population("virtual phones", latencies, None)
    if runs is None and device == COMPUTER:
        runs = of_population("computers", latencies, None)
    if runs is None and not is_asked:
        return None
    setting = _setting_of(runs, options)
    chip: Chip | None = None
    profile = None
    if runs is not None and runs.phone is not None:
        key, chip = runs.phone.key, chip_of(runs.phone)
        profile = load_profiles().get(runs.phone.name)
        if chip is not None:
            chip = with_bandwidth(chip, options.dram_gbps)
    else:
        key = device
        if runs is None:
            runs = of_population("phones", latencies, None)
            _, chip, profile = read_phone(device, dram_gbps=options.dram_gbps)
    threads = options.threads or runs.usual_threads(setting) or (chip.cores if chip else 1)
    wanted = Wanted(OwnPhone(key, chip, threads), setting)
    told, own = predict_from_own(predictor, networks, wanted, runs, cache_directory)
    if not (is_asked or own.networks_here or own.runs_elsewhere) and device in load_profiles():
        return None
    power = None
    if chip is not None and threads <= chip.cores:
        phone = Phone(device, chip, profile)
        power = _power_of(phone, threads, open_own, predictor, cache_directory)
    described = PredictedDevice(
        device=device,
        chip=UNKNOWN_CHIP if chip is None else chip.text,
        threads=threads,
        engine=f"{setting.text}, median of a run",
        own=own,
        power=power,
        battery=battery_of(profile),
    )
    return _Told(described, chip, _with_energy(networks, told, described, predictor))


UNKNOWN_CHIP = "a chip that is not known"


def is_chip(device: str) -> bool:
    """Whether these are cores, or a chip of the table: no phone's name."""
    # The profiles are read last, since that takes longer than the rest.
    return "@" in device or (find_chip(device) is not None and device not in load_profiles())


def _setting_of(runs: OwnRunsOf | None, options: PhoneOptions) -> Setting:
    """What is asked for, and of what is not, what is usual on the phone, or everywhere."""
    usual = None if runs is None or runs.phone is None else runs.usual_setting()
    if usual is None:
        usual = Setting(format=next(iter(FORMATS)), precision="fp32")
    return Setting(
        format=options.format or usual.format,
        precision=options.precision or options.file_precision or usual.precision,
    )
