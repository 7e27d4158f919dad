"""What a program is checked with: fixed inputs and eager PyTorch's outputs.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mobilekit.contract.outputs import check_outputs
from mobilekit.contract.protocol import DType
from mobilekit.errors import ExportError
from mobilekit.model.failures import running_code_of
from mobilekit.model.given import read_inputs
from mobilekit.model.graph import find_random
from mobilekit.model.state import preserved_state
from mobilekit.records.artifact import LARGEST_ERRORS
from mobilekit.records.network import ModelSpec


def make_inputs(spec: ModelSpec, seed: int = 0) -> tuple[Tensor, ...]:
    """The same inputs for every run of a network, in the order of ``spec.input_shapes``.

    Those of ``spec.inputs_path``, which are the first; others are generated: standard normal for
    float32, 0 or 1 for the others, which every integer input allows.

    Raises ``UsageError`` where the inputs' file is no longer what it was.
    """
    if spec.inputs_path is not None and seed == 0:
        return tuple(map(torch.from_numpy, read_inputs(Path(spec.inputs_path))))
    random = np.random.default_rng(seed)
    return tuple(
        torch.from_numpy(
            random.standard_normal(shape, dtype=np.float32)
            if dtype == "float32"
            else random.integers(0, 2, shape).astype(dtype)
        )
        for shape, dtype in zip(spec.input_shapes, spec.input_dtypes, strict=True)
    )


def run_eager(spec: ModelSpec, module: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run the network in PyTorch: its outputs, flattened. Its state is the same afterwards.

    Raises ``ExportError`` if it fails, or gives what a phone's outputs cannot be compared with.
    """
    with running_code_of(spec), torch.no_grad(), preserved_state(module):
        # Copies, because a network may write to its input.
        return _checked_outputs(spec, tree_leaves(module(*(tensor.clone() for tensor in inputs))))


def find_state(
    spec: ModelSpec, module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[str, ...]:
    """The buffers through which one inference changes the next; none of most networks.

    ``outputs`` are those of an inference of ``inputs``. Raises ``ExportError`` for a network that
    is random, and for one whose state lies in other attributes, which an export freezes.
    """
    with preserved_state(module) as written:
        with running_code_of(spec), torch.no_grad():
            module(*(tensor.clone() for tensor in inputs))
        difference = _differs(run_eager(spec, module, inputs), outputs)
        if not difference:
            return ()
    # Chance may repeat the outputs of a small network that draws little.
    has_written = written.buffers or written.attributes
    if not has_written or _differs(run_eager(spec, module, inputs), outputs):
        with preserved_state(module):
            drawn = find_random(spec, module, inputs)
        raise ExportError(
            f"{spec.name} is random: two runs of it in PyTorch, in evaluation mode and on the same "
            "inputs, differ",
            fix="Take the randomness out of forward(): F.dropout needs training=self.training, or "
            "be nn.Dropout; what is drawn (torch.rand, torch.bernoulli) can be an input.",
            relative_difference=f"{difference:.3g}",
            **({"drawn_by": ", ".join(drawn)} if drawn else {}),
            at=spec.path,
        )
    if not written.buffers:
        raise ExportError(
            f"{spec.name} keeps a state from one inference to the next where an export cannot see "
            "it",
            fix='Keep it in a buffer: self.register_buffer("state", torch.zeros(...)) in '
            "__init__(), self.state.copy_(new) in forward(). Or make it an input and an output.",
            attributes=", ".join(written.attributes),
            at=spec.path,
        )
    return tuple(written.buffers)


def _differs(outputs: Sequence[Tensor], references: Sequence[Tensor]) -> float:
    """By how much of the largest value, where that is more than kernels differ; else 0."""
    check = check_outputs(
        [tensor.numpy() for tensor in outputs],
        [tensor.numpy() for tensor in references],
        LARGEST_ERRORS["fp32"],
    )
    return 0.0 if check.matches else check.max_relative_error


def tensor_bytes(tensor: Tensor) -> bytes:
    """The elements in C order, little-endian."""
    array: np.ndarray[Any, Any] = tensor.detach().contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def dtype_name(tensor: Tensor) -> str:
    """As in ``protocol.DType``: ``float32``."""
    return str(tensor.dtype).removeprefix("torch.")


def _checked_outputs(spec: ModelSpec, leaves: Sequence[object]) -> tuple[Tensor, ...]:
    problem = None
    tensors = tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))
    if not leaves or len(tensors) < len(leaves):
        problem = "are not all tensors"
    elif any(tensor.numel() == 0 for tensor in tensors):
        problem = "have one without elements"
    elif unknown := {dtype_name(tensor) for tensor in tensors} - set(get_args(DType)):
        problem = f"are of {', '.join(sorted(unknown))}, not of {', '.join(get_args(DType))}"
    elif not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        problem = "are not all finite numbers, so that a phone's cannot be compared with them"
    if problem is not None:
        raise ExportError(
            f"The outputs of {spec.name} {problem}",
            fix="forward() must return tensors, also in tuples, lists or dicts, of these types "
            "and of finite numbers.",
            at=spec.path,
        )
    return tensors
