"""Doubts about a measurement."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record

Severity = Literal["info", "warning", "error"]


class Finding(Record, frozen=True):
    """A doubt about a measurement. An ``error`` means that a figure must not be used."""

    id: str
    severity: Severity
    summary: str
    advice: str
