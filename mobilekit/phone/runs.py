"""The companion's files on a phone: deliver, start runs, see what became of them, fetch, delete."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from mobilekit.contract.checks import decode_events, run_directory
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    ACTIVITY,
    INPUT_ROOT,
    OUTPUT_ROOT,
    PACKAGE,
    RUN_ID_PATTERN,
    File,
    ProgressEvent,
    RunRequest,
    RunTaken,
)
from mobilekit.errors import (
    AppError,
    DeviceError,
    DisconnectedError,
    PhoneError,
    ProtocolError,
)
from mobilekit.hashing import file_md5
from mobilekit.phone.adb import (
    Phone,
)
from mobilekit.phone.parse import parse_crash, parse_integer

TAKING_S = 60
"""For a companion to take a run from when it was delivered: thrice of what is waited for it."""
READINGS = 3
"""Of a file that does not arrive as it is on the phone."""
NO_COMMAND = 127
NAMES_AT_ONCE = 40
"""Before Android 7 a command holds 4 KiB at most; a name is 64 digits and an extension."""
RunState = Literal["over", "running", "waiting", "dead", "dropped"]
"""``waiting`` for its turn, or to be taken by the companion; ``dead``: it left no result, and no
process carries it any more; ``dropped``: the same before it began."""


def deliver(
    phone: Phone,
    files: Sequence[File],
    directory: Path,
    *,
    on_bytes: Callable[[int, int], None],
) -> int:
    """Push what the phone does not have of ``files``; the number of bytes that went over.

    A file's name is its content's hash, so one of the right name and size is not pushed again; the
    companion checks every hash before a run.
    ``on_bytes`` gets bytes done and bytes in all. Raises ``PhoneError``, ``DisconnectedError``.
    """
    sources = {file.path: directory / Path(file.path).name for file in files}
    # Asked for by name: whatever else lies there costs nothing.
    names = sorted({source.name for source in sources.values()})
    listing = ""
    for start in range(0, len(names) or 1, NAMES_AT_ONCE):
        asked = " ".join(names[start : start + NAMES_AT_ONCE])
        listing += phone.shell(
            f"mkdir -p {INPUT_ROOT}/artifacts {INPUT_ROOT}/runs && "
            f"chmod 755 {INPUT_ROOT} {INPUT_ROOT}/artifacts {INPUT_ROOT}/runs && "
            f"cd {INPUT_ROOT}/artifacts && stat -c '%s %n' {asked} 2>/dev/null; true"
        ).text
    present = {
        name: size for size, _, name in (line.partition(" ") for line in listing.splitlines())
    }
    missing = {
        path: source
        for path, source in sources.items()
        if present.get(source.name) != str(source.stat().st_size)
    }
    total_bytes = sum(source.stat().st_size for source in missing.values())
    done_bytes = 0

    def count(size_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += size_bytes
        on_bytes(done_bytes, total_bytes)

    for path, source in missing.items():
        phone.push(source, f"{INPUT_ROOT}/{path}", on_bytes=count)
    return total_bytes


def start_runs(
    phone: Phone, requests: Sequence[RunRequest], scratch: Path
) -> DeviceError | DisconnectedError | None:
    """Deliver requests and start them all at once, one behind the other; ``scratch`` is a directory
    for their files.

    A link that breaks while the app is started leaves open whether it was, which who follows the
    runs finds out: how it broke is returned. Raises ``AppError`` when the companion does not start,
    ``PhoneError``, ``DisconnectedError``.
    """
    for request in requests:
        directory = f"{INPUT_ROOT}/{run_directory(request.run_id)}"
        source = scratch / f"{request.run_id}.json"
        source.write_bytes(encode(request))
        # What an earlier start left would be taken for this one's.
        outputs = f"{OUTPUT_ROOT}/{run_directory(request.run_id)}"
        phone.shell(f"mkdir -p {directory} && chmod 755 {directory} && rm -rf {outputs}")
        phone.push(source, f"{directory}/request.json", on_bytes=lambda _: None)
    # One start for all: none is left out by a link that breaks, and a run is not disturbed by the
    # starts of the others.
    command = f"am start -n {ACTIVITY} --es run_id {','.join(each.run_id for each in requests)}"
    try:
        answer = phone.shell(command, check=False)
    except (DeviceError, DisconnectedError) as error:
        return error
    words = (answer.stdout + answer.stderr).decode("utf-8", errors="replace")
    # Older releases exit with 0 although the activity could not be started.
    if answer.exit_code != 0 or "Error" in words:
        raise AppError(
            f"The companion app did not start: {words.strip() or 'am said nothing'}",
            serial=phone.serial,
            command=command,
            fix="Unlock the phone; if the app is damaged, uninstall it and install it again.",
        )
    return None


def read_state(phone: Phone, run_id: str) -> RunState:
    """What became of a run that was started. Raises ``DeviceError``, ``DisconnectedError``."""
    directory = f"{OUTPUT_ROOT}/{run_directory(run_id)}"
    # Before the files: a process that is gone by now has written all that it will.
    pids = _companion_pids(phone)
    # The first two events are short.
    told = phone.shell(
        f"test -f {directory}/result.json && echo over; "
        f"head -n 2 {directory}/progress.jsonl 2>/dev/null",
        check=False,
    ).stdout
    if told.startswith(b"over"):
        return "over"
    try:
        events = list(decode_events(told))
    except ProtocolError:
        return "dead"
    has_begun = len(events) > 1
    if _carries(pids, events[0]) if events else pids and _may_be_taken(phone, run_id):
        return "running" if has_begun else "waiting"
    return "dead" if has_begun else "dropped"


def _may_be_taken(phone: Phone, run_id: str) -> bool:
    """Whether the companion that lives, which takes a run at its start, may be about to take this
    one. What an earlier companion left, or never took, is not for it."""
    told = phone.shell(f"date +%s; stat -c %Y {INPUT_ROOT}/{run_directory(run_id)}", check=False)
    now, _, delivered = told.text.strip().partition("\n")
    # Both by the phone's clock, whatever that says.
    now_s, delivered_s = parse_integer(now), parse_integer(delivered)
    return now_s is None or delivered_s is None or abs(now_s - delivered_s) <= TAKING_S


def is_going_on(phone: Phone, run_id: str) -> bool:
    """Whether a run that was started is under way, or may still be."""
    return read_state(phone, run_id) in ("running", "waiting")


def fetch(phone: Phone, run_id: str, name: str, target: Path, *, limit_bytes: int) -> None:
    """Fetch a file that a run has written, as it is there; whether it is what it should be is for
    who reads it to check.

    Raises ``PhoneError`` where the phone does not have it or it is longer than ``limit_bytes``, and
    ``DisconnectedError`` where it is there and cannot be had.
    """
    path = f"{OUTPUT_ROOT}/{run_directory(run_id)}/{name}"
    reason = "what arrives is not what is there"
    for _ in range(READINGS):
        try:
            phone.pull(path, target, limit_bytes=limit_bytes)
        except PhoneError as error:
            if _is_missing_or_longer(phone, path, limit_bytes):
                raise
            reason = error.what
            continue
        if is_whole(phone, path, file_md5(target)):
            return
    raise DisconnectedError(
        f"{name} is on the phone and cannot be read from it: {reason}",
        serial=phone.serial,
        path=path,
        fix="Look at the cable, then fetch it with `mobilekit collect`.",
    )


def _is_missing_or_longer(phone: Phone, path: str, limit_bytes: int) -> bool:
    """By the phone's own word; one that says something else may give the file another time."""
    answer = phone.shell(f"stat -c %s {path}", check=False)
    if answer.exit_code != 0:
        return b"No such file" in answer.stdout + answer.stderr
    size = answer.stdout.strip()
    return re.fullmatch(b"[0-9]{1,18}", size) is not None and int(size) > limit_bytes


