"""A network's layers: against the literature, counts made by hand, and the network as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from model_files import WriteModel
from torch import Tensor, nn

from mobilekit.analysis.layers.footprint import footprint_of
from mobilekit.model.describe import count_cost, read_description
from mobilekit.model.layers import describe_layers, layer_name, name_layers
from mobilekit.model.rewrite import ExactRewrites
from mobilekit.model.zoo import find_model, list_models, read_spec
from mobilekit.records.network import Description

# N. Lane et al., "An Early Resource Characterization of Deep Learning on Wearables, Smartphones and
# Internet-of-Things Devices", IoT-App 2015: AlexNet's layers and their tunable parameters.
PUBLISHED_ALEXNET = [
    ("convolution", 34944),
    ("non-linear", 0),
    ("normalization", 0),
    ("pooling", 0),
    ("convolution", 307456),
    ("non-linear", 0),
    ("normalization", 0),
    ("pooling", 0),
    ("convolution", 885120),
    ("non-linear", 0),
    ("convolution", 663936),
    ("non-linear", 0),
    ("convolution", 442624),
    ("non-linear", 0),
    ("pooling", 0),
    ("feed-forward", 37752832),
    ("non-linear", 0),
    ("dropout", 0),
    ("feed-forward", 16781312),
    ("non-linear", 0),
    ("dropout", 0),
    ("feed-forward", 4097000),
    ("softmax", 0),
]


def describe(module: nn.Module, *inputs: Tensor) -> Description:
    module.eval()
    with ExactRewrites():
        exported = torch.export.export(module, inputs)
    return describe_layers(exported, count_cost(module, exported))


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Description:
    """The packaged one, which ``test_model_descriptions.py`` holds against the network."""
    cache = tmp_path_factory.mktemp("cache")
    return read_description(find_model("alexnet"), cache_directory=cache)


def test_alexnet_is_the_published_one_layer_by_layer(alexnet: Description) -> None:
    """Types and parameters in order, but for the reshape that Caffe does without."""
    layers = [(layer.type, layer.parameters) for layer in alexnet.layers]
    layers.remove(("reshape", 0))
    assert layers == PUBLISHED_ALEXNET


def test_alexnets_memory_is_in_three_layers(alexnet: Description) -> None:
    """Lane et al.: nearly all, 93 %, of what it occupies is needed during only 3 of its layers."""
    footprint = footprint_of(alexnet)
    by_name = {layer.name: layer for layer in alexnet.layers}
    assert [by_name[name].type for name in footprint.heaviest] == ["feed-forward"] * 3
    assert footprint.heaviest_share == pytest.approx(0.93, abs=0.005)
    # Nearly 300 MB with a framework of that time around it.
    assert footprint.whole_bytes == pytest.approx(252.2e6, rel=0.001)
    assert footprint.alone_bytes == 4 * (37752832 + 9216 + 4096)


def test_the_layers_add_up_to_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MACs and parameters of the layers are exactly those of the whole."""
    monkeypatch.chdir(tmp_path)
    for spec in list_models():
        description = read_description(spec, cache_directory=tmp_path)
        assert sum(layer.macs for layer in description.layers) == description.cost.macs
        whole = description.cost.parameters - description.unused_parameters
        assert sum(layer.parameters for layer in description.layers) == whole


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.LSTM(5, 6), (7, 5)),
        (nn.Sequential(nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d(3)), (1, 2, 5, 5)),
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (1, 7, 16)),
        (Attends(), (1, 7, 16)),
    ],
)
def test_the_layers_of_other_kinds_add_up_too(module: nn.Module, shape: tuple[int, ...]) -> None:
    """What a module fuses in eager PyTorch is counted all the same."""
    description = describe(module, torch.ones(shape))
    assert sum(layer.macs for layer in description.layers) == description.cost.macs > 0
    assert sum(layer.parameters for layer in description.layers) == description.cost.parameters


