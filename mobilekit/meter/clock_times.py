"""Times that are written as a clock or a calendar shows them, as loggers do."""

from __future__ import annotations

import re
from typing import Any

from mobilekit.meter.envelope import Floats

_TIME = r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?"
_OF_DAY = re.compile(_TIME)
_ISO = re.compile(rf"\d{{4}}([-/])\d\d\1\d\d[T ]{_TIME}(?:Z|[+-]\d\d:?\d\d)?")


def is_clock(text: str) -> bool:
    """Whether it is a time of day, or a date with one, the year first."""
    return _OF_DAY.fullmatch(text) is not None or _ISO.fullmatch(text) is not None


def clock_seconds(texts: Any) -> Floats:
    """A series of such texts as seconds of the day or since 1970; NaN for any other text."""
    import pandas as pd

    texts = texts.str.strip().str.replace(",", ".", regex=False)
    if texts.str.match(r"\d{4}").any():
        dates = texts.str.replace("/", "-", regex=False)
        moments = pd.to_datetime(dates, format="ISO8601", errors="coerce", utc=True)
        spans = moments - pd.Timestamp(0, tz="UTC")
    else:
        spans = pd.to_timedelta(texts, errors="coerce")
    seconds: Floats = spans.dt.total_seconds().to_numpy(dtype=float)
    return seconds
