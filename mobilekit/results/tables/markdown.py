"""Tables as GitHub's Markdown."""

from __future__ import annotations

from mobilekit.results.tables.cell_text import table_texts
from mobilekit.results.tables.cells import Table


def render_markdown(table: Table) -> str:
    lines = [
        [column.name for column in table.columns],
        ["---"] * len(table.columns),
        *table_texts(table),
    ]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
