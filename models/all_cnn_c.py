"""All-CNN-C: nothing but convolutions; strides in place of pooling."""

from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "All-CNN-C, CIFAR-10"
SOURCE = "J. T. Springenberg et al., 'Striving for Simplicity', arXiv:1412.6806, Tables 1 and 2"
LICENSE = "Apache-2.0"
TASK = "Which of ten CIFAR-10 classes a picture shows"
INPUT = "CIFAR-10 picture, 3x32x32, RGB, whitened"
ACCURACY = "90.92 % (CIFAR-10 without augmentation; the paper's error of 9.08 %)"
INPUT_SHAPES = ((1, 3, 32, 32),)


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU())


def build() -> nn.Module:
    return draw_weights(
        nn.Sequential(
            nn.Dropout(0.2),
            convolution(3, 96, 3, padding=1),
            convolution(96, 96, 3, padding=1),
            convolution(96, 96, 3, stride=2, padding=1),
            nn.Dropout(0.5),
            convolution(96, 192, 3, padding=1),
            convolution(192, 192, 3, padding=1),
            convolution(192, 192, 3, stride=2, padding=1),
            nn.Dropout(0.5),
            # Without a border: the paper averages over 6x6.
            convolution(192, 192, 3),
            convolution(192, 192, 1),
            convolution(192, 10, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Softmax(dim=1),
        )
    )
