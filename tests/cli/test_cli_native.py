"""Every engine of the app, with the native library of the APK, on what mobilekit exports for it.

Whether an artifact runs on a phone is decided by the phone's library, which is another version than
the one that it was exported and checked with.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native import built_libraries, copy_libraries, needs_native, run_natively

from mobilekit import places
from mobilekit.contract.codec import decode
from mobilekit.contract.protocol import RunFailure, RunSuccess
from mobilekit.formats import FORMATS
from mobilekit.results.documents import MeasurementDocument
from mobilekit.results.network_documents import ArtifactDocument, CompressDocument
from mobilekit.runner.abi import this_abi
from mobilekit.virtual.companion import CompanionProcess

pytestmark = needs_native
ENGINES = {"pte": "executorch", "onnx": "onnxruntime", "tflite": "litert"}
PRECISIONS = ("fp32", "fp16", "int8")
SMALL = ("digits", "deep_kws_digits")
LARGER = ("squeezenet", "deepear", "nin", "svhn", "all_cnn_c", "mobilenet_v2", "resnet18")
NATIVE = Path(__file__).parents[2] / "android-app" / "native"


def native_companion(directory):
    return CompanionProcess(directory, "native")


@pytest.fixture
def native_phone(make_bench_phone):
    """A virtual phone that runs what the app runs."""
    return make_bench_phone(companion_type=native_companion)


def matrix(names):
    return [
        (name, each, precision) for name in names for each in FORMATS for precision in PRECISIONS
    ]


@pytest.mark.soak
def test_a_condensed_program_is_expanded_by_the_app(cli, native_phone, tmp_path):
    """By its own code, before its own engine loads it."""
    file = tmp_path / "dictionary.json"
    storage = '{"way": "dictionary", "atoms_percent": 25, "codes": 4}'
    file.write_text(
        '{"schema": "mobilekit.compressed/1", "model": "deep_kws_digits", "precision": "fp32", '
        f'"compression": null, "storage": {storage}}}'
    )
    arguments = ("--compressed", file, "--fast", "--no-energy", "--json")
    outcome = cli("deploy", "deep_kws_digits", "-d", native_phone.serial, *arguments)
    assert outcome.exit_code == 0, outcome.stderr
    measurement = decode(outcome.stdout, MeasurementDocument, source="stdout").measurement
    assert measurement.artifact.file.size_bytes < 30_000 < measurement.artifact.dense.size_bytes
    assert measurement.result.samples.companion.name == "mobilekit native"
    assert measurement.result.samples.output_check.matches


@pytest.mark.soak
def test_a_search_in_the_phones_library_ends_within_50_kb(cli, native_phone, tmp_path):
    """With the labelled examples that come with the network; every candidate is run and evaluated
    there, and what is found is used again."""
    file = tmp_path / "small.json"
    budget = ("--budget-mb", "0.05", "--max-accuracy-loss", "1")
    outcome = cli(
        *("compress", "digits", "-d", native_phone.serial, *budget, "--json", "-o", file),
        timeout=900,
    )
    assert outcome.exit_code == 0, outcome.stderr
    choice = decode(outcome.stdout, CompressDocument, source="stdout").choice
    assert choice.virtual
    assert choice.judged_by == "labels"
    assert choice.chosen.size_bytes <= 50_000 < 350_000 < choice.uncompressed.size_bytes
    assert choice.chosen.loss_points <= 1
    again = ("--compressed", file, "--calibration", choice.calibration, "--json")
    outcome = cli("evaluate", "digits", "-d", native_phone.serial, *again)
    assert outcome.exit_code == 0, outcome.stderr
    measurement = decode(outcome.stdout, MeasurementDocument, source="stdout").measurement
    assert measurement.result.samples.companion.name == "mobilekit native"
    assert measurement.artifact.file.size_bytes == choice.chosen.size_bytes


@pytest.mark.parametrize(
    ("name", "format", "precision"),
    [
        *matrix(SMALL),
        *(pytest.param(*case, marks=pytest.mark.soak) for case in matrix(LARGER)),
    ],
)
def test_what_is_exported_runs_in_the_phones_library(cli, native_phone, name, format, precision):
    """Its outputs are the network's, in the app's own engine."""
    arguments = ("--format", format, "--precision", precision, "--fast", "--no-energy")
    outcome = cli(
        *("deploy", name, "-d", native_phone.serial, *arguments, "--json"),
        timeout=600,
    )

    assert outcome.exit_code == 0, outcome.stderr
    measurement = decode(outcome.stdout, MeasurementDocument, source="stdout").measurement
    samples = measurement.result.samples
    assert samples.output_check.matches
    assert samples.companion.name == "mobilekit native"
    assert samples.companion.engine == ENGINES[format]
    assert measurement.artifact.file.format == format


CUMULATIVE = """
from torch import nn

