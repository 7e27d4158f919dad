"""``energy life``: how long a charge lasts, from an energy that was measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.cli.options import JsonFlag, StoreOption

if TYPE_CHECKING:
    from mobilekit.analysis.energy.usage import LifeBasis
    from mobilekit.results.store import Store

IDLE_RELATIVE_UNCERTAINTY = 0.05
"""Of a measured idle power against the next day's: an assumption, with the gauge's gain in it."""


def life(
    model: Annotated[str, typer.Argument(help="A model whose energy has been measured.")],
    every: Annotated[
        str, typer.Option("--every", help="One inference in this time: 10s, 5min, 1h.")
    ],
    idle_mw: Annotated[
        float | None,
        typer.Option(
            "--idle-mw",
            min=0,
            help="What the phone draws in between. [default: the idle power of the measurement]",
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
            help="Start from the newest of this device: nexus7, virtual:nexus7 or a serial.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """How long a charge lasts with an inference every so often."""
    from mobilekit.analysis.energy.usage import estimate_life
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.documents import make_life_document
    from mobilekit.results.store import open_to_read
    from mobilekit.results.text.energy import render_life

    every_s = _seconds_of(every)
    basis = _basis_of(open_to_read(store), model, result=result, device=device)
    estimate = estimate_life(
        basis.energy,
        basis.charge,
        every_s=every_s,
        idle_w=basis.energy.idle_w if idle_mw is None else idle_mw / 1000,
        idle_relative_uncertainty=IDLE_RELATIVE_UNCERTAINTY if idle_mw is None else 0.0,
    )
    document = make_life_document(basis, estimate, idle_measured=idle_mw is None)
    typer.echo(encode_pretty(document) if as_json else render_life(document), nl=not as_json)


def _basis_of(store: Store, model: str, *, result: str | None, device: str | None) -> LifeBasis:
    """The named measurement, or the newest one of the model that tells its energy."""
    from mobilekit.analysis.energy.usage import choose_life_basis, life_basis
    from mobilekit.errors import UsageError

    if result is not None and device is not None:
        raise UsageError("--result and --device exclude each other", fix="Give one of them.")
    found = (
        choose_life_basis(store.energy_by_device(model), device)
        if result is None
        else life_basis(store.read(result))
    )
    if found is None:
        raise UsageError(
            f"No energy of {model} has been measured; pilots and calibrations do not count",
            result=result or "-",
            device=device or "-",
            fix=f"`mobilekit energy {model} --device D` measures it.",
        )
    return found


def _seconds_of(text: str) -> float:
    """``10s``, ``0.5 s``, ``200ms``, ``5min``, ``1h``."""
    from mobilekit.errors import UsageError

    sizes = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h)\s*", text)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"--every {text} is not a time", fix="Write it as 200ms, 10s, 5min or 1h.")
    return float(match[1]) * sizes[match[2]]
