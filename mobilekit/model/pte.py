"""ExecuTorch's format: lowers a network to a backend, and runs a ``.pte`` file once to check it.

Imports torch and executorch.
"""

from __future__ import annotations

import itertools
import operator
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilekit.errors import ExportError
from mobilekit.model.delegable import rewrite
from mobilekit.model.failures import describe_error, fix_of
from mobilekit.model.graph import METHOD
from mobilekit.model.layers import layer_name
from mobilekit.model.macs import kernel_macs
from mobilekit.model.quiet import captured_stderr, quiet_python
from mobilekit.model.spared_work import sparing_decompositions, sparing_lowering
from mobilekit.records.artifact import Delegation, ProgramOperator
from mobilekit.records.network import ModelSpec

SECONDS_PER_OPERATION = 0.05
"""That lowering takes, of one processor: 45 s for 834 operations and 188 s for 3,350."""
LONG_OPERATIONS = 1200
"""More than any network of ``models`` has: a minute."""
RECURRENT_USES = 8
"""Of one weight. Heads that share weights over feature maps use one five times."""


@dataclass(frozen=True)
class Program:
    """A lowered program, ready to be written."""

    executorch: Any
    method: str
    """Of the program's, the one that all of this is said of."""
    kernels: frozenset[str]
    """Every kernel outside the delegates, by the runtime's name: ``aten::elu.out``."""
    delegated_operators: int
    portable_operator_counts: dict[str, int]
    portable_macs: int
    operators: tuple[ProgramOperator, ...]
    weights: bytes | None
    """A ``.ptd`` with what the method needs, where the weights are not in the program."""

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
        with captured_stderr() as read_stderr, tempfile.NamedTemporaryFile(suffix=".ptd") as apart:
            if self.weights is not None:
                apart.write(self.weights)
                apart.flush()
            try:
                loaded = _C._load_for_executorch(
                    str(path), None if self.weights is None else apart.name
                )
                return tuple(loaded.run_method(self.method, [tensor.clone() for tensor in inputs]))
            except RuntimeError as error:
                said = [line for line in read_stderr().splitlines() if "cpuinfo_utils" not in line]
                raise ExportError(
                    f"ExecuTorch's runtime cannot run {spec.name}: {error}",
                    fix=fix_of(error, "ExecuTorch"),
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


def lower(
    spec: ModelSpec, exported: Any, on_progress: Callable[[str], None] = lambda _: None
) -> Program:
    """Lower a ``torch.export.ExportedProgram`` to its variant's backend, as far as that takes it.

    The rest stays on ExecuTorch's portable kernels. Vulkan computes in half where the variant is in
    fp16, with inputs, outputs and kernels outside it in float. ``on_progress`` hears of a lowering
    that will take minutes.

    Raises ``ExportError``.
    """
    return lower_all(spec, {METHOD: exported}, on_progress)[METHOD]


def lower_all(
    spec: ModelSpec, exported: dict[str, Any], on_progress: Callable[[str], None] = lambda _: None
) -> dict[str, Program]:
    """As ``lower``, one program of several methods: what is said of it with each of them.

    Weights of equal content are in it once, and so are those that begin others of a method before
    (``shared_weights``). With a level whose weights are apart, each program has its own beside it,
    and the first one those of every other too.
    """
    level = spec.variant.level
    # A part of a level, to be timed by itself, has its weights itself.
    apart = level is not None and level.apart and len(exported) > 1
    try:
        with quiet_python(), sparing_decompositions():
            graphs = {method: rewrite(each) for method, each in exported.items()}
        for graph in graphs.values():
            warning = foresee_length(graph)
            if warning is not None:
                on_progress(warning)
                break
        with quiet_python(), sparing_lowering(spec.variant), ExitStack() as shared:
            from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
            from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass

            from mobilekit.model.partition import make_partitioners
            from mobilekit.model.shared_weights import sharing_weights, weights_apart

            if len(graphs) > 1:
                shared.enter_context(sharing_weights(apart=apart))
            if spec.variant.needs_vulkan:
                from mobilekit.model.vulkan_operators import keeping_to_packed

                shared.enter_context(keeping_to_packed())
            edge = to_edge_transform_and_lower(
                graphs,
                partitioner={
                    method: make_partitioners(spec, graph) for method, graph in graphs.items()
                },
                constant_methods=_training_methods(graphs) if apart else None,
            )
            states = [name for method in graphs for name in _states(edge.exported_program(method))]
            executorch = edge.to_executorch(
                ExecutorchBackendConfig(
                    # Else what a state begins with would be whatever lies in memory.
                    passes=[InitializedMutableBufferPass(states)]
                )
            )
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(
            f"ExecuTorch cannot lower {spec.name}: {describe_error(error)}",
            fix=fix_of(error, "ExecuTorch"),
            model=spec.path,
        ) from error
    if any(
        edge.exported_program(method).graph_signature.user_inputs_to_mutate for method in graphs
    ):
        # ExecuTorch returns the changed input as one more output.
        raise ExportError(
            f"{spec.name} writes to its own input",
            fix="Use operations that are not in place (x * 2, not x.mul_(2)) on the input.",
            model=spec.path,
        )
    plans = {plan.name: plan for plan in executorch.executorch_program.execution_plan}
    # Whoever is to choose a method has the first one's: in int8 others read constants of their own.
    read = {method: (method,) for method in graphs} | {next(iter(graphs)): tuple(graphs)}
    return {
        method: _program(
            executorch,
            method,
            plans[method],
            weights_apart(executorch, read[method]) if apart else None,
        )
        for method in graphs
    }


def _training_methods(graphs: dict[str, Any]) -> dict[str, object]:
    """What ExecuTorch's ``TrainingModule`` asks a program for beside each method: after which of
    its outputs there are gradients and parameters, and their names. Of the classes that the app's
    library has for Java it alone takes weights apart, and runs a method that has neither."""
    found: dict[str, object] = {}
    for method, graph in graphs.items():
        outputs = len(graph.graph_signature.user_outputs)
        found[f"__et_training_gradients_index_{method}"] = outputs
        found[f"__et_training_parameters_index_{method}"] = outputs
        found[f"__et_training_fqn_{method}"] = []
    return found


def _program(executorch: Any, method: str, plan: Any, weights: bytes | None) -> Program:
    graph_module = executorch.exported_program(method).graph_module
    operators = tuple(_operators(graph_module, itertools.count()))
    return Program(
        executorch=executorch,
        method=method,
        kernels=frozenset(
            f"{each.name}.{each.overload}" if each.overload else each.name
            for each in plan.operators
        ),
        delegated_operators=sum(each.delegated for each in operators),
        portable_operator_counts=dict(
            sorted(
                Counter(
                    "::".join(each.kind.split(".")[:2]) for each in operators if not each.delegated
                ).items()
            )
        ),
        portable_macs=_portable_macs(graph_module),
        operators=operators,
        weights=weights,
    )


def _states(exported: Any) -> list[str]:
    """The graph's names of the buffers that an inference writes to."""
    signature = exported.graph_signature
    mutated = set(signature.buffers_to_mutate.values())
    return [name for name, buffer in signature.inputs_to_buffers.items() if buffer in mutated]


def foresee_length(exported: Any) -> str | None:
    """For people, that lowering this graph takes longer than they would wait, and what does not."""
    operations = sum(node.op == "call_function" for node in exported.graph.nodes)
    if operations < LONG_OPERATIONS:
        return None
    minutes = max(round(operations * SECONDS_PER_OPERATION / 60), 1)
    said = f"It is {operations:,} operations long, which takes some {minutes} min to lower."
    weights = exported.graph_signature.inputs_to_parameters
    uses = {node: len(node.users) for node in exported.graph.nodes if node.name in weights}
    most = max(uses, key=uses.__getitem__, default=None)
    if most is None or uses[most] < RECURRENT_USES:
        return said
    return (
        f"{said} {weights[most.name]} is used {uses[most]} times: this is a recurrence step by "
        "step. nn.GRU, nn.LSTM or nn.RNN in place of the steps is lowered in seconds, and "
        "--format onnx takes a fraction of the time as it is."
    )


def _is_kernel(node: torch.fx.Node) -> bool:
    """Allocations, views, ``getitem`` and delegate calls are bookkeeping."""
    return node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)


