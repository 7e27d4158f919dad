"""Traces of one truth in the layouts of makers and loggers, as public files and programs show them.

The truth: 3 loads of 8 s at 3 W over 1 W of idle and 60 inferences, which is 1.20 J gross and
0.80 J marginal for each; a shunt of 0.1 Ohm in a supply of 5.1 V, or a meter on its cable.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

SUPPLY_V, SHUNT_OHM, CELL_V = 5.1, 0.1, 3.85
INFERENCES = 60
END_S = 44.0
RATE_HZ = 100.0
START = datetime(2026, 5, 4, 10, 0, 0)


class Sample(NamedTuple):
    index: int
    time_s: float
    power_w: float

    @property
    def shunt_v(self) -> float:
        """P = (V - v) v / R, solved."""
        return (SUPPLY_V - (SUPPLY_V**2 - 4 * self.power_w * SHUNT_OHM) ** 0.5) / 2

    @property
    def moment(self) -> datetime:
        return START + timedelta(seconds=self.time_s)


def samples(rate_hz: float) -> Iterator[Sample]:
    noise = np.random.default_rng(7).normal(0, 0.01, round(END_S * rate_hz)).tolist()
    for index, each in enumerate(noise):
        time_s = index / rate_hz
        is_load = any(5 + 13 * k <= time_s < 13 + 13 * k for k in range(3))
        yield Sample(index, time_s, (3.0 if is_load else 1.0) * (1 + each))


def lines_of(
    head: list[str], row: Callable[[Sample], str], *, rate_hz: float = RATE_HZ
) -> list[str]:
    return [*head, *map(row, samples(rate_hz))]


# --- oscilloscopes -----------------------------------------------------------------------------


def keysight(channels: str = "supply, shunt") -> list[str]:
    """InfiniiVision: numbers as the channels' names."""
    if channels == "current, supply":
        return lines_of(
            ["x-axis,1,2", "second,Ampere,Volt"],
            lambda s: f"{s.time_s - 5:+.6E},{s.power_w / SUPPLY_V:+.5E},{SUPPLY_V:+.5E}",
        )
    if channels == "shunt":
        return lines_of(
            ["x-axis,1", "second,Volt"], lambda s: f"{s.time_s - 5:+.6E},{s.shunt_v:+.5E}"
        )
    return lines_of(
        ["x-axis,1,2", "second,Volt,Volt"],
        lambda s: f"{s.time_s - 5:+.6E},{SUPPLY_V:+.5E},{s.shunt_v:+.5E}",
    )


def agilent_dso3000() -> list[str]:
    """The DSO3102A of the 2016 paper, which Rigol made: a delimiter at each line's end."""
    return lines_of(
        ["Time,X(CH1),X(CH2),", "Second,Volt,Volt,"],
        lambda s: f"{s.time_s - 22:.5e},{s.shunt_v:.3e},{SUPPLY_V - s.shunt_v:.3e},",
    )


def rigol_1000z(channels: int = 2) -> list[str]:
    """A count of the samples, and their distance above it."""
    names, units = ("CH1,CH2", "Volt,Volt") if channels == 2 else ("CH1", "Volt")
    supply = f"{SUPPLY_V:.2e}," if channels == 2 else ""
    return lines_of(
        [f"X,{names},Start,Increment,", f"Sequence,{units},-2.200000e+01,1.000000e-02"],
        lambda s: f"{s.index},{s.shunt_v:.4e},{supply},",
    )


def rigol_dho(times: bool = True) -> list[str]:
    """The unit is a letter behind the channel; without times, their distance is in the header."""
    if times:
        return lines_of(
            ["Time(s),CH1V,CH2V"],
            lambda s: f"{s.time_s - 5:.6e},{s.shunt_v:.5e},{SUPPLY_V:.3e}",
        )
    return lines_of(
        ["CH1V,CH2V,t0 =-2.200000e+01, tInc = 1.000000e-02,"],
        lambda s: f"{s.shunt_v:.5e},{SUPPLY_V:.3e},,",
    )


def siglent(channels: int = 2) -> list[str]:
    head = [
        "Record Length,Analog:4400",
        "Sample Rate,100.0",
        "Vertical Scale,CH1: 0.05,CH2: 1.00",
        "Vertical Offset,CH1:0.00000,CH2:0.0",
        "Horizontal Scale, 4.000000000",
    ]
    if channels == 1:
        return lines_of([*head, "Second,Volt"], lambda s: f"{s.time_s - 5:.11f},{s.shunt_v:.5f}")
    return lines_of(
        [*head, "Source,CH1,CH2", "Second,Volt,Volt"],
        lambda s: f"{s.time_s - 5:.11f},{s.shunt_v:.5f},{SUPPLY_V - s.shunt_v:.4f}",
    )


