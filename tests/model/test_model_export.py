"""Exporting: what an artifact holds, when it is made anew, and how it fails."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import SMALL, Export, WriteModel
from torch import Tensor

from mobilekit.errors import ExportError
from mobilekit.model import pte
from mobilekit.model.describe import find_description, read_description
from mobilekit.model.export import export_artifact
from mobilekit.model.load import load_module
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import read_spec
from mobilekit.records.artifact import Artifact

HEADER = """
import torch
import torch.nn.functional as F
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)

def build():
    return Net()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)

    def forward(self, x):
"""
FIRST_LINE = HEADER.count("\n") + 1

SmallArtifact = tuple[Artifact, Path]


def forward(*lines: str) -> str:
    """A model file whose forward() is these lines."""
    return HEADER + "".join(f"        {line}\n" for line in lines)


@pytest.fixture
def cached_small(
    small_artifact: SmallArtifact, write_model: WriteModel, tmp_path: Path
) -> tuple[Artifact, Path, Path]:
    """The small network's artifact, its file, and a cache of the test's own that holds it."""
    shutil.copytree(small_artifact[1], tmp_path / "cache")
    return small_artifact[0], write_model(), tmp_path / "cache"


# --- what an artifact holds --------------------------------------------------------------------


def test_files_are_named_by_their_content(small_artifact: SmallArtifact) -> None:
    """Every file of the manifest is there, and hashes to its name."""
    artifact, cache = small_artifact
    for file in artifact.files:
        content = (cache / Path(file.path).name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
    assert artifact.file.size_bytes == (cache / Path(artifact.file.path).name).stat().st_size


def test_input_and_reference_are_eager_pytorchs(small_artifact: SmallArtifact) -> None:
    """The stored reference is what the network gives for the stored input, to the last bit."""
    artifact, cache = small_artifact
    stored = np.fromfile(cache / Path(artifact.inputs[0].path).name, dtype="<f4")
    expected = np.random.default_rng(0).standard_normal((1, 3, 8, 8), dtype=np.float32)
    assert np.array_equal(expected, stored.reshape(1, 3, 8, 8))
    with torch.no_grad():
        reference = load_module(artifact.model)(torch.from_numpy(expected)).numpy()
    stored = np.fromfile(cache / Path(artifact.reference_outputs[0].path).name, dtype="<f4")
    assert np.array_equal(reference.reshape(-1), stored)


def test_manifest_says_what_was_made(small_artifact: SmallArtifact) -> None:
    """Shapes, cost, delegation and versions of a network that can be counted by hand."""
    artifact, _ = small_artifact
    assert [(t.dtype, t.shape) for t in artifact.inputs] == [("float32", (1, 3, 8, 8))]
    assert [(t.dtype, t.shape) for t in artifact.reference_outputs] == [("float32", (1, 5))]
    macs = 6 * 6 * 4 * 27 + 144 * 5
    assert artifact.cost.macs == artifact.delegation.delegated_macs == macs
    assert artifact.cost.parameters == 4 * 28 + 145 * 5
    assert artifact.delegation.portable_operator_counts == {}
    assert artifact.delegation.mac_fraction == 1.0
    tools = {"torch", "torchvision", "executorch", "torchao", "mobilekit"}
    assert set(artifact.tool_versions) == tools
    assert artifact.export_ns > 0


def test_several_inputs_and_outputs_of_several_types(
    write_model: WriteModel, export: Export
) -> None:
    """Integer inputs are 0 or 1; outputs are flattened in order, each with its own type."""
    source = HEADER.replace("((1, 3, 8, 8),)", '((1, 7), (1, 7))\nINPUT_DTYPES = ("int64", "bool")')
    source = source.replace("nn.Conv2d(3, 4, 3)", "nn.Embedding(2, 3)").replace("x)", "t, m)")
    source += (
        "        y = self.c(t) * m.unsqueeze(-1)\n        return {'y': y, 'a': (y.argmax(1),)}\n"
    )
    artifact, _ = export(read_spec(write_model(source)))
    assert [t.dtype for t in artifact.inputs] == ["int64", "bool"]
    outputs = [(t.dtype, t.shape) for t in artifact.reference_outputs]
    assert outputs == [("float32", (1, 7, 3)), ("int64", (1, 3))]
    tokens, mask = make_inputs(artifact.model)
    assert set(tokens.unique().tolist()) == {0, 1}
    assert mask.dtype == torch.bool


def test_what_stays_on_portable_kernels_is_counted(write_model: WriteModel, export: Export) -> None:
    """Operators outside the delegates are named and counted."""
    artifact, _ = export(read_spec(write_model(forward("return F.elu(F.elu(self.c(x)))"))))
    assert artifact.delegation.portable_operator_counts == {"aten::elu": 2}
    assert artifact.delegation.portable_operators == 2
    assert artifact.delegation.delegated_operators == 1
    assert artifact.delegation.mac_fraction == 1.0


def test_an_undelegated_convolution_lowers_the_mac_fraction(
    write_model: WriteModel, export: Export
) -> None:
    """XNNPACK takes no dilated transposed convolution; its share of the work is known."""
    body = ("w = torch.ones(4, 2, 3, 3)", "return F.conv_transpose2d(self.c(x), w, dilation=2)")
    artifact, _ = export(read_spec(write_model(forward(*body))))
    plain, transposed = 6 * 6 * 4 * 3 * 9, 6 * 6 * 4 * 2 * 9
    assert artifact.delegation.portable_operator_counts["aten::convolution"] == 1
    assert artifact.delegation.delegated_macs == plain
    assert artifact.delegation.total_macs == plain + transposed


def test_normalization_is_delegated_whole(write_model: WriteModel, export: Export) -> None:
    """Local response normalization and padded average pooling leave nothing on slow kernels."""
    body = ("x = F.local_response_norm(self.c(x), 5)", "return F.avg_pool2d(x, 3, 1, 1)")
    artifact, _ = export(read_spec(write_model(forward(*body))))
    assert artifact.delegation.portable_operator_counts == {}


def test_an_unusual_power_of_normalization_shows_in_the_manifest(
    write_model: WriteModel, export: Export
) -> None:
    """A beta that square roots cannot make still exports, on the portable pow kernel."""
    body = ("return F.local_response_norm(self.c(x), 4, beta=0.6)",)
    artifact, _ = export(read_spec(write_model(forward(*body))))
    assert artifact.delegation.portable_operator_counts == {"aten::pow": 1}


# --- the cache ---------------------------------------------------------------------------------


def test_a_cached_artifact_costs_no_import_of_torch(
    cached_small: tuple[Artifact, Path, Path],
) -> None:
    """Neither torch nor numpy nor executorch is imported for it."""
    _, path, cache = cached_small
    code = f"""
