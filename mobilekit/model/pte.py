"""ExecuTorch's format: lowers a network to XNNPACK, and runs a ``.pte`` file once to check it.

Imports torch and executorch.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilekit.errors import ExportError
from mobilekit.model.failures import describe_error
from mobilekit.model.graph import METHOD
from mobilekit.model.layers import layer_name
from mobilekit.model.macs import kernel_macs
from mobilekit.model.quiet import captured_stderr, quiet_python
from mobilekit.model.spared_work import sparing_work
from mobilekit.records.artifact import Delegation, ProgramOperator
from mobilekit.records.network import ModelSpec


@dataclass(frozen=True)
class Program:
    """A lowered program, ready to be written."""

    executorch: Any
    kernels: frozenset[str]
    """Every kernel outside the delegates, by the runtime's name: ``aten::elu.out``."""
    delegated_operators: int
    portable_operator_counts: dict[str, int]
    portable_macs: int
    operators: tuple[ProgramOperator, ...]

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            self.executorch.write_to_file(file)

    def run_once(self, spec: ModelSpec, path: Path, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Load the file in ExecuTorch's runtime and run it.

        Raises ``ExportError`` that names the kernels that the runtime does not have, or holds what
        the runtime says.
        """
        # Not executorch.runtime, whose import takes seconds longer.
        from executorch.extension.pybindings import _C

        missing = ", ".join(sorted(self.kernels - set(_C._get_operator_names())))
        if missing:
            raise ExportError(
                f"ExecuTorch's runtime has no kernel for {missing}, which {spec.name} needs",
                fix="Replace the operator in the network by others that do the same.",
                model=spec.path,
            )
        with captured_stderr() as read_stderr:
            try:
                loaded = _C._load_for_executorch(str(path))
                return tuple(loaded.run_method(METHOD, [tensor.clone() for tensor in inputs]))
            except RuntimeError as error:
                said = [line for line in read_stderr().splitlines() if "cpuinfo_utils" not in line]
                raise ExportError(
                    f"ExecuTorch's runtime cannot run {spec.name}: {error}",
                    fix="Replace the operator that it names, or report it to ExecuTorch.",
                    model=spec.path,
                    runtime=" | ".join(said[:3]),
                ) from None

    def delegation(self, total_macs: int) -> Delegation:
        return Delegation(
            delegated_operators=self.delegated_operators,
            portable_operators=sum(self.portable_operator_counts.values()),
            # Lowering may make matrix products of operators that are none in PyTorch.
            delegated_macs=max(total_macs - self.portable_macs, 0),
            total_macs=total_macs,
            portable_operator_counts=self.portable_operator_counts,
        )


def lower(spec: ModelSpec, exported: Any) -> Program:
    """Lower a ``torch.export.ExportedProgram`` to XNNPACK, as far as it takes it.

    The rest stays on ExecuTorch's portable kernels.

    Raises ``ExportError``.
    """
    try:
        with quiet_python(), sparing_work():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
                XnnpackPartitioner,
            )
            from executorch.exir import to_edge_transform_and_lower

            edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            executorch = edge.to_executorch()
    except Exception as error:
        raise ExportError(
            f"ExecuTorch cannot lower {spec.name}: {describe_error(error)}",
            fix="Replace the operator that it names, or report it to ExecuTorch.",
            model=spec.path,
        ) from error
    if edge.exported_program().graph_signature.user_inputs_to_mutate:
        # ExecuTorch returns the changed input as one more output.
        raise ExportError(
            f"{spec.name} writes to its own input",
            fix="Use operations that are not in place (x * 2, not x.mul_(2)) on the input.",
            model=spec.path,
        )
    graph_module = executorch.exported_program().graph_module
    portable = list(_portable_nodes(graph_module))
    operators = tuple(_operators(graph_module))
    return Program(
        executorch=executorch,
        kernels=frozenset(node.target.name() for node in portable),
        delegated_operators=sum(each.delegated for each in operators),
        portable_operator_counts=dict(
            sorted(Counter(node.target._schema.name for node in portable).items())
        ),
        portable_macs=sum(map(kernel_macs, portable)),
        operators=operators,
    )


def _portable_nodes(graph_module: torch.fx.GraphModule) -> Iterator[torch.fx.Node]:
    """Calls of kernels; allocations, views, ``getitem`` and delegate calls are bookkeeping."""
    for node in graph_module.graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            yield node


def _delegated_nodes(delegate: Any) -> Iterator[torch.fx.Node]:
    """Operators inside a delegate, as they were before the backend fused them."""
    for node in delegate.original_module.graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            yield node


def _operators(graph_module: torch.fx.GraphModule) -> Iterator[ProgramOperator]:
    """Every operator in the order in which the program calls its kernels and delegates."""
    part = 0
    for node in graph_module.graph.nodes:
        if node.op != "call_function":
            continue
        if node.target is torch.ops.higher_order.executorch_call_delegate:
            delegate = getattr(graph_module, node.args[0].target)
            for inside in _delegated_nodes(delegate):
                yield _operator(inside, part, delegated=True)
        elif isinstance(node.target, torch._ops.OpOverload):
            yield _operator(node, part, delegated=False)
        else:
            continue
        part += 1


def _operator(node: torch.fx.Node, part: int, *, delegated: bool) -> ProgramOperator:
    target: Any = node.target
    name = str(target.name() if callable(target.name) else target.name)
    return ProgramOperator(
        part=part,
        delegated=delegated,
        name="",
        kind=name.replace("::", ".").split(".out")[0],
        inputs=(),
        outputs=(),
        layer=layer_name(node),
    )
