"""MobileNet v2 by torchvision, whose trained weights fit it."""

from torch import nn
from torchvision import models
from torchvision.models.mobilenetv2 import InvertedResidual

from mobilekit.model.untrained import draw_weights

TITLE = "MobileNet v2 (1.0, 224)"
SOURCE = "M. Sandler et al., arXiv:1801.04381, Table 2; torchvision's mobilenet_v2"
LICENSE = "BSD-3-Clause"
TASK = "Which of 1,000 ImageNet classes a photo shows, as logits"
INPUT = "ImageNet photo, 3x224x224, RGB, less the mean and over the deviation of ImageNet"
ACCURACY = "top-1 71.878 %, top-5 90.286 % (ImageNet, center crop; torchvision, IMAGENET1K_V1)"
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "imagenet"


def build() -> nn.Module:
    network = draw_weights(models.mobilenet_v2(weights=None))
    for module in network.modules():
        if isinstance(module, InvertedResidual):
            # No ReLU follows a block, so that its scale must not make up for one: over 17 blocks
            # the values would grow until ReLU6 cuts off nearly all of them.
            nn.init.constant_(module.conv[-1].weight, 1 / 1.71)
    return network
