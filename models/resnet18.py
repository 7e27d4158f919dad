"""ResNet-18 by torchvision, whose trained weights fit it."""

from torch import nn
from torchvision import models

from mobilekit.model.untrained import draw_weights

TITLE = "ResNet-18"
SOURCE = "K. He, X. Zhang, S. Ren, J. Sun, arXiv:1512.03385, Table 1; torchvision's resnet18"
LICENSE = "BSD-3-Clause"
TASK = "Which of 1,000 ImageNet classes a photo shows, as logits"
INPUT = "ImageNet photo, 3x224x224, RGB, less the mean and over the deviation of ImageNet"
ACCURACY = "top-1 69.758 %, top-5 89.078 % (ImageNet, center crop; torchvision, IMAGENET1K_V1)"
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "imagenet"


def build() -> nn.Module:
    return draw_weights(models.resnet18(weights=None))