class Residual(nn.Module):
    """Calls one module twice, adds, and joins; one parameter is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.relu = nn.ReLU()
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.first(x)))
        z = self.relu(y + x)
        z = F.dropout(torch.cat([z, y], 1), training=self.training)
        return torch.sigmoid(z.flatten(1))


@pytest.fixture(scope="module")
def residual() -> Description:
    return describe(Residual(), torch.ones(1, 2, 4, 4))


def test_operations_between_modules_are_layers(residual: Description) -> None:
    """Each has a name of its own, and a second call of a module is a second layer."""
    assert [(layer.name, layer.type) for layer in residual.layers] == [
        ("first", "convolution"),
        ("norm", "normalization"),
        ("relu", "non-linear"),
        ("add", "addition"),
        ("relu#2", "non-linear"),
        ("cat", "concatenation"),
        ("dropout", "dropout"),
        ("flatten", "reshape"),
        ("sigmoid", "non-linear"),
    ]
    by_name = {layer.name: layer for layer in residual.layers}
    assert by_name["add"].reads == ("relu",)
    assert by_name["cat"].reads == ("relu#2", "relu")
    assert by_name["cat"].output_shapes == ((1, 4, 4, 4),)
    assert [name for name, layer in by_name.items() if layer.in_place] == ["dropout", "flatten"]


def test_weights_are_parameters_and_buffers(residual: Description) -> None:
    """A normalization's running figures are read like its parameters; what nobody reads is told."""
    by_name = {layer.name: layer for layer in residual.layers}
    assert by_name["first"].parameters == 2 * 2 * 9 + 2
    assert (by_name["norm"].parameters, by_name["norm"].weights_bytes) == (4, 4 * 8)
    assert residual.unused_parameters == 12


def test_the_peak_is_what_lives_together(residual: Description) -> None:
    """At the concatenation both its inputs and its output: 32 + 32 + 64 numbers."""
    assert (residual.peak_activation_bytes, residual.peak_layer) == (4 * 128, "cat")
    footprint = footprint_of(residual)
    assert footprint.weights_bytes == 4 * (38 + 8)
    # The input, seven outputs of 32 or 64 numbers; dropout and the reshape are their inputs.
    assert footprint.whole_bytes == footprint.weights_bytes + 4 * (32 + 5 * 32 + 2 * 64)
    assert footprint.planned_bytes == footprint.weights_bytes + 4 * 128


def test_what_the_network_does_in_place_takes_no_memory() -> None:
    """``inplace=True`` writes over what the layer before left."""
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    description = describe(network, torch.ones(1, 4))
    assert [layer.in_place for layer in description.layers] == [False, True, False]
    assert description.peak_activation_bytes == 4 * (4 + 8)


def test_a_shared_layer_counts_its_parameters_once() -> None:
    """As the network as a whole does, while its MACs count each time."""
    layer = nn.Linear(2, 2)
    description = describe(nn.Sequential(layer, layer), torch.ones(1, 2))
    assert [one.parameters for one in description.layers] == [6, 0]
    assert [one.macs for one in description.layers] == [4, 4]


def test_an_operation_knows_its_layer() -> None:
    """The name lies where export stacks carry it along, and naming twice changes nothing."""
    exported = torch.export.export(Residual().eval(), (torch.ones(1, 2, 4, 4),))
    before = describe_layers(exported, count_cost(Residual(), exported))
    name_layers(exported)
    name_layers(exported)
    after = describe_layers(exported, before.cost)
    assert before == after
    # As a quantization does.
    again = torch.export.export(exported.module(), (torch.ones(1, 2, 4, 4),))
    assert [layer_name(node) for node in again.graph.nodes if node.op == "call_function"] == [
        layer.name for layer in before.layers
    ]
    named = {
        node.name: [path for path, _ in node.meta["nn_module_stack"].values()][-1]
        for node in exported.graph.nodes
        if node.op == "call_function"
    }
    assert (named["relu_1"], named["cat"]) == ("relu#2", "cat")


def test_a_damaged_description_is_made_anew(write_model: WriteModel, tmp_path: Path) -> None:
    """Half a file is no answer."""
    spec = read_spec(write_model())
    description = read_description(spec, cache_directory=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text('{"cost": 1')
    assert description == read_description(spec, cache_directory=tmp_path / "cache")
