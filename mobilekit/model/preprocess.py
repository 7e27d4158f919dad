"""What turns a photo into an input, once, on this computer: every device gets the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Array = npt.NDArray[np.float32]

SUFFIXES = (".jpeg", ".jpg", ".png")


def imagenet(path: Path, height: int, width: int) -> Array:
    """As torchvision's reference: (3, height, width), RGB, normalized.

    The shorter side is scaled to 8/7 of the network's (256 for 224, as torchvision's weights are
    evaluated), the centre is cut out, and values of 0 to 1 lose ImageNet's mean and are divided by
    its deviation.
    """
    photo = _open(path)
    shorter = round(min(height, width) * 8 / 7)
    size = [int(shorter * side / min(photo.size)) for side in photo.size]
    pixels = np.asarray(_centre(_scaled(photo, size[0], size[1]), height, width), np.float32) / 255
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    return _channels_first((pixels - mean) / deviation)


def caffe(path: Path, height: int, width: int) -> Array:
    """As Caffe's reference networks: (3, height, width), BGR, 0 to 255 less the mean colour.

    The photo is squeezed to 256 x 256, whatever its shape, and the centre is cut out. Means as in
    Caffe's models/bvlc_googlenet/train_val.prototxt.
    """
    photo = _centre(_scaled(_open(path), 256, 256), height, width)
    pixels = np.asarray(photo, np.float32)[:, :, ::-1]
    return _channels_first(pixels - np.array([104, 117, 123], np.float32))


PREPROCESSINGS: dict[str, Callable[[Path, int, int], Array]] = {
    "imagenet": imagenet,
    "caffe": caffe,
}


def _open(path: Path) -> Image.Image:
    """Upright, whatever way the camera was held, and in colour."""
    from PIL import Image, ImageOps

    with Image.open(path) as photo:
        return ImageOps.exif_transpose(photo).convert("RGB")


def _scaled(photo: Image.Image, width: int, height: int) -> Image.Image:
    from PIL import Image

    return photo.resize((width, height), Image.Resampling.BILINEAR)


def _centre(photo: Image.Image, height: int, width: int) -> Image.Image:
    left, top = round((photo.width - width) / 2), round((photo.height - height) / 2)
    return photo.crop((left, top, left + width, top + height))


def _channels_first(pixels: npt.NDArray[Any]) -> Array:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
