"""Write docs/schema.json: the JSON Schema of every document that ``--json`` prints.

It is made from the records themselves. Run it after a change of any of them; the test
``tests/test_json_schema.py`` fails until it has been.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from mobilekit.contract.codec import Record
from mobilekit.meter.document import ExportDocument, MeterDocument
from mobilekit.results import documents, network_documents, prediction_documents, saved
from mobilekit.results.report.document import ReportDocument
from mobilekit.virtual.document import VirtualPhoneDocument, VirtualPhonesDocument

SCHEMA = Path(__file__).parents[1] / "docs/schema.json"
REFERENCE = "#/$defs/{name}"


def is_document(value: object) -> bool:
    is_record = isinstance(value, type) and issubclass(value, Record)
    return is_record and value.__struct_config__.tag_field == "schema"


DOCUMENTS: tuple[type[Record], ...] = (
    *(
        value
        for module in (documents, network_documents, prediction_documents, saved)
        for value in vars(module).values()
        if is_document(value)
    ),
    ReportDocument,
    MeterDocument,
    ExportDocument,
    VirtualPhoneDocument,
    VirtualPhonesDocument,
)


def make_schema() -> dict[str, object]:
    """One schema that each document fits, told apart by their ``schema``."""
    references, definitions = msgspec.json.schema_components(DOCUMENTS, ref_template=REFERENCE)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Every document that mobilekit prints with --json",
        "oneOf": list(references),
        "$defs": dict(sorted(definitions.items())),
    }


def render_schema() -> str:
    return json.dumps(make_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(render_schema(), encoding="utf-8")
    print(f"{SCHEMA}: {len(DOCUMENTS)} documents", file=sys.stderr)
