"""Where each run of a campaign is to happen, and what hosts get that have not its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from mobilekit import places
from mobilekit.campaign.artifacts import share_artifact
from mobilekit.campaign.engine import Waiting
from mobilekit.contract.protocol import Format
from mobilekit.errors import DeviceError, UsageError
from mobilekit.executor.open import READY, Identified, identify_attached, identify_device
from mobilekit.model.export import check_request, export_artifact
from mobilekit.model.given import NOTHING
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.campaign import CampaignRun, ListedAgent, Offer, PlacedRun, PlannedRun
from mobilekit.records.network import ModelSpec, Variant
from mobilekit.results.campaign_rows import RunId
from mobilekit.results.campaigns import (
    Campaigns,
)

COMPUTER_TURN = "computer"
"""Of phones that compute with their host's processor, one measures at a time: two would measure
each other."""


def turn_of(placed: PlacedRun) -> str:
    return COMPUTER_TURN if placed.computes_here else placed.phone


def waiting_of(run: CampaignRun, placed: PlacedRun) -> Waiting:
    run_id = RunId(run.campaign, run.key, run.attempt)
    return Waiting(run_id, placed.host, turn_of(placed), run.number)


def offer_of(found: Identified, host: str) -> Offer:
    return Offer(
        device=found.device,
        phone=found.phone if found.is_shared else f"{host}/{found.phone}",
        name=found.name,
        state=found.state,
        computes_here=found.computes,
        formats=found.formats,
        level_percent=found.level_percent,
    )


def read_offers(host: str, lent: Sequence[str]) -> tuple[Offer, ...]:
    """Every phone that is attached here and ready, and the devices that were named."""
    found = {each.phone: each for each in identify_attached()}
    for device in lent:
        identified = identify_device(device)
        found.setdefault(identified.phone, identified)
    return tuple(offer_of(each, host) for each in found.values())


def find_offers(
    devices: Iterable[str], agents: Sequence[ListedAgent], host: str
) -> dict[str, tuple[str, Offer]]:
    """Host and phone of each device: of a live agent that offers it, else of this computer.

    ``HOST/DEVICE`` names the agent as well. Raises ``DeviceError`` for one that several offer, and
    what ``identify_device`` raises for one that nobody has.
    """
    alive = [each.info for each in agents if each.is_alive]
    found: dict[str, tuple[str, Offer]] = {}
    for device in devices:
        named, _, rest = device.partition("/")
        by_host = [each for each in alive if each.name == named] if rest else []
        wanted = rest if by_host else device
        offered = [
            (each.name, offer)
            for each in by_host or alive
            for offer in each.offers
            if wanted in (offer.device, offer.phone, offer.name) and offer.state == READY
        ]
        if len(offered) > 1:
            raise DeviceError(
                f"Several phones of the lab are {wanted!r}",
                phones=", ".join(f"{name}/{offer.device}" for name, offer in offered),
                fix="Name one of them so.",
            )
        if by_host and not offered:
            raise DeviceError(
                f"{named} does not offer {wanted!r}",
                offers=", ".join(offer.device for offer in by_host[0].offers) or "nothing",
                fix="`mobilekit devices --all` shows what every host offers.",
            )
        found[device] = offered[0] if offered else (host, offer_of(identify_device(device), host))
    return found


def place_runs(
    runs: Sequence[PlannedRun],
    offers: dict[str, tuple[str, Offer]],
    host: str,
    campaigns: Campaigns,
    note: Callable[[str], None],
) -> tuple[PlacedRun, ...]:
    """Each run where its device is. What other hosts run is exported here, once, and its files go
    to the store.

    Raises for a model that cannot be had as its run wants it, before anything is measured.
    """
    specs: dict[tuple[str, Variant], ModelSpec] = {}
    artifacts: dict[tuple[str, Variant, Format], Artifact] = {}
    placed = []
    for run in runs:
        where, offer = offers[run.device]
        variant = run.variant
        spec = specs.get((run.model, variant))
        if spec is None:
            spec = with_variant(find_model(run.model, NOTHING), variant)
            specs[run.model, variant] = spec
            check_request(spec, run.format, None)
        artifact = None
        format = run.format
        if where != host:
            format = _format_of(run, offer)
            artifact = artifacts.get((run.model, variant, format))
            if artifact is None:
                note(f"Exporting {spec.label} as .{format} for other hosts")
                artifact = export_artifact(
                    spec, format, cache_directory=places.artifacts_directory(), on_progress=note
                )
                share_artifact(campaigns, artifact)
                artifacts[run.model, variant, format] = artifact
        placed.append(
            PlacedRun(
                run=replace(run, device=offer.device, format=format),
                host=where,
                phone=offer.phone,
                computes_here=offer.computes_here,
                artifact=artifact,
            )
        )
    return tuple(placed)


def _format_of(run: PlannedRun, offer: Offer) -> Format:
    """The one that is asked for, or that the phone usually gets."""
    if not offer.formats:
        raise DeviceError(
            f"{offer.name} can run no format that mobilekit exports",
            device=offer.device,
            fix="Use another phone.",
        )
    wanted: Format = "pte" if run.backend == "vulkan" else offer.formats[0]
    if run.format != "auto":
        wanted = run.format
    if wanted not in offer.formats:
        raise UsageError(
            f"{offer.name} cannot run .{wanted}",
            device=offer.device,
            formats=", ".join(offer.formats),
            fix="Leave it out of the campaign's `formats`.",
        )
    return wanted
