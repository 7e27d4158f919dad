"""Programs for the graphics processor, through the CLI and in the app's own library.

No engine of this computer but the app's runs them. Without a Vulkan of its own, be it in software,
what runs them is skipped; what refuses them is not.
"""

import itertools
import subprocess
from functools import cache
from pathlib import Path

import msgspec
import pytest
from native import built_libraries, needs_native, run_natively

from mobilekit.contract.codec import decode
from mobilekit.contract.protocol import RunFailure
from mobilekit.phone.profiles import load_profiles
from mobilekit.results.documents import MeasurementDocument
from mobilekit.results.network_documents import ArtifactDocument
from mobilekit.virtual import gpu_commands
from mobilekit.virtual.companion import CompanionProcess
from mobilekit.virtual.companion_settings import native_java
from mobilekit.virtual.gpu_commands import TEXTURE_TEXELS
from mobilekit.virtual.gpus import find_gpus

SMALL = ("digits", "deep_kws_digits")
LARGER = (
    *("deepear", "svhn", "squeezenet", "nin", "alexnet", "resnet18", "mobilenet_v1"),
    *("mobilenet_v2", "googlenet", "all_cnn_c", "places_cnds_8"),
)
PRECISIONS = ("fp32", "fp16")
NO_DRIVER = {"VK_DRIVER_FILES": "/nowhere", "VK_ICD_FILENAMES": "/nowhere"}
QUICK = ("--fast", "--no-energy")


@cache
def _gpus():
    return find_gpus()


@pytest.fixture
def needs_vulkan():
    if not _gpus():
        pytest.skip(
            "this computer has no Vulkan: apt-get install libvulkan1 mesa-vulkan-drivers has one "
            "in software"
        )


@pytest.fixture
def gpu_phone(needs_vulkan, make_bench_phone):
    """A virtual Pixel 6a that runs what the app runs."""
    return make_bench_phone(
        load_profiles()["pixel6a"], lambda directory: CompanionProcess(directory, "native")
    )


def measurement_of(outcome):
    assert outcome.exit_code == 0, outcome.stderr
    return decode(outcome.stdout, MeasurementDocument, source="stdout").measurement


# --- what runs ---------------------------------------------------------------------------------


@needs_native
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *zip(SMALL, PRECISIONS, strict=True),
        *(
            pytest.param(*case, marks=pytest.mark.soak)
            for case in (
                *zip(SMALL, reversed(PRECISIONS), strict=True),
                *itertools.product(LARGER, PRECISIONS),
            )
        ),
    ],
)
def test_a_network_runs_on_the_gpu(cli, gpu_phone, name, precision):
    """Its outputs are the network's, and everything that it leaves says where it ran."""
    arguments = ("--backend", "vulkan", "--precision", precision, *QUICK, "--json")
    measurement = measurement_of(cli("deploy", name, "-d", gpu_phone.serial, *arguments))
    artifact, check = measurement.artifact, measurement.result.samples.output_check

    assert check.matches
    # Half keeps 11 bits: what matches better was not computed in it.
    assert (check.max_relative_error < 1e-4) == (precision == "fp32")
    assert artifact.backend == artifact.model.variant.backend == "vulkan"
    assert artifact.delegation.mac_fraction == 1
    assert artifact.relative_error is None
    assert artifact.model.label.endswith("-vulkan")
    assert f"{artifact.model.label}-pixel6a-".replace("_", "-") in measurement.id
    assert measurement.device.gpu == msgspec.convert(
        {
            "name": "Mali-G78",
            "vulkan_version": "1.1",
            "half_storage": True,
            "texture_texels": TEXTURE_TEXELS,
        },
        type(measurement.device.gpu),
    )


