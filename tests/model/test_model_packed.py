"""What a program needs, held against the libraries that the companion app packs."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from model_files import Known, WriteModel
from native import needs_native

from mobilekit.contract.protocol import ArtifactFile, TensorFile
from mobilekit.errors import ExportError
from mobilekit.hashing import file_sha256
from mobilekit.model.packed import find_lacking, read_packed
from mobilekit.model.zoo import read_spec
from mobilekit.virtual.gpus import find_gpus

ROOT = Path(__file__).parents[2]
APP = ROOT / "android-app"
LIBRARIES = sorted(APP.glob("executorch/target/runtime/jni/*/libexecutorch.so"))
NETWORK = '''"""ELU is left to a portable kernel."""

from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
'''


def changed(file: ArtifactFile, directory: Path, old: bytes, new: bytes) -> ArtifactFile:
    """The program with one name replaced by another as long."""
    content = (directory / Path(file.path).name).read_bytes()
    assert old in content
    assert len(old) == len(new)
    path = directory / "changed"
    path.write_bytes(content.replace(old, new))
    sha256 = file_sha256(path)
    shutil.move(path, directory / f"{sha256}.{file.format}")
    return ArtifactFile(
        sha256=sha256, format=file.format, size_bytes=file.size_bytes, method=file.method
    )


@pytest.mark.parametrize("artifact_format", ["pte", "onnx", "tflite"])
def test_what_the_exporters_make_the_packed_libraries_have(
    artifact_format, write_model: WriteModel, known: Known, exports: Path
):
    artifact = known(read_spec(write_model(NETWORK)), artifact_format)

    assert find_lacking(artifact.file, artifact.inputs, exports) is None


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (b"aten::elu\0", b"aten::elv\0", "aten::elv.out"),
        (b"XnnpackBackend\0", b"SomeoneBackend\0", "SomeoneBackend"),
    ],
)
def test_a_kernel_and_a_delegate_that_are_missing_are_named(
    old, new, name, write_model: WriteModel, known: Known, exports: Path
):
    file = known(read_spec(write_model(NETWORK)), "pte").file

    lacking = find_lacking(changed(file, exports, old, new), (), exports)

    assert lacking is not None
    assert lacking.names == (name,)
    refusal = str(lacking.refusal("It"))
    assert f"no {name}" in refusal
    assert "--format onnx or --format tflite" in refusal


@pytest.mark.parametrize(
    ("number", "version", "custom", "names"),
    [
        (3, 8, None, None),
        (3, 9, None, ("CONV_2D in version 9 (but up to 8)",)),
        (206, 1, None, ("STABLEHLO_COMPOSITE",)),
        (205, 1, None, None),
        (2000, 1, None, ("operator 2000",)),
        (32, 1, b"odd", ("custom operator odd",)),
    ],
)
def test_an_operator_and_its_version_are_looked_up(number, version, custom, names, tmp_path):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version, code.customCode = version, custom
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, [code]
    builder = flatbuffers.Builder(64)
    builder.Finish(model.Pack(builder), b"TFL3")
    file = ArtifactFile(sha256="0" * 64, format="tflite", size_bytes=1, method="forward")
    (tmp_path / Path(file.path).name).write_bytes(bytes(builder.Output()))

    lacking = find_lacking(file, (), tmp_path)

    assert (lacking and lacking.names) == names


@pytest.mark.parametrize("artifact_format", ["pte", "tflite"])
@pytest.mark.parametrize(
    "content", [b"", b"x", b"\xff" * 64, bytes(64), b"\x08\0\0\0ET12" + b"\x7f" * 50]
)
def test_a_file_that_is_no_program_is_told(artifact_format, content, tmp_path: Path):
    file = ArtifactFile(sha256="0" * 64, format=artifact_format, size_bytes=1, method="forward")
    (tmp_path / Path(file.path).name).write_bytes(content)

    with pytest.raises(ExportError, match=rf"0000\.{artifact_format} in the cache is no"):
        find_lacking(file, (), tmp_path)


def test_executorch_takes_no_boolean_tensor_on_a_phone(
    write_model: WriteModel, known: Known, exports: Path
):
    file = known(read_spec(write_model(NETWORK)), "pte").file
    mask = TensorFile(sha256="0" * 64, dtype="bool", shape=(1,))

    lacking = find_lacking(file, (mask,), exports)

    assert lacking is not None
    assert lacking.names == ("boolean inputs or outputs",)


@pytest.mark.skipif(not LIBRARIES, reason="the app has not been built: make app")
def test_the_list_is_the_packed_library_s():
    """Each name is in each library's strings, and no other of its namespaces is but in messages."""
    packed = read_packed().pte
    namespaces = {name.split("::")[0] for name in packed.kernels}
    in_messages = {
        "quantized_decomposed::embedding_xbit.dtype_out",
        "quantized_decomposed::embedding_xbit.out",
    }
    for library in LIBRARIES:
        content = library.read_bytes()
        found = {
            name.decode() for name in re.findall(rb"(?<![\w:])\w+::\w+(?:\.\w+)?(?=\0)", content)
        }
        kernels = {name for name in found if name.split("::")[0] in namespaces}
        assert kernels - in_messages == packed.kernels, library
        assert all(f"{name}\0".encode() in content for name in packed.delegates), library


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("list_packed", ROOT / "scripts/list_packed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_native
@pytest.mark.parametrize(
    "names",
    [
        ["aten.gt.Scalar", "aten.relu.default"],
        # A process for each of two hundred operators.
        pytest.param(None, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
def test_the_operators_of_vulkan_are_those_that_the_library_has(script, names):
    """It was asked of each; of all anew before a release."""
    if not find_gpus():
        pytest.skip("this computer has no Vulkan")
    asked = names or script.operators_for_vulkan()

    assert {*script.ask_vulkan(asked)} == read_packed().pte.vulkan & {*asked}


@needs_native
def test_the_file_is_what_the_libraries_say(script):
    """Each was asked: when another is packed, ``scripts/list_packed.py`` writes the file anew."""
    vulkan = [each for each in script.operators_for_vulkan() if each in read_packed().pte.vulkan]

    listed = script.ask_libraries()

    assert script.PACKED.read_text(encoding="utf-8") == script.render(listed, vulkan)
    # What is asked is this computer's; the other processors' are of the same release.
    others = sorted(APP.glob("litert/target/runtime/jni/*/libtensorflowlite_jni.so"))
    assert len(others) > 1
    for library in others:
        assert f"{listed.litert_version}\0".encode() in library.read_bytes(), library
