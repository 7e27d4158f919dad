"""What carries runs: one interface for this computer, a phone, and a recording of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from mobilekit.contract.protocol import (
    File,
    ProgressEvent,
    RunRequest,
    RunResult,
)
from mobilekit.records.device import DeviceState


class Listener(NamedTuple):
    """Hears of a run while it is followed."""

    on_event: Callable[[ProgressEvent], None]
    on_lost: Callable[[], None]
    on_back: Callable[[], None]


class Look(NamedTuple):
    """How a run that was started stands."""

    result: RunResult | None
    """``None`` while it goes on, or waits."""
    has_begun: bool
    """False too for a run that was taken and waits for its turn."""


class Executor(Protocol):
    """Carries runs on one device.

    Its methods raise ``DisconnectedError`` and ``DeviceError`` for a device that is away,
    ``PhoneError`` for one that refuses.
    """

    outlives: bool
    """Whether a run goes on without the process that started it, and can be collected later."""
    replays: bool
    """Whether its runs took place earlier."""

    def held_runs(self) -> set[str]:
        """The ids of all runs of which the device has files."""

    def is_going_on(self, run_id: str) -> bool:
        """Whether a run that was started is under way, or may still be."""

    def install(
        self,
        apk: Path | None,
        *,
        may_install: bool,
        on_note: Callable[[str], None],
        on_bytes: Callable[[int, int], None],
    ) -> None:
        """See to it that there is a companion of mobilekit's own version. Raises ``AppError``."""

    def deliver(
        self,
        files: Sequence[File],
        directory: Path,
        *,
        on_bytes: Callable[[int, int], None],
    ) -> None:
        """Bring there what is not there yet of ``files``, which lie in ``directory``.

        ``on_bytes`` gets bytes done and bytes in all.
        """

    def start(self, requests: Sequence[RunRequest]) -> None:
        """Start them all at once, one behind the other. Raises ``AppError``."""

    def restart(self, requests: Sequence[RunRequest]) -> None:
        """Start anew those that a crash of the companion kept from beginning."""

    def follow(self, request: RunRequest, listener: Listener) -> RunResult:
        """A run that was started, to its end. Raises ``AppError`` when it is not taken.

        From the keyboard it raises ``KeyboardInterrupt``; then the run can be stopped, or left.
        """

    def stop(self, request: RunRequest) -> RunResult:
        """End a run that was started: what it had measured. One that is away is left to itself."""

    def look(self, request: RunRequest, on_event: Callable[[ProgressEvent], None]) -> Look:
        """A run that was started earlier, without waiting for its end."""

    def fetch(self, run_id: str, name: str, target: Path, *, limit_bytes: int) -> None:
        """Fetch a file that a run has written, ``name``, as ``target``; a longer one is refused."""

    def clean(self, run_id: str, corrupt: Sequence[File]) -> None:
        """Delete a run's files, and delivered ones that it found corrupt."""


class Opened(NamedTuple):
    """A device that a run is to happen on."""

    state: DeviceState
    executor: Executor