INPUT_SHAPES = ((1, 8),)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(x).cumsum(1)


def build():
    return Net()
"""
"""With an operator that no delegate takes."""


@pytest.fixture
def export(cli, exports, model_directory):
    """Exports a network: gives its artifact and the program's bytes."""
    (model_directory / "cumulative.py").write_text(CUMULATIVE, encoding="utf-8")

    def make(name, format):
        outcome = cli("export", name, "--format", format, "--json")
        assert outcome.exit_code == 0, outcome.stderr
        made = decode(outcome.stdout, ArtifactDocument, source="stdout").artifact
        return made, (exports / Path(made.file.path).name).read_bytes()

    return make


def newer_tflite(program):
    """Its first operator in a version that is not there yet."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(program))
    model.operatorCodes[0].version = 99
    builder = flatbuffers.Builder(len(program))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("name", "format", "break_program"),
    [
        ("cumulative.py", "pte", lambda program: program.replace(b"aten::cumsum", b"aten::cumsun")),
        ("tiny.py", "onnx", lambda program: program.replace(b"Conv", b"Conw")),
        ("tiny.py", "tflite", newer_tflite),
    ],
    ids=FORMATS,
)
def test_an_operator_that_the_library_has_not(
    export, exports, tmp_path, name, format, break_program
):
    """It fails where it is loaded; with the operator it runs."""
    made, program = export(name, format)
    broken = break_program(program)
    assert broken != program

    sound = run_natively(tmp_path / "sound", made, exports)
    result = run_natively(tmp_path / "broken", made, exports, program=broken)

    assert isinstance(sound, RunSuccess)
    assert sound.samples.output_check.matches
    assert isinstance(result, RunFailure)
    assert (result.phase, result.code) == ("load", "load_failed")


def test_a_library_of_another_processor(export, exports, tmp_path):
    """The engine is missing, as on a phone."""
    made, _ = export("tiny.py", "tflite")
    libraries = copy_libraries(tmp_path / "libraries")
    name = "libtensorflowlite_jni.so"
    shutil.copy(NATIVE.parent / "litert/target/runtime/jni/arm64-v8a" / name, libraries)

    result = run_natively(tmp_path / "run", made, exports, libraries=libraries)

    assert isinstance(result, RunFailure)
    assert (result.phase, result.code) == ("verify", "engine_missing")
    assert name in result.message


def without_symbol(library: Path) -> None:
    """It asks for a function that nobody has in the place of ``posix_memalign``."""
    data = library.read_bytes()
    assert data.count(b"\0posix_memalign\0") == 1
    library.write_bytes(data.replace(b"\0posix_memalign\0", b"\0posix_memalogn\0"))


def test_a_symbol_that_is_missing(export, exports, tmp_path):
    """It is looked for when the library is loaded, as Android does, not when it is called."""
    made, _ = export("tiny.py", "tflite")
    libraries = copy_libraries(tmp_path / "libraries", "libtensorflowlite_jni.so")
    without_symbol(libraries / "libtensorflowlite_jni.so")

    result = run_natively(tmp_path / "run", made, exports, libraries=libraries)

    assert isinstance(result, RunFailure)
    assert (result.phase, result.code) == ("verify", "engine_missing")
    assert "posix_memalogn" in result.message


def test_a_library_that_wants_more_than_there_is(tmp_path):
    """The build names what ``bionic.c`` has to learn for it."""
    library = tmp_path / "libtensorflowlite_jni.so"
    shutil.copy(built_libraries() / library.name, library)
    without_symbol(library)

    built = subprocess.run(
        ["make", "-C", NATIVE, f"OUT={tmp_path / 'out'}", f"LIBRARIES={library}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode != 0
    assert "glibc has no posix_memalogn" in built.stderr


def test_a_computer_without_a_compiler(tmp_path):
    """What to install is said."""
    built = subprocess.run(
        ["make", "-C", NATIVE, f"OUT={tmp_path / 'out'}", "CC=no-such-compiler"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode != 0
    assert "apt-get install gcc" in built.stderr


def test_what_a_library_calls_is_the_phones(tmp_path):
    """Its own C library comes before all that the process has, of which ``sysconf`` is glibc's:
    there, a number means something else."""
    libraries = copy_libraries(tmp_path / "libraries")
    probe = "long page_bytes(void) { extern long sysconf(int); return sysconf(39); }"
    named = ("-o", libraries / "libprobe.so", f"-L{libraries}", "-l:libc.so")
    subprocess.run(
        [*["gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-"], *named],
        input=probe,
        text=True,
        check=True,
    )
    script = (
        "import ctypes, sys\n"
        "page_bytes = ctypes.CDLL(sys.argv[1]).page_bytes\n"
        "page_bytes.restype = ctypes.c_long\n"
        "print(page_bytes())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, libraries / "libprobe.so"],
        env={
            **os.environ,
            "LD_PRELOAD": str(libraries / "liblinker.so"),
            "LD_LIBRARY_PATH": str(libraries),
        },
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(done.stdout) == os.sysconf("SC_PAGE_SIZE")


def with_illegal_instruction(library: Path, function: str) -> None:
    """As where a processor lacks what a library was built for."""
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    ).stdout
    (place,) = re.findall(rf"^([0-9a-f]+) T {function}(?:@.*)?$", symbols, re.MULTILINE)
    header = subprocess.run(
        ["readelf", "-lW", library], capture_output=True, text=True, check=True
    ).stdout
    segments = re.findall(r"LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", header)
    for offset, address, size in (map(_hexadecimal, each) for each in segments):
        if address <= _hexadecimal(place) < address + size:
            with library.open("r+b") as file:
                file.seek(_hexadecimal(place) - address + offset)
                file.write(b"\x0f\x0b")  # ud2, of x86.


def _hexadecimal(text: str) -> int:
    return int(text, 16)


@pytest.mark.skipif(this_abi() != "x86_64", reason="the instruction is x86's")
def test_a_library_that_dies_of_a_signal_is_named(
    cli, make_bench_phone, export, tmp_path, monkeypatch
):
    """By the host, from the virtual phone's log, as from a real one's."""
    export("tiny.py", "tflite")
    name = "libtensorflowlite_jni.so"
    libraries = copy_libraries(tmp_path / "libraries", name, "onnxruntime.jar")
    with_illegal_instruction(
        libraries / name, "Java_org_tensorflow_lite_NativeInterpreterWrapper_run"
    )
    monkeypatch.setattr(places, "built_native_libraries", lambda abi: libraries)
    phone = make_bench_phone(companion_type=native_companion)

    outcome = cli(
        *("deploy", "tiny.py", "-d", phone.serial, "--format", "tflite", "--fast", "--no-energy")
    )

    assert outcome.exit_code == 1, outcome.stdout
    assert f"SIGILL in {name}" in outcome.stderr


def test_memory_is_aligned_for_the_widest_stores():
    """LiteRT asks for 32 bytes' alignment, and stores 64 at once where the processor can."""
    script = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(sys.argv[1])\n"
        "libc.memalign.restype = ctypes.c_void_p\n"
        "for size in range(1, 4000, 7):\n"
        "    place = ctypes.c_void_p()\n"
        "    assert libc.posix_memalign(ctypes.byref(place), 32, size) == 0\n"
        "    assert place.value % 64 == 0 == libc.memalign(32, size) % 64\n"
    )
    subprocess.run([sys.executable, "-c", script, built_libraries() / "libc.so"], check=True)
