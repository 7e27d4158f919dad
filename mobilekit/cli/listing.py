"""``models`` and ``devices``."""

from __future__ import annotations

import typer

from mobilekit.cli.options import JsonFlag


def models(as_json: JsonFlag = False) -> None:
    """List the networks that can be deployed by name."""
    from mobilekit import places
    from mobilekit.codec import encode_pretty
    from mobilekit.model.describe import read_cost
    from mobilekit.model.zoo import list_models
    from mobilekit.results.render import render_table

    directory = places.artifacts_directory()
    specs = [(spec, read_cost(spec, cache_directory=directory)) for spec in list_models()]
    if as_json:
        document = [{"model": spec, "cost": cost} for spec, cost in specs]
        typer.echo(encode_pretty(document), nl=False)
        return
    rows = [
        [
            spec.name,
            f"{cost.parameters:,}",
            f"{cost.macs / 1e6:,.0f} M",
            " ".join("x".join(map(str, shape)) for shape in spec.input_shapes),
            "trained" if spec.weights_path else "untrained",
            spec.title,
        ]
        for spec, cost in specs
    ]
    typer.echo(render_table(["model", "parameters", "MACs", "input", "weights", "title"], rows))


def devices(as_json: JsonFlag = False) -> None:
    """List attached phones, their state and battery.

    What to do about a phone that is not ready is said below the list.
    """
    from mobilekit import flow
    from mobilekit.codec import encode_pretty
    from mobilekit.phone.adb import advice
    from mobilekit.results.render import render_table

    listed = flow.list_devices()
    if as_json:
        typer.echo(encode_pretty(listed), nl=False)
        return
    if not listed:
        typer.echo(
            "No phone is attached. Plug one in with USB debugging allowed (docs/devices.md), or "
            "let a virtual phone stand in: mobilekit deploy nin --device nexus7"
        )
        return
    rows = []
    for device in listed:
        info, battery = device.info, device.battery
        level = "-"
        if battery is not None:
            level = f"{battery.level_percent}%{', plugged in' if battery.plugged else ''}"
        rows.append(
            [
                device.attached.serial,
                info.name + (" (virtual)" if info.virtual else "") if info else "-",
                device.attached.state,
                f"Android {info.android_release}, {info.abi}" if info else "-",
                level,
            ]
        )
    typer.echo(render_table(["serial", "device", "state", "system", "battery"], rows))
    for device in listed:
        if device.info is None:
            typer.echo(f"{device.attached.serial}: {advice(device.attached)}")
