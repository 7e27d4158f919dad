"""Network in Network for ImageNet: 1x1 convolutions after each spatial one, no dense layer."""

from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "Network in Network (NIN), ImageNet"
SOURCE = (
    "M. Lin, Q. Chen, S. Yan, arXiv:1312.4400; Caffe model zoo, nin_imagenet train_val.prototxt"
)
LICENSE = "BSD"
TASK = "Which of 1,000 ImageNet classes a photo shows"
INPUT = "ImageNet photo, 3x224x224, BGR, less the mean of ImageNet"
ACCURACY = "top-1 59.36 % (ImageNet; Caffe model zoo)"
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "caffe"


def mlpconv(
    inputs: int, widths: tuple[int, int, int], kernel: int, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    """A spatial convolution and two 1x1 ones (Caffe's "cccp" layers), each with ReLU."""
    first, second, third = widths
    return nn.Sequential(
        nn.Conv2d(inputs, first, kernel, stride, padding),
        nn.ReLU(),
        nn.Conv2d(first, second, 1),
        nn.ReLU(),
        nn.Conv2d(second, third, 1),
        nn.ReLU(),
    )


def build() -> nn.Module:
    # Caffe rounds the size of a pooled map up, hence ceil_mode.
    network = nn.Sequential(
        mlpconv(3, (96, 96, 96), kernel=11, stride=4),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        mlpconv(96, (256, 256, 256), kernel=5, padding=2),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        mlpconv(256, (384, 384, 384), kernel=3, padding=1),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.Dropout(0.5),
        mlpconv(384, (1024, 1024, 1000), kernel=3, padding=1),
        nn.AvgPool2d(6),
        nn.Flatten(),
        nn.Softmax(dim=1),
    )
    return draw_weights(network)
