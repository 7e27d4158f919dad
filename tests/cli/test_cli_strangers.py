"""Networks in files of others, in the manner of torchvision and torchaudio: with nothing but their
class and the shape of their input they go through every command."""

from pathlib import Path

import pytest

from mobilekit.model.describe import read_description
from mobilekit.model.given import Given, parse_input
from mobilekit.model.zoo import find_model

STRANGERS = Path(__file__).parents[1] / "strangers"
NETWORKS = {
    "detector.py:Detector": ("1x3x64x64", 2),
    "segmentation.py:DeepLab": ("1x3x65x65", 2),
    "speech.py:SpeechModel": ("1x50x40", 1),
}
"""The input's shape, and how many outputs there are."""
NO_PHONE = {"ANDROID_ADB_SERVER_PORT": "1", "ADBUTILS_ADB_PATH": "/bin/false"}


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_described(tmp_path, name):
    """Every layer is counted, and all that computes has its multiply-accumulates."""
    spec = find_model(f"{STRANGERS}/{name}", Given(kinds=(parse_input(NETWORKS[name][0]),)))
    description = read_description(spec, cache_directory=tmp_path)
    uncounted = [
        layer.name
        for layer in description.layers
        if layer.type in ("convolution", "feed-forward", "attention") and not layer.macs
    ]
    assert spec.name == name.replace(".py:", ".")
    assert description.cost.macs > 100_000
    assert uncounted == []


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NETWORKS)
def test_they_go_through_every_command(cli, name):
    """Exported in three formats, and run, profiled and compared on this computer."""
    shape, outputs = NETWORKS[name]
    network = (STRANGERS / name, "--input", shape)
    for artifact_format in ("pte", "onnx", "tflite"):
        exported = cli("export", *network, "--format", artifact_format, "--json", timeout=600)
        assert exported.exit_code == 0, exported.stderr
        artifact = exported.document["artifact"]
        assert artifact["relative_error"] < 1e-4
        assert len(artifact["reference_outputs"]) == outputs
    here = ("--device", "pc", "--fast", "--json")
    deployed = cli("deploy", *network, *here, **NO_PHONE)
    assert deployed.exit_code == 0, deployed.stderr
    samples = deployed.document["measurement"]["result"]["samples"]
    assert samples["output_check"]["matches"]
    profiled = cli("profile", *network, *here, timeout=600, **NO_PHONE)
    assert profiled.exit_code == 0, profiled.stderr
    compared = cli("compare", *network, *here, "--against", "pc", timeout=600, **NO_PHONE)
    assert compared.exit_code == 0, compared.stderr
    (comparison,) = compared.document["comparisons"]
    assert comparison["model"] == name.replace(".py:", ".")