def tektronix_tds(units_beside: bool = False) -> list[str]:
    """2,500 points, with the preamble in columns beside the first of them."""
    beside = [
        ("Record Length", "2.500000e+03", "Points"),
        ("Sample Interval", "1.760000e-02", "s"),
        ("Trigger Point", "1.250000000000e+03", "Samples"),
        ("Source", "CH1", ""),
        ("Vertical Units", "V", ""),
        ("Vertical Scale", "2.000000e-02", ""),
        ("Vertical Offset", "0.000000e+00", ""),
        ("Horizontal Units", "s", ""),
        ("Horizontal Scale", "5.000000e+00", ""),
        ("Pt Fmt", "Y", ""),
        ("Yzero", "0.000000e+00", ""),
        ("Probe Atten", "1.000000e+00", ""),
        ("Model Number", "TDS2024B", ""),
        ("Serial Number", "C012345", ""),
        ("Firmware Version", "FV:v22.11", ""),
    ]

    def row(sample: Sample) -> str:
        label, value, unit = beside[sample.index] if sample.index < len(beside) else ("", "", "")
        if units_beside and label:
            label, unit = f'"{label}"', f'"{unit}"'
        middle = unit if units_beside else ""
        return f"{label},{value},{middle},{sample.time_s - 22:013.6f},{sample.shunt_v:11.5f},"

    return lines_of([], row, rate_hz=2500 / END_S)


def tektronix_mso(trailing: bool = False) -> list[str]:
    """A preamble whose units stand over their columns; newer ones have empty lines before them."""
    more = ["Waveform Type,ANALOG,ANALOG", "Horizontal Delay,0"] if trailing else []
    end = "," if trailing else ""
    return lines_of(
        [
            "Model,MSO58" if trailing else "Model,MSO2024",
            "Firmware Version,1.52",
            "",
            *more,
            "Point Format,Y,Y",
            "Horizontal Units,s,s" if trailing else "Horizontal Units,S",
            "Horizontal Scale,4",
            "Sample Interval,0.01,0.01" if trailing else "Sample Interval,0.01",
            "Record Length,4400",
            "Gating,0.0% to 100.0%",
            "Probe Attenuation,1,1",
            "Vertical Units,V,V",
            "Vertical Offset,0,0",
            "Vertical Scale,0.02,1",
            *([",,", ",,"] if trailing else []),
            "Label,,",
            f"TIME,CH1,CH2{end}",
        ],
        lambda s: f"{s.time_s - 5:.9e},{s.shunt_v:.5f},{SUPPLY_V:.2f}{end}",
    )


def gw_instek(mode: str = "Detail", traces: int = 2) -> list[str]:
    """Each label once for each trace; each trace with its times or, in the mode Fast, counts."""
    pairs = [
        ("Format", "1.0B"),
        ("Memory Length", "4400"),
        ("Trigger Level", "2.000E+00"),
        ("Source", "CH1"),
        ("Vertical Units", "V"),
        ("Vertical Units Div", "0"),
        ("Vertical Scale", "2.000E-02"),
        ("Vertical Position", "0.000E+00"),
        ("Horizontal Units", "S"),
        ("Horizontal Scale", "5.000E+00"),
        ("Sampling Period", "1.000E-02"),
        ("Firmware", "V1.09"),
        ("Time", "4-May-26 10:00:00"),
        ("Mode", mode),
    ]
    head = [f"{label},{value}," * traces for label, value in pairs]

    def row(sample: Sample) -> str:
        if mode == "Fast":
            return f"{round(sample.shunt_v / 0.02 * 25)},,"
        cells = [sample.shunt_v, SUPPLY_V][:traces]
        return "".join(f"{sample.time_s - 22:.5E},{value:.5E}," for value in cells)

    return lines_of([*head, "Waveform Data,"], row)


# --- power meters ------------------------------------------------------------------------------


def power_tool(amperes: bool = False, usb: bool = False) -> list[str]:
    """Monsoon's own program."""
    current, power, size = ("A", "W", 1) if amperes else ("mA", "mW", 1000)
    names = ["Main", "USB"] if usb else ["Main"]
    titles = [
        f"{name} Avg {what}"
        for name in names
        for what in (f"Current ({current})", f"Power ({power})", "Voltage (V)")
    ]
    rest = ",0.000,0.000,0.000" if usb else ""
    return lines_of(
        ["Time (s)," + ",".join(titles)],
        lambda s: (
            f"{s.time_s:.6f},{s.power_w / CELL_V * size:.6f},{s.power_w * size:.6f},"
            f"{CELL_V:.3f}{rest}"
        ),
    )


