"""Times mobilekit against the plain ways of doing the same, side by side in one run.

Each part runs its candidates in turn, round by round, so that a machine whose speed wanders wanders
for all of them. Prints a table; ``--output`` also writes it to a file, ``--json`` every round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import adbutils

from mobilekit import places
from mobilekit.contract.protocol import TensorFile
from mobilekit.hashing import file_sha256
from mobilekit.phone import runs
from mobilekit.phone.adb import (
    AdbServer,
)
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.device import DeviceProfile
from mobilekit.runner.abi import this_abi
from mobilekit.units import format_significant
from mobilekit.virtual import service
from mobilekit.virtual.faults import FAULTS_PERIOD_S

MODELS = ("nin", "alexnet", "googlenet", "squeezenet")
PUSH_BYTES = 256 * 1024 * 1024
OVERHEAD_ITERATIONS = 60
REST_S = 0.3
MS = 1e6
SECTIONS = (
    *("formats", "layers", "segments"),
    *("campaigns overhead", "campaigns steady", "campaigns killed"),
)
"""Of the page: what other scripts write there."""


def interleave(candidates: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each candidate in each round, the order turned round by round."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            times[name].append(candidates[name]())
    return times


def wall_ms(work: Callable[[], object]) -> float:
    started_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started_ns) / MS


def command_ms(*command: object, **environment: str) -> float:
    def run() -> None:
        subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    return wall_ms(run)


@contextmanager
def own_home(directory: str) -> Iterator[None]:
    """Leave the user's virtual phones and artifacts alone."""
    before = dict(os.environ)
    os.environ["MOBILEKIT_HOME"] = directory
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# --- the parts ---------------------------------------------------------------------------------


def bench_overhead(rounds: int) -> list[dict]:
    """The runner's timed loop against a bare loop over the same loaded program."""
    import torch

    from mobilekit.runner.executorch_engine import ExecutorchEngine
    from mobilekit.runner.timed_loop import iterate

    rows = []
    for name in MODELS:
        artifact, inputs = exported(name)
        program = ExecutorchEngine(None).load(
            places.artifacts_directory() / Path(artifact.file.path).name, "forward"
        )
        program.set_inputs(inputs)
        call = program._method.call
        bound = tuple(torch.from_numpy(array) for array in inputs)

        def bare(call=call, bound=bound) -> float:
            latency_ns = []
            for _ in range(OVERHEAD_ITERATIONS):
                started_ns = time.monotonic_ns()
                call(bound, False)
                latency_ns.append(time.monotonic_ns() - started_ns)
            return statistics.median(latency_ns) / MS

        def runner(program=program) -> float:
            latency_ns = iterate(
                program.execute,
                time.monotonic_ns,
                min_iterations=OVERHEAD_ITERATIONS,
                min_duration_ns=1,
                max_duration_ns=10**12,
            )
            return statistics.median(latency_ns) / MS

        bare()
        times = interleave({"runner": runner, "bare": bare}, rounds)
        rows.append(row(name, times, "runner", "bare"))
    return rows


def bench_eager(rounds: int) -> list[dict]:
    """ExecuTorch against torch eager on the same inputs and threads."""
    import torch

    from mobilekit.model.load import load_module
    from mobilekit.model.zoo import find_model
    from mobilekit.runner.executorch_engine import ExecutorchEngine

    rows = []
    for name in MODELS:
        artifact, inputs = exported(name)
        engine = ExecutorchEngine(None)
        torch.set_num_threads(engine.threads)
        program = engine.load(
            places.artifacts_directory() / Path(artifact.file.path).name, "forward"
        )
        program.set_inputs(inputs)
        module = load_module(find_model(name))
        tensors = [torch.from_numpy(array) for array in inputs]

        # The other one's threads still spin for a while: rest, and one inference that is not timed.
        def eager(module=module, tensors=tensors) -> float:
            time.sleep(REST_S)
            with torch.no_grad():
                module(*tensors)
                return statistics.median(wall_ms(lambda: module(*tensors)) for _ in range(6))

        def executorch(program=program) -> float:
            time.sleep(REST_S)
            program.execute()
            return statistics.median(wall_ms(program.execute) for _ in range(6))

        times = interleave({"ExecuTorch": executorch, "torch eager": eager}, rounds)
        rows.append(row(name, times, "ExecuTorch", "torch eager"))
    return rows


