"""Networks that are described by a table of their layers (.csv), with no program of theirs."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from mobilekit.errors import DataError
from mobilekit.records.prediction import KnownLatency, LayerWork, NetworkWork

LAYER_COLUMNS = (
    "network",
    "index",
    "type",
    "kind",
    "macs",
    "weights",
    "input_elements",
    "output_elements",
    "kernel",
    "stride",
    "groups",
)
KNOWN_COLUMNS = ("network", "ms")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
"""``float`` takes ``1_0``, digits of every script and ``nan`` too."""
_COUNTS = ("macs", "weights", "input_elements", "output_elements", "kernel")


def read_layer_table(path: Path) -> tuple[NetworkWork, ...]:
    """The networks of a table with ``LAYER_COLUMNS``, in the order of their first layers.

    Raises ``DataError`` for a file that cannot be read, a column that is missing and a count that
    is no whole number of at least 0, or is more groups than there are numbers, with its line; and
    for a layer that is there twice, which would count twice.
    """
    layers: dict[str, list[LayerWork]] = {}
    told: set[tuple[str, str]] = set()
    for line, row in _rows(path, LAYER_COLUMNS):
        counts = {name: _count(path, line, name, row[name]) for name in _COUNTS}
        # What they tell of a layer's time is in its kind: they only have to make sense.
        groups = _count(path, line, "groups", row["groups"])
        _count(path, line, "stride", row["stride"])
        if groups > max(1, counts["output_elements"]):
            raise _fault(
                path,
                line,
                f"groups is {groups}, and output_elements {counts['output_elements']}",
                "Each group writes at least one element.",
            )
        network, index = _name(path, line, row["network"]), row["index"].strip()
        if (network, index) in told:
            raise _fault(
                path,
                line,
                f"layer {index!r} of {network} is there a second time",
                "Write each layer once, with an index of its own.",
            )
        told.add((network, index))
        layers.setdefault(network, []).append(
            LayerWork(name=index, type=row["type"].strip(), kind=row["kind"].strip(), **counts)
        )
    if not layers:
        raise DataError("The table has no layers", path=path, fix="Give one row for each layer.")
    return tuple(NetworkWork(name=name, layers=tuple(each)) for name, each in layers.items())


def read_known(path: Path) -> tuple[KnownLatency, ...]:
    """Latencies that were measured, of a table with ``network`` and ``ms``.

    Raises ``DataError`` for a file that cannot be read, a column that is missing and what is no
    number, with its line.
    """
    known = []
    for line, row in _rows(path, KNOWN_COLUMNS):
        if _NUMBER.fullmatch(row["ms"].strip()) is None:
            raise _fault(path, line, f"ms is {row['ms']!r}", "Write a number of ms.")
        latency_ms = float(row["ms"])
        known.append(KnownLatency(network=_name(path, line, row["network"]), latency_ms=latency_ms))
    return tuple(known)


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Each row of a table with the number of its line."""
    fix = f"It is a table with a heading line: {','.join(columns)}."
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"The table cannot be read: {error.strerror}", path=path, fix=fix) from None
    except UnicodeDecodeError:
        raise DataError("The table is no text in UTF-8", path=path, fix=fix) from None
    try:
        reader = csv.reader(io.StringIO(text), strict=True, skipinitialspace=True)
        heading = [name.strip() for name in next(reader, ())]
        missing = [name for name in columns if name not in heading]
        if missing:
            raise DataError(f"The table has no column {', '.join(missing)}", path=path, fix=fix)
        twice = [name for name in columns if heading.count(name) > 1]
        if twice:
            raise DataError(f"The table has two columns {', '.join(twice)}", path=path, fix=fix)
        rows = [(reader.line_num, fields) for fields in reader if not _is_blank(fields)]
    except csv.Error as error:
        raise DataError(f"The table cannot be read: {error}", path=path, fix=fix) from None
    for line, fields in rows:
        if len(fields) != len(heading):
            raise _fault(path, line, "it has not as many fields as the heading line", fix)
    return [(line, dict(zip(heading, fields, strict=True))) for line, fields in rows]


def _is_blank(fields: list[str]) -> bool:
    return not any(fields[1:]) and not (fields and fields[0].strip())


def _name(path: Path, line: int, text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise _fault(path, line, f"the network is {text!r}", "Write its name.")
    return text.strip()


def _count(path: Path, line: int, name: str, text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise _fault(path, line, f"{name} is {text!r}", "Write a whole number of at least 0.")
    return int(digits)


def _fault(path: Path, line: int, what: str, fix: str) -> DataError:
    return DataError(f"In line {line} {what}", path=path, fix=fix)