@needs_native
def test_two_backends_of_one_phone_are_compared(cli, gpu_phone, tmp_path):
    """As two devices are: both on --device, each column and ratio with its backend."""
    arguments = ("-d", gpu_phone.serial, "--backend", "xnnpack,vulkan", "--no-layers")
    compared = cli("compare", "digits", *arguments, *QUICK)
    again = cli("results", "list", "--json").document["results"]

    assert compared.exit_code == 0, compared.stderr
    for words in (
        "pixel6a xnnpack (virtual)",
        "pixel6a vulkan (virtual)",
        "pixel6a xnnpack / pixel6a vulkan",
        "Differs in backend: xnnpack / vulkan",
        "graphics",
    ):
        assert words in compared.stdout
    assert {each["variant"]["backend"] for each in again} == {None, "vulkan"}


@needs_native
def test_the_better_backend_is_kept(cli, gpu_phone):
    """Both runs are stored, and the answer is of the one with the lower median."""
    outcome = cli("deploy", "digits", "-d", gpu_phone.serial, "--backend", "auto", *QUICK, "--json")
    kept = measurement_of(outcome)
    runs = cli("results", "list", "--json").document["results"]

    assert {each["variant"]["backend"] for each in runs} == {None, "vulkan"}
    fastest = min(runs, key=lambda each: each["answer"]["latency"]["p50_ns"])
    assert kept.id == fastest["id"]
    assert f"{kept.artifact.backend} is kept. The other run is stored as" in outcome.stderr


@needs_native
@pytest.mark.soak
@pytest.mark.parametrize("precision", PRECISIONS)
def test_layers_accuracy_and_energy_on_the_gpu(cli, gpu_phone, precision):
    """By segments, since nothing records Vulkan's operators here; the companion has no battery."""
    arguments = ("-d", gpu_phone.serial, "--backend", "vulkan", "--precision", precision)
    profiled = cli("profile", "digits", *arguments, "--fast", "--json", timeout=900)
    evaluated = cli("evaluate", "digits", *arguments, "--json", timeout=900)

    assert profiled.exit_code == 0, profiled.stderr
    assert profiled.document["profile"]["by"] == "segments"
    accuracy = evaluated.document["answer"]["accuracy"]
    assert accuracy["same_class"] >= 0.99 * accuracy["examples"]


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-d", "pc"), "ExecuTorch for computers has no Vulkan"),
        (("-d", "pc", "--format", "onnx"), "--backend vulkan is for .pte"),
        (("-d", "pc", "--precision", "int8"), "takes no int8"),
    ],
)
def test_what_cannot_be_on_vulkan_is_refused(cli, arguments, words):
    outcome = cli("deploy", "tiny.py", *arguments, "--backend", "vulkan", *QUICK)

    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert "Lowering" not in outcome.stderr


@pytest.mark.parametrize(
    ("profile", "words"),
    [("nexus7", "its graphics processor has no Vulkan"), ("pixel6a", "--companion native")],
)
def test_a_phone_that_cannot_is_refused_before_the_export(cli, make_bench_phone, profile, words):
    """By what the phone tells; with auto it is said, and XNNPACK measured alone."""
    phone = make_bench_phone(load_profiles()[profile])
    deploy = ("deploy", "tiny.py", "-d", phone.serial, *QUICK)

    refused = cli(*deploy, "--backend", "vulkan")
    auto = cli(*deploy, "--backend", "auto", "--json")
    (listed,) = cli("devices", "--json").document["devices"]

    assert refused.exit_code == 2
    assert words in refused.stderr
    assert "Lowering" not in refused.stderr
    assert f"Vulkan is left out: {listed['vulkan_obstacle']}" in auto.stderr
    assert measurement_of(auto).artifact.backend == "xnnpack"


