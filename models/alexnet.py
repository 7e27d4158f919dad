"""AlexNet as Caffe published it: grouped convolutions, normalization before pooling."""

from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "AlexNet (Caffe's bvlc_alexnet)"
SOURCE = (
    "A. Krizhevsky, I. Sutskever, G. Hinton, NIPS 2012; Caffe, models/bvlc_alexnet/deploy.prototxt"
)
LICENSE = "BSD-2-Clause"
TASK = "Which of 1,000 ImageNet classes a photo shows"
INPUT = "ImageNet photo, 3x227x227, BGR, less the mean of ImageNet"
ACCURACY = "top-1 57.1 %, top-5 80.2 % (ImageNet, center crop; Caffe's bvlc_alexnet)"
INPUT_SHAPES = ((1, 3, 227, 227),)
PREPROCESSING = "caffe"


def build() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 1000),
        nn.Softmax(dim=1),
    )
    return draw_weights(network)
