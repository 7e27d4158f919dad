"""Tables as aligned text."""

from __future__ import annotations

import re
import textwrap

from mobilekit.results.tables.cell_text import table_texts
from mobilekit.results.tables.cells import Table

GAP = "  "
UNBROKEN = "\u00a0"
"""A space at which no line is broken."""
NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=[A-Za-z])")


def render_text(table: Table, width: int | None = None) -> str:
    """Columns as wide as their widest cell; beyond ``width`` characters in all, the widest cells
    are broken between words. No word is, so that ids can be copied."""
    lines = [[column.name for column in table.columns], *table_texts(table)]
    widths = _fitted(lines, width)
    texts = []
    for line in lines:
        broken = [_broken(cell, most) for cell, most in zip(line, widths, strict=True)]
        for number in range(max(map(len, broken))):
            cells = (part[number] if number < len(part) else "" for part in broken)
            texts.append(
                GAP.join(
                    cell.ljust(most) for cell, most in zip(cells, widths, strict=True)
                ).rstrip()
            )
    return "\n".join(texts)


def _broken(cell: str, most: int) -> list[str]:
    if len(cell) <= most:
        return [cell]
    parts = textwrap.wrap(
        _joined(cell), max(most, 1), break_long_words=False, break_on_hyphens=False
    )
    return [part.replace(UNBROKEN, " ") for part in parts]


def _joined(cell: str) -> str:
    """A number stays with its unit."""
    return NUMBER_AND_UNIT.sub(UNBROKEN, cell)


def _fitted(lines: list[list[str]], width: int | None) -> list[int]:
    """Of each column: of its widest cell or, where all do not fit, less by turns of the widest."""
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    if width is None:
        return widths
    least = [
        max((len(word) for cell in cells for word in _joined(cell).split(" ")), default=0)
        for cells in columns
    ]
    spare = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while spare > 0:
        loose = [place for place, most in enumerate(widths) if most > least[place]]
        if not loose:
            break
        widest = max(loose, key=lambda place: widths[place])
        widths[widest] -= 1
        spare -= 1
    return widths
