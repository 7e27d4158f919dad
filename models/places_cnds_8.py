"""Places-CNDS-8: eight convolutions, deeply supervised in training, for scenes."""

from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "Places-CNDS-8"
SOURCE = "L. Wang et al., arXiv:1505.02496; Caffe model zoo, Places-CNDS-8 deploy.prototxt"
LICENSE = "Apache-2.0"
TASK = "Which of 205 kinds of places a photo shows, as logits"
INPUT = "photo of a scene, 3x227x227, BGR, less the mean of Places205"
ACCURACY = "top-1 54.7 %, top-5 84.1 % (Places205 validation set; the report)"
INPUT_SHAPES = ((1, 3, 227, 227),)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding=1), nn.ReLU())


def build() -> nn.Module:
    # Caffe rounds the size of a pooled map up, hence ceil_mode.
    return draw_weights(
        nn.Sequential(
            convolution(3, 64, kernel=7, stride=2),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            convolution(64, 128),
            nn.MaxPool2d(2, ceil_mode=True),
            convolution(128, 256),
            convolution(256, 256),
            nn.MaxPool2d(2, ceil_mode=True),
            convolution(256, 512),
            convolution(512, 512),
            nn.MaxPool2d(2, ceil_mode=True),
            convolution(512, 512),
            convolution(512, 512),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(512 * 4 * 4, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 205),
        )
    )
