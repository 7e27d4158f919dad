"""What a stored document holds, a line for each field; run as a script it renews ``FILE``."""

from pathlib import Path

import msgspec

from mobilekit.records.energy import GaugeGain, GaugeOutcome
from mobilekit.records.measurement import Measurement, Tag
from mobilekit.records.meter import MeterResult
from mobilekit.results.version import SCHEMA_VERSION

FILE = Path(__file__).with_name("stored_fields.txt")


def stored_fields() -> str:
    stored = (Measurement, GaugeOutcome, GaugeGain, MeterResult, Tag)
    _, records = msgspec.json.schema_components(stored)
    lines = [
        f"{name}.{field}: {msgspec.json.encode(kind, order='deterministic').decode()}"
        for name, record in sorted(records.items())
        for field, kind in sorted(record.get("properties", {}).items())
    ]
    text = "\n".join((f"schema version {SCHEMA_VERSION}", *lines))
    return text.replace("#/components/schemas/", "").replace("#/$defs/", "") + "\n"


if __name__ == "__main__":
    FILE.write_text(stored_fields(), encoding="utf-8")
