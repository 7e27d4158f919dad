"""Documents against the JSON Schema in ``docs/schema.json``."""

import functools
import json
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[1] / "docs/schema.json"


@functools.cache
def validators():
    """By the word in a document's ``schema``, so that what is wrong in it is said of its own."""
    whole = json.loads(SCHEMA.read_text(encoding="utf-8"))
    made = {}
    for reference in whole["oneOf"]:
        definition = whole["$defs"][reference["$ref"].removeprefix("#/$defs/")]
        (word,) = definition["properties"]["schema"]["enum"]
        made[word] = Draft202012Validator({**reference, "$defs": whole["$defs"]})
    return made


def check_document(text):
    """The document, which must be one object of a schema that is known, and fit it."""
    document = json.loads(text)
    assert isinstance(document, dict), "not an object"
    assert document.get("schema") in validators(), f"no such schema: {document.get('schema')}"
    validators()[document["schema"]].validate(document)
    return document
