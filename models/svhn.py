"""The digit recognizer of Lane et al.: two 5x5 convolutions and two dense layers."""

from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "SVHN digits (Lane et al. 2015)"
SOURCE = "N. D. Lane et al., 'An Early Resource Characterization of Deep Learning', IoT-App 2015"
LICENSE = "Apache-2.0"
TASK = "Which of the ten digits a house number shows"
INPUT = "Street View House Numbers picture, 3x32x32, RGB"
ACCURACY = None
NOTE = (
    "The source gives 313K parameters, two convolutions, two poolings and hidden layers of 1600 "
    "and 128 nodes. Convolutions of 5x5x64 without borders and 2x2 pooling are the reading that "
    "yields 1600 values from 32x32 pixels. That the pooling is max pooling is assumed."
)
INPUT_SHAPES = ((1, 3, 32, 32),)


def build() -> nn.Module:
    return draw_weights(
        nn.Sequential(
            nn.Conv2d(3, 64, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(1600, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
            nn.Softmax(dim=1),
        )
    )
