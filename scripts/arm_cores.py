"""Run exports in the app's arm64 libraries and engine classes, on emulated processors of phones.

    python scripts/arm_cores.py [--cores CORE,...] [--format F,...] [--precision P,...] [MODEL...]

Prints a table: each export on each core, and the error of its outputs; a run that should have ended
otherwise makes the exit code 1. QEMU emulates a processor's instructions, not its speed: seconds
for a small network, minutes for a large one, and nothing is said of time or energy.

Wants the app built (`make native`), Debian bookworm's apt and dpkg-deb, and make. What else it
takes comes from the registries into ``build/arm64``, 1.2 GB, and nothing is installed: QEMU 10 of
bookworm-backports (7.2 computes int8 wrongly), an arm64 Java and what it links, and zig from PyPI,
which compiles what stands for Android's C library.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mobilekit import places
from mobilekit.contract.checks import decode_result
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    Format,
    RunFailure,
    RunRequest,
    RunSuccess,
    WarmupRule,
)
from mobilekit.errors import MobilekitError
from mobilekit.formats import FORMATS
from mobilekit.model.export import export_artifact
from mobilekit.model.given import NOTHING
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import Precision, Variant
from mobilekit.virtual.companion_settings import LINKER, MAIN_CLASS, ONNX_CLASSES

ROOT = Path(__file__).parents[1]
DIRECTORY = ROOT / "build/arm64"
SUITE = "bookworm"
KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"
JAVA_PACKAGES = ("openjdk-17-jre-headless", "libc6", "libgcc-s1", "libstdc++6", "zlib1g")
QEMU_PACKAGE = f"qemu-user/{SUITE}-backports"
ZIG = "ziglang==0.17.1"
TARGET = "aarch64-linux-gnu.2.36"
"""glibc's version in bookworm, which the Java is of."""

CORES: dict[str, frozenset[str]] = {
    "cortex-a53": frozenset(),
    "cortex-a55": frozenset(("atomics", "asimddp", "fphp")),
    "cortex-a76": frozenset(("atomics", "asimddp", "fphp")),
    "cortex-a710": frozenset(("atomics", "asimddp", "fphp", "sve", "i8mm")),
}
"""QEMU's names, and what of ``/proc/cpuinfo`` matters here: ARMv8.0, 8.2 twice, and 9.0."""
SMALL = ("digits", "deep_kws_digits")
MIDDLE = ("deepear", "mobilenet_v2", "squeezenet", "nin")


class Emulator(NamedTuple):
    """Where everything lies."""

    qemu: Path
    root: Path
    """An arm64 system, of which Java is the only program."""
    libraries: Path

    @property
    def java(self) -> Path:
        return self.root / "usr/lib/jvm/java-17-openjdk-arm64/bin/java"


class Outcome(NamedTuple):
    kind: str
    """``right``, ``wrong``, ``failed``, or a signal's name."""
    text: str


# --- what it takes -------------------------------------------------------------------------------


def make_emulator(directory: Path = DIRECTORY) -> Emulator:
    """Fetched and built where it is not there yet. Raises ``SystemExit`` with what failed."""
    emulator = Emulator(
        directory / "qemu/usr/bin/qemu-aarch64", directory / "root", directory / "lib"
    )
    if not emulator.qemu.exists():
        _unpack(
            directory / "amd64", directory / "qemu", "amd64", f"{SUITE}-backports", QEMU_PACKAGE
        )
    if not emulator.java.exists():
        _unpack(directory / "arm64", emulator.root, "arm64", SUITE, *JAVA_PACKAGES)
    if not (directory / "zig").exists():
        _run("python3", "-m", "pip", "install", "--quiet", "--target", directory / "zig", ZIG)
    compiler = directory / "cc"
    compiler.write_text(
        f'#!/bin/sh\nexec env PYTHONPATH="{directory}/zig" "{sys.executable}" -m ziglang cc '
        f'-target {TARGET} "$@"\n'
    )
    compiler.chmod(0o755)
    glibc = " ".join(
        str(emulator.root / "lib/aarch64-linux-gnu" / name) for name in ("libc.so.6", "libm.so.6")
    )
    _run(
        *("make", "-C", ROOT / "android-app/native", "ABI=arm64-v8a", "MACHINE=aarch64"),
        *(f"CC={compiler}", f"GLIBC={glibc}", f"OUT={emulator.libraries}"),
    )
    return emulator


