"""What kernels that add in half lose: what they were seen to, and less than a wrong network."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import Tensor, nn

from mobilekit.contract.outputs import check_outputs
from mobilekit.model import half, load, reference
from mobilekit.model.export import relative_tolerance
from mobilekit.model.given import NOTHING
from mobilekit.model.zoo import find_model, read_spec
from mobilekit.records.artifact import LARGEST_TOLERANCES

SEEN = {
    "digits": (0.0024, 0.0006),
    "deep_kws_digits": (0.0021, 0.0004),
    "deepear": (0.0093, 0.0034),
    "squeezenet": (0.0440, 0.0426),
    "nin": (0.0338, 0.0379),
    "mobilenet_v2": (0.1886, 0.1701),
}
"""Errors of the app's ONNX Runtime and ExecuTorch on an emulated Cortex-A76, in fp16."""
LARGE = ("squeezenet", "nin", "mobilenet_v2")


def make(name: str):
    spec = find_model(name, NOTHING)
    module = load.load_module(spec)
    inputs = reference.make_inputs(spec)
    return spec, module, inputs, reference.run_eager(spec, module, inputs)


def error_of(outputs, references) -> float:
    return check_outputs(
        [each.numpy() for each in outputs], [each.numpy() for each in references], 1.0
    ).max_relative_error


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.soak) if name in LARGE else name for name in SEEN],
)
def test_a_right_network_passes_and_a_wrong_one_does_not(name) -> None:
    """Wrong: a layer's weights in another order, or half as large again; inputs in another one."""
    spec, module, inputs, references = make(name)

    foreseen = half.foresee_error(spec, module, inputs, references)

    tolerance = relative_tolerance("fp16", max(SEEN[name]) / 50, foreseen)
    assert max(SEEN[name]) <= tolerance <= max(0.01, 7 * max(SEEN[name]))
    layers = [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    for number in (0, len(layers) // 2, -1):
        for change in (lambda weight: weight.flip(0), lambda weight: 1.5 * weight):
            wrong = copy.deepcopy(module)
            layer = [each for each in wrong.modules() if isinstance(each, nn.Conv2d | nn.Linear)][
                number
            ]
            layer.weight.data = change(layer.weight.data)
            assert error_of(reference.run_eager(spec, wrong, inputs), references) > tolerance


def sums_in_half(weights: Tensor, inputs: Tensor) -> Tensor:
    """One product after another, each partial sum rounded to half."""
    total = torch.zeros(weights.shape[0])
    for column, value in zip(weights.half().float().T, inputs.half().float(), strict=True):
        total = (total + column * value).half().float()
    return total


@pytest.mark.parametrize("terms", [32, 512, 4096])
def test_the_foreseen_spread_is_that_of_sums_in_half(terms) -> None:
    """Of a linear layer with many outputs: root mean square, within a tenth."""
    random = torch.Generator().manual_seed(0)
    layer = nn.Linear(terms, 2000, bias=False)
    layer.weight.data = torch.randn(layer.weight.shape, generator=random)
    inputs = torch.randn(terms, generator=random)
    exact = layer.weight.data.half().double() @ inputs.half().double()
    lost = (sums_in_half(layer.weight.data, inputs) - exact).square().mean().sqrt()

    with torch.no_grad(), half._Disturbed(1):
        disturbed = layer(inputs[None])[0]

    assert (disturbed - exact).square().mean().sqrt() == pytest.approx(float(lost), rel=0.1)


HIDDEN = '''"""Attention, recurrence and an operation in place."""

import torch
from torch import nn

INPUT_SHAPES = ((1, 6, 16),)


class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.recurrence = nn.GRU(16, 16, batch_first=True)

    def forward(self, values):
        values, _ = self.recurrence(self.encoder(values).mul_(2.0))
        return values


def build():
    return Hidden()
'''


def test_sums_inside_fused_kernels_count(write_model, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_spec(write_model(HIDDEN))
    module = load.load_module(spec)
    inputs = reference.make_inputs(spec)
    references = reference.run_eager(spec, module, inputs)
    counted = []
    for operator, spread in half._VARIANCES.items():

        def count(*args, spread=spread, operator=operator, **kwargs):
            counted.append(operator)
            return spread(*args, **kwargs)

        monkeypatch.setitem(half._VARIANCES, operator, count)

    error = half.foresee_error(spec, module, inputs, references)

    assert 1e-4 < error < 0.05
    # Projections, scores, values and two layers; the recurrence's inputs, and each of its steps.
    assert len(counted) == half.RUNS * (6 + 1 + 6)
    assert torch.backends.mha.get_fastpath_enabled()
    assert reference.run_eager(spec, module, inputs)[0].equal(references[0])


def test_what_overflows_in_half_gets_the_largest_tolerance() -> None:
    spec, module, inputs, references = make("digits")
    next(each for each in module.modules() if isinstance(each, nn.Conv2d)).weight.data *= 1e6

    foreseen = half.foresee_error(spec, module, inputs, references)

    assert foreseen == sys.float_info.max
    assert relative_tolerance("fp16", 0.1, foreseen) == LARGEST_TOLERANCES["fp16"]
