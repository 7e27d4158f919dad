"""Recurrent layers for XNNPACK: short ones unrolled, long ones as loops of the program.

ExecuTorch unrolls a recurrence, and its lowering takes 0.05 s for each of the operators: minutes
for two layers of a hundred steps. A loop (``torch.scan``) has its step once, whatever the length.
The products with the input, which do not wait for the step before, are one product of all steps.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch._higher_order_ops.scan import scan

LONGEST_UNROLLED = 16
"""Steps of all layers and directions together. An unrolled recurrence is one part of the program,
and each step of a loop calls a part of its own."""

State = tuple[Tensor, ...]
Step = Callable[[State, Tensor, Tensor, Tensor | None], State]
"""From the state, the product with the input, and the weights of the product with the hidden state,
which is the state's first tensor."""


def _gru_step(state: State, given: Tensor, weight: Tensor, bias: Tensor | None) -> State:
    """K. Cho et al., EMNLP 2014, with PyTorch's order of gates: reset, update, new."""
    (hidden,) = state
    size = hidden.shape[-1]
    own = F.linear(hidden, weight, bias)
    gates = torch.sigmoid(given[..., : 2 * size] + own[..., : 2 * size])
    reset, update = gates[..., :size], gates[..., size:]
    new = torch.tanh(given[..., 2 * size :] + reset * own[..., 2 * size :])
    return (new + update * (hidden - new),)


def _lstm_step(state: State, given: Tensor, weight: Tensor, bias: Tensor | None) -> State:
    """S. Hochreiter and J. Schmidhuber, 1997, with PyTorch's order: input, forget, cell, output."""
    hidden, cell = state
    size = hidden.shape[-1]
    gates = given + F.linear(hidden, weight, bias)
    opened = torch.sigmoid(gates[..., : 2 * size])
    new = torch.tanh(gates[..., 2 * size : 3 * size])
    cell = opened[..., size:] * cell + opened[..., :size] * new
    return torch.sigmoid(gates[..., 3 * size :]) * torch.tanh(cell), cell


def _rnn_step(activation: Callable[[Tensor], Tensor]) -> Step:
    def step(state: State, given: Tensor, weight: Tensor, bias: Tensor | None) -> State:
        return (activation(given + F.linear(state[0], weight, bias)),)

    return step


class _Options(NamedTuple):
    """The arguments that follow the weights, as ATen names them."""

    has_biases: bool
    num_layers: int
    dropout: float
    train: bool
    bidirectional: bool
    batch_first: bool


def _run(
    step: Step, states: Sequence[Tensor], input: Tensor, params: Sequence[Tensor], *options: Any
) -> Any:
    """All layers; ``states`` are (layers x directions, batch, size) each, the hidden one first.

    The output, and the last states in the same form; ``NotImplemented`` for projections.
    """
    chosen = _Options(*options)
    directions = 2 if chosen.bidirectional else 1
    runs = chosen.num_layers * directions
    if len(params) != runs * (4 if chosen.has_biases else 2) or chosen.train:
        return NotImplemented
    outputs = input.transpose(0, 1) if chosen.batch_first else input
    unrolled = outputs.shape[0] * runs <= LONGEST_UNROLLED
    weights = iter(params)
    last: list[State] = []
    for layer in range(chosen.num_layers):
        ways = []
        for direction in range(directions):
            input_weight, weight = next(weights), next(weights)
            input_bias, bias = (next(weights), next(weights)) if chosen.has_biases else (None, None)
            given = F.linear(outputs, input_weight, input_bias)
            given = given.flip(0) if direction else given
            first = tuple(each.select(0, layer * directions + direction) for each in states)
            state, way = (_unroll if unrolled else _loop)(step, first, given, weight, bias)
            last.append(state)
            ways.append(way.flip(0) if direction else way)
        outputs = ways[0] if directions == 1 else torch.cat(ways, -1)
    output = outputs.transpose(0, 1) if chosen.batch_first else outputs
    return output, *(torch.stack(list(of), 0) for of in zip(*last, strict=True))


def _unroll(
    step: Step, state: State, given: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[State, Tensor]:
    outputs = []
    for number in range(given.shape[0]):
        state = step(state, given.select(0, number), weight, bias)
        outputs.append(state[0])
    return state, torch.stack(outputs, 0)


def _loop(
    step: Step, state: State, given: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[State, Tensor]:
    def combine(state: State, given: Tensor) -> tuple[State, Tensor]:
        state = tuple(step(state, given, weight, bias))
        # A loop may not yield one memory twice, nor a delegate one value: of another shape it is
        # another value.
        return state, state[0].clone().unsqueeze(-1)

    # It is compiled, once more for each loop: what was compiled before would be taken for the same
    # with sizes that vary.
    torch._dynamo.reset()
    with torch._dynamo.config.patch(automatic_dynamic_shapes=False):
        state, outputs = scan(combine, state, given)
    return state, outputs.squeeze(-1)


def _gru(input: Tensor, hx: Tensor, params: Sequence[Tensor], *options: Any) -> Any:
    return _run(_gru_step, (hx,), input, params, *options)


def _lstm(input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], *options: Any) -> Any:
    return _run(_lstm_step, tuple(hx), input, params, *options)


def _rnn(activation: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    step = _rnn_step(activation)

    def run(input: Tensor, hx: Tensor, params: Sequence[Tensor], *options: Any) -> Any:
        return _run(step, (hx,), input, params, *options)

    return run


RECURRENCES: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.gru.input: _gru,
    torch.ops.aten.lstm.input: _lstm,
    torch.ops.aten.rnn_tanh.input: _rnn(torch.tanh),
    torch.ops.aten.rnn_relu.input: _rnn(torch.relu),
}
"""Formulations for ``delegable.rewrite``."""