def _is_loop(node: torch.fx.Node) -> bool:
    return node.op == "call_function" and node.target is torch.ops.higher_order.scan


def _portable_macs(graph_module: torch.fx.GraphModule) -> int:
    """Of kernels, those of a loop in each of its steps."""
    macs = 0
    for node in graph_module.graph.nodes:
        if _is_kernel(node):
            macs += kernel_macs(node)
        elif _is_loop(node):
            step, _, over, _ = node.args
            steps = over[0].meta["val"].shape[0]
            macs += steps * _portable_macs(getattr(graph_module, step.target))
    return macs


def _delegated_nodes(delegate: Any) -> Iterator[torch.fx.Node]:
    """Operators inside a delegate, as they were before the backend fused them."""
    for node in delegate.original_module.graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            yield node


def _operators(
    graph_module: torch.fx.GraphModule, parts: Iterator[int]
) -> Iterator[ProgramOperator]:
    """Every operator in the order in which the program calls its kernels and delegates, those of a
    loop's step once."""
    for node in graph_module.graph.nodes:
        if node.op != "call_function":
            continue
        if node.target is torch.ops.higher_order.executorch_call_delegate:
            delegate, part = getattr(graph_module, node.args[0].target), next(parts)
            for inside in _delegated_nodes(delegate):
                yield _operator(_kind(inside), part, layer_name(inside), delegated=True)
        elif _is_kernel(node):
            yield _operator(_kind(node), next(parts), layer_name(node), delegated=False)
        elif _is_loop(node):
            step, state, over, _ = node.args
            yielded = len(node.meta["val"]) - len(state)
            copies, layer = ["aten.copy_"] * len(state), layer_name(node)
            before = ["aten.sym_size", *copies, *["aten.select_copy"] * len(over)]
            after = [*copies, *["executorch_prim.et_copy_index"] * yielded]
            after += [f"executorch_prim.{name}" for name in ("add", "eq", "sub")]
            for kind in before:
                yield _operator(kind, next(parts), layer, delegated=False)
            yield from _operators(getattr(graph_module, step.target), parts)
            for kind in after:
                yield _operator(kind, next(parts), layer, delegated=False)


def _kind(node: torch.fx.Node) -> str:
    """``aten.convolution``."""
    target: Any = node.target
    name = str(target.name() if callable(target.name) else target.name)
    return name.replace("::", ".").split(".out")[0]


def _operator(kind: str, part: int, layer: str | None, *, delegated: bool) -> ProgramOperator:
    return ProgramOperator(
        part=part, delegated=delegated, name="", kind=kind, inputs=(), outputs=(), layer=layer
    )