def is_whole(phone: Phone, path: str, md5: str) -> bool:
    """Whether what was read of a file is what is there, by the phone's own hash of it: nothing is
    taken from a phone before. One without the command (Android 6 has it) is believed."""
    answer = phone.shell(f"md5sum {path}", check=False)
    return answer.exit_code == NO_COMMAND or answer.stdout.split()[:1] == [md5.encode()]


def list_runs(phone: Phone) -> set[str]:
    """The ids of all runs whose files are on the phone."""
    listing = phone.shell(f"ls {INPUT_ROOT}/runs {OUTPUT_ROOT}/runs 2>/dev/null; true").text
    return {line for line in listing.splitlines() if re.fullmatch(RUN_ID_PATTERN, line)}


def is_running(phone: Phone) -> bool:
    """Whether the companion lives, whatever it does."""
    return bool(_companion_pids(phone))


def is_held(phone: Phone, first: ProgressEvent) -> bool:
    """Whether the process lives that wrote a run's first event, and so carries the run."""
    return _carries(_companion_pids(phone), first)


def read_crash(phone: Phone, first: ProgressEvent) -> str | None:
    """The signal that ended the process which wrote a run's first event, and the library that it
    was in, as far as the phone's log tells."""
    if not isinstance(first, RunTaken):
        return None
    return parse_crash(phone.shell("logcat -d -b crash -t 1000", check=False).text, first.pid)


def _carries(pids: set[int], first: ProgressEvent) -> bool:
    return isinstance(first, RunTaken) and first.pid in pids


def _companion_pids(phone: Phone) -> set[int]:
    """Raises ``PhoneError`` for an answer that is none: a run of which nothing is known is not one
    that has ended."""
    answer = phone.shell(f"pidof {PACKAGE}", check=False)
    words = answer.text.split() if answer.exit_code == 0 else []
    if not all(re.fullmatch("[0-9]{1,10}", word) for word in words):
        raise PhoneError(
            "The phone does not say which processes it has",
            serial=phone.serial,
            fix=f"Look at `adb -s {phone.serial} shell pidof {PACKAGE}`.",
        )
    return {int(word) for word in words}


def remove_run(phone: Phone, run_id: str) -> None:
    """Delete a run's files from the phone, once they are stored here."""
    directory = run_directory(run_id)
    phone.shell(f"rm -rf {INPUT_ROOT}/{directory} {OUTPUT_ROOT}/{directory}", check=False)


def forget_file(phone: Phone, file: File) -> None:
    """Delete a delivered file, so that the next deploy pushes it again."""
    phone.shell(f"rm -f {INPUT_ROOT}/{file.path}", check=False)
