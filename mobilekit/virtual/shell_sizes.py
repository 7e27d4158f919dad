"""Sizes as toybox prints them."""

from __future__ import annotations


def human_size(size_bytes: float) -> str:
    """As toybox writes it: ``512``, ``1.5K``, ``29M``."""
    for unit in ("", "K", "M", "G"):
        if size_bytes < 1000 or unit == "G":
            break
        size_bytes /= 1024
    return f"{size_bytes:.1f}{unit}" if unit and size_bytes < 10 else f"{size_bytes:.0f}{unit}"
