"""DeepEar: three networks on one microphone, for emotions, speakers and ambient sound."""

import torch
from torch import nn

from mobilekit.model.untrained import draw_weights

TITLE = "DeepEar, audio sensing (Lane et al. 2015)"
SOURCE = (
    "N. D. Lane, P. Georgiev, L. Qendro, 'DeepEar', UbiComp 2015; sizes: N. D. Lane et al., "
    "'An Early Resource Characterization of Deep Learning', IoT-App 2015"
)
LICENSE = "Apache-2.0"
TASK = "Which emotion, which speaker and which ambient sound is heard: three outputs"
INPUT = (
    "summaries of audio features, 224, for emotions; filterbank energies, 32 frames x 40 bands, "
    "1280, for speakers and ambient sound"
)
ACCURACY = None
NOTE = (
    "The emotion network is published layer by layer: 115,200, 262,656, 262,656 and 7,182 "
    "parameters, hence 224 inputs and 14 outputs. Of the other two the source says only that they "
    "have three hidden layers of 512 or 256 nodes each, and that all three have 2.3M parameters "
    "together. Inferred, so that the sum is 2.30M: 512 nodes and 22 outputs for speakers, 256 "
    "nodes and 4 outputs for ambient sound, 1280 inputs for both."
)
INPUT_SHAPES = ((1, 224), (1, 1280))


def classifier(inputs: int, width: int, classes: int) -> nn.Sequential:
    """Three hidden layers of ``width`` nodes, then softmax."""
    hidden: list[nn.Module] = []
    for before in (inputs, width, width):
        hidden += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*hidden, nn.Linear(width, classes), nn.Softmax(dim=1))


class DeepEar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emotion = classifier(224, 512, 14)
        self.speaker = classifier(1280, 512, 22)
        self.ambient = classifier(1280, 256, 4)

    def forward(
        self, summary: torch.Tensor, energies: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N, 224) and (N, 1280) to (N, 14), (N, 22) and (N, 4)."""
        return self.emotion(summary), self.speaker(energies), self.ambient(energies)


def build() -> nn.Module:
    return draw_weights(DeepEar())
