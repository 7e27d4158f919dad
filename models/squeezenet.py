"""SqueezeNet 1.0: AlexNet's accuracy with a fiftieth of its parameters."""

import torch
from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "SqueezeNet 1.0"
# The paper's Table 1. Its prototxt differs in two ways that cost more: an input of 227, and a
# border of one pixel around the last 1x1 convolution.
SOURCE = "F. Iandola et al., arXiv:1602.07360, Table 1"
LICENSE = "BSD-2-Clause"
TASK = "Which of 1,000 ImageNet classes a photo shows"
INPUT = "ImageNet photo, 3x224x224, BGR, less the mean of ImageNet"
ACCURACY = "top-1 57.5 %, top-5 80.3 % (ImageNet; the paper's Table 2)"
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "caffe"


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and 3x3 convolutions side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, squeezed, 1), nn.ReLU())
        self.expand1 = nn.Sequential(nn.Conv2d(squeezed, expanded, 1), nn.ReLU())
        self.expand3 = nn.Sequential(nn.Conv2d(squeezed, expanded, 3, padding=1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) to (N, 2 x expanded, H, W)."""
        x = self.squeeze(x)
        return torch.cat((self.expand1(x), self.expand3(x)), dim=1)


def build() -> nn.Module:
    # Caffe rounds the size of a pooled map up, hence ceil_mode.
    network = nn.Sequential(
        nn.Conv2d(3, 96, 7, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(96, 16, 64),
        Fire(128, 16, 64),
        Fire(128, 32, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(256, 32, 128),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(512, 64, 256),
        nn.Dropout(0.5),
        nn.Conv2d(512, 1000, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Softmax(dim=1),
    )
    return draw_weights(network)
