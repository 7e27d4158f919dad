"""Runs on a phone, real or virtual: its companion, over adb."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mobilekit.contract.protocol import (
    File,
    ProgressEvent,
    RunRequest,
    RunResult,
)
from mobilekit.contract.samples import was_lost
from mobilekit.errors import (
    AdbServerError,
    AppError,
    DeviceError,
    DisconnectedError,
    MobilekitError,
)
from mobilekit.executor.base import Listener, Look
from mobilekit.executor.watch import Following, Patience, Watch
from mobilekit.phone import runs
from mobilekit.phone.adb import (
    Phone,
)
from mobilekit.phone.app import ensure_app
from mobilekit.units import NS_PER_S


class PhoneExecutor:
    """``reconnect`` finds the phone again after it was away: as in ``Following``."""

    outlives = True
    replays = False

    def __init__(
        self,
        phone: Phone,
        reconnect: Callable[[], Phone],
        patience: Patience,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._phone = phone
        """The one that answered last."""
        self._reconnect = reconnect
        self._patience = patience
        self._sleep = sleep
        self._clock_ns = clock_ns
        self._watch: Watch | None = None
        """Of the run that was followed last."""
        self._broken_start: DeviceError | DisconnectedError | None = None
        """How the link broke as the last runs were started, if it did."""

    def held_runs(self) -> set[str]:
        return runs.list_runs(self._phone)

    def is_going_on(self, run_id: str) -> bool:
        return runs.is_going_on(self._phone, run_id)

    def install(
        self,
        apk: Path | None,
        *,
        may_install: bool,
        on_note: Callable[[str], None],
        on_bytes: Callable[[int, int], None],
    ) -> None:
        ensure_app(self._phone, apk, may_install=may_install, on_note=on_note, on_bytes=on_bytes)

    def deliver(
        self,
        files: Sequence[File],
        directory: Path,
        *,
        on_bytes: Callable[[int, int], None],
    ) -> None:
        runs.deliver(self._phone, files, directory, on_bytes=on_bytes)

    def start(self, requests: Sequence[RunRequest]) -> None:
        # One that left and came back, in a pilot run or since, is another one to adb.
        self._phone = self._reconnect()
        with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
            self._broken_start = runs.start_runs(self._phone, requests, Path(scratch))

    def restart(self, requests: Sequence[RunRequest]) -> None:
        # What keeps it from starting them is found out by who follows them.
        with suppress(MobilekitError):
            dropped = [
                each for each in requests if runs.read_state(self._phone, each.run_id) == "dropped"
            ]
            if dropped:
                self.start(dropped)

    def follow(self, request: RunRequest, listener: Listener) -> RunResult:
        self._watch = self._watch_of(request, listener)
        try:
            result = self._watch.to_end()
            self._broken_start = None  # It has arrived all the same.
        except AppError as error:
            if self._broken_start is None:
                raise
            raise AppError(
                f"{error.what}: the link broke when it was told to: {self._broken_start.what}",
                fix=self._broken_start.fix,
                **error.facts,
            ) from None
        finally:
            self._phone = self._watch.phone
        if not was_lost(result):
            # What comes next is to find it, whatever became of its link at the end.
            with suppress(DeviceError, DisconnectedError, AdbServerError):
                self._phone = self._reconnect()
        return result

    def stop(self, request: RunRequest) -> RunResult:
        watch = self._watch
        if watch is None or watch.request != request:
            watch = self._watch_of(request, SILENT)
        return watch.stop()

    def look(self, request: RunRequest, on_event: Callable[[ProgressEvent], None]) -> Look:
        watch = self._watch_of(request, SILENT._replace(on_event=on_event))
        result = watch.look()
        return Look(result, watch.has_begun)

    def fetch(self, run_id: str, name: str, target: Path, *, limit_bytes: int) -> None:
        aside = target.with_suffix(".part")
        try:
            self._outlast(
                lambda: runs.fetch(self._phone, run_id, name, aside, limit_bytes=limit_bytes)
            )
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def clean(self, run_id: str, corrupt: Sequence[File]) -> None:
        runs.remove_run(self._phone, run_id)
        for file in corrupt:
            runs.forget_file(self._phone, file)

    def _outlast(self, ask: Callable[[], None]) -> None:
        """Ask again whenever the phone is back, until it has had as long as one that goes away in
        mid-run; raises then how the link broke."""
        deadline_ns = None
        while True:
            try:
                ask()
                return
            except (DeviceError, DisconnectedError):
                if deadline_ns is None:
                    deadline_ns = self._clock_ns() + self._patience.reconnect_s * NS_PER_S
                returned = self._returned(deadline_ns)
                if returned is None:
                    raise
                self._phone = returned

    def _returned(self, deadline_ns: float) -> Phone | None:
        """``None``: it stayed away until then."""
        while self._clock_ns() < deadline_ns:
            self._sleep(self._patience.longest_poll_s)
            with suppress(DeviceError, DisconnectedError, AdbServerError):
                return self._reconnect()
        return None

    def _watch_of(self, request: RunRequest, listener: Listener) -> Watch:
        following = Following(
            listener, self._reconnect, self._patience, self._sleep, self._clock_ns
        )
        return Watch(self._phone, request, following)


SILENT = Listener(on_event=lambda _: None, on_lost=lambda: None, on_back=lambda: None)
