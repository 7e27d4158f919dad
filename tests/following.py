"""What the companion of a virtual phone in this process has written so far, pilot runs left out."""

import time

from servers import RunningPhone

RUNS = "files/storage/emulated/0/Android/data/dev.mobilekit.bench/files/runs"


def wait_for(condition, timeout_s=150.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def progress_of(phone: RunningPhone) -> str:
    return "".join(path.read_text() for path in _files(phone, "progress.jsonl"))


def is_over(phone: RunningPhone) -> bool:
    return bool(_files(phone, "result.json"))


def _files(phone: RunningPhone, name: str) -> list:
    found = (phone.directory / RUNS).glob(f"*/{name}")
    return [path for path in found if "-pilot-" not in path.parent.name]
