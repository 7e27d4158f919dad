"""One's own runs, as far as they tell latencies of other networks."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekit.analysis.predict.chips import parse_chip
from mobilekit.analysis.predict.latency import Predictor
from mobilekit.analysis.predict.own import OwnLatency, OwnPhone, Wanted, predict_with_own
from mobilekit.analysis.predict.score import widening_for
from mobilekit.analysis.predict.stored import population_of, scored
from mobilekit.analysis.predict.work import work_of
from mobilekit.errors import UsageError
from mobilekit.model.describe import find_description
from mobilekit.phone.chips import find_chip, load_cores, named
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.chip import Chip
from mobilekit.records.device import DeviceInfo
from mobilekit.records.prediction import (
    LatencyPrediction,
    NetworkWork,
    OwnRuns,
    Population,
    Setting,
    StoredLatency,
)
from mobilekit.units import NS_PER_MS


@dataclass(frozen=True)
class OwnRunsOf:
    """All latencies of one population, and of which phone they are to tell."""

    phone: DeviceInfo | None
    """``None``: one that was never measured."""
    latencies: tuple[StoredLatency, ...]

    def usual_setting(self) -> Setting | None:
        """In which most networks were measured on the phone; ``None``: none was."""
        assert self.phone is not None
        runs = {
            (each.setting, each.model.content_sha256)
            for each in self.latencies
            if each.device.key == self.phone.key
        }
        most = Counter(setting for setting, _ in runs).most_common(1)
        return most[0][0] if most else None

    def usual_threads(self, setting: Setting) -> int | None:
        """With how many threads most runs on the phone were, in the setting if any were; ``None``:
        none was."""
        here = [each for each in self.latencies if self.phone and each.device.key == self.phone.key]
        among = [each for each in here if each.setting == setting] or here
        most = Counter(each.threads for each in among).most_common(1)
        return most[0][0] if most else None


def find_own(device: str, latencies: Sequence[StoredLatency]) -> OwnRunsOf | None:
    """The phone of that serial or name among those that were measured, and its population's runs.

    ``virtual:NAME`` is a virtual phone, ``pc`` a computer; a name alone is a real phone's.
    ``None`` where nothing was measured on it. Raises ``UsageError`` for a name that several phones
    have.
    """
    found: dict[str, DeviceInfo] = {}
    for each in latencies:
        names = {each.device.key}
        if population_of(each.device) != "virtual phones":
            names |= {each.device.serial, each.device.hardware_serial, each.device.name}
        if device in names - {""}:
            found.setdefault(each.device.key, each.device)
    if len(found) > 1:
        raise UsageError(
            f"Several phones that were measured are called {device!r}",
            serials=", ".join(sorted(found)),
            fix="Name one's serial: --device.",
        )
    if not found:
        return None
    (phone,) = found.values()
    return of_population(population_of(phone), latencies, phone)


def of_population(
    population: Population, latencies: Sequence[StoredLatency], phone: DeviceInfo | None
) -> OwnRunsOf:
    return OwnRunsOf(
        phone, tuple(each for each in latencies if population_of(each.device) == population)
    )


def chip_of(device: DeviceInfo) -> Chip | None:
    """Of a phone's profile, or of what it calls its SoC; a virtual phone and a computer have none
    that is known."""
    if population_of(device) != "phones":
        return None
    profile = load_profiles().get(device.name)
    known = (profile and find_chip(profile.hardware.soc)) or (device.soc and find_chip(device.soc))
    if not known:
        return None
    return named(parse_chip(known.clusters, load_cores()), known, None)


def own_latencies(runs: OwnRunsOf, cache_directory: Path) -> tuple[OwnLatency, ...]:
    """One for each network in each setting with so many threads on each phone: of several runs the
    median. A network whose layers are not at hand is left out, and so are more threads than the
    phone's chip has cores."""
    times: dict[tuple[OwnPhone, Setting, str], list[float]] = defaultdict(list)
    works: dict[str, NetworkWork] = {}
    chips: dict[str, Chip | None] = {}
    for each in runs.latencies:
        sha256 = each.model.content_sha256
        if sha256 not in works:
            description = find_description(each.model, cache_directory=cache_directory)
            if description is None:
                continue
            works[sha256] = work_of(each.model.name, description)
        if each.device.key not in chips:
            chips[each.device.key] = chip_of(each.device)
        chip = chips[each.device.key]
        if chip is None or each.threads <= chip.cores:
            phone = OwnPhone(each.device.key, chip, each.threads)
            times[phone, each.setting, sha256].append(each.p50_ns / NS_PER_MS)
    return tuple(
        OwnLatency(phone, setting, works[sha256], statistics.median(latencies))
        for (phone, setting, sha256), latencies in times.items()
    )


def predict_from_own(
    predictor: Predictor,
    networks: Sequence[NetworkWork],
    wanted: Wanted,
    runs: OwnRunsOf,
    cache_directory: Path,
    *,
    without_themselves: bool = False,
) -> tuple[tuple[LatencyPrediction, ...], OwnRuns]:
    """From all runs of the population, and which those are. ``without_themselves``: what was
    measured of these very networks here, in this setting, is left out.

    Raises ``UsageError`` for threads that do not fit the chip.
    """

    def is_here(each: OwnLatency) -> bool:
        return (each.phone, each.setting) == (wanted.phone, wanted.setting)

    own = own_latencies(runs, cache_directory)
    if without_themselves:
        layers = {network.layers for network in networks}
        own = tuple(each for each in own if not (is_here(each) and each.network.layers in layers))
    # One outside of what was fitted tells nothing of others.
    telling = [each for each in own if predictor.is_within_fitted(each.network)]
    here = sum(map(is_here, telling))
    past = scored(runs.latencies)
    predictions = predict_with_own(
        predictor,
        networks,
        wanted,
        own,
        widening=lambda known: widening_for(known, past),
    )
    virtual = any(each.device.virtual for each in runs.latencies)
    return predictions, OwnRuns(
        setting=wanted.setting,
        networks_here=here,
        runs_elsewhere=len(telling) - here,
        origin="simulated" if virtual else "measured",
    )
