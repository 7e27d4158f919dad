"""MobileNet v1: every convolution but the first is depthwise, then 1x1."""

from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "MobileNet v1 (1.0, 224)"
SOURCE = "A. Howard et al., arXiv:1704.04861, Table 1"
LICENSE = "Apache-2.0"
TASK = "Which of 1,000 ImageNet classes a photo shows"
INPUT = "ImageNet photo, 3x224x224, RGB, scaled to -1 to 1"
ACCURACY = "top-1 70.6 % (ImageNet; the paper's Table 8)"
INPUT_SHAPES = ((1, 3, 224, 224),)


def convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    """With batch normalization, in place of a bias, and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        convolution(inputs, inputs, 3, stride, groups=inputs),
        convolution(inputs, outputs, 1, 1, groups=1),
    )


def build() -> nn.Module:
    return draw_weights(
        nn.Sequential(
            convolution(3, 32, 3, stride=2, groups=1),
            separable(32, 64),
            separable(64, 128, stride=2),
            separable(128, 128),
            separable(128, 256, stride=2),
            separable(256, 256),
            separable(256, 512, stride=2),
            *(separable(512, 512) for _ in range(5)),
            separable(512, 1024, stride=2),
            # The paper's table says stride 2 here, too, but its count of the MACs says 1.
            separable(1024, 1024),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(1024, 1000),
            nn.Softmax(dim=1),
        )
    )