def _unpack(work: Path, into: Path, architecture: str, suite: str, *packages: str) -> None:
    """Packages of Debian's, without what they depend on, by an apt of their own."""
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "status").touch()
    sources = work / "sources.list"
    sources.write_text(f"deb [arch={architecture} signed-by={KEY}] {_mirror()} {suite} main\n")
    settings = {
        "Dir::State": work,
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    _run("apt-get", *options, "-qq", "update")
    for package in packages:
        _run("apt-get", *options, "-qq", "download", package, cwd=work)
    for archive in sorted(work.glob("*.deb")):
        _run("dpkg-deb", "-x", archive, into)


def _mirror() -> str:
    """Where this computer has its own Debian from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in listed.stdout.splitlines():
        uri, _, release = line.partition(" ")
        if release == SUITE:
            return uri
    raise SystemExit(f"apt here knows no Debian {SUITE}, whose packages this takes")


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


# --- a run ---------------------------------------------------------------------------------------


def run_on(
    emulator: Emulator, core: str, made: Artifact, cache: Path, *, timeout_s: int = 1800
) -> Outcome:
    """The app's core with its engine, from request to result, on that processor."""
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        report = Path(scratch, "crash.log")
        java = [
            *(emulator.qemu, "-cpu", core, "-L", emulator.root),
            *("-E", f"LD_PRELOAD={emulator.libraries / LINKER}"),
            *("-E", f"LD_LIBRARY_PATH={emulator.libraries}"),
            # Without its second compiler, which takes longer than it saves.
            *(emulator.java, "-XX:TieredStopAtLevel=1", f"-XX:ErrorFile={report}"),
            f"-Djava.library.path={emulator.libraries}",
            f"-Donnxruntime.native.path={emulator.libraries}",
            *("-cp", f"{emulator.libraries / ONNX_CLASSES}:{places.built_jvm_companion()}"),
            MAIN_CLASS,
        ]
        return run_core(java, made, cache, Path(scratch), report, timeout_s)


def run_core(
    java: list[str | Path], made: Artifact, cache: Path, scratch: Path, report: Path, timeout_s: int
) -> Outcome:
    """One inference by the app's core, which ``java`` starts; ``report`` is where it writes of a
    signal."""
    inputs, outputs, run_id = scratch / "in", scratch / "out", "once"
    (inputs / "runs" / run_id).mkdir(parents=True)
    (inputs / "artifacts").mkdir()
    for file in made.files:
        shutil.copy(cache / Path(file.path).name, inputs / "artifacts")
    request = RunRequest(
        protocol_version=PROTOCOL_VERSION,
        run_id=run_id,
        artifact=made.file,
        inputs=made.inputs,
        reference_outputs=made.reference_outputs,
        relative_tolerance=made.relative_tolerance,
        choice=None,
        threads=1,
        cold_loads=1,
        warmup=WarmupRule(window_iterations=1, tolerance=0.5, max_iterations=1, max_duration_ns=1),
        min_iterations=1,
        min_duration_ns=1,
        max_duration_ns=1,
        profile_iterations=None,
        segments=(),
        evaluation=None,
        energy=None,
    )
    (inputs / "runs" / run_id / "request.json").write_bytes(encode(request))
    roots = ("--input-root", inputs, "--output-root", outputs, "--run-id", run_id)
    done = subprocess.run(
        [str(word) for word in (*java, *roots)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=scratch,
        check=False,
    )
    result_file = outputs / "runs" / run_id / "result.json"
    if not result_file.exists():
        return _died(done, report.read_text(errors="replace") if report.exists() else "")
    result = decode_result(result_file.read_bytes())
    if isinstance(result, RunFailure):
        return Outcome("failed", f"{result.code} in {result.phase}: {result.message}")
    assert isinstance(result, RunSuccess)
    check = result.samples.output_check
    assert check is not None
    return Outcome("right" if check.matches else "wrong", f"{check.max_relative_error:.2g}")


def _died(done: subprocess.CompletedProcess[str], report: str) -> Outcome:
    """A signal: the emulator's own, or one that Java reported before it aborted."""
    said = report + done.stdout + done.stderr
    for each in signal.Signals:
        if f"{each.name} (0x" in said or done.returncode == -each:
            frame = next((line for line in said.splitlines() if line.startswith("# C  [")), "")
            return Outcome(each.name, frame.removeprefix("# C  [").partition("]")[0])
    return Outcome("failed", f"exit code {done.returncode}: {said[-400:]}")


def should_die(core: str, artifact_format: Format) -> bool:
    """Of what `phone/formats.py` forbids such a processor."""
    return not FORMATS[artifact_format].arm_features <= CORES[core]


def is_as_told(outcome: Outcome, core: str, artifact_format: Format) -> bool:
    return outcome.kind == ("SIGILL" if should_die(core, artifact_format) else "right")


# --- the table -----------------------------------------------------------------------------------


def export_all(
    models: list[str], formats: list[Format], precisions: list[Precision]
) -> Iterator[Artifact]:
    for model in models:
        for each in formats:
            for precision in precisions:
                spec = with_variant(find_model(model, NOTHING), Variant(precision=precision))
                try:
                    yield export_artifact(
                        spec,
                        each,
                        cache_directory=places.artifacts_directory(),
                        on_progress=lambda _: None,
                    )
                except MobilekitError as error:
                    print(f"{model} {each} {precision}: {error}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=[*SMALL, *MIDDLE], metavar="MODEL")
    parser.add_argument("--cores", default=",".join(CORES))
    parser.add_argument("--format", default=",".join(FORMATS))
    parser.add_argument("--precision", default="fp32,fp16,int8")
    asked = parser.parse_args()
    cores, emulator, sound = asked.cores.split(","), make_emulator(), True
    print(f"| | tolerance | {' | '.join(cores)} |\n|---|--:|{'--:|' * len(cores)}")
    for made in export_all(asked.models, asked.format.split(","), asked.precision.split(",")):
        cells = []
        for core in cores:
            outcome = run_on(emulator, core, made, places.artifacts_directory())
            sound = sound and is_as_told(outcome, core, made.file.format)
            cells.append(
                outcome.text if outcome.kind == "right" else f"{outcome.kind}: {outcome.text}"
            )
        name = f"{made.model.name}, {made.precision}, `.{made.file.format}`"
        print(f"| {name} | {made.relative_tolerance:.2g} | {' | '.join(cells)} |", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
