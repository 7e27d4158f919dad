"""Inception-BN: GoogLeNet's successor, with batch normalization and two 3x3 in place of a 5x5."""

import torch
from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "Inception-BN (BN-Inception)"
SOURCE = "S. Ioffe, C. Szegedy, arXiv:1502.03167, Figure 5, as ported to Caffe and MXNet"
LICENSE = "Apache-2.0"
TASK = "Which of 1,000 ImageNet classes a photo shows"
INPUT = "ImageNet photo, 3x224x224, BGR, less the mean of ImageNet"
ACCURACY = "top-1 74.8 %, top-5 92.18 % (ImageNet, single crop; the paper's Figure 4)"
NOTE = (
    "As the ports have it: with biases before batch normalization, and with pooled projections "
    "of 128 channels in 4c and 4d, where the paper's Figure 5 says 96."
)
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "caffe"


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Inception(nn.Module):
    """Up to four branches side by side; widths are named as in the paper's Figure 5.

    Without ``n1`` and ``pool_proj`` it halves the map's size.
    """

    def __init__(
        self, inputs: int, n1: int, reduce3: int, n3: int, reduce33: int, n33: int, pool_proj: int,
        average: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        stride = 1 if n1 else 2
        branches: list[nn.Module] = [convolution(inputs, n1, 1)] if n1 else []
        branches += [
            nn.Sequential(
                convolution(inputs, reduce3, 1), convolution(reduce3, n3, 3, stride, padding=1)
            ),
            nn.Sequential(
                convolution(inputs, reduce33, 1),
                convolution(reduce33, n33, 3, padding=1),
                convolution(n33, n33, 3, stride, padding=1),
            ),
        ]
        if pool_proj:
            pool = (nn.AvgPool2d if average else nn.MaxPool2d)(3, stride=1, padding=1)
            branches.append(nn.Sequential(pool, convolution(inputs, pool_proj, 1)))
        else:
            branches.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) to (N, the sum of the branches' widths, H / stride, W / stride)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def build() -> nn.Module:
    # Caffe rounds the size of a pooled map up, hence ceil_mode.
    return draw_weights(
        nn.Sequential(
            convolution(3, 64, 7, stride=2, padding=3),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            convolution(64, 64, 1),
            convolution(64, 192, 3, padding=1),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Inception(192, 64, 64, 64, 64, 96, 32),  # 3a
            Inception(256, 64, 64, 96, 64, 96, 64),  # 3b
            Inception(320, 0, 128, 160, 64, 96, 0),  # 3c
            Inception(576, 224, 64, 96, 96, 128, 128),  # 4a
            Inception(576, 192, 96, 128, 96, 128, 128),  # 4b
            Inception(576, 160, 128, 160, 128, 160, 128),  # 4c
            Inception(608, 96, 128, 192, 160, 192, 128),  # 4d
            Inception(608, 0, 128, 192, 192, 256, 0),  # 4e
            Inception(1056, 352, 192, 320, 160, 224, 128),  # 5a
            Inception(1024, 352, 192, 320, 192, 224, 128, average=False),  # 5b
            nn.AvgPool2d(7),
            nn.Flatten(),
            nn.Linear(1024, 1000),
            nn.Softmax(dim=1),
        )
    )