import sys
from pathlib import Path
from mobilekit.model.describe import find_description, read_description
from mobilekit.model.export import export_artifact
from mobilekit.model.zoo import read_spec
spec = read_spec(Path({str(path)!r}))
artifact = export_artifact(spec, cache_directory=Path({str(cache)!r}), on_progress=print)
print({{"torch", "numpy", "executorch"}} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_a_cached_artifact_bears_the_name_asked_for(
    cached_small: tuple[Artifact, Path, Path], write_model: WriteModel, export: Export
) -> None:
    """The same content under another name is the same artifact of another model."""
    made, _, _ = cached_small
    artifact, messages = export(read_spec(write_model(name="other/renamed.py")))
    assert messages == []
    assert artifact.model.name == "renamed"
    assert artifact.file == made.file


def test_changed_content_is_exported_anew(
    cached_small: tuple[Artifact, Path, Path], write_model: WriteModel, export: Export
) -> None:
    """Another network under the same name is another artifact."""
    made, _, _ = cached_small
    artifact, messages = export(read_spec(write_model(SMALL.replace("144, 5", "144, 6"))))
    assert any("Lowering" in message for message in messages)
    assert artifact.file.sha256 != made.file.sha256


def cut_program(cache: Path) -> Path:
    program = next(cache.glob("*.pte"))
    program.write_bytes(program.read_bytes()[:-1])
    return program


def flip_tensor(cache: Path) -> Path:
    tensor = next(cache.glob("*.bin"))
    tensor.write_bytes(bytes([tensor.read_bytes()[0] ^ 1]) + tensor.read_bytes()[1:])
    return tensor


def remove_tensor(cache: Path) -> Path:
    tensor = next(cache.glob("*.bin"))
    tensor.unlink()
    return tensor


def cut_manifest(cache: Path) -> Path:
    manifest = next(cache.glob("?" * 64 + ".json"))
    manifest.write_bytes(manifest.read_bytes()[:100])
    return manifest


def flip_manifest(cache: Path) -> Path:
    """It still parses, and names a method that the program does not have."""
    return flipped(next(cache.glob("?" * 64 + ".json")), b'"forward"', b'"forwerd"')


def flip_operators(cache: Path) -> Path:
    return flipped(next(cache.glob("*.operators.json")), b'"delegated":true', b'"delegated":fals')


def flipped(path: Path, old: bytes, new: bytes) -> Path:
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    "damage",
    [cut_program, flip_tensor, remove_tensor, cut_manifest, flip_manifest, flip_operators],
)
def test_a_damaged_artifact_is_noticed_and_made_anew(
    cached_small: tuple[Artifact, Path, Path], export: Export, damage: Callable[[Path], Path]
) -> None:
    """The damage is said, the export done again, and the file whole afterwards."""
    _, path, cache = cached_small
    damaged = damage(cache)
    broken = damaged.read_bytes() if damaged.exists() else b""
    artifact, messages = export(read_spec(path))
    assert "damaged" in messages[0]
    assert damaged.read_bytes() != broken
    assert export(read_spec(path)) == (artifact, [])


