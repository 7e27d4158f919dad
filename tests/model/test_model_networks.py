"""The published networks: their counts, their cards, and that they lower whole."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from model_files import Known

from mobilekit.contract.outputs import check_outputs
from mobilekit.model.describe import read_cost
from mobilekit.model.load import load_module
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import find_model, list_models, read_card


class Published(NamedTuple):
    parameters: int
    fvcore_macs: int
    """fvcore 0.1.5's count of convolutions and linear layers, which counts the traced graph."""
    gmacs: float | None
    """The literature's, 10^9; ``None`` where none is published."""


NETWORKS = {
    # Parameters are the publications' or, where those round, of the ports named on the cards.
    "alexnet": Published(60_965_224, 724_406_816, 0.724),
    "all_cnn_c": Published(1_369_738, 270_798_336, None),
    "deep_kws": Published(240_919, 240_512, None),
    "deepear": Published(2_300_712, 2_296_832, None),
    "googlenet": Published(6_998_552, 1_582_671_872, 1.583),
    "inception_bn": Published(11_295_240, 2_032_600_064, 2.048),
    "mobilenet_v1": Published(4_231_976, 568_740_352, 0.569),
    "mobilenet_v2": Published(3_504_872, 300_774_272, 0.301),
    "nin": Published(7_595_176, 1_100_188_800, 1.106),
    "places_cnds_8": Published(60_407_885, 2_018_873_344, None),
    "resnet18": Published(11_689_512, 1_814_073_344, 1.814),
    "resnet50": Published(25_557_032, 4_089_184_256, 4.089),
    # The units that halve a map are narrower than the paper counts (137 M): as ncnn's tables.
    "shufflenet": Published(1_814_734, 127_061_304, None),
    "squeezenet": Published(1_248_424, 818_924_576, 0.819),
    "svhn": Published(313_546, 14_209_280, None),
    "vgg16": Published(138_357_544, 15_470_264_320, 15.47),
    # Our own topology, and Deep KWS with 10 outputs: both counted by hand.
    "digits": Published(97_802, 2_382_848, None),
    "deep_kws_digits": Published(240_919 - 13 * 129, 240_512 - 13 * 128, None),
}
EXPORTED = [
    *("deep_kws", "deepear", "nin", "squeezenet", "svhn"),
    *(
        pytest.param(name, marks=pytest.mark.soak)
        for name in ("alexnet", "all_cnn_c", "googlenet", "shufflenet")
    ),
]
"""The rest is made of the same operators."""


@pytest.fixture(autouse=True)
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without models of its own."""
    monkeypatch.chdir(tmp_path)


def test_every_packaged_network_is_checked_here() -> None:
    """A network without known counts is not packaged."""
    assert [spec.name for spec in list_models()] == sorted(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_counts_are_the_published_ones(name: str, tmp_path: Path) -> None:
    """Parameters exactly; multiply-accumulates within 1 % of another library and of the papers.

    Of the packaged descriptions, which ``test_model_descriptions.py`` holds against the networks.
    """
    expected = NETWORKS[name]
    cost = read_cost(find_model(name), cache_directory=tmp_path)
    assert expected.parameters == cost.parameters
    assert cost.macs == pytest.approx(expected.fvcore_macs, rel=0.01)
    if expected.gmacs is not None:
        assert cost.macs / 1e9 == pytest.approx(expected.gmacs, rel=0.01)


@pytest.mark.parametrize("name", EXPORTED)
def test_exports_whole(name: str, known: Known) -> None:
    """Nothing is left undelegated, and the program's outputs are eager PyTorch's."""
    artifact = known(find_model(name))
    assert NETWORKS[name].parameters == artifact.cost.parameters
    assert artifact.delegation.portable_operator_counts == {}
    assert artifact.delegation.mac_fraction == 1.0


@pytest.mark.parametrize("name", NETWORKS)
def test_an_untrained_output_depends_on_the_input(name: str) -> None:
    """Each output, far beyond the tolerance, so that comparing outputs means something."""
    spec = find_model(name)
    module = load_module(spec)
    inputs = make_inputs(spec)
    with torch.no_grad():
        first, second = module(*inputs), module(*(tensor.flip(-1) for tensor in inputs))
    pairs = zip(first, second, strict=True) if isinstance(first, tuple) else [(first, second)]
    for one, other in pairs:
        assert check_outputs([one.numpy()], [other.numpy()], 0).max_relative_error > 0.1
        is_softmax = one.sum().item() == pytest.approx(1, abs=1e-4)
        assert is_softmax != (read_card(spec).task or "").endswith("as logits")


def test_the_layers_of_lane_et_al() -> None:
    """AlexNet and DeepEar's emotion network, layer by layer, have the parameters of their table."""

    def layers(module: torch.nn.Module) -> list[int]:
        counts = (
            sum(parameter.numel() for parameter in layer.parameters(recurse=False))
            for layer in module.modules()
        )
        return [count for count in counts if count]

    alexnet = [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
    assert alexnet == layers(load_module(find_model("alexnet")))
    deepear = load_module(find_model("deepear"))
    assert layers(deepear.emotion) == [115_200, 262_656, 262_656, 7_182]
    assert round(sum(layers(deepear)) / 1e6, 1) == 2.3


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_card(name: str) -> None:
    """Task, input and source are named; an accuracy says whose it is."""
    spec = find_model(name)
    card = read_card(spec)
    assert card.task
    assert "x".join(map(str, spec.input_shapes[0][1:])) in (card.input or "")
    assert spec.source
    assert spec.license
    assert card.published_accuracy is None or "(" in card.published_accuracy
