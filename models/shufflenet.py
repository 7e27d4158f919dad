"""ShuffleNet v1: 1x1 convolutions in groups, between which channels are shuffled."""

import torch
from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "ShuffleNet v1 (1x, 3 groups)"
SOURCE = "X. Zhang, X. Zhou, M. Lin, J. Sun, arXiv:1707.01083, Table 1 and Figure 2"
LICENSE = "Apache-2.0"
TASK = "Which of 1,000 ImageNet classes a photo shows"
INPUT = "ImageNet photo, 3x224x224, RGB, less the mean and over the deviation of ImageNet"
ACCURACY = "top-1 67.4 % (ImageNet, center crop; the paper's Table 2, of its own widths)"
NOTE = (
    "In a unit that halves the map the middle has a quarter of the channels that the unit adds, as "
    "in the ports for Caffe and ncnn; the paper's 137 M MACs are of a quarter of all. It does "
    "not say how inputs are scaled."
)
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "imagenet"

GROUPS = 3


def convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = GROUPS
) -> list[nn.Module]:
    """With batch normalization in place of a bias."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class Unit(nn.Module):
    """Figure 2 b, or c where it halves the map; the middle has a quarter of what it adds."""

    def __init__(self, inputs: int, outputs: int, *, halves: bool = False) -> None:
        super().__init__()
        self.halves = halves
        added = outputs - inputs if halves else outputs
        middle = added // 4
        # Of the first 24 channels no groups are made: they are few.
        grouped = inputs > 24
        self.branch = nn.Sequential(
            *convolution(inputs, middle, groups=GROUPS if grouped else 1),
            nn.ReLU(),
            *((nn.ChannelShuffle(GROUPS),) if grouped else ()),
            *convolution(middle, middle, 3, 2 if halves else 1, groups=middle),
            *convolution(middle, added),
        )
        self.shortcut = nn.AvgPool2d(3, 2, padding=1) if halves else nn.Identity()
        self.activation = nn.ReLU()
        if not halves:
            # What is added must be less than what it is added to: over 13 units the values would
            # double with each, until softmax tells one class and nothing of the others.
            nn.init.constant_(self.branch[-1].weight, 1 / 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W), of half of that size where it halves."""
        branch, shortcut = self.branch(x), self.shortcut(x)
        joined = torch.cat((shortcut, branch), dim=1) if self.halves else shortcut + branch
        return self.activation(joined)


def stage(inputs: int, outputs: int, repeats: int) -> list[nn.Module]:
    return [
        Unit(inputs, outputs, halves=True),
        *(Unit(outputs, outputs) for _ in range(repeats)),
    ]


def build() -> nn.Module:
    return draw_weights(
        nn.Sequential(
            *convolution(3, 24, 3, 2, groups=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            *stage(24, 240, 3),
            *stage(240, 480, 7),
            *stage(480, 960, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(960, 1000),
            nn.Softmax(dim=1),
        )
    )