def test_simultaneous_exports_agree(write_model: WriteModel, tmp_path: Path) -> None:
    """Two processes into one cache: both succeed, and nothing is left lying."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "mobilekit", "export", str(write_model()), "--json"],
            env={**os.environ, "MOBILEKIT_HOME": str(tmp_path / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert not [stderr for _, stderr in told if "damaged" in stderr]
    one, other = (json.loads(stdout)["artifact"] | {"export_ns": 0} for stdout, _ in told)
    assert one == other
    suffixes = sorted(path.suffix for path in (tmp_path / "home/cache/artifacts").iterdir())
    assert suffixes == [".bin", ".bin", ".json", ".json", ".json", ".pte"]


def test_a_network_whose_layers_cannot_be_counted_is_exported_all_the_same(
    write_model: WriteModel, export: Export, tmp_path: Path
) -> None:
    """How much a tensor holds may depend on values, which only a run tells."""
    spec = read_spec(write_model(forward("return self.c(x) + torch.nonzero(x > 0.5).sum()")))
    artifact, _ = export(spec)

    cache = tmp_path / "cache"
    assert (cache / Path(artifact.file.path).name).is_file()
    assert find_description(spec, cache_directory=cache) is None
    with pytest.raises(ExportError, match=r"layers of small cannot be counted: .*nonzero"):
        read_description(spec, cache_directory=cache)


def test_an_export_leaves_the_layers(
    cached_small: tuple[Artifact, Path, Path], tmp_path: Path
) -> None:
    """A deploy finds them without building the network."""
    _, path, cache = cached_small
    spec = read_spec(path)

    found = find_description(spec, cache_directory=cache)

    assert found is not None
    assert found == read_description(spec, cache_directory=tmp_path / "other")


# --- failing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("if x.sum() > 0:", "    return self.c(x)", "return x"), "data-dependent"),
        (("return torch.from_numpy(x.numpy() * 2)",), "numpy()"),
    ],
)
def test_a_forward_that_is_no_graph_is_refused_with_its_line(
    write_model: WriteModel, export: Export, lines: tuple[str, ...], said: str
) -> None:
    """Control flow that depends on values is named by file and line."""
    path = write_model(forward(*lines))
    with pytest.raises(ExportError) as caught:
        export(read_spec(path))
    assert said in caught.value.what
    assert caught.value.facts["at"] == f"{path}:{FIRST_LINE}"


def test_an_input_shape_that_does_not_fit_is_refused_with_its_line(
    write_model: WriteModel, export: Export
) -> None:
    """The network is run in PyTorch first, whose complaint is passed on with the shapes."""
    path = write_model(forward("return self.c(x[:, :2])"))
    with pytest.raises(ExportError, match="fails in PyTorch") as caught:
        export(read_spec(path))
    assert caught.value.facts["at"] == f"{path}:{FIRST_LINE}"
    assert caught.value.facts["inputs"] == "float32 (1, 3, 8, 8)"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("return self.c(x).half()", "float16"),
        ("return self.c(x), 3", "not all tensors"),
        ("return self.c(x) / 0", "finite"),
        ("return self.c(x)[:0]", "without elements"),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused(
    write_model: WriteModel, export: Export, line: str, said: str
) -> None:
    """A phone's outputs must be comparable with the reference."""
    with pytest.raises(ExportError, match="The outputs of small") as caught:
        export(read_spec(write_model(forward(line))))
    assert said in caught.value.what


