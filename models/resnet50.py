"""ResNet-50 by torchvision, whose trained weights fit it."""

from torch import nn
from torchvision import models
from torchvision.models.resnet import Bottleneck

from mobilekit.model.untrained import draw_weights

TITLE = "ResNet-50 (v1.5, torchvision's)"
SOURCE = "K. He, X. Zhang, S. Ren, J. Sun, arXiv:1512.03385, Table 1; torchvision's resnet50"
LICENSE = "BSD-3-Clause"
TASK = "Which of 1,000 ImageNet classes a photo shows, as logits"
INPUT = "ImageNet photo, 3x224x224, RGB, less the mean and over the deviation of ImageNet"
ACCURACY = "top-1 76.130 %, top-5 92.862 % (ImageNet, center crop; torchvision, IMAGENET1K_V1)"
NOTE = (
    "Version 1.5, as torchvision and most others have it: the stride of a block is in its 3x3 "
    "convolution. In the paper and in Caffe's model it is in the first 1x1 convolution, which "
    "has the same parameters and 3.86 G in place of 4.09 G MACs."
)
INPUT_SHAPES = ((1, 3, 224, 224),)
PREPROCESSING = "imagenet"


def build() -> nn.Module:
    network = draw_weights(models.resnet50(weights=None))
    for module in network.modules():
        if isinstance(module, Bottleneck):
            # Undamped, 16 blocks that add up let values grow two-hundredfold, and rounding errors
            # to half of the tolerance that outputs are checked with.
            nn.init.constant_(module.bn3.weight, 0.5)
    return network
