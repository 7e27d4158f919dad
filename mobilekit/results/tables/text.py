"""Tables as aligned text."""

from __future__ import annotations

from mobilekit.results.tables.cell_text import row_texts
from mobilekit.results.tables.cells import Table


def render_text(table: Table) -> str:
    """Columns as wide as their widest cell, and never cut off, so that ids can be copied."""
    lines = [
        [column.name for column in table.columns],
        *(row_texts(table, row) for row in table.rows),
    ]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