def power_tool_without_voltage() -> list[str]:
    return lines_of(
        ["Time (s),Main Avg Current (mA),Main Avg Power (mW)"],
        lambda s: f"{s.time_s:.6f},{s.power_w / CELL_V * 1000:.3f},{s.power_w * 1000:.3f}",
    )


def fnirsi_logger(moments: bool = False) -> list[str]:
    """The logger that reads FNIRSI's USB meters: spaces, seconds since 1970, charge and energy."""
    first = "timestamp" if moments else "timestamp sample_in_packet"

    def row(sample: Sample) -> str:
        when = f"{sample.moment.timestamp():.3f} {sample.index % 4}"
        if moments:
            when = sample.moment.isoformat(timespec="milliseconds")
        current_a = sample.power_w / SUPPLY_V
        return (
            f"{when} {SUPPLY_V:7.5f} {current_a:7.5f} 0.600 0.598 30.500 "
            f"{sample.time_s:f} {sample.time_s / 3:f}"
        )

    head = ["", f"{first} voltage_V current_A dp_V dn_V temp_C_ema energy_Ws capacity_As"]
    return lines_of(head, row, rate_hz=100)


def usb_meter(power: bool = True) -> list[str]:
    """A program's export: a unit in each name, and what was summed up."""
    power_title = ["Power(W)"] if power else []
    titles = ["Time(s)", "Voltage(V)", "Current(A)", *power_title]
    titles += ["D+(V)", "D-(V)", "Temperature(\u00b0C)", "Capacity(mAh)", "Energy(mWh)"]

    def row(sample: Sample) -> str:
        own = f"{sample.power_w:.4f}," if power else ""
        return (
            f"{sample.time_s:.2f},{SUPPLY_V:.4f},{sample.power_w / SUPPLY_V:.5f},{own}"
            f"2.71,2.70,31,{sample.time_s / 9:.0f},{sample.time_s / 2:.0f}"
        )

    return lines_of([",".join(titles)], row, rate_hz=100)


def um25c() -> list[str]:
    """Ruideng's meters, as a program logs them over Bluetooth twice a second."""
    return lines_of(
        [
            "Time,Voltage - V,Current - A,Power - W,Temperature - \u00b0C,Capacity - mAh,"
            "Energy - mWh"
        ],
        lambda s: (
            f"{s.moment:%Y-%m-%d %H:%M:%S}.{s.moment.microsecond // 1000:03d},{SUPPLY_V:.3f},"
            f"{s.power_w / SUPPLY_V:.4f},{s.power_w:.3f},28,{s.index},{s.index * 5}"
        ),
        rate_hz=2,
    )


def ina219(style: str = "millis") -> list[str]:
    """Loggers of the chip, after the example of its Arduino library."""
    titles = "Bus Voltage (V),Shunt Voltage (mV),Load Voltage (V),Current (mA),Power (mW)"
    first = {"millis": "Time (ms),", "clock": "Timestamp,", "epoch": "time,", "none": ""}[style]

    def row(sample: Sample) -> str:
        when = {
            "millis": f"{sample.time_s * 1000 + 813:.0f},",
            "clock": f"{sample.moment:%H:%M:%S}.{sample.moment.microsecond // 10000:02d},",
            "epoch": f"{sample.moment.timestamp():.4f},",
            "none": "",
        }[style]
        # Its registers have steps of 4 mV, 0.1 mA and 2 mW.
        current_ma = round(10 * 1000 * sample.power_w / SUPPLY_V) / 10
        return (
            f"{when}{SUPPLY_V:.2f},{current_ma / 10:.2f},{SUPPLY_V + current_ma / 1e4:.2f},"
            f"{current_ma:.1f},{round(500 * sample.power_w) * 2}"
        )

    return lines_of([first + titles], row, rate_hz=50)


def ina219_script() -> list[str]:
    """A script's own names, without the power."""
    return lines_of(
        ["timestamp,bus_voltage_V,shunt_voltage_mV,current_mA"],
        lambda s: (
            f"{s.moment.timestamp():.3f},{SUPPLY_V:.3f},{10 * s.power_w / SUPPLY_V:.3f},"
            f"{1000 * s.power_w / SUPPLY_V:.2f}"
        ),
        rate_hz=50,
    )
