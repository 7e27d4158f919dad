"""``virtual``: phones that are programs, to try things on with plain adb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from mobilekit.cli.command import Commands
from mobilekit.cli.group import Group
from mobilekit.cli.options import JsonFlag
from mobilekit.cli.terminal import say
from mobilekit.virtual.faults import FAULTS, MOMENTS, FaultName, Moment


def _listed(title: str, words: Mapping[Any, str]) -> str:
    width = max(map(len, words))
    # The first line tells typer to leave the others as they are.
    lines = (f"  {word:{width}}  {meaning}" for word, meaning in words.items())
    return "\b\n" + "\n".join((title, *lines))


FAULT_HELP = "\n\n".join(
    (
        "Make a running virtual phone fail.\n\nThe fault stays until there is another, or `none`, "
        "which cures the phone; an emptied battery and an app of another version stay as they are. "
        "What happens once, such as a crash, happens at the first such moment.",
        _listed("Faults:", FAULTS),
        _listed("Moments (--at):", MOMENTS),
    )
)
app = Commands(cls=Group, help="Start, list and stop virtual phones.")
NameArgument = Annotated[str, typer.Argument(help="A device profile's name, such as nexus7.")]


@app.command()
def start(
    name: NameArgument,
    companion: Annotated[
        Literal["python", "jvm", "native"],
        typer.Option(
            "--companion",
            help="What plays the companion app: this computer's runner with a simulated battery, "
            "the Android app's own core on the JVM (.onnx only), or that core with the app's "
            "engines and native libraries. The latter two have no energy.",
        ),
    ] = "python",
    energy_speed: Annotated[
        float | None,
        typer.Option(
            "--energy-speed",
            min=0.1,
            help="Let the simulated energy phase go this many times as fast as real time, to try "
            "pulling cables. [default: it takes no time]",
            show_default=False,
        ),
    ] = None,
    gauge: Annotated[
        str | None,
        typer.Option(
            "--gauge",
            help="Which fuel gauge it has, such as reports-ma or dual-cell "
            "(`mobilekit docs devices`). [default: a sound one, as the profile says]",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start a virtual phone that stays until it is stopped."""
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.executor import virtual_phones
    from mobilekit.virtual.companion_settings import CompanionSettings
    from mobilekit.virtual.document import VirtualPhoneDocument

    settings = CompanionSettings(kind=companion, energy_speed=energy_speed)
    phone, port = virtual_phones.start_virtual(name, settings, gauge)
    if as_json:
        say(encode_pretty(VirtualPhoneDocument(phone=phone, adb_server_port=port)), nl=False)
        return
    say(
        f"Virtual {phone.name} runs as {phone.address}, behind an adb server of its own:\n"
        f"  export ANDROID_ADB_SERVER_PORT={port}\n"
        f"  adb -s {phone.address} shell\n"
        f"Without the export, `adb connect {phone.address}` attaches it to your own adb server.\n"
        f"  mobilekit deploy nin --device virtual:{phone.name}\n"
        f"  mobilekit virtual stop {phone.name}"
    )


@app.command("list")
def list_phones(as_json: JsonFlag = False) -> None:
    """List the virtual phones that run."""
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.tables.cells import make_table
    from mobilekit.results.tables.text import render_text
    from mobilekit.virtual import service
    from mobilekit.virtual.document import VirtualPhonesDocument

    phones = service.list_phones()
    if as_json:
        say(encode_pretty(VirtualPhonesDocument(phones=tuple(phones))), nl=False)
    elif not phones:
        say("No virtual phone runs: `mobilekit virtual start nexus7` starts one.")
    else:
        table = make_table(
            ("name", "serial", "pid", "companion"),
            ((phone.name, phone.address, str(phone.pid), phone.companion) for phone in phones),
        )
        say(render_text(table))


@app.command()
def stop(name: NameArgument) -> None:
    """Stop a virtual phone; its files stay for its next start."""
    from mobilekit.executor import virtual_phones

    virtual_phones.stop_virtual(name)
    say(f"Virtual {name} is stopped.")


@app.command(help=FAULT_HELP)
def fault(
    name: Annotated[
        FaultName,
        typer.Argument(metavar="NAME", help="One of the faults above.", show_default=False),
    ],
    phone: Annotated[
        str | None,
        typer.Option(
            "--phone",
            help="Which virtual phone, by its name. [default: the one that runs]",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        Moment, typer.Option("--at", metavar="MOMENT", help="When it happens, in a deploy.")
    ] = "now",
) -> None:
    from mobilekit.virtual import service

    running = service.break_phone(phone, name, at)
    if name == "none":
        say(f"Virtual {running.name} is well.")
    else:
        say(f"Virtual {running.name}: {name}, {MOMENTS[at]}: {FAULTS[name]}.")
        say(f"  mobilekit virtual fault none --phone {running.name}")
