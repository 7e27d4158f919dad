"""``energy life``: how long a charge lasts, from an energy that was measured."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mobilekit.cli.options import (
    CompressedOption,
    JsonFlag,
    LevelOption,
    NetworkOptions,
    StoreOption,
    check_level_choice,
)
from mobilekit.cli.terminal import say
from mobilekit.errors import UsageError


def life(
    model: Annotated[str, typer.Argument(help="A model whose energy has been measured.")],
    every: Annotated[
        str, typer.Option("--every", help="Time from one inference to the next: 10s, 5min, 1h.")
    ],
    idle_mw: Annotated[
        float | None,
        typer.Option(
            "--idle-mw",
            min=0,
            help="What the phone draws in between, in milliwatts. "
            "[default: the measured idle power]",
            show_default=False,
        ),
    ] = None,
    result: Annotated[
        str | None,
        typer.Option(
            "--result",
            metavar="ID",
            help="The measurement to start from. [default: the newest with energy]",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            "-d",
            help="Start from the newest on this device: nexus7, virtual:nexus7 or a serial.",
            show_default=False,
        ),
    ] = None,
    compressed: CompressedOption = None,
    level: LevelOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell how long a charge lasts with an inference at regular intervals."""
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow.life import estimate_life_of
    from mobilekit.results.documents import make_life_document
    from mobilekit.results.store import open_to_read
    from mobilekit.results.text.energy import render_life

    if result is not None and device is not None:
        raise UsageError("--result and --device exclude each other", fix="Give one of them.")
    if result is not None and compressed is not None:
        raise UsageError("--result and --compressed exclude each other", fix="Give one of them.")
    network = NetworkOptions(compressed=compressed, level=level)
    check_level_choice(network)
    variant = network.variant_of(model)
    basis, estimate = estimate_life_of(
        model,
        variant if variant.is_by_file else None,
        open_to_read(store),
        every_s=_seconds_of(every),
        idle_w=None if idle_mw is None else idle_mw / 1000,
        measurement_id=result,
        device=device,
    )
    document = make_life_document(basis, estimate, idle_measured=idle_mw is None)
    say(encode_pretty(document) if as_json else render_life(document), nl=not as_json)


def _seconds_of(text: str) -> float:
    """``10s``, ``0.5 s``, ``200ms``, ``5min``, ``1h``."""
    sizes = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h)\s*", text)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"--every {text} is not a time", fix="Write it as 200ms, 10s, 5min or 1h.")
    return float(match[1]) * sizes[match[2]]
