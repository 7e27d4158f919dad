"""What a command that measures prints, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mobilekit.cli.failure import exit_for

if TYPE_CHECKING:
    from mobilekit.records.measurement import Measurement


def tell(measurement: Measurement, *, as_json: bool, strict: bool) -> None:
    """The measurement on stdout; the program ends here if it failed or, as asked, is doubtful."""
    from mobilekit.analysis.answer import derive_answer
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.documents import make_measurement_document
    from mobilekit.results.text.measurement import render_measurement

    answer = derive_answer(measurement)
    if as_json:
        typer.echo(encode_pretty(make_measurement_document(measurement, answer)), nl=False)
    else:
        typer.echo(render_measurement(measurement, answer))
    exit_for([measurement], strict=strict)
