"""GoogLeNet (Inception v1) as Caffe published it: with local response normalization, without
batch normalization, and without the two heads that serve training only."""

import torch
from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "GoogLeNet (Caffe's bvlc_googlenet)"
SOURCE = "C. Szegedy et al., arXiv:1409.4842; Caffe, models/bvlc_googlenet/deploy.prototxt"
LICENSE = "BSD-2-Clause"
TASK = "Which of 1,000 ImageNet classes a photo shows"
INPUT = "ImageNet photo, 3x224x224, BGR, less the mean of ImageNet"
ACCURACY = "top-1 68.7 %, top-5 88.9 % (ImageNet, center crop; Caffe's bvlc_googlenet)"
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "caffe"


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU())


class Inception(nn.Module):
    """Four branches side by side; widths are named as in the paper's Table 1."""

    def __init__(
        self, inputs: int, n1: int, reduce3: int, n3: int, reduce5: int, n5: int, pool_proj: int
    ) -> None:
        super().__init__()
        self.branch1 = convolution(inputs, n1, 1)
        self.branch3 = nn.Sequential(
            convolution(inputs, reduce3, 1), convolution(reduce3, n3, 3, padding=1)
        )
        self.branch5 = nn.Sequential(
            convolution(inputs, reduce5, 1), convolution(reduce5, n5, 5, padding=2)
        )
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), convolution(inputs, pool_proj, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) to (N, n1 + n3 + n5 + pool_proj, H, W)."""
        return torch.cat(
            (self.branch1(x), self.branch3(x), self.branch5(x), self.branch_pool(x)), dim=1
        )


def build() -> nn.Module:
    # Caffe rounds the size of a pooled map up, hence ceil_mode.
    network = nn.Sequential(
        convolution(3, 64, 7, stride=2, padding=3),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        convolution(64, 64, 1),
        convolution(64, 192, 3, padding=1),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Inception(192, 64, 96, 128, 16, 32, 32),  # 3a
        Inception(256, 128, 128, 192, 32, 96, 64),  # 3b
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Inception(480, 192, 96, 208, 16, 48, 64),  # 4a
        Inception(512, 160, 112, 224, 24, 64, 64),  # 4b
        Inception(512, 128, 128, 256, 24, 64, 64),  # 4c
        Inception(512, 112, 144, 288, 32, 64, 64),  # 4d
        Inception(528, 256, 160, 320, 32, 128, 128),  # 4e
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Inception(832, 256, 160, 320, 32, 128, 128),  # 5a
        Inception(832, 384, 192, 384, 48, 128, 128),  # 5b
        nn.AvgPool2d(7),
        nn.Dropout(0.4),
        nn.Flatten(),
        nn.Linear(1024, 1000),
        nn.Softmax(dim=1),
    )
    return draw_weights(network)
