"""Values that are taken without typer's own reading of them."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from mobilekit.cli.command import Commands


def told(words, *, settings):
    """What a command is given for its parameters, or what it says against them."""
    given = {}
    app = typer.Typer() if settings == "typer" else Commands()

    @app.command()
    def command(
        networks: Annotated[list[str] | None, typer.Argument()] = None,
        count: Annotated[int, typer.Option(min=1, max=5)] = 3,
        share: Annotated[float | None, typer.Option("--share", min=0.5)] = None,
        path: Annotated[Path | None, typer.Option()] = None,
        kind: Annotated[Literal["fast", "slow"], typer.Option()] = "slow",
        name: Annotated[str | None, typer.Option()] = None,
        several: Annotated[list[int] | None, typer.Option()] = None,
        needed: Annotated[str, typer.Option()] = ...,
        switch: Annotated[bool, typer.Option("--on/--off")] = False,
    ):
        given.update(locals())

    result = CliRunner().invoke(app, words)
    given.pop("given", None)
    return result.exit_code, given, result.output


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--needed=x",
        "a b --needed=x --on",
        "--needed=x --count=5 --share=0.5 --path=a/b --kind=fast --name=n --several=1 --several=20",
        "--needed=x --count=6",
        "--needed=x --count=0",
        "--needed=x --count=x",
        "--needed=x --count=-1",
        "--needed=x --count=1_0",
        "--needed=x --count=٣",
        "--needed=x --share=0.25",
        "--needed=x --share=1e3",
        "--needed=x --share=nan",
        "--needed=x --kind=Fast",
        "--needed=x --several=1 --several=x",
        "--needed=",
    ],
)
def test_values_are_as_typer_reads_them(words):
    """The same values of the same types, and of what is wrong the same message."""
    assert told(words.split(), settings="ours") == told(words.split(), settings="typer")
