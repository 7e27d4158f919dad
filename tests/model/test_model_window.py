"""How layers look at their input, and that packaged networks are what the latency model knows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from mobilekit.analysis.predict.costs import are_same, costs_of
from mobilekit.analysis.predict.work import work_of
from mobilekit.flow.shipped import load_predictor
from mobilekit.model.describe import count_cost, read_description
from mobilekit.model.layer_table import read_layer_table
from mobilekit.model.layers import describe_layers
from mobilekit.model.zoo import find_model
from mobilekit.records.network import Window

IMAGE, SIGNAL = (1, 4, 13, 11), (1, 4, 20)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Halved(nn.Module):
    def forward(self, x):
        return F.max_pool2d(x, 2)


def window(kernel, stride, dilation, groups=1, *, transposed=False):
    return Window(
        kernel=kernel, stride=stride, dilation=dilation, groups=groups, transposed=transposed
    )


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (
            nn.Conv2d(4, 8, (3, 5), stride=(2, 1), dilation=(1, 2), groups=2),
            IMAGE,
            window((3, 5), (2, 1), (1, 2), 2),
        ),
        (nn.Conv2d(4, 8, 3, padding="same"), IMAGE, window((3, 3), (1, 1), (1, 1))),
        (nn.Conv1d(4, 4, 5, stride=3, groups=4), SIGNAL, window((5,), (3,), (1,), 4)),
        (
            nn.ConvTranspose2d(4, 8, 3, stride=2),
            IMAGE,
            window((3, 3), (2, 2), (1, 1), transposed=True),
        ),
        (nn.MaxPool2d(3, stride=2), IMAGE, window((3, 3), (2, 2), (1, 1))),
        (nn.MaxPool2d((2, 3)), IMAGE, window((2, 3), (2, 3), (1, 1))),
        (Halved(), IMAGE, window((2, 2), (2, 2), (1, 1))),
        (nn.AvgPool1d(4), SIGNAL, window((4,), (4,), (1,))),
        (nn.AdaptiveAvgPool2d(1), IMAGE, window((13, 11), (13, 11), (1, 1))),
        (nn.AdaptiveAvgPool2d((6, 5)), IMAGE, window((3, 3), (3, 3), (1, 1))),
        (Mean(), IMAGE, window((13, 11), (13, 11), (1, 1))),
        (nn.ReLU(), IMAGE, None),
        (nn.Linear(11, 3), IMAGE, None),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_a_layers_window(module, shape, expected):
    exported = torch.export.export(module.eval(), (torch.zeros(shape),))

    (layer,) = describe_layers(exported, count_cost(module, exported)).layers

    assert layer.window == expected


@pytest.mark.parametrize(
    ("name", "listed_as"),
    [
        ("alexnet", "alexnet"),
        ("googlenet", "googlenet"),
        ("shufflenet", "shufflenet"),
        ("mobilenet_v1", "mobilenet"),
        ("vgg16", "vgg16"),
    ],
)
def test_the_packaged_networks_cost_what_their_tables_say(request, exports, name, listed_as):
    """The architectures are the same; the tables are of another program, and of another author."""
    table = read_layer_table(request.config.rootpath / "mobilekit/prediction/ncnn/layers.csv")
    (listed,) = (network for network in table if network.name == listed_as)

    described = work_of(name, read_description(find_model(name), cache_directory=exports))

    ours, theirs = costs_of(described.layers), costs_of(listed.layers)
    assert are_same(ours, theirs[None, :], np.array(load_predictor().model.unit_ms)).all()
