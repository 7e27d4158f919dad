"""This computer's companion: ``python -m mobilekit.runner INPUT_ROOT OUTPUT_ROOT RUN_ID``.

A run has a process of its own, so that its memory is its own and a crash of the runtime is
nobody else's. The exit code is 0 once a result is written, be it a success or a failure.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path

from mobilekit.runner.engines import make_engine
from mobilekit.runner.machine import Machine
from mobilekit.runner.run import carry_out_run, take_run

COMPUTER = Machine(
    name="mobilekit runner",
    clock_ns=time.monotonic_ns,
    make_engine=make_engine,
    battery=None,
    read_battery=None,
    make_energy_stage=None,
)


def main(input_root: str, output_root: str, run_id: str) -> None:
    journal = take_run(Path(output_root), run_id)
    carry_out_run(Path(input_root), journal, lambda: nullcontext(COMPUTER))


if __name__ == "__main__":
    main(*sys.argv[1:])
