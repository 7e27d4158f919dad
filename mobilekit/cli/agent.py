"""``agent`` and ``hosts``: computers that lend their phones."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli.options import JsonFlag, StoreOption
from mobilekit.cli.terminal import say, terminal_width

LOOK_S = 0.5


def agent(
    join: Annotated[
        str,
        typer.Option(
            "--join",
            envvar="MOBILEKIT_STORE",
            help="SQLAlchemy URL of the store that the lab shares: postgresql+psycopg://...",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Its name in the lab. [default: this computer's]"),
    ] = None,
    lend: Annotated[
        list[str] | None,
        typer.Option(
            "--lend",
            metavar="DEVICE",
            help="Lend this device too, as --device takes it: virtual:nexus7, pc. Again for each.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Lend this computer's phones to campaigns of a shared store.

    Every phone that is attached is lent, also one that is plugged in later, until Ctrl-C or
    SIGTERM; what is under way then waits for the agent's next start, or is moved.
    """
    import time

    from mobilekit.campaign import control
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.errors import InUseError, StoppedError, UsageError

    host = name or control.this_host()
    if "/" in host or not host.strip() or len(host) > 100:
        raise UsageError(
            f"{host!r} cannot be a host's name",
            fix="Give up to 100 letters, without a slash: --name desk1.",
        )
    with (
        TerminalReporter() as reporter,
        control.serving_host(join, host, reporter.note, lent=tuple(lend or ())) as serving,
    ):
        reporter.note(f"{host} lends its phones; Ctrl-C ends it. `mobilekit hosts` shows it.")
        try:
            while not serving.replaced.is_set():
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            raise StoppedError(
                "Interrupted from the keyboard: what was under way waits",
                host=host,
                fix="Start the agent again, or give its work away: `mobilekit campaign move`.",
            ) from None
    raise InUseError(
        "Another agent of this name has joined", host=host, fix="Give one of them another --name."
    )


def hosts(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """List the hosts that lend their phones to campaigns."""
    from mobilekit import places
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.campaigns import opened
    from mobilekit.results.documents import HostsDocument
    from mobilekit.results.listing import hosts_table
    from mobilekit.results.tables.text import render_text

    with opened(store or places.default_store()) as campaigns:
        agents = campaigns.list_agents()
    if as_json:
        say(encode_pretty(HostsDocument(hosts=tuple(agents))), nl=False)
    elif agents:
        say(render_text(hosts_table(agents), terminal_width()))
    else:
        say("No host has joined this store: `mobilekit agent --join URL` does.")
