"""Made traces whose truth is known: what an oscilloscope or a meter would have recorded."""

from dataclasses import dataclass

import numpy as np

SHUNT_OHM, SUPPLY_V = 0.12, 5.16


@dataclass(frozen=True)
class Load:
    """A network's published time and energy of one inference, on a phone with its display on."""

    inference_s: float
    energy_j: float
    inferences_per_charge: int

    @property
    def power_w(self):
        return self.energy_j / self.inference_s


PAPER = {
    "alexnet": Load(1.091, 4.05, 13_300),
    "nin": Load(1.079, 3.65, 14_800),
    "googlenet": Load(2.198, 5.63, 9_600),
}
"""C. Fantozzi, F. Maiani, 'Squeezing Deep Learning onto a Phone', COLA 2016 (slides)."""


def shunt_voltage(power_w, shunt_ohm=SHUNT_OHM, supply_v=SUPPLY_V):
    """What lies across the shunt when so much goes on to the phone: P = (V_s - V) V / R, solved."""
    return (supply_v - np.sqrt(supply_v**2 - 4 * power_w * shunt_ohm)) / 2


def paper_trace(
    load, *, iterations, rate_hz=2000, idle_w=1.0, offset_v=2.1e-3, noise_v=1.5e-3, seed=0
):
    """Times and readings of an oscilloscope: 5 s with nothing connected, idle with the display
    on, ``iterations`` back to back, idle again; noise, an offset and an 8-bit converter.

    Within an inference the power varies, as that of convolutions and memory-bound layers does.
    """
    generator = np.random.default_rng(seed)
    load_s = iterations * load.inference_s
    duration_s = 5 + 12 + load_s + 12
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    phase = ((time_s - 17) / load.inference_s) % 1
    shape = np.where(phase < 0.7, 1.12, 0.72)  # Of mean 1.
    power_w = np.full(len(time_s), idle_w)
    power_w[time_s < 5] = 0.0
    is_load = (time_s >= 17) & (time_s < 17 + load_s)
    power_w[is_load] = load.power_w * shape[is_load]
    power_w[time_s >= 5] += 0.05 * np.sin(2 * np.pi * 60 * time_s[time_s >= 5])
    reading_v = shunt_voltage(power_w) + offset_v + generator.normal(0, noise_v, len(time_s))
    step_v = 0.4 / 256
    return time_s, np.round(reading_v / step_v) * step_v


def step_power(time_s, *, blocks=3, window_s=4.0, idle_w=1.0, load_w=3.0):
    """Idle, load, idle, load ... idle, each of ``window_s``, from zero on."""
    number = np.minimum(time_s // window_s, 2 * blocks)
    return np.where(number % 2 == 1, load_w, idle_w)


def step_trace(*, rate_hz=500, noise_w=0.02, seed=0, blocks=3, window_s=4.0, **powers):
    """Times and powers of a trace with plain steps and a little noise."""
    time_s = np.arange(round((2 * blocks + 1) * window_s * rate_hz)) / rate_hz
    power_w = step_power(time_s, blocks=blocks, window_s=window_s, **powers)
    return time_s, power_w + np.random.default_rng(seed).normal(0, noise_w, len(time_s))


def write_table(path, columns, *, header=None, preamble=(), delimiter=",", formats=None):
    """A text table with the columns side by side."""
    lines = [*preamble, *([header] if header else [])]
    formats = formats or ["%.6f"] * len(columns)
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    row_format = delimiter.join(formats)
    lines += [row_format % row for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
