"""Text of others, made harmless to whoever reads it: names, messages and files hold anything."""

from __future__ import annotations

import re

_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1: escape sequences begin with one of them.
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # They turn the order of what is read around.
    "\u2028\u2029\ud800-\udfff"
)
_NOT_LINES = re.compile(f"[{_CONTROLS}]")
_NOT_PLAIN = re.compile(f"[\t\n{_CONTROLS}]")


def plain_lines(text: str) -> str:
    """Each character that does something to a terminal as its escape, ``\\u001b``; line ends and
    tabs stay. In a JSON document, what is escaped within its texts is the same text as before."""
    return _NOT_LINES.sub(_escaped, text)


def plain(text: str) -> str:
    """As ``plain_lines``, of what is to stand in a line: line ends, and what a maker of messages
    puts around them, are a space."""
    return _NOT_PLAIN.sub(_escaped, " ".join(text.splitlines()) if "\n" in text else text)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