def test_a_phone_with_small_textures_is_refused(cli, make_bench_phone, monkeypatch):
    monkeypatch.setattr(gpu_commands, "TEXTURE_TEXELS", TEXTURE_TEXELS // 2)
    phone = make_bench_phone(load_profiles()["pixel6a"])

    refused = cli("deploy", "tiny.py", "-d", phone.serial, "--backend", "vulkan", *QUICK)

    assert refused.exit_code == 2
    assert "at most 1,024 texels a side" in refused.stderr
    assert "Lowering" not in refused.stderr


def test_an_export_measures_no_backends(cli):
    outcome = cli("export", "tiny.py", "--backend", "auto")

    assert outcome.exit_code == 2
    assert "an export runs none" in outcome.stderr


@pytest.mark.parametrize("given", ["opencl", "xnnpack,vulkan,auto", "xnnpack,", "", "vulkan"])
def test_words_that_are_no_backends_or_one_that_is_not_here(cli, given):
    """What phones are compared with unless told is this computer, which has no Vulkan."""
    outcome = cli("compare", "tiny.py", "--backend", given)

    assert outcome.exit_code == 2
    assert "xnnpack,vulkan" in outcome.stderr


# --- without a driver --------------------------------------------------------------------------


@needs_native
def test_a_computer_without_a_driver(cli, make_bench_phone, monkeypatch):
    """What to install is said; nothing is exported."""
    for name, value in NO_DRIVER.items():
        monkeypatch.setenv(name, value)
    phone = make_bench_phone(
        load_profiles()["pixel6a"], lambda directory: CompanionProcess(directory, "native")
    )

    refused = cli("deploy", "digits", "-d", phone.serial, "--backend", "vulkan", *QUICK)
    listed = cli("devices").stdout

    assert refused.exit_code == 2
    assert "mesa-vulkan-drivers" in refused.stderr
    assert "Lowering" not in refused.stderr
    assert "Mali-G78, Vulkan 1.1, unused" in listed
    assert "mesa-vulkan-drivers" in listed


@pytest.fixture
def made_for_vulkan(cli, exports):
    outcome = cli("export", "digits", "--backend", "vulkan", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    made = decode(outcome.stdout, ArtifactDocument, source="stdout").artifact
    return made, exports


@needs_native
def test_a_program_that_finds_no_driver_all_the_same(made_for_vulkan, tmp_path):
    """It fails where it is loaded, with the library's words, and neither hangs nor dies."""
    result = run_natively(tmp_path / "run", *made_for_vulkan, **NO_DRIVER)

    assert isinstance(result, RunFailure)
    assert (result.phase, result.code) == ("load", "load_failed")
    assert "Vulkan Runtime" in result.message
    assert not (tmp_path / "run" / "crash.log").exists()


LOADING = """
import dev.mobilekit.bench.executorch.ExecuTorchEngine;

public class Loading {
    public static void main(String[] arguments) {
        String obstacle = arguments[0].isEmpty() ? null : arguments[0];
        try {
            var program = new java.io.File(arguments[1]);
            new ExecuTorchEngine(obstacle).load(program, "forward", 1, null).close();
            System.out.println("loaded");
        } catch (Exception problem) {
            System.out.println(problem);
        }
        Runtime.getRuntime().halt(0);
    }
}
"""


@needs_native
def test_the_app_refuses_what_its_phone_has_not(needs_vulkan, cli, made_for_vulkan, tmp_path):
    """Before the library loads the method; a program of XNNPACK's is loaded all the same."""
    for_gpu, directory = made_for_vulkan
    usual = cli("export", "digits", "--json")
    for_cpu = decode(usual.stdout, ArtifactDocument, source="stdout").artifact
    (tmp_path / "Loading.java").write_text(LOADING, encoding="utf-8")
    *java, _ = native_java(built_libraries(), tmp_path / "crash.log")

    def load(obstacle, artifact):
        path = directory / Path(artifact.file.path).name
        done = subprocess.run(
            [*java, tmp_path / "Loading.java", obstacle, path],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.splitlines()[-1]

    assert load("there is no GPU", for_cpu) == load("", for_gpu) == "loaded"
    assert "the program is for Vulkan, and there is no GPU" in load("there is no GPU", for_gpu)
