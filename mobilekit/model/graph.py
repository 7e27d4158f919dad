"""A network as one graph, from which every format is made. Imports torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilekit.errors import ExportError
from mobilekit.model.failures import describe_error, failing_line
from mobilekit.model.layers import name_layers
from mobilekit.model.quiet import quiet_python
from mobilekit.model.rewrite import ExactRewrites
from mobilekit.records.network import ModelSpec

METHOD = "forward"
"""What is traced; where a format has methods, the name of its only one."""


def make_graph(spec: ModelSpec, module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """The network as one graph (a ``torch.export.ExportedProgram``) for inputs of these shapes.

    Each operation in it knows its layer (``layers.layer_name``).

    Raises ``ExportError`` naming the statement that is no part of a fixed graph.
    """
    try:
        # torch prints half-made graphs to standard error before it gives up.
        with quiet_python(), contextlib.redirect_stderr(io.StringIO()), ExactRewrites():
            exported = torch.export.export(module, tuple(inputs))
    except Exception as error:
        raise ExportError(
            f"torch.export cannot turn {spec.name} into a fixed graph: {describe_error(error)}",
            fix="Write forward() without branches, loops or sizes that depend on the values of "
            "tensors; torch.where can often take the place of an if.",
            at=failing_line(error, Path(spec.path).parent) or spec.path,
        ) from error
    name_layers(exported)
    return exported
