"""VGG-16, configuration D, by torchvision, whose trained weights fit it."""

from torch import nn
from torchvision import models

from mobilekit.model.untrained import draw_weights

TITLE = "VGG-16"
SOURCE = "K. Simonyan, A. Zisserman, arXiv:1409.1556, configuration D; torchvision's vgg16"
LICENSE = "BSD-3-Clause"
TASK = "Which of 1,000 ImageNet classes a photo shows, as logits"
INPUT = "ImageNet photo, 3x224x224, RGB, less the mean and over the deviation of ImageNet"
ACCURACY = "top-1 71.592 %, top-5 90.382 % (ImageNet, center crop; torchvision, IMAGENET1K_V1)"
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "imagenet"


def build() -> nn.Module:
    return draw_weights(models.vgg16(weights=None, init_weights=False))