def bench_push(rounds: int) -> list[dict]:
    """Pushing 256 MiB of noise to a virtual phone: mobilekit, ``adb push``, adbutils."""
    with tempfile.TemporaryDirectory() as scratch, own_home(scratch):
        source = Path(scratch) / "noise.bin"
        source.write_bytes(os.urandom(PUSH_BYTES))
        with service.phone_running(load_profiles()["nexus7"]) as running:
            server = AdbServer(service.server_port(), service.server_environment())
            server.ensure_running()
            server.connect(running.address)
            try:
                phone = server.phone(running.address)
                device = adbutils.AdbClient(port=server.port).device(running.address)
                target = "/data/local/tmp/noise"

                def fresh(push: Callable[[], object]) -> Callable[[], float]:
                    def removed_before() -> float:
                        phone.shell(f"rm -f {target}")
                        return wall_ms(push)

                    return removed_before

                adb = [adbutils.adb_path(), "-P", server.port, "-s", running.address]
                candidates = {
                    "mobilekit": fresh(lambda: phone.push(source, target, on_bytes=lambda _: None)),
                    "adb push": fresh(lambda: command_ms(*adb, "push", source, target)),
                    "adbutils": fresh(lambda: device.sync.push(source, target)),
                }
                interleave(candidates, 1)
                times = interleave(candidates, rounds)
                phone.shell(f"rm -f {target}")
                artifact = source.rename(source.with_name(f"{file_sha256(source)}.bin"))
                delivered = [
                    TensorFile(sha256=artifact.stem, dtype="uint8", shape=(PUSH_BYTES,)),
                ]

                def deliver() -> int:
                    return runs.deliver(phone, delivered, artifact.parent, on_bytes=lambda *_: None)

                deliver()
                again = interleave({"unchanged": lambda: wall_ms(deliver)}, rounds)
                assert deliver() == 0, "an unchanged artifact was pushed again"
            finally:
                server.stop()
    return [
        row("256 MiB", times, "mobilekit", "adb push"),
        row("256 MiB", times, "mobilekit", "adbutils"),
        row("256 MiB that are there already", again, "unchanged"),
    ]


def bench_help(rounds: int) -> list[dict]:
    """``mobilekit --help`` against importing its two libraries of the command line."""
    times = interleave(
        {
            "mobilekit --help": lambda: command_ms(sys.executable, "-m", "mobilekit", "--help"),
            "import typer, rich": lambda: command_ms(sys.executable, "-c", "import typer, rich"),
        },
        rounds,
    )
    return [row("", times, "mobilekit --help", "import typer, rich")]


def bench_deploy(rounds: int) -> list[dict]:
    """``deploy nin --fast`` on the virtual phone: cold (nothing exported or pushed), then warm."""
    rows = []
    with tempfile.TemporaryDirectory() as home:
        command = (
            sys.executable, "-m", "mobilekit", "deploy", "nin", "-d", "virtual:nexus7", "--fast"
        )  # fmt: skip
        cold = [command_ms(*command, MOBILEKIT_HOME=home)]
        warm, asked = [], []
        for _ in range(rounds):
            started_ns = time.perf_counter_ns()
            done = subprocess.run(
                [*command, "--json"],
                env={**os.environ, "MOBILEKIT_HOME": home},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )
            warm.append((time.perf_counter_ns() - started_ns) / MS)
            samples = json.loads(done.stdout)["measurement"]["result"]["samples"]
            durations = (samples["load_ns"], samples["warmup_ns"], samples["iteration_ns"])
            asked.append(sum(map(sum, durations)) / MS)
            assert b"Pushed" not in done.stderr, "a second deploy pushed something"
        shutil.rmtree(Path(home) / "state")
    rows.append(row("cold", {"deploy": cold}, "deploy"))
    rows.append(row("warm", {"deploy": warm, "measuring itself": asked}, "deploy"))
    beyond = [total - part for total, part in zip(warm, asked, strict=True)]
    rows.append(row("warm, beyond measuring", {"deploy": beyond}, "deploy"))
    return rows


