"""What can go wrong with a phone, by name, and the moments of a deploy at which it may happen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal, get_args

from mobilekit.contract.codec import Record, decode, encode_pretty
from mobilekit.contract.protocol import INPUT_ROOT, OUTPUT_ROOT, PACKAGE, Phase
from mobilekit.virtual.adbd import Cable
from mobilekit.virtual.files import STORAGE_BYTES

FaultName = Literal[
    "none",
    "refuse",
    "offline",
    "unauthorized",
    "disconnect",
    "stall",
    "slow",
    "full",
    "read-only",
    "denied",
    "truncated",
    "garbage",
    "crlf",
    "banner",
    "wrong-clock",
    "silent-progress",
    "crash",
    "killed",
    "wrong-version",
    "corrupt-result",
    "reboot",
    "low-battery",
    "second-computer",
    "server-killed",
]
FAULTS: dict[FaultName, str] = {
    "none": "all is well with it",
    "refuse": "takes no connection any more",
    "offline": "takes connections and answers none",
    "unauthorized": "refuses every key, and allows this computer after 3 s",
    "disconnect": "drops every link, and is back after 2 s",
    "stall": "stops in the middle of what it does",
    "slow": "100,000 bytes a second",
    "full": "no storage is left",
    "read-only": "nothing can be written",
    "denied": "the shell may neither read nor write its directory",
    "truncated": "each answer stops in its middle, and its stream ends",
    "garbage": "each answer is noise",
    "crlf": "each line ends in CR and LF",
    "banner": "each shell prints a warning first",
    "wrong-clock": "its clock is ten years behind",
    "silent-progress": "the app hangs: it lives, and tells nothing",
    "crash": "the app crashes, and the log says so",
    "killed": "the app is killed, and nothing says so",
    "wrong-version": "the app is one of another version",
    "corrupt-result": "the result is no message",
    "reboot": "restarts",
    "low-battery": "3 % are left",
    "second-computer": "another computer uses the phone as well",
    "server-killed": "this computer's adb server is killed",
}
Moment = Literal[
    "now",
    "finding",
    "install",
    "push",
    "start",
    "load",
    "warmup",
    "measuring",
    "fetching",
    "cleaning",
]
MOMENTS: dict[Moment, str] = {
    "now": "at once",
    "finding": "when it is asked for its properties",
    "install": "when its app is looked for or installed",
    "push": "in the middle of the first file of an artifact",
    "start": "when the app is started",
    "load": "when the run's load phase begins",
    "warmup": "when its warm-up begins",
    "measuring": "when its iterations begin",
    "fetching": "when the result is fetched",
    "cleaning": "when the run's files are removed",
}
PHASES: dict[Moment, Phase] = {"load": "load", "warmup": "warmup", "measuring": "iterate"}
"""Moments that a run's progress tells."""
PUSHED = f"{INPUT_ROOT}/artifacts/"
"""A file that is made there is the ``push`` moment."""
_COMMANDS: dict[Moment, tuple[str, ...]] = {
    "finding": ("getprop",),
    "install": (f"dumpsys package {PACKAGE}", "package install", "package\0install", "pm install"),
    "start": ("am start",),
    "fetching": (f"cat {OUTPUT_ROOT}/runs",),
    "cleaning": (f"rm -rf {INPUT_ROOT}/runs",),
}
"""What services have in their names at the other moments."""
FAULTS_FILE = "faults.json"
FAULTS_PERIOD_S = 0.2


class Faults(Record, frozen=True):
    """What is wrong with the phone; the default is nothing."""

    cable: Cable = "ready"
    powered_off: bool = False
    """As with an empty battery: the companion is gone, and so is the link, until it is charged."""
    storage_bytes: int = STORAGE_BYTES
    fault: FaultName = "none"
    """Which of ``FAULTS`` is to come."""
    at: Moment = "now"
    adb_server_port: int | None = None
    """Of the adb server that ``server-killed`` is about; ``None``: no server is killed."""


def write_faults(directory: Path, faults: Faults) -> None:
    """Change the faults of the phone that keeps its state there, from any process.

    A running phone takes them over within ``FAULTS_PERIOD_S``; they outlast a restart.
    """
    aside = directory / f"{FAULTS_FILE}.new"
    aside.write_bytes(encode_pretty(faults))
    aside.replace(directory / FAULTS_FILE)


def read_faults(directory: Path) -> Faults:
    """Raises ``ProtocolError`` for a file that is not one."""
    try:
        data = (directory / FAULTS_FILE).read_bytes()
    except FileNotFoundError:
        return Faults()
    faults: Faults = decode(data, Faults, source=FAULTS_FILE)
    return faults


def comes_with(service: str, moment: Moment) -> bool:
    """Whether this is the moment when a service of that name is asked for."""
    return any(words in service for words in _COMMANDS.get(moment, ()))


Distortion = Literal["truncated", "garbage", "crlf", "banner"]
DISTORTIONS: dict[FaultName, Distortion] = {kind: kind for kind in get_args(Distortion)}
BANNER = b'WARNING: linker: Warning: unable to normalize "$ORIGIN/lib" (ignoring)\n'


class Distorter:
    """What becomes of one answer of the phone on its way."""

    def __init__(self, kind: Distortion | None) -> None:
        self._kind = kind
        self._chance = random.Random(1)

    def start(self) -> bytes:
        """What comes before the answer."""
        return BANNER if self._kind == "banner" else b""

    @property
    def ends_early(self) -> bool:
        """Whether nothing comes after what has been distorted."""
        return self._kind == "truncated"

    def distort(self, data: bytes) -> bytes:
        if self._kind == "truncated":
            return data[: len(data) // 2]
        if self._kind == "garbage":
            return self._chance.randbytes(len(data))
        if self._kind == "crlf":
            return data.replace(b"\n", b"\r\n")
        return data
