"""``init``: a model file around a network that a person has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli.options import InputOption
from mobilekit.cli.terminal import say


def init(
    model: Annotated[
        str,
        typer.Argument(
            help="A file that defines a network, or which class or function of it: unet.py:UNet.",
            metavar="FILE.py[:NAME]",
            show_default=False,
        ),
    ],
    input: InputOption = None,
) -> None:
    """Write the few lines of a model file around a class or function of yours."""
    from mobilekit.errors import UsageError
    from mobilekit.model.given import parse_input
    from mobilekit.model.model_file import write_model_file
    from mobilekit.model.zoo import split_name

    file, network = split_name(model)
    if not file.endswith(".py"):
        raise UsageError(f"{model} is not a Python file", fix="Give one, such as unet.py:UNet.")
    written = write_model_file(
        Path(file),
        None if file == model else network,
        tuple(map(parse_input, input or ())),
    )
    say(f"Wrote {written.path}")
    if written.guessed_inputs:
        say("Its INPUT_SHAPES are a guess: put in the shape of each input, batch first.")
    if written.open_arguments:
        left = ", ".join(written.open_arguments)
        say(f"Its build() lacks values: put them in place of ... for {left}.")
    say(f"Then: mobilekit deploy {written.path}")
