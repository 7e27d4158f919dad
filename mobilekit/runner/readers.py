"""What this computer tells of its memory and processors (Linux; elsewhere less is told)."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

from mobilekit.contract.protocol import MemorySample, MemoryStage, ThermalSample


def read_memory(at_ns: int, stage: MemoryStage) -> MemorySample:
    """This process's memory from ``/proc/self``; resets the peak for the next reading.

    Without what was freed: how much of that malloc keeps depends on the order of the blocks, and
    the peak holds it. ONNX Runtime leaves half of what SqueezeNet takes while it loads so.
    """
    release_freed_memory()
    fields = read_kib_fields(Path("/proc/self/status"))
    pss_bytes = read_kib_fields(Path("/proc/self/smaps_rollup")).get("Pss")
    with contextlib.suppress(OSError):
        # 5 resets VmHWM: proc(5), /proc/pid/clear_refs.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return MemorySample(
        at_ns=at_ns,
        stage=stage,
        pss_bytes=pss_bytes,
        rss_bytes=fields.get("VmRSS"),
        peak_rss_bytes=fields.get("VmHWM"),
    )


def read_thermal(at_ns: int) -> ThermalSample:
    """Processor frequencies; a computer has no Android thermal status."""
    paths = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    cpu_khz = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            cpu_khz.append(int(path.read_text(encoding="ascii")))
    return ThermalSample(at_ns=at_ns, status=None, headroom=None, cpu_khz=tuple(cpu_khz))


def release_freed_memory() -> None:
    """Give memory that was freed back to the system, so that the next load starts cold (glibc;
    elsewhere it stays)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def read_kib_fields(path: Path) -> dict[str, int]:
    """``Name: 123 kB`` lines as bytes; empty where there is no such file."""
    fields = {}
    with contextlib.suppress(OSError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            number, _, unit = rest.strip().partition(" ")
            if unit == "kB":
                fields[name] = int(number) * 1024
    return fields
