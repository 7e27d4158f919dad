"""How an expected failure looks: one paragraph on stderr."""

from __future__ import annotations

import typer

from mobilekit.errors import MobilekitError


def show_failure(error: MobilekitError) -> None:
    typer.secho("Error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(str(error), err=True)
