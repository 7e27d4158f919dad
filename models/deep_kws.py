"""Deep KWS: a small dense network that spots keywords in filterbank energies."""

from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "Deep KWS, keyword spotting (Lane et al. 2015)"
SOURCE = (
    "G. Chen, C. Parada, G. Heigold, 'Small-footprint keyword spotting using deep neural "
    "networks', ICASSP 2014; sizes: N. D. Lane et al., IoT-App 2015"
)
LICENSE = "Apache-2.0"
TASK = "Which of 22 words, or none of them, is spoken"
INPUT = "log filterbank energies, 40 frames x 40 bands, 1x40x40"
ACCURACY = None
NOTE = (
    "The source gives 241K parameters, three hidden layers of 128 nodes and 22 words. 40 frames "
    "of 40 bands and one more output for everything else are inferred: they yield 240,919. The "
    "source publishes no accuracy; Chen et al. publish ROC curves of other words."
)
INPUT_SHAPES = ((1, 40, 40),)


def build() -> nn.Module:
    return draw_weights(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(1600, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 23),
            nn.Softmax(dim=1),
        )
    )