def bench_devices(rounds: int) -> list[dict]:
    """``mobilekit devices`` with five virtual phones, and while one of them hangs, against one."""
    profiles = list(load_profiles().values())[:5]
    hanging = profiles[0].name
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # In place of the user's own, and so of the user's phones.
        server = AdbServer(free_port(), {"HOME": str(scratch)})
        server.ensure_running()
        stack.callback(server.stop)
        one, five = scratch / "one", scratch / "five"
        for home, present in ((one, profiles[:1]), (five, profiles)):
            stack.enter_context(phones_running(home, present))

        def listed(home: Path, answering: int) -> float:
            def list_devices() -> None:
                done = subprocess.run(
                    [sys.executable, "-m", "mobilekit", "devices", "--json"],
                    env={
                        **os.environ,
                        "MOBILEKIT_HOME": str(home),
                        "ANDROID_ADB_SERVER_PORT": str(server.port),
                    },
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=True,
                )
                told = [device["info"] for device in json.loads(done.stdout)["devices"]]
                assert len(told) - told.count(None) == answering, done.stdout

            return wall_ms(list_devices)

        def listed_beside_hanging() -> float:
            with own_home(str(five)):
                service.break_phone(hanging, "stall", "now")
                time.sleep(2 * FAULTS_PERIOD_S)
                try:
                    return listed(five, len(profiles) - 1)
                finally:
                    service.break_phone(hanging, "none", "now")
                    time.sleep(2 * FAULTS_PERIOD_S)

        candidates = {
            "one alone": lambda: listed(one, 1),
            "five": lambda: listed(five, len(profiles)),
            "five, one of them hangs": listed_beside_hanging,
        }
        interleave(candidates, 1)
        times = interleave(candidates, rounds)
    return [
        row("", times, "five", "one alone"),
        row("", times, "five, one of them hangs", "one alone"),
    ]


@contextmanager
def phones_running(home: Path, profiles: list[DeviceProfile]) -> Iterator[None]:
    """A virtual phone of each profile, with a home and an adb server of their own."""
    with own_home(str(home)), ExitStack() as stack:
        for profile in profiles:
            stack.enter_context(service.phone_running(profile))
        server = AdbServer(service.server_port(), service.server_environment())
        stack.callback(server.stop)
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PARTS: dict[str, tuple[str, str, Callable[[int], list[dict]], int]] = {
    "overhead": (
        "The runner against a bare loop",
        "Median latency over the same loaded program; the bar is a ratio of 1.01.",
        bench_overhead,
        21,
    ),
    "eager": (
        "ExecuTorch against torch eager",
        "Same inputs, same threads; the bar is a ratio of 0.9.",
        bench_eager,
        15,
    ),
    "push": (
        "Push",
        "256 MiB to a virtual phone; the bar is a ratio of 1 to `adb push`, whose time has the "
        "start of its process in it, some milliseconds. An unchanged artifact is recognised by its "
        "name and size: the bar is 300 ms. A second deploy of it pushes 0 bytes, which the deploy "
        "part asserts.",
        bench_push,
        9,
    ),
    "devices": (
        "`mobilekit devices`",
        "Whole processes, which read virtual phones; these take the same processors. One that "
        "hangs may cost the others no more than 20 s.",
        bench_devices,
        5,
    ),
    "help": ("Starting up", "Whole processes; the bar is a ratio of 1.2.", bench_help, 41),
    "deploy": (
        "`deploy nin --fast` on the virtual phone",
        "Whole processes; the bar is 5 s beyond measuring itself when warm.",
        bench_deploy,
        5,
    ),
}


