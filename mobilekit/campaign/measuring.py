"""A run in a process of its own, which a crash of an exporter or a stop ends without the host."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mobilekit.campaign.child import ChildOrder
from mobilekit.campaign.host import Measure, Order
from mobilekit.contract.codec import decode, encode
from mobilekit.records.campaign import Outcome

POLL_S = 0.05
STOP_S = 20.0
"""How long a run is given to end the phone's part of it."""
LAST_WORDS = 300


def measuring(place: str | Path) -> Measure:
    """What carries runs out for the results database at ``place``."""
    url = f"sqlite:///{place.absolute()}" if isinstance(place, Path) else place

    def measure(
        order: Order, ended: threading.Event, tell: Callable[[str], None]
    ) -> Outcome | None:
        with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
            return _measure(order, ended, tell, url, Path(scratch))

    return measure


def _measure(
    order: Order,
    ended: threading.Event,
    tell: Callable[[str], None],
    place: str,
    scratch: Path,
) -> Outcome | None:
    target = scratch / "outcome.json"
    (scratch / "order.json").write_bytes(
        encode(
            ChildOrder(
                campaign=order.run.campaign,
                placed=order.placed,
                measured=str(order.measured),
                store=place,
            )
        )
    )
    with (scratch / "said").open("wb") as said, (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mobilekit.campaign.child", str(scratch)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=log,
            # Ctrl-C is the host's to hear, which ends its runs in order.
            start_new_session=True,
        )
    stopped_s: float | None = None
    read_bytes = 0
    while True:
        try:
            process.wait(POLL_S)
            break
        except subprocess.TimeoutExpired:
            pass
        read_bytes = _hear(scratch / "said", read_bytes, tell)
        if ended.is_set():
            if stopped_s is None:
                process.send_signal(signal.SIGINT)
                stopped_s = time.monotonic()
            elif time.monotonic() - stopped_s > STOP_S:
                process.kill()
    if process.stdin is not None:
        process.stdin.close()
    if target.exists():
        outcome: Outcome = decode(target.read_bytes(), Outcome, source="a run's outcome")
        return outcome
    if ended.is_set():
        return None
    words = (scratch / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return Outcome(
        state="failed",
        measurements=(),
        detail=f"the run's process ended with {process.returncode}: "
        f"{''.join(words[-1:])[:LAST_WORDS]}",
    )


def _hear(said: Path, read_bytes: int, tell: Callable[[str], None]) -> int:
    """Pass the newest whole line on; how far it has been read."""
    if said.stat().st_size == read_bytes:
        return read_bytes
    with said.open("rb") as file:
        file.seek(read_bytes)
        data = file.read()
    whole, end, _ = data.rpartition(b"\n")
    if end:
        tell(whole.rpartition(b"\n")[2].decode("utf-8", errors="replace"))
    return read_bytes + len(whole) + len(end)
