"""The command line: a command is imported when it is named, and no sooner."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mobilekit import __version__
from mobilekit.cli.command import Commands
from mobilekit.cli.failure import show_failure
from mobilekit.cli.group import Group
from mobilekit.cli.terminal import say
from mobilekit.errors import MobilekitError, StoppedError, UnsavedError

COMMANDS = {
    "deploy": (
        "mobilekit.cli.deploy:deploy",
        "Export, push and run a network; tell what it costs.",
    ),
    "export": (
        "mobilekit.cli.deploy:export",
        "Export a network to ExecuTorch, ONNX or LiteRT without running it.",
    ),
    "init": (
        "mobilekit.cli.init:init",
        "Write the few lines of a model file around a class or function of yours.",
    ),
    "evaluate": (
        "mobilekit.cli.evaluate:evaluate",
        "Run labelled examples on a device; tell its accuracy, and PyTorch's beside it.",
    ),
    "compress": (
        "mobilekit.cli.compress:compress",
        "Find the network that keeps within a size, a time or an energy and loses little accuracy.",
    ),
    "tradeoff": (
        "mobilekit.cli.tradeoff:tradeoff",
        "Measure each level of a network, and tell its size, time, energy and accuracy.",
    ),
    "describe": (
        "mobilekit.cli.layers:describe",
        "Show a network's layers: shapes, parameters, MACs, memory.",
    ),
    "profile": (
        "mobilekit.cli.layers:profile",
        "Measure the time of each layer and of each type of layer.",
    ),
    "campaign": (
        "mobilekit.cli.campaign:app",
        "Models x devices x repeats from one file, unattended: `mobilekit campaign run FILE`.",
    ),
    "agent": (
        "mobilekit.cli.agent:agent",
        "Lend this computer's phones to campaigns of a shared store.",
    ),
    "hosts": (
        "mobilekit.cli.agent:hosts",
        "List the hosts that lend their phones to campaigns.",
    ),
    "partition": (
        "mobilekit.cli.partition:partition",
        "Spread a network's layers over a device's processors, where that is faster.",
    ),
    "collect": (
        "mobilekit.cli.collect:collect",
        "Fetch the results of runs that were left on their phones.",
    ),
    "compare": (
        "mobilekit.cli.compare:compare",
        "Measure networks on two devices, or two backends, and set the figures side by side.",
    ),
    "check": (
        "mobilekit.cli.check:check",
        "Set runs against a baseline, and fail where a network got slower or hungrier.",
    ),
    "predict": (
        "mobilekit.cli.predict:predict",
        "Predict what networks need on phones that are not here: latency, memory, energy, charge.",
    ),
    "models": (
        "mobilekit.cli.listing:models",
        "List the networks that can be deployed by name, or show the card of one.",
    ),
    "devices": (
        "mobilekit.cli.listing:devices",
        "List attached phones, their state and battery.",
    ),
    "doctor": (
        "mobilekit.cli.doctor:doctor",
        "Check this computer and its phones; say how to mend what is at fault.",
    ),
    "energy": (
        "mobilekit.cli.energy:app",
        "Joules per inference and inferences per charge: `mobilekit energy MODEL --device D`.",
    ),
    "meter": (
        "mobilekit.cli.meter:app",
        "Energy from an external power meter's trace.",
    ),
    "results": (
        "mobilekit.cli.results:app",
        "Look at stored results; no phone is needed.",
    ),
    "report": (
        "mobilekit.cli.report:report",
        "Write stored results as one HTML page: tables and charts, for a browser or for print.",
    ),
    "docs": (
        "mobilekit.cli.docs:docs",
        "Print a chapter of the guide, or list the chapters.",
    ),
    "virtual": (
        "mobilekit.cli.virtual:app",
        "Start, list and stop virtual phones.",
    ),
}
"""In the order of the help: where each command or group is, and the first line of its own help."""


def load_command(name: str) -> Any:
    """Import and build one of ``COMMANDS``, with its options or with the commands below it."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    part = getattr(import_module(module), attribute)
    parent = Commands(rich_markup_mode=None)
    if isinstance(part, typer.Typer):
        parent.add_typer(part, name=name)
    else:
        parent.command(name)(part)
    return typer.main.get_group(parent).commands[name]


class _Listed(Group):
    """A group whose commands are names and lines until one of them is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and load_command(name), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise STOPPED from None


STOPPED = StoppedError(
    "Interrupted from the keyboard",
    fix="What was stored before stays; run the command again for the rest.",
)


app = typer.Typer(
    cls=_Listed,
    name="mobilekit",
    help="How fast is this trained network on this phone, and how many inferences does one "
    "battery charge buy?",
    # Every command below inherits it.
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(ctx: typer.Context, asked: bool) -> None:
    # Completing a line that holds it is not asking for it.
    if asked and not ctx.resilient_parsing:
        say(f"mobilekit {__version__}")
        raise typer.Exit


@app.callback()
def mobilekit(
    version: Annotated[
        bool,
        # While the line is parsed: what is left of it after that must hold a command.
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
    adb: Annotated[
        str | None,
        typer.Option(
            "--adb",
            metavar="HOST:PORT",
            help="The adb server that has the phones, where it is not this computer's. Also "
            "ANDROID_ADB_SERVER_ADDRESS and ANDROID_ADB_SERVER_PORT.",
            show_default=False,
        ),
    ] = None,
) -> None:
    if adb is not None:
        from mobilekit.phone.server_address import (
            ADDRESS_VARIABLE,
            PORT_VARIABLE,
            split_server,
        )

        host, port = split_server(adb)
        # What this command starts is to find it too.
        os.environ |= {ADDRESS_VARIABLE: host, PORT_VARIABLE: str(port)}


def run() -> None:
    """The program: an expected failure is one paragraph and an exit code, never a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As an exception, so that what was started is stopped.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        # Not as it was called: what a shell completes is called so.
        app(prog_name="mobilekit")
    except MobilekitError as error:
        _end(error)
    except KeyboardInterrupt:
        _end(STOPPED)
    except MemoryError as error:
        _end(
            MobilekitError(
                "This computer has not the memory that this takes",
                reason=str(error) or "none was told",
                fix="Check the sizes of the network's inputs and of what is read, or use a "
                "computer with more memory.",
            )
        )
    except OSError as error:
        # Standard output has no name: whether it is what failed, a line more tells.
        nameless = "-" if error.filename or _say("") else "standard output"
        _end(
            MobilekitError(
                error.strerror or str(error),
                path=error.filename or nameless,
                fix="Check that the disk has room and that the path may be written to.",
            )
        )


def _end(error: MobilekitError) -> None:
    if isinstance(error, UnsavedError):
        # Whatever was to be printed: it is nowhere else.
        _say(error.document.decode())
    elif "--json" in sys.argv:
        from mobilekit.contract.codec import encode
        from mobilekit.results.documents import make_error_document

        _say(encode(make_error_document(error)).decode())
    show_failure(error)
    sys.exit(error.exit_code)


def _say(line: str) -> bool:
    """Print on standard output; one that does not take it is given up, and ``False``."""
    try:
        say(line)
    except OSError:
        # What Python still holds for it would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