# --- the table ---------------------------------------------------------------------------------


def exported(name: str):
    """A packaged network's artifact and its inputs as arrays."""
    import numpy as np

    from mobilekit.model.export import export_artifact
    from mobilekit.model.zoo import find_model

    directory = places.artifacts_directory()
    artifact = export_artifact(
        find_model(name), cache_directory=directory, on_progress=lambda _: None
    )
    inputs = [
        np.fromfile(directory / Path(tensor.path).name, dtype=tensor.dtype).reshape(tensor.shape)
        for tensor in artifact.inputs
    ]
    return artifact, inputs


def row(what: str, times: dict[str, list[float]], ours: str, reference: str | None = None) -> dict:
    """Medians, and the median of the ratios round by round."""
    ratios = None
    if reference is not None:
        pairs = zip(times[ours], times[reference], strict=True)
        ratios = [mine / theirs for mine, theirs in pairs]
    return {
        "what": what,
        "ours": ours,
        "reference": reference,
        "ratio": None if ratios is None else statistics.median(ratios),
        "ratio_range": None if ratios is None else [min(ratios), max(ratios)],
        "rounds_ms": times,
    }


def render(results: dict[str, list[dict]]) -> str:
    lines = [
        "# Performance",
        "",
        f"Made by `scripts/bench.py` on {os.cpu_count()} processors ({this_abi()}, "
        f"{platform.system()}), Python {platform.python_version()}. Times are medians in "
        "milliseconds; a ratio is the median over rounds, with its smallest and largest round.",
    ]
    for part, rows in results.items():
        title, text, _, _ = PARTS[part]
        lines += ["", f"## {title}", "", text, ""]
        lines += [
            "| | mobilekit | ms | against | ms | ratio | rounds |",
            "|---|---|--:|---|--:|--:|---|",
        ]
        for item in rows:
            rounds_ms = item["rounds_ms"]
            rounds = len(rounds_ms[item["ours"]])
            mine = format_significant(statistics.median(rounds_ms[item["ours"]]))
            line = f"| {item['what']} | {item['ours']} | {mine} |"
            if item["reference"] is None:
                lines.append(f"{line} | | | {rounds} |")
                continue
            theirs = format_significant(statistics.median(rounds_ms[item["reference"]]))
            low, high = item["ratio_range"]
            lines.append(
                f"{line} {item['reference']} | {theirs} | **{item['ratio']:.3f}** | "
                f"{rounds}: {low:.3f} to {high:.3f} |"
            )
    return "\n".join(lines) + "\n"


def section_of(path: Path, name: str) -> str:
    """The part of a page that another script made, with its markers; empty without one."""
    begin, end = markers(name)
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    _, found, rest = page.partition(begin)
    return f"{found}{rest.partition(end)[0]}{end}\n" if found else ""


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Its lines."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def put_section(path: Path, name: str, text: str) -> None:
    """Put another script's part in place of what is there, or at the end."""
    begin, end = markers(name)
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    part = f"{begin}\n\n{text}\n{end}\n"
    before = section_of(path, name)
    if before:
        path.write_text(page.replace(before, part), encoding="utf-8")
    else:
        path.write_text(f"{page.rstrip()}\n\n{part}".lstrip("\n"), encoding="utf-8")


def tell_section(path: Path | None, name: str, text: str) -> None:
    """Print a script's part, and put it into the page where one is given."""
    print(text)
    if path is not None:
        put_section(path, name, text)


def markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, help="write the table here")
    parser.add_argument("--json", type=Path, help="write every round here")
    arguments = parser.parse_args()
    results = {}
    for part in arguments.only:
        print(f"{PARTS[part][0]} ...", file=sys.stderr)
        _, _, bench, rounds = PARTS[part]
        results[part] = bench(rounds)
    text = render(results)
    print(text)
    if arguments.output:
        others = [section_of(arguments.output, name) for name in SECTIONS]
        text += "".join(f"\n{section}" for section in others if section)
        arguments.output.write_text(text, encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
