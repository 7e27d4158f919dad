"""Trains ``models/digits.py`` on scikit-learn's handwritten digits, in less than a minute.

Writes ``models/digits.safetensors`` and, in ``models/digits_held_out``, the fifth of the images
that the network was not trained on; ``--held-out DIRECTORY`` writes these as PNG files as well::

    python scripts/train_digits.py
    mobilekit evaluate digits --device nexus7

The data are 1,797 images of 43 people's digits, 8 x 8 pixels of 0 to 16, from the UCI Machine
Learning Repository (E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits,
doi:10.24432/C50P49), CC BY 4.0; scikit-learn carries them: ``pip install scikit-learn``. The split
is random within each digit, so that a writer's digits may lie on both sides of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from training import (
    MODELS,
    accuracy_text,
    fit,
    model_file,
    save_weights,
    write_arrays,
    write_labels,
)

digits = model_file("digits")
CALIBRATION_IMAGES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--held-out", type=Path, help="write the held-out images here as PNG files")
    parser.add_argument(
        "--calibration",
        type=Path,
        help="write inputs of training images here as an .npy file, to take int8 ranges from",
    )
    arguments = parser.parse_args()

    data = load_digits()
    pixels = np.round(data.images * 255 / 16).astype(np.uint8)
    trained, held_out = train_test_split(
        np.arange(len(pixels)), test_size=0.2, random_state=0, stratify=data.target
    )
    held_out = np.sort(held_out)
    # The numbers that read_example() gives for the pixels as a PNG file.
    inputs = torch.from_numpy(pixels[:, np.newaxis].astype(np.float32) / 255)
    labels = torch.from_numpy(data.target)

    network = fit(
        digits.build,
        lambda chosen: shifted(inputs[trained][chosen]),
        labels[trained],
        epochs=60,
    )
    print(f"training images: {accuracy_text(network, inputs[trained], labels[trained])}")
    print(f"held-out images: {accuracy_text(network, inputs[held_out], labels[held_out])}")
    save_weights(network, MODELS / digits.WEIGHTS, origin=f"{digits.SOURCE}. {digits.LICENSE}")
    write_arrays(MODELS / digits.DATA, inputs[held_out], labels[held_out])
    if arguments.calibration is not None:
        np.save(arguments.calibration, inputs[trained[:CALIBRATION_IMAGES]].numpy())
    if arguments.held_out is not None:
        write_images(arguments.held_out, pixels[held_out], data.target[held_out])


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Each image moved by up to a pixel in each direction, black coming in."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (len(images), 2)).tolist()
    return torch.stack(
        [image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, moves, strict=True)]
    )


def write_images(directory: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"{number:03}.png" for number in range(len(pixels))]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(directory / name)
    write_labels(directory, zip(names, labels.tolist(), strict=True))
    print(f"{directory}: {len(names)} images and labels.csv")


if __name__ == "__main__":
    main()
