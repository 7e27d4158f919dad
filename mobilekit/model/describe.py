"""Static counts of a network, which need no phone.

Torch is imported only when a network has to be built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.contract.codec import decode, encode_pretty
from mobilekit.errors import ExportError, ProtocolError
from mobilekit.model.files import reporting_full_disk, write_whole
from mobilekit.records.network import Description, ModelCost, ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

COST_VERSION = 1
"""Of how costs are counted. History: 1: first."""
LAYERS_VERSION = 1
"""Of how layers are told apart and counted. History: 1: first."""


def count_cost(module: nn.Module, inputs: Sequence[Tensor]) -> ModelCost:
    """Count parameters, and multiply-accumulates for one inference of ``inputs``.

    Multiply-accumulates are those of convolutions and matrix products, half of what
    ``torch.utils.flop_counter`` counts. Parameters used twice are counted once.
    """
    import torch
    from torch.func import functional_call
    from torch.utils.flop_counter import FlopCounterMode

    # Meta tensors have a shape only, so nothing is computed; and no layer takes a fused path for
    # processors (as nn.LSTM and nn.TransformerEncoderLayer do), whose products are not counted.
    state = dict([*module.named_parameters(), *module.named_buffers()])
    shapes_only = {name: tensor.to("meta") for name, tensor in state.items()}
    with torch.no_grad():
        try:
            with torch.device("meta"), FlopCounterMode(display=False) as counter:
                functional_call(module, shapes_only, tuple(tensor.to("meta") for tensor in inputs))
        except Exception:
            # It looks at values, or keeps tensors that are neither parameters nor buffers.
            with FlopCounterMode(display=False) as counter:
                module(*(tensor.clone() for tensor in inputs))
    return ModelCost(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        macs=counter.get_total_flops() // 2,
    )


def read_description(
    spec: ModelSpec, *, cache_directory: Path, module: nn.Module | None = None
) -> Description:
    """The network's layers, from the cache if its content has been described before.

    ``module`` is the network, where it has been built already.

    Raises what ``load_module`` raises, and ``ExportError`` if the network does not run, cannot be
    traced, what a layer yields has no fixed size, or the cache cannot be written to.
    """
    description = find_description(spec, cache_directory=cache_directory)
    if description is None:
        from mobilekit.model.failures import running_code_of
        from mobilekit.model.graph import make_graph
        from mobilekit.model.load import load_module
        from mobilekit.model.reference import make_inputs

        module = load_module(spec) if module is None else module
        inputs = make_inputs(spec)
        with running_code_of(spec):
            cost = count_cost(module, inputs)
        exported = make_graph(spec, module, inputs)
        description = describe(spec, exported, cost)
        keep_description(spec, description, cache_directory=cache_directory)
    return description


def describe(spec: ModelSpec, exported: Any, cost: ModelCost) -> Description:
    """The layers of a graph of ``trace``. Raises ``ExportError``."""
    from mobilekit.model.failures import describe_error
    from mobilekit.model.layers import describe_layers

    try:
        return describe_layers(exported, cost)
    except Exception as error:
        raise ExportError(
            f"The layers of {spec.name} cannot be counted: {describe_error(error)}",
            fix="Replace the operator that it names by others that do the same.",
            model=spec.path,
        ) from error


def keep_description(spec: ModelSpec, description: Description, *, cache_directory: Path) -> None:
    """Put it in the cache. Raises ``ExportError`` where that cannot be written to."""
    with reporting_full_disk(cache_directory):
        write_whole(_layers_path(spec, cache_directory), encode_pretty(description))


def find_description(spec: ModelSpec, *, cache_directory: Path) -> Description | None:
    """The network's layers, if they are in the cache, where an export leaves them if it can."""
    path = _layers_path(spec, cache_directory)
    try:
        description: Description = decode(path.read_bytes(), Description, source=path.name)
    except (OSError, ProtocolError):
        return None
    return description


def _layers_path(spec: ModelSpec, cache_directory: Path) -> Path:
    return cache_directory / f"{spec.content_sha256}.layers{LAYERS_VERSION}.json"


def read_cost(
    spec: ModelSpec, *, cache_directory: Path, on_progress: Callable[[str], None] = lambda _: None
) -> ModelCost:
    """The cost of a network, from the cache if its content has been counted before.

    ``on_progress`` hears of what takes seconds. Raises what ``load_module`` raises, and
    ``ExportError`` if the network does not run or the cache cannot be written to.
    """
    path = cache_directory / f"{spec.content_sha256}.cost{COST_VERSION}.json"
    try:
        cost: ModelCost = decode(path.read_bytes(), ModelCost, source=path.name)
    except (OSError, ProtocolError):
        from mobilekit.model.failures import running_code_of
        from mobilekit.model.load import load_module
        from mobilekit.model.reference import make_inputs

        on_progress(f"Counting {spec.name}")
        module = load_module(spec)
        with running_code_of(spec):
            cost = count_cost(module, make_inputs(spec))
        with reporting_full_disk(cache_directory):
            write_whole(path, encode_pretty(cost))
    return cost
