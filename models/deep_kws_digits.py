"""The Deep KWS network, trained to tell the ten spoken digits from 0.4 s of sound."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

TITLE = "Deep KWS, spoken digits"
SOURCE = (
    "topology: G. Chen et al., Small-footprint keyword spotting using deep neural networks, ICASSP "
    "2014; weights: scripts/train_deep_kws.py; data: Z. Jackson et al., Free Spoken Digit Dataset, "
    "github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0"
)
LICENSE = "Apache-2.0; weights: CC BY-SA 4.0"
TASK = "Which of the ten digits is spoken, in English, as logits"
INPUT = "log filterbank energies of the loudest 0.4 s, 40 frames x 40 bands, 1x40x40"
ACCURACY = None
MEASURED = "292 of 300 recordings, the official test split: 97.3 %, 95 % interval 94.8 to 98.6 %"
NOTE = (
    "Trained on the other 2,700 recordings. The same six people speak on both sides of the split."
)
INPUT_SHAPES = ((1, 40, 40),)
WEIGHTS = "deep_kws_digits.safetensors"
EXAMPLES = (".wav",)

RATE_HZ = 8000
FRAMES, BANDS = 40, 40
# Windows of 25 ms every 10 ms, as in the paper.
WINDOW, HOP = 200, 80
SPAN = (FRAMES - 1) * HOP + WINDOW
FFT_SIZE = 512
FLOOR = 1e-6
"""Added to each band's energy: -60 dB of a full-scale sample's, so that silence has a logarithm."""


def build() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    width = FRAMES * BANDS
    for _ in range(3):
        layers += [nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.3)]
        width = 128
    return nn.Sequential(*layers, nn.Linear(width, 10))


def read_example(path: Path) -> npt.NDArray[np.float32]:
    """The loudest 0.4 s of a recording: (40 frames, 40 bands)."""
    samples = read_samples(path)
    return log_filterbank(samples, loudest_start(samples))


def read_samples(path: Path) -> npt.NDArray[np.float64]:
    """A mono recording of 16 bit at 8 kHz, as -1 to 1; raises ``ValueError`` for another."""
    with wave.open(str(path)) as file:
        form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        if form != (1, 2, RATE_HZ):
            raise ValueError(
                f"{form[0]} channels of {8 * form[1]} bit at {form[2]} Hz, not 1 of 16 at {RATE_HZ}"
            )
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15


def loudest_start(samples: npt.NDArray[np.float64]) -> int:
    """Where the span with the most energy begins; negative in a shorter recording's middle."""
    if len(samples) <= SPAN:
        return (len(samples) - SPAN) // 2
    energy = np.cumsum(np.square(samples))
    return int(np.argmax(energy[SPAN:] - energy[:-SPAN])) + 1


def log_filterbank(samples: npt.NDArray[np.float64], start: int) -> npt.NDArray[np.float32]:
    """Logarithms of mel band energies from ``start`` on, less their mean, by their deviation.

    Silence stands in for what lies beyond the recording's ends.
    """
    padded = np.pad(samples, (max(0, -start), max(0, start + SPAN - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded[max(0, start) :], WINDOW)
    spectrum = np.fft.rfft(windows[: SPAN - WINDOW + 1 : HOP] * np.hanning(WINDOW), FFT_SIZE)
    logarithms = np.log(np.square(np.abs(spectrum)) @ mel_bands().T + FLOOR)
    deviation = logarithms.std() or 1.0
    return ((logarithms - logarithms.mean()) / deviation).astype(np.float32)


def mel_bands() -> npt.NDArray[np.float64]:
    """Weights of the spectrum's bins in each band: triangles that are evenly spaced in mel.

    (40, 257). From 20 Hz to 4 kHz; mel(f) = 2595 lg(1 + f / 700 Hz) (O'Shaughnessy 1987).
    """
    low, high = 2595 * np.log10(1 + np.array([20, RATE_HZ / 2]) / 700)
    edges_hz = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    left, middle, right = (edges_hz[index : index + BANDS, np.newaxis] for index in range(3))
    bins_hz = np.arange(FFT_SIZE // 2 + 1) * RATE_HZ / FFT_SIZE
    rising, falling = (bins_hz - left) / (middle - left), (right - bins_hz) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling))
