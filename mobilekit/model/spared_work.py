"""Work that ExecuTorch does for every network and that changes no program, left out.

Half of a process's first export was that work. What is replaced here are the libraries' own
functions, for as long as a network is lowered; one that another version has no longer is left
alone, and costs its time. Imports executorch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from torch._export import utils as export_utils
from torch.fx.traceback import NodeSource

_EDGE_OPERATORS = "executorch.exir.dialects.edge._ops"


@contextmanager
def sparing_work() -> Iterator[None]:
    """A context to lower networks to XNNPACK in."""
    _import_edge_operators()
    from executorch.backends.xnnpack._passes.convert_to_sdpa import ConvertToSDPAPass
    from executorch.backends.xnnpack._passes.convert_to_upsample_bilinear2d import (
        ConvertToUpsampleBilinear2d,
    )
    from executorch.backends.xnnpack.partition.graphs import bilinear_2d, sdpa

    with ExitStack() as replaced:
        for owner, name, value in (
            # Where a node is from is copied as deep as its history with every pass. Nothing in
            # ExecuTorch writes to it, so that copies can share it.
            (NodeSource, "__deepcopy__", lambda self, memo: self),
            # Every decomposition looks through all operators that there are.
            *_cached(export_utils, "_collect_all_valid_cia_ops_for_namespace"),
            # Patterns are exported to look for them, also where their operator does not occur.
            *_seeking(
                ConvertToUpsampleBilinear2d, "upsample_bilinear2d", bilinear_2d, "get_graphs_dict"
            ),
            *_seeking(ConvertToSDPAPass, "_softmax", sdpa, "get_graphs"),
        ):
            replaced.enter_context(_replaced(owner, name, value))
        yield


def _import_edge_operators() -> None:
    """They are read from a large YAML file, for which a reader in Python takes over a second."""
    import ruamel.yaml  # of executorch's own requirements, like yaml
    import yaml

    if _EDGE_OPERATORS in sys.modules or not hasattr(yaml, "CSafeLoader"):
        return

    class QuickYaml:
        def __init__(self, typ: str) -> None:
            assert typ == "safe"

        def load(self, text: str) -> Any:
            return yaml.load(text, yaml.CSafeLoader)  # it is a safe one

    with _replaced(ruamel.yaml, "YAML", QuickYaml):
        __import__(_EDGE_OPERATORS)


def _cached(owner: Any, name: str) -> Iterator[tuple[Any, str, Any]]:
    if hasattr(owner, name):
        yield owner, name, cache(getattr(owner, name))


def _seeking(
    pass_class: Any, operator: str, patterns: Any, name: str
) -> Iterator[tuple[Any, str, Any]]:
    """The pass without its patterns, in a graph that does not have the operator of all of them."""
    whole: Callable[[Any, Any], Any] = pass_class.call

    def call(self: Any, graph_module: Any) -> Any:
        if any(operator in str(node.target) for node in graph_module.graph.nodes):
            return whole(self, graph_module)
        with _replaced(patterns, name, dict):
            return whole(self, graph_module)

    if hasattr(patterns, name):
        yield pass_class, "call", call


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute with another value for a while."""
    had = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
