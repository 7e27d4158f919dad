"""What ``doctor`` found, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mobilekit.records.checkup import Check, Checkup, PhoneFacts

LEAST_TEXT = 40
"""However narrow the terminal is."""


def render_checkup(checkup: Checkup, width: int | None = None) -> str:
    """A block for this computer and one for each phone, a check a line, below it what to do; lines
    are broken between words to ``width`` characters."""
    groups = [checkup.computer.checks, *(phone.checks for phone in checkup.phones)]
    subjects = max(len(check.subject) for group in groups for check in group)
    heads = ["This computer", *(_phone_text(phone.facts) for phone in checkup.phones)]
    blocks = [
        "\n".join([head, *(line for check in group for line in _lines(check, subjects, width))])
        for head, group in zip(heads, groups, strict=True)
    ]
    return "\n\n".join([*blocks, _count(groups)])


def _phone_text(facts: PhoneFacts) -> str:
    if facts.info is None:
        return facts.attached.serial
    virtual = " (virtual)" if facts.info.virtual else ""
    return f"{facts.attached.serial} · {facts.info.name}{virtual}"


def _lines(check: Check, subjects: int, width: int | None) -> list[str]:
    head = f"  {check.verdict:5}  {check.subject.ljust(subjects)}  "
    lines = _broken(check.what, head, width)
    return lines if check.fix is None else [*lines, *_broken(check.fix, " " * len(head), width)]


def _broken(text: str, head: str, width: int | None) -> list[str]:
    if width is None:
        return [head + text]
    most = max(width - len(head), LEAST_TEXT)
    parts = textwrap.wrap(text, most, break_long_words=False, break_on_hyphens=False) or [""]
    return [(head if number == 0 else " " * len(head)) + part for number, part in enumerate(parts)]


def _count(groups: Sequence[Sequence[Check]]) -> str:
    verdicts = [check.verdict for group in groups for check in group]
    faults, notes = verdicts.count("fault"), verdicts.count("note")
    return f"{faults or 'No'} fault{'s' * (faults != 1)}, {notes or 'no'} note{'s' * (notes != 1)}."