def test_an_operator_without_a_kernel_is_named(write_model: WriteModel, export: Export) -> None:
    """What the phone's runtime could not load is refused here, by name."""
    path = write_model(forward("return F.avg_pool3d(self.c(x).unsqueeze(1), 2)"))
    with pytest.raises(ExportError, match=r"no kernel for aten::avg_pool3d\.out"):
        export(read_spec(path))


def test_a_kernel_that_refuses_is_quoted(write_model: WriteModel, export: Export) -> None:
    """What the runtime writes to standard error is kept when it fails."""
    path = write_model(forward("return F.conv3d(x.unsqueeze(1), torch.ones(1, 1, 2, 2, 2))"))
    with pytest.raises(ExportError, match="cannot run small") as caught:
        export(read_spec(path))
    assert "3-D or 4-D" in caught.value.facts["runtime"]


def test_writing_to_the_input_is_refused(write_model: WriteModel, export: Export) -> None:
    """ExecuTorch would give back the input as an output."""
    with pytest.raises(ExportError, match="writes to its own input"):
        export(read_spec(write_model(forward("x.mul_(2)", "return self.c(x)"))))


def test_an_operator_that_cannot_be_lowered_is_refused(
    write_model: WriteModel, export: Export
) -> None:
    """ExecuTorch's reason is passed on in a line."""
    with pytest.raises(ExportError, match=r"cannot lower small.*unique2"):
        export(read_spec(write_model(forward("return torch.unique(x)"))))


def test_a_program_that_computes_something_else_is_refused(
    write_model: WriteModel, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are told, and nothing is left in the cache."""

    def wrong_runtime(*_: object) -> tuple[Tensor, ...]:
        return (torch.zeros(1, 5),)

    monkeypatch.setattr(pte.Program, "run_once", wrong_runtime)
    with pytest.raises(ExportError, match="does not compute what PyTorch does") as caught:
        export(read_spec(write_model()))
    assert caught.value.facts["relative_error"] == "1"
    assert caught.value.facts["relative_tolerance"] == "0.001"
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unusable_cache_directory_is_reported(write_model: WriteModel, tmp_path: Path) -> None:
    """It is noticed before the work, without a traceback."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written to"):
        export_artifact(
            read_spec(write_model()),
            cache_directory=tmp_path / "file" / "cache",
            on_progress=lambda message: None,
        )
