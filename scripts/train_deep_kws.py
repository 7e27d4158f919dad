"""Trains ``models/deep_kws_digits.py`` on the Free Spoken Digit Dataset, in a minute or two.

Takes the data as a folder of recordings or as the archive that holds them; writes
``models/deep_kws_digits.safetensors`` and, with ``--held-out DIRECTORY``, the recordings of the
official test split with their labels::

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset
    python scripts/train_deep_kws.py free-spoken-digit-dataset/recordings --held-out spoken
    mobilekit evaluate deep_kws_digits --device nexus7 --data spoken

The data: Zohar Jackson and others, 3,000 recordings at 8 kHz of six people's digits, CC BY-SA 4.0,
and so are weights trained on them. Files are named ``<digit>_<speaker>_<index>.wav``; the official
test split is index 0 to 4, so that the speakers are the same on both sides of it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from training import MODELS, accuracy_text, fit, model_file, save_weights, write_labels

kws = model_file("deep_kws_digits")
TEST_INDICES = range(5)
EXPECTED_RECORDINGS = 3000
SHIFTS = np.arange(-4, 5) * kws.HOP
"""How far from the loudest span training also looks, in samples."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path, help="the recordings' folder, or a .tar.gz of it")
    parser.add_argument("--held-out", type=Path, help="copy the test split with its labels here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.data
        if folder.is_file():
            with tarfile.open(folder) as archive:
                archive.extractall(scratch, filter="data")
            folder = Path(scratch)
        train(sorted(folder.rglob("*.wav")), arguments.held_out)


def train(files: list[Path], held_out: Path | None) -> None:
    names = [re.fullmatch(r"([0-9])_[a-z]+_([0-9]+)", file.stem) for file in files]
    if len(files) != EXPECTED_RECORDINGS or None in names:
        sys.exit(f"{len(files)} recordings, not the dataset's {EXPECTED_RECORDINGS} by their names")
    digits = torch.tensor([int(name[1]) for name in names])
    is_test = torch.tensor([int(name[2]) in TEST_INDICES for name in names])

    recordings = [kws.read_samples(file) for file in files]
    test_inputs = features(recordings, is_test, np.array([0]))[:, 0]
    train_inputs = features(recordings, ~is_test, SHIFTS)

    network = fit(
        kws.build,
        lambda chosen: altered(train_inputs[chosen]),
        digits[~is_test],
        epochs=40,
    )
    middle = train_inputs[:, len(SHIFTS) // 2]
    print(f"training recordings: {accuracy_text(network, middle, digits[~is_test])}")
    print(f"official test split: {accuracy_text(network, test_inputs, digits[is_test])}")
    save_weights(network, MODELS / kws.WEIGHTS, origin=f"{kws.SOURCE}. {kws.LICENSE}")
    if held_out is not None:
        held_out.mkdir(parents=True, exist_ok=True)
        test_files = [file for file, tested in zip(files, is_test, strict=True) if tested]
        for file in test_files:
            shutil.copyfile(file, held_out / file.name)
        write_labels(held_out, ((file.name, int(file.name[0])) for file in test_files))
        print(f"{held_out}: {len(test_files)} recordings and labels.csv")


def features(
    recordings: list[np.ndarray], chosen: torch.Tensor, shifts: np.ndarray
) -> torch.Tensor:
    """(recordings, shifts, frames, bands)."""
    return torch.from_numpy(
        np.stack(
            [
                [
                    kws.log_filterbank(samples, kws.loudest_start(samples) + int(shift))
                    for shift in shifts
                ]
                for samples, wanted in zip(recordings, chosen, strict=True)
                if wanted
            ]
        )
    )


def altered(inputs: torch.Tensor) -> torch.Tensor:
    """One shift of each recording, a few frames and bands of it gone, and noise."""
    count, shifts = inputs.shape[:2]
    chosen = inputs[torch.arange(count), torch.randint(shifts, (count,))]
    chosen = chosen.masked_fill(short_runs(count, kws.FRAMES)[:, :, None], 0)
    chosen = chosen.masked_fill(short_runs(count, kws.BANDS)[:, None, :], 0)
    return chosen + 0.1 * torch.randn_like(chosen)


def short_runs(count: int, length: int) -> torch.Tensor:
    """For each of ``count`` rows, which of its ``length`` places lie in a run of up to five."""
    begin, size = torch.randint(length, (count, 1)), torch.randint(6, (count, 1))
    places = torch.arange(length)
    return (places >= begin) & (places < begin + size)


if __name__ == "__main__":
    main()
