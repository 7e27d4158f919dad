"""Static counts of a network, which need no phone.

Torch is imported only when a network has to be built; the networks that come with mobilekit have
been described before (``PACKAGED``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.contract.codec import decode
from mobilekit.errors import ExportError, ProtocolError
from mobilekit.model.files import read_record, reporting_full_disk, write_record
from mobilekit.records.network import Description, ModelCost, ModelSpec

if TYPE_CHECKING:
    from torch import nn

LAYERS_VERSION = 3
"""Of how layers are told apart and counted. History: 3: with windows; 2: products are counted in
the exported graph; 1: first."""

PACKAGED = Path(__file__).parent / "descriptions"
"""Of the networks that come with mobilekit, as in a cache: named by their content, so that one of
other code or weights has none there. ``scripts/describe_networks.py`` writes them."""


def count_cost(module: nn.Module, exported: Any) -> ModelCost:
    """Parameters of a network, and multiply-accumulates of its graph, which ``make_graph`` made.

    Parameters used twice are counted once.
    """
    from mobilekit.model.macs import count_macs

    return ModelCost(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        macs=count_macs(exported),
    )


def read_description(
    spec: ModelSpec,
    *,
    cache_directory: Path,
    module: nn.Module | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Description:
    """The network's layers; of content that has been described before without building it.

    ``module`` is the network, where it has been built already. ``on_progress`` hears of what takes
    seconds.

    Raises what ``load_module`` raises, and ``ExportError`` if the network does not run, cannot be
    traced, what a layer yields has no fixed size, or the cache cannot be written to.
    """
    description = find_description(spec, cache_directory=cache_directory)
    if description is None:
        on_progress(f"Counting {spec.name}")
        description = make_description(spec, module)
        keep_description(spec, description, cache_directory=cache_directory)
    return description


def make_description(spec: ModelSpec, module: nn.Module | None = None) -> Description:
    """The network's layers, from its graph. Arguments and errors as of ``read_description``."""
    import torch

    from mobilekit.model.failures import running_code_of
    from mobilekit.model.graph import make_graph
    from mobilekit.model.load import load_module
    from mobilekit.model.reference import make_inputs

    module = load_module(spec) if module is None else module
    inputs = make_inputs(spec)
    # A network that does not run fails in clearer words here than while it is traced.
    with running_code_of(spec), torch.no_grad():
        module(*(tensor.clone() for tensor in inputs))
    exported = make_graph(spec, module, inputs)
    return describe(spec, exported, count_cost(module, exported))


def describe(spec: ModelSpec, exported: Any, cost: ModelCost) -> Description:
    """The layers of a graph of ``trace``. Raises ``ExportError``."""
    from mobilekit.model.failures import describe_error, fix_of
    from mobilekit.model.layers import describe_layers

    try:
        return describe_layers(exported, cost)
    except Exception as error:
        raise ExportError(
            f"The layers of {spec.name} cannot be counted: {describe_error(error)}",
            fix=fix_of(error, "this count"),
            model=spec.path,
        ) from error


def keep_description(spec: ModelSpec, description: Description, *, cache_directory: Path) -> None:
    """Put it in the cache. Raises ``ExportError`` where that cannot be written to."""
    with reporting_full_disk(cache_directory):
        write_record(layers_path(spec, cache_directory), description)


def find_description(spec: ModelSpec, *, cache_directory: Path) -> Description | None:
    """The network's layers, if they are in the cache, where an export leaves them if it can, or
    came with mobilekit."""
    description: Description
    with suppress(OSError, ProtocolError):
        description = read_record(layers_path(spec, cache_directory), Description)
        return description
    path = layers_path(spec, PACKAGED)
    with suppress(OSError, ProtocolError):
        description = decode(path.read_bytes(), Description, source=path.name)
        return description
    return None


def layers_path(spec: ModelSpec, directory: Path) -> Path:
    return directory / f"{spec.content_key}.layers{LAYERS_VERSION}.json"


def read_cost(
    spec: ModelSpec, *, cache_directory: Path, on_progress: Callable[[str], None] = lambda _: None
) -> ModelCost:
    """The cost of a network, as ``read_description`` has it."""
    return read_description(spec, cache_directory=cache_directory, on_progress=on_progress).cost
