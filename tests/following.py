"""What the companion of a virtual phone in this process has written so far."""

import time

from servers import RunningPhone

RUNS = "files/storage/emulated/0/Android/data/dev.mobilekit.bench/files/runs"


def wait_for(condition, timeout_s=150.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def progress_of(phone: RunningPhone) -> str:
    return "".join(path.read_text() for path in (phone.directory / RUNS).glob("*/progress.jsonl"))


def is_over(phone: RunningPhone) -> bool:
    return bool(list((phone.directory / RUNS).glob("*/result.json")))
