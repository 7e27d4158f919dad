"""``models`` and ``devices``."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli.options import GivenOptions, JsonFlag, StoreOption
from mobilekit.cli.terminal import say, terminal_width


def models(
    network: GivenOptions,
    model: Annotated[
        str | None,
        typer.Argument(help="Show the card of this one: a name, or a file as for `deploy`."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            "-d",
            metavar="PHONE",
            help="Predict their latency on this phone, named as for `mobilekit predict`.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the networks that can be deployed by name, or show the card of one."""
    from mobilekit.cli.quick_numpy import import_numpy_without_threads

    import_numpy_without_threads()
    from mobilekit import places
    from mobilekit.cli.noting import noting
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import UsageError
    from mobilekit.model.describe import read_cost
    from mobilekit.model.given import NOTHING
    from mobilekit.model.zoo import find_model, list_models, read_card
    from mobilekit.results.listing import models_table
    from mobilekit.results.network_documents import (
        KnownModel,
        ModelDocument,
        ModelsDocument,
    )
    from mobilekit.results.tables.text import render_text
    from mobilekit.results.text.model import render_card

    directory = places.artifacts_directory()
    given = network.given
    if model is None and given != NOTHING:
        raise UsageError(
            "--weights, --input and --inputs are for one network",
            fix="Name it: mobilekit models M.",
        )
    specs = [find_model(model, given)] if model else list_models()
    with noting() as note:
        known = [
            (
                spec,
                read_card(spec),
                read_cost(spec, cache_directory=directory, on_progress=note),
            )
            for spec in specs
        ]
    predicted = None
    if device is not None:
        from mobilekit.flow.predict import PhoneOptions, predict_specs

        predicted = predict_specs(specs, [device], PhoneOptions(), cache_directory=directory)
    if as_json:
        document: ModelDocument | ModelsDocument
        if model:
            spec, card, cost = known[0]
            document = ModelDocument(model=spec, card=card, cost=cost, predicted=predicted)
        else:
            entries = (KnownModel(model=spec, card=card, cost=cost) for spec, card, cost in known)
            document = ModelsDocument(models=tuple(entries), predicted=predicted)
        say(encode_pretty(document), nl=False)
        return
    if model:
        say(render_card(*known[0], predicted))
        return
    table = models_table(((spec, cost) for spec, _, cost in known), predicted)
    say(render_text(table, terminal_width()))
    if predicted is not None:
        from mobilekit.results.text.prediction import reading_of

        for line in reading_of(predicted):
            say(line)


def devices(
    all_hosts: Annotated[
        bool, typer.Option("--all", help="What every host of the store lends to campaigns.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List attached phones, their state and battery.

    What to do about a phone that is not ready is said below the list, and why the graphics
    processor of one that has Vulkan goes unused.
    """
    if all_hosts:
        _list_offers(store, as_json=as_json)
        return
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.executor.open import list_devices
    from mobilekit.phone.attaching import (
        advice,
    )
    from mobilekit.phone.device import links_by_phone
    from mobilekit.results.documents import DevicesDocument
    from mobilekit.results.listing import devices_table
    from mobilekit.results.tables.text import render_text

    listed = list_devices()
    if as_json:
        say(encode_pretty(DevicesDocument(devices=tuple(listed))), nl=False)
        return
    if not listed:
        say(
            "No phone is attached. Plug one in with USB debugging allowed "
            "(`mobilekit docs devices`), or let a virtual phone stand in: "
            "mobilekit deploy nin --device nexus7"
        )
        return
    say(render_text(devices_table(listed)))
    for first, *others in links_by_phone(listed):
        if others:
            names = " and ".join(device.attached.serial for device in (first, *others))
            say(f"{names} are the same phone")
    for device in listed:
        if device.info is None:
            say(f"{device.attached.serial}: {advice(device.attached)}")
        elif device.info.gpu and device.info.gpu.vulkan_version and device.vulkan_obstacle:
            say(f"{device.attached.serial} cannot run --backend vulkan: {device.vulkan_obstacle}")


def _list_offers(store: str | None, *, as_json: bool) -> None:
    from mobilekit import places
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.campaigns import opened
    from mobilekit.results.documents import HostsDocument
    from mobilekit.results.listing import offers_table
    from mobilekit.results.tables.text import render_text

    with opened(store or places.default_store()) as campaigns:
        agents = campaigns.list_agents()
    if as_json:
        say(encode_pretty(HostsDocument(hosts=tuple(agents))), nl=False)
    elif any(agent.info.offers for agent in agents):
        say(render_text(offers_table(agents), terminal_width()))
    else:
        say("No host lends a phone here: `mobilekit agent --join URL` does (`mobilekit hosts`).")
