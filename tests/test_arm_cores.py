"""Every export in the app's arm64 libraries, on processors of phones that QEMU emulates.

What runs there is right within its tolerance, and what `phone/formats.py` keeps from a processor
dies on it.
"""

import importlib.util
import shutil
from pathlib import Path

import pytest
from examples import device_info

from mobilekit import places
from mobilekit.formats import FORMATS
from mobilekit.model.export import export_artifact
from mobilekit.model.given import NOTHING
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.phone.formats import usable_formats
from mobilekit.records.network import Variant

ROOT = Path(__file__).parents[1]


def load_script():
    spec = importlib.util.spec_from_file_location("arm_cores", ROOT / "scripts/arm_cores.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not places.built_jvm_companion().exists(), reason="first: make native"),
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="takes Debian's packages"),
]


@pytest.fixture(scope="module")
def emulator():
    return script.make_emulator()


@pytest.mark.parametrize("core", script.CORES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("artifact_format", FORMATS)
@pytest.mark.parametrize("name", [*script.SMALL, *script.MIDDLE])
def test_a_core_computes_what_it_should_or_is_kept_from_it(
    name, artifact_format, precision, core, emulator, exports
):
    made = export_artifact(
        with_variant(find_model(name, NOTHING), Variant(precision=precision)),
        artifact_format,
        cache_directory=exports,
        on_progress=lambda message: None,
    )
    phone = device_info(abi="arm64-v8a", android_sdk=34, cpu_features=tuple(script.CORES[core]))

    outcome = script.run_on(emulator, core, made, exports)

    assert script.is_as_told(outcome, core, artifact_format), outcome
    assert (outcome.kind == "right") == (artifact_format in usable_formats(phone, None))


def test_another_network_is_wrong_there(emulator, exports):
    """The reference outputs of one with other weights."""
    made, other = (
        export_artifact(
            with_variant(find_model(name, NOTHING), Variant(precision="fp16")),
            "onnx",
            cache_directory=exports,
            on_progress=lambda message: None,
        )
        for name in script.SMALL
    )
    assert made.reference_outputs[0].shape == other.reference_outputs[0].shape

    mixed = type(made)(
        **{field: getattr(made, field) for field in made.__struct_fields__}
        | {"reference_outputs": other.reference_outputs}
    )

    assert script.run_on(emulator, "cortex-a76", mixed, exports).kind == "wrong"
