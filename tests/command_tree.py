"""Every command of the program, by the words that call it."""

import typer

from mobilekit.cli.main import app, load_command


def _walk(command, path=("mobilekit",)):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        whole = load_command(name) if path == ("mobilekit",) else below
        yield from _walk(whole, (*path, name))


COMMANDS = {" ".join(path): command for path, command in _walk(typer.main.get_command(app))}
GROUPS = [name for name, command in COMMANDS.items() if hasattr(command, "commands")]
