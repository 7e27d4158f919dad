"""``doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli.options import JsonFlag


def doctor(
    device: Annotated[
        str,
        typer.Option(
            "--device",
            "-d",
            help="The phone to look at: a serial, a profile's name, or virtual:NAME of one that "
            "runs; auto for all.",
        ),
    ] = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Check this computer and its phones; say how to mend what is at fault.

    The exit code is 7 where anything is.
    """
    from mobilekit.cli.failure import exit_with
    from mobilekit.cli.terminal import say, terminal_width
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.errors import FaultsError
    from mobilekit.flow.doctor import check_up
    from mobilekit.results.documents import make_doctor_document
    from mobilekit.results.text.checkup import render_checkup

    checkup = check_up(device)
    if as_json:
        say(encode_pretty(make_doctor_document(checkup)), nl=False)
    else:
        say(render_checkup(checkup, terminal_width()))
    if checkup.faulty_subjects:
        exit_with(
            FaultsError(
                "Something is at fault",
                checks=", ".join(dict.fromkeys(checkup.faulty_subjects)),
                fix="Each of its lines says below it what to do.",
            )
        )
