"""What the tests of ``mobilekit.model`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mobilekit.records.artifact import Artifact

SMALL = '''"""A small network.

More about it.
"""

from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
'''

WriteModel = Callable[..., Path]
Export = Callable[..., tuple[Artifact, list[str]]]
Known = Callable[..., Artifact]
