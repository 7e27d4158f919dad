"""The ids of runs and results: they can be a file's name and need no quotes in a shell."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone

LONGEST_NAME = 40


def make_id(name: str) -> str:
    """What a person reads first, the time in UTC and four random digits."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    prefix = "".join(char if char.isascii() and char.isalnum() else "-" for char in name.lower())
    return f"{prefix[:LONGEST_NAME]}-{stamp}-{secrets.token_hex(2)}"
