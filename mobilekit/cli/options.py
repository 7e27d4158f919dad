"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="MOBILEKIT_STORE",
        help="SQLAlchemy URL of the results database. [default: SQLite in the user's data]",
        show_default=False,
    ),
]
