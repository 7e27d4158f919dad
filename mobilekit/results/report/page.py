"""A report as one HTML file that asks no host for anything.

Whatever a phone or a file has put into a name is text: Jinja escapes it in the page, the document
in it is JSON without a ``<``, and its policy lets nothing run but the scripts that came with
mobilekit, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files

from msgspec import Struct

from mobilekit.contract.codec import encode
from mobilekit.results.report.document import ReportDocument
from mobilekit.results.report.sections import make_sections
from mobilekit.results.tables.cell_text import table_texts
from mobilekit.results.tables.cells import Absent, Cell, CellOrigin, Number, Table

LIBRARIES = ("d3.min.js", "plot.umd.min.js", "sortable.min.js")
"""In the order in which they need each other."""
MARKS: dict[CellOrigin, tuple[str, str]] = {
    "measured": ("●", "on the device itself, or by a meter"),
    "virtual": ("◆", "measured on the computer that a virtual phone ran on: no phone's time"),
    "simulated": ("▲", "by a virtual phone's battery"),
    "predicted": ("■", "of a phone that was not there"),
    "published": ("○", "by others"),
}
"""Beside every figure, and what it means; the charts' symbols are the same."""


class HtmlCell(Struct, frozen=True):
    text: str
    sort: str
    """What it is sorted by: a number in full; empty where there is none."""
    is_number: bool
    origin: CellOrigin | None


_LEADING_NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?= |$)")
"""Of a text: ``1,200 inferences``, ``31.0 to 33.5 °C``; a date is none."""


def html_rows(table: Table) -> Iterator[list[HtmlCell]]:
    """Each row's cells, as every other rendering of the table has them.

    A column of texts that all begin with a number, where they are not absent, is sorted by it.
    """
    counts = [
        _begins_with_numbers(column)
        for column in zip(*(row.cells for row in table.rows), strict=True)
    ]
    for row, texts in zip(table.rows, table_texts(table), strict=True):
        yield [
            _html_cell(cell, text, is_counted=is_counted)
            for cell, text, is_counted in zip(row.cells, texts, counts, strict=True)
        ]


def _begins_with_numbers(column: Sequence[Cell]) -> bool:
    texts = [cell for cell in column if isinstance(cell, str) and cell != "-"]
    return bool(texts) and all(_LEADING_NUMBER.match(text) for text in texts)


def _html_cell(cell: Cell, text: str, *, is_counted: bool) -> HtmlCell:
    if isinstance(cell, Number):
        return HtmlCell(text, repr(cell.value), True, cell.origin)
    if isinstance(cell, Absent):
        return HtmlCell(text, "", True, None)
    if is_counted:
        number = _LEADING_NUMBER.match(cell)
        return HtmlCell(text, "" if number is None else number[0].replace(",", ""), False, None)
    return HtmlCell(text, text, False, None)


def render_report(document: ReportDocument) -> str:
    """The page."""
    # Most commands need neither; they would take longer to import than the rest of a list.
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scripts = [
        *(_read(f"libraries/{name}") for name in LIBRARIES),
        _read("page.js"),
    ]
    return environment.from_string(_read("page.html")).render(
        document=document,
        sections=make_sections(document),
        rows=html_rows,
        marks=MARKS,
        policy=_policy(scripts),
        style=Markup(_read("page.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(json_for_html(encode(document).decode())),
    )


def json_for_html(text: str) -> str:
    """The same document, without anything that ends a ``script`` element or begins a comment."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(scripts: list[str]) -> str:
    """What the page may do: run these scripts, and nothing else; no request to any host."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
