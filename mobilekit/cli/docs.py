"""``docs``: the guide, which comes with the program."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli.terminal import say


def docs(
    name: Annotated[
        str | None,
        typer.Argument(help="The chapter to print; without it they are listed.", metavar="NAME"),
    ] = None,
) -> None:
    """Print a chapter of the guide, or list the chapters."""
    from mobilekit import places
    from mobilekit.errors import UsageError

    directory = places.documents_directory()
    chapters = {path.stem: path for path in sorted(directory.glob("*.md"))}
    if not chapters:
        raise UsageError(
            "The guide is not here",
            directory=directory,
            fix="It comes with mobilekit's wheel and with its source: install either anew.",
        )
    if name is None:
        for stem, path in chapters.items():
            title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            say(f"{stem:16}  {title}")
        return
    chapter = chapters.get(name.removeprefix("docs/").removesuffix(".md"))
    if chapter is None:
        raise UsageError(
            f"There is no chapter {name!r}", chapters=", ".join(chapters), fix="Name one of these."
        )
    say(chapter.read_text(encoding="utf-8"), nl=False)
