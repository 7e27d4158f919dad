"""Work that exporters do for every network and that changes no program, left out.

Half of a process's first export was that work, and most of any other. What is replaced here are
the libraries' own functions, for as long as a network is exported; one that another version has no
longer is left alone, and costs its time. Imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import _ops as operators
from torch._export import utils as export_utils
from torch.export import exported_program
from torch.fx import GraphModule
from torch.fx.traceback import NodeSource

from mobilekit.records.network import Variant

_EDGE_OPERATORS = "executorch.exir.dialects.edge._ops"
_WHERE_NETWORKS_ARE = ("CPU", "Meta", "AutogradCPU", "AutogradMeta")
"""Dispatch keys: networks are traced on a processor, with tensors that hold nothing."""
Replacement = tuple[Any, str, Any]
"""An owner, its attribute's name, and what it is for a while."""


@contextmanager
def sparing_decompositions() -> Iterator[None]:
    """A context in which graphs are decomposed into fewer operators, as every exporter does."""
    with ExitStack() as replaced:
        for each in (
            # Every decomposition looks through all operators that there are.
            *_remembered(
                export_utils, "_collect_all_valid_cia_ops_for_namespace", _operator_count()
            ),
            # It gives each of hundreds of them kernels for a while, for all devices that there are,
            # and makes types anew to annotate functions that nobody asks for their types.
            *_where_networks_are("_AUTOGRAD_ALIAS_BACKEND_KEYS_TO_OVERRIDE"),
            *_where_networks_are("_BACKEND_KEYS_TO_OVERRIDE"),
            (operators, "Callable", _Unparametrized),
            # Every pass has its graph's Python code written and compiled, for none to call it.
            (GraphModule, "recompile", _recompile_when_read),
        ):
            replaced.enter_context(replacing(*each))
        yield


@contextmanager
def sparing_translation() -> Iterator[None]:
    """A context to translate networks to ONNX in."""
    from onnxscript import values
    from torch.onnx._internal.exporter import _schemas

    with sparing_decompositions(), ExitStack() as replaced:
        for each in (
            # The sources of 500 functions are parsed for every network, and never change.
            *_remembered(values.TracedOnnxFunction, "function_ir"),
            *_remembered(_schemas, "op_signature_from_function"),
        ):
            replaced.enter_context(replacing(*each))
        yield


@contextmanager
def sparing_lowering(variant: Variant) -> Iterator[None]:
    """A context to lower networks in, to the variant's backend."""
    _import_edge_operators()
    from executorch.backends.xnnpack._passes.convert_to_sdpa import ConvertToSDPAPass
    from executorch.backends.xnnpack._passes.convert_to_upsample_bilinear2d import (
        ConvertToUpsampleBilinear2d,
    )
    from executorch.backends.xnnpack.partition.graphs import bilinear_2d, sdpa

    with sparing_decompositions(), ExitStack() as replaced:
        for each in (
            # Where a node is from is copied as deep as its history with every pass. Nothing in
            # ExecuTorch writes to it, so that copies can share it.
            (NodeSource, "__deepcopy__", lambda self, memo: self),
            # Patterns are exported to look for them, also where their operator does not occur.
            *_seeking(
                ConvertToUpsampleBilinear2d, "upsample_bilinear2d", bilinear_2d, "get_graphs_dict"
            ),
            *_seeking(ConvertToSDPAPass, "_softmax", sdpa, "get_graphs"),
            *(() if not variant.needs_vulkan else _seeking_in_vulkan()),
        ):
            replaced.enter_context(replacing(*each))
        yield


def _where_networks_are(name: str) -> Iterator[Replacement]:
    """A list of dispatch keys, without those of devices on which nothing is exported."""
    keys = vars(exported_program).get(name)
    if keys is not None:
        yield exported_program, name, [key for key in keys if key.name in _WHERE_NETWORKS_ARE]


class _Callables(type):
    def __instancecheck__(cls, value: object) -> bool:
        return callable(value)


class _Unparametrized(metaclass=_Callables):
    """``Callable`` whose parameters are not looked at."""

    def __class_getitem__(cls, parameters: Any) -> None:
        return None


_recompile: Callable[[Any], Any] = GraphModule.recompile
_OF_MODULES = ("_code", "_lineno_map", "_prologue_start")
"""What torch's function writes to a module, and not to its class."""


