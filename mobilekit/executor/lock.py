"""One run at a time on a phone, whichever mobilekit asks for it."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from mobilekit import places
from mobilekit.errors import InUseError


@contextmanager
def exclusive(phone: str) -> Iterator[None]:
    """Keep other deploys from the phone of this ``DeviceInfo.key``: it runs one at a time, however
    it is attached.

    Raises ``InUseError`` when one is using it.
    """
    # What a phone calls itself may be `..`, or longer than the name of a file.
    path = places.locks_directory() / hashlib.sha256(phone.encode()).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(
                "Another mobilekit is using this phone", phone=phone, fix="Wait until it is done."
            ) from None
        yield
