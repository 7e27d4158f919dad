"""Documents that one command writes into a file and another reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilekit.contract.codec import MAX_DOCUMENT_BYTES, Record, decode
from mobilekit.errors import ProtocolError, UsageError
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import (
    Compression,
    Level,
    Placed,
    Precision,
    Storage,
    Variant,
)

LARGEST_VARIANT_BYTES = 2**20
"""Of a file that says how a network is changed."""
COMPRESSED_FIX = "Give the file that `mobilekit compress MODEL -o FILE` wrote."


# History: 1: first.
class PlacementDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.placement/1"):
    """``partition --save``, which ``--placement`` reads."""

    model: str
    placement: tuple[Placed, ...]


# History: 1: first.
class CompressedDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.compressed/1"):
    """``compress -o``, which ``--compressed`` reads."""

    model: str
    precision: Precision
    compression: Compression | None
    """``None`` where no layer is cut, and for levels."""
    ladder: tuple[Compression, ...] = ()
    """Of ``--levels``: the ranks of each, from the smallest; none of a network without."""
    apart: bool = False
    """Of ``--levels``: whether the weights are in files beside the program."""
    storage: Storage | None = None
    """``None`` where the program is stored as it is computed with."""


# History: 1: first.
class BaselineDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.baseline/1"):
    """``check --save``: whole runs, so that a later version may judge them by its own rules."""

    measurements: tuple[Measurement, ...]


def read_placement(path: Path, network: str) -> tuple[Placed, ...]:
    """Of such a file. Raises ``UsageError`` for one that is none, or is of another network than the
    one of that name."""
    fix = "Give a file that `mobilekit partition MODEL --save FILE` wrote."
    document: PlacementDocument = _read(
        path,
        PlacementDocument,
        LARGEST_VARIANT_BYTES,
        unread="The placement cannot be read",
        refused="That is no placement",
        fix=fix,
    )
    _refuse_other_network(path, document.model, network)
    placement = document.placement
    layers = [layer for placed in placement for layer in placed.layers]
    backends = {placed.backend for placed in placement}
    if not all(placed.layers for placed in placement) or (
        len(set(layers)) < len(layers) or len(backends) < len(placement)
    ):
        raise UsageError(
            "That is no placement: a layer or a backend is in it twice, or a backend has no layer",
            fix=fix,
            file=path,
        )
    return placement


def read_compressed(path: Path, network: str) -> Variant:
    """Of such a file, of levels the largest. Raises ``UsageError`` for one that is none, or is of
    another network than the one of that name."""
    document: CompressedDocument = _read(
        path,
        CompressedDocument,
        LARGEST_VARIANT_BYTES,
        unread="--compressed cannot be read",
        refused="--compressed cannot be read",
        fix=COMPRESSED_FIX,
    )
    _refuse_other_network(path, document.model, network)
    if not document.ladder:
        return Variant(
            precision=document.precision,
            compression=document.compression,
            storage=document.storage,
        )
    try:
        level = Level(number=len(document.ladder), ladder=document.ladder, apart=document.apart)
    except ValueError as error:
        raise UsageError(
            f"--compressed cannot be read: {error}", fix=COMPRESSED_FIX, file=path
        ) from None
    if document.compression is not None:
        raise UsageError(
            "--compressed cannot be read: it has levels and ranks beside them",
            fix=COMPRESSED_FIX,
            file=path,
        )
    return Variant(precision=document.precision, level=level, storage=document.storage)


def read_changed_network(path: Path) -> str:
    """The name of the network that a file of either kind was made for. Raises ``UsageError``."""
    document: PlacementDocument | CompressedDocument = _read(
        path,
        PlacementDocument | CompressedDocument,
        LARGEST_VARIANT_BYTES,
        unread=f"{path.name} cannot be read",
        refused=f"{path.name} changes no network",
        fix="Give a file that `mobilekit compress -o` or `mobilekit partition --save` wrote.",
    )
    return document.model


def _refuse_other_network(path: Path, made_for: str, network: str) -> None:
    """Layers of two networks may have one name, and other weights."""
    if made_for != network:
        raise UsageError(
            f"{path.name} was made for {made_for}, and this is {network}",
            file=path,
            fix=f"Use it with {made_for}, or make one for {network}.",
        )


def read_baseline(path: Path) -> tuple[Measurement, ...]:
    """Of such a file. Raises ``UsageError`` for one that is none, or holds no run."""
    fix = "`mobilekit check MODEL --save FILE` writes one."
    document: BaselineDocument = _read(
        path,
        BaselineDocument,
        MAX_DOCUMENT_BYTES,
        unread="The baseline cannot be read",
        refused="That is no baseline",
        fix=fix,
    )
    if not document.measurements:
        raise UsageError("The baseline holds no run", fix=fix, file=path)
    return document.measurements


def _read(
    path: Path, document: Any, largest_bytes: int, *, unread: str, refused: str, fix: str
) -> Any:
    """``unread`` begins what is said of a file that cannot be had, ``refused`` of another one."""
    try:
        with path.open("rb") as file:
            data = file.read(largest_bytes + 1)
        if len(data) > largest_bytes:
            raise UsageError(f"{refused}: it is too large", fix=fix, file=path)
        return decode(data, document, source=path.name)
    except OSError as error:
        raise UsageError(f"{unread}: {error.strerror}", fix=fix, file=path) from None
    except ProtocolError as error:
        raise UsageError(f"{refused}: {error.what}", fix=fix, file=path) from None