def _recompile_when_read(module: Any) -> None:
    """``GraphModule.recompile``, which writes the code of the graph when that is first read.

    Each graph module has a class of its own, and torch writes ``forward`` there. The rest it writes
    to the module, which is looked for in the class where the module does not have it.
    """
    written_as = getattr(module.graph._codegen, "pytree_info", None)
    if written_as is not None:  # Passes read these without the code.
        module._in_spec, module._out_spec = written_as.in_spec, written_as.out_spec
    for name in _OF_MODULES:
        vars(module).pop(name, None)
    for name in ("forward", *_OF_MODULES):
        setattr(type(module), name, _Unwritten(module, name))
    for name in ("__reduce__", "__reduce_package__"):
        setattr(type(module), name, _written_before(name))
    for child in module.children():
        if isinstance(child, GraphModule):
            child.recompile()


class _Unwritten:
    """An attribute of a graph module until its first reader has the module's code written."""

    def __init__(self, module: Any, name: str) -> None:
        self.module = module
        self.name = name

    def __get__(self, module: Any, owner: Any) -> Any:
        if module is None and self.name in _OF_MODULES:
            raise AttributeError(self.name)  # as of a class that it was never written to
        # Also after the export: what it left is then written.
        _recompile(self.module if module is None else module)
        if self.name not in _OF_MODULES:
            return getattr(owner if module is None else module, self.name)
        if self.name not in vars(module):
            raise AttributeError(self.name)  # another version's torch writes it no longer
        return vars(module)[self.name]


def _written_before(name: str) -> Callable[..., Any]:
    """The method of torch's that pickles: it copies what a module has, and then asks
    ``recompile`` what it has written."""

    def pickled(module: Any, *arguments: Any) -> Any:
        with replacing(GraphModule, "recompile", _recompile):
            module.recompile()
            return getattr(super(type(module), module), name)(*arguments)

    return pickled


def _operator_count() -> int:
    """What a library registers while it is imported is another number of operators."""
    return len(torch._C._dispatch_get_all_op_names())


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

    with replacing(ruamel.yaml, "YAML", QuickYaml):
        __import__(_EDGE_OPERATORS)


def _remembered(owner: Any, name: str, state: object = None) -> Iterator[Replacement]:
    """A function, or a property, that is not called again with the same arguments by this process,
    unless ``state`` is another."""
    if name in vars(owner):
        yield owner, name, _remembering(vars(owner)[name], state)


@cache
def _remembering(function: Any, state: object) -> Any:
    if isinstance(function, property):
        return property(cache(function.fget))  # type: ignore[arg-type]
    return cache(function)


def _seeking(pass_class: Any, operator: str, patterns: Any, name: str) -> Iterator[Replacement]:
    """The pass without its patterns, in a graph that does not have the operator of all of them."""
    whole: Callable[[Any, Any], Any] = pass_class.call

    def call(self: Any, graph_module: Any) -> Any:
        if any(operator in str(node.target) for node in graph_module.graph.nodes):
            return whole(self, graph_module)
        with replacing(patterns, name, dict):
            return whole(self, graph_module)

    if hasattr(patterns, name):
        yield pass_class, "call", call


_ROTARY = ("mul", "cat")
"""Operators that every pattern of Vulkan's that is exported to be looked for has, rotary embeddings
both of them."""


def _seeking_in_vulkan() -> Iterator[tuple[Any, str, Any]]:
    """As ``_seeking``: its patterns are exported anew for each of two looks."""
    from executorch.backends.vulkan import patterns

    entries = getattr(patterns, "fusable_patterns", {})

    def sparing(whole: Callable[..., Any]) -> Callable[..., Any]:
        def look(*arguments: Any) -> Any:
            found = {str(node.target) for node in arguments[-1].graph.nodes}
            if all(any(f"aten.{each}." in name for name in found) for each in _ROTARY):
                return whole(*arguments)
            with ExitStack() as left:
                for entry in entries.values():
                    left.enter_context(replacing(entry, "get_graphs_fn", None))
                return whole(*arguments)

        return look

    for name in ("get_all_fusable_subgraphs", "replace_all_fusable_subgraphs"):
        if hasattr(patterns, name):
            yield patterns, name, sparing(getattr(patterns, name))


@contextmanager
def replacing(owner: Any, name: str, value: Any) -> Iterator[None]:
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
