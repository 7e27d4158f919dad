"""Which ways to store a network's weights are tried, and in what order."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.records.network import (
    Compression,
    Dictionary,
    Precision,
    Pruned,
    SharedValues,
    StorageWay,
    Variant,
)

VALUES = (256, 64, 32, 16, 8, 6, 5, 4, 3, 2)
VALUES_OF_CUT = 16
"""Shared by layers that are cut to a lower rank as well."""
PERCENT = (30, 40, 50, 60, 70, 80, 90)
ATOMS_AND_CODES = (
    (100, 16),
    (50, 16),
    (50, 8),
    (38, 8),
    (25, 8),
    (25, 4),
    (19, 4),
    (12, 4),
    (12, 2),
)


def storage_ladders(
    ways: Sequence[StorageWay], ranks: Sequence[Compression | None]
) -> tuple[tuple[Variant, ...], ...]:
    """Ladders from the least changed network down, each step of which takes less room.

    ``ranks`` are the steps of a ladder of low rank, from the whole network down: shared values go
    with each of them too.
    """
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    shared = SharedValues(values=VALUES_OF_CUT)
    ladders: dict[StorageWay, tuple[tuple[Variant, ...], ...]] = {
        "shared": (
            tuple(Variant(storage=SharedValues(values=each)) for each in VALUES),
            tuple(Variant(compression=each, storage=shared) for each in ranks if each is not None),
        ),
        "pruned": tuple(
            tuple(Variant(precision=precision, storage=Pruned(percent=each)) for each in PERCENT)
            for precision in precisions
        ),
        "dictionary": (
            tuple(
                Variant(storage=Dictionary(atoms_percent=atoms, codes=codes))
                for atoms, codes in ATOMS_AND_CODES
            ),
        ),
    }
    return tuple(ladder for way in ways for ladder in ladders[way] if ladder)
