"""Networks in files that other tools have written: what is read, and what is refused.

Reading what a file declares imports no torch; ``load_network`` does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import ModelFileError, UnknownModelError, WeightsError
from mobilekit.hashing import file_sha256
from mobilekit.records.network import ModelSpec, Variant

if TYPE_CHECKING:
    from torch import nn

_REFUSED = {
    ".caffemodel": "a Caffe model, which no maintained library reads: OpenCV dropped it in 5.0",
    ".prototxt": "a Caffe definition, which no maintained library reads: OpenCV dropped it in 5.0",
    **dict.fromkeys(
        (".pt", ".pth", ".safetensors", ".ckpt", ".bin", ".tar", ".pkl", ".npz"),
        "weights, and no network",
    ),
    ".json": "no network",
}
_CAFFE_FIX = (
    "Convert it to ONNX, in an environment of its own (the package caffe-onnx does that), and give "
    "the .onnx file. alexnet, googlenet and nin are Caffe's definitions."
)
_WEIGHTS_FIX = "Give it to a network: mobilekit deploy NETWORK --weights FILE."

SUFFIXES = (".onnx", ".pt2", *_REFUSED)
"""What ends in one of these is a file and not a network's name."""


def read_spec(path: Path, *, weights: Path | None) -> ModelSpec:
    """What a file declares, without running it.

    Raises ``ModelFileError`` for a file that cannot be read or is refused, ``WeightsError`` for
    weights beside it, ``ExportError`` where the packages to read it are missing.
    """
    if not path.exists():
        raise UnknownModelError(
            f"There is no file {path}",
            fix="Check the path, which is relative to the working directory.",
            looked_in=Path.cwd(),
        )
    path = path.resolve()
    if path.is_dir() or path.suffix in _REFUSED:
        holds = "a directory, which holds weights at most" if path.is_dir() else None
        raise ModelFileError(
            f"{path.name} is {holds or _REFUSED[path.suffix]}",
            fix=_CAFFE_FIX if path.suffix in (".caffemodel", ".prototxt") else _WEIGHTS_FIX,
            file=path,
        )
    if weights is not None:
        raise WeightsError(
            f"{path.name} has weights of its own",
            fix="Leave --weights out, or give it to a model file.",
            weights=weights,
        )
    digest = hashlib.sha256(path.suffix.encode())
    if path.suffix == ".onnx":
        from importlib.metadata import version

        from mobilekit.model import onnx_file

        signature = onnx_file.read_signature(path)
        shapes, dtypes, maker = signature[:3]
        files = signature.files
        # Another version may read it otherwise.
        digest.update(version("onnx2torch").encode())
    else:
        from mobilekit.model import pt2_file

        shapes, dtypes, maker = pt2_file.read_signature(path)
        files = (path,)
    for file in files:
        digest.update(b"\0" + file_sha256(file).encode())
    # It is shown on terminals, and the file may say anything.
    maker = "".join(filter(str.isprintable, maker))[:60]
    return ModelSpec(
        name=path.stem,
        path=str(path),
        builder=None,
        title=f"{path.name}{f', written by {maker}' if maker else ''}",
        source="",
        license="",
        input_shapes=shapes,
        input_dtypes=dtypes,
        inputs_path=None,
        weights_path=str(path),
        variant=Variant(),
        content_sha256=digest.hexdigest(),
    )


def load_network(spec: ModelSpec) -> nn.Module:
    """The network of such a file, in evaluation mode. Raises ``ModelFileError``."""
    path = Path(spec.path)
    if path.suffix == ".pt2":
        from mobilekit.model import pt2_file

        return pt2_file.load_graph(path)
    from mobilekit.model import onnx_file
    from mobilekit.model.reference import make_inputs

    return onnx_file.load_network(path, make_inputs(spec))
