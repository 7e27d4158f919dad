"""A ``.pt2`` file, as ``torch.export.save`` writes it: read without running what it may hold.

``torch.export.load`` unpickles, evaluates expressions of sizes and looks functions up by name, so
that a hostile file can run code. Here a file is taken apart first, with ``zipfile`` and ``json``
alone: a graph of ATen operators over tensors of fixed sizes, and raw weights, are kept and put
together anew; whatever else the file holds is left out or refused.

Reading the signature needs no torch; ``load_graph`` imports it.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mobilekit.errors import ModelFileError

if TYPE_CHECKING:
    from torch import nn

SCHEMA_MAJOR = 8
"""Of torch's ``torch._export.serde.schema``: a file of another one cannot be read."""

MAX_JSON_BYTES = 2**26
"""Of a graph: one of 3,000 operators has 10 MB."""
_LARGEST_ELEMENT_BYTES = 16
_STORAGE_SLACK_BYTES = 2**20

_DTYPES = {1: "uint8", 2: "int8", 4: "int32", 5: "int64", 7: "float32", 12: "bool"}
"""Of ``ScalarType`` in the same schema, those that a companion can be given."""

# Operators that are not tensors' arithmetic: `save` and `from_file` open files.
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!__|save\b|from_file\b)\w+\.(?!__)\w+|_operator\.getitem"
)
_WORD = re.compile(r"[a-z_]*")
_TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_REFUSED_ARGUMENTS = {
    "as_expr": "sizes that vary",
    "as_custom_obj": "objects of other code",
    "as_operator": "functions as arguments",
    "as_graph": "graphs within the graph (torch.cond and the like)",
}
_KEPT_METADATA = ("stack_trace", "nn_module_stack")


class Signature(NamedTuple):
    input_shapes: tuple[tuple[int, ...], ...]
    input_dtypes: tuple[str, ...]
    maker: str


def read_signature(path: Path) -> Signature:
    """What the network takes.

    Raises ``ModelFileError`` for what is no ``.pt2`` file, for what could run code, and for
    inputs that are no plain tensors of fixed sizes.
    """
    with _opened(path) as archive:
        program = _checked_program(path, archive)
        graph_module = program["graph_module"]
        tensors = graph_module["graph"]["tensor_values"]
        inputs = [
            tensors[spec["user_input"]["arg"]["as_tensor"]["name"]]
            for spec in graph_module["signature"]["input_specs"]
            if "user_input" in spec
        ]
        if any(tensor["dtype"] not in _DTYPES for tensor in inputs):
            raise _refused(path, f"inputs other than {', '.join(_DTYPES.values())}")
        return Signature(
            tuple(tuple(int(size["as_int"]) for size in tensor["sizes"]) for tensor in inputs),
            tuple(_DTYPES[tensor["dtype"]] for tensor in inputs),
            f"PyTorch {program.get('torch_version', '')}".strip(),
        )


def load_graph(path: Path) -> nn.Module:
    """The network as a module. Raises ``ModelFileError``."""
    import torch

    from mobilekit.model.failures import describe_error
    from mobilekit.model.quiet import quiet_python

    with _opened(path) as archive:
        copy = _checked_copy(path, archive)
    try:
        with quiet_python():
            module: nn.Module = torch.export.load(copy).module()
    except Exception as error:
        raise ModelFileError(
            f"PyTorch cannot load {path.name}: {describe_error(error)}",
            fix=f"Save it again with PyTorch {torch.__version__.split('+')[0]}.",
            file=path,
        ) from error
    return module


# --- taking the archive apart ------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is not as it should be in it is a ``ModelFileError``."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (
        # What zipfile, zlib and json raise, and looking for what is not there.
        *(OSError, EOFError, ValueError, RuntimeError, struct.error, zlib.error),
        *(zipfile.BadZipFile, LookupError, TypeError, AttributeError),
    ) as error:
        raise ModelFileError(
            f"{path.name} cannot be read as a torch.export archive",
            fix="Make it with torch.export.save(torch.export.export(network.eval(), inputs), ...).",
            file=path,
            reason=f"{type(error).__name__}: {error}",
        ) from None


def _read(archive: zipfile.ZipFile, name: str, limit_bytes: int = MAX_JSON_BYTES) -> bytes:
    """A file of the archive, all of which lie in one directory of any name.

    Raises ``ValueError``, before anything is inflated, for one that would be longer than the limit;
    ``zipfile`` reads no further than the length that a file is said to have.
    """
    whole_name = archive.namelist()[0].partition("/")[0] + "/" + name
    size_bytes = archive.getinfo(whole_name).file_size
    if size_bytes > limit_bytes:
        raise ValueError(f"{name} has {size_bytes:,} bytes where {limit_bytes:,} are the most")
    return archive.read(whole_name)


def _checked_copy(path: Path, archive: zipfile.ZipFile) -> io.BytesIO:
    """The archive again, of what was checked alone."""
    parts = {
        "models/model.json": json.dumps(_checked_program(path, archive)).encode(),
        # Nobody needs them, and they are a pickle.
        "data/sample_inputs/model.pt": b"",
        **_checked_tensors(path, archive, "weights", "weight_"),
        **_checked_tensors(path, archive, "constants", "tensor_"),
    }
    for name in ("archive_format", "archive_version", "byteorder", ".data/version"):
        parts[name] = _read(archive, name)
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as made:
        for name, content in parts.items():
            made.writestr("archive/" + name, content)
    copy.seek(0)
    return copy


def _checked_tensors(
    path: Path, archive: zipfile.ZipFile, kind: str, prefix: str
) -> dict[str, bytes]:
    """The raw tensors of a directory and their table, by name."""
    directory = f"data/{kind}/"
    table = f"{directory}model_{kind}_config.json"
    content = _read(archive, table)
    entries = list(json.loads(content)["config"].values())
    files = {str(entry["path_name"]) for entry in entries}
    if any(entry["use_pickle"] for entry in entries) or not all(
        re.fullmatch(prefix + r"\d+", file) for file in files
    ):
        raise _refused(path, f"pickled {kind}")
    limits_bytes = dict.fromkeys(sorted(files), 0)
    for entry in entries:
        file = str(entry["path_name"])
        limits_bytes[file] = max(limits_bytes[file], _most_bytes(entry["tensor_meta"]))
    raw = {
        directory + file: _read(archive, directory + file, limit_bytes)
        for file, limit_bytes in limits_bytes.items()
    }
    return {table: content, **raw}


def _most_bytes(tensor: dict[str, Any]) -> int:
    """What the file may have in which a tensor lies: it holds whole storages, of which a tensor may
    be a part."""
    steps = zip(tensor["sizes"], tensor["strides"], strict=True)
    last = sum((int(size["as_int"]) - 1) * int(stride["as_int"]) for size, stride in steps)
    elements = int(tensor["storage_offset"]["as_int"]) + last + 1
    return elements * _LARGEST_ELEMENT_BYTES + _STORAGE_SLACK_BYTES


def _checked_program(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    """The graph as in torch's schema, without what could run code."""
    program: dict[str, Any] = json.loads(_read(archive, "models/model.json"))
    if program["schema_version"]["major"] != SCHEMA_MAJOR:
        raise _refused(path, "a graph of another schema of PyTorch's")
    if program["guards_code"] or program["range_constraints"]:
        raise _refused(path, _REFUSED_ARGUMENTS["as_expr"])
    graph_module = program["graph_module"]
    signatures = [
        call["signature"] for call in graph_module["module_call_graph"] if call["signature"]
    ]
    for signature in signatures:
        _check_tree(path, json.loads(signature["in_spec"])[1])
        _check_tree(path, json.loads(signature["out_spec"])[1])
    arguments, keywords = json.loads(signatures[0]["in_spec"])[1]["children_spec"]
    if keywords["children_spec"] or any(
        argument["type"] is not None for argument in arguments["children_spec"]
    ):
        raise _refused(path, "inputs that are no plain tensors, or have keywords")
    for node in graph_module["graph"]["nodes"]:
        if not _OPERATOR.fullmatch(node["target"]):
            raise _refused(path, f"{node['target']}, which is not an ATen operator")
        if any(
            argument["name"] in ("train", "training") and argument["arg"].get("as_bool")
            for argument in node["inputs"]
        ):
            raise ModelFileError(
                f"{path.name} was exported in training mode",
                fix="Call network.eval() before torch.export.export().",
                file=path,
            )
        metadata = node["metadata"]
        node["metadata"] = {key: metadata[key] for key in _KEPT_METADATA if key in metadata}
    _check_arguments(path, graph_module)
    return program


def _check_tree(path: Path, tree: dict[str, Any]) -> None:
    """How inputs and outputs are nested, in PyTorch's words."""
    if tree["type"] not in _TREES or "__enum__" in str(tree["context"]):
        raise _refused(path, f"inputs or outputs of {tree['type']}")
    for child in tree["children_spec"]:
        _check_tree(path, child)


def _check_arguments(path: Path, value: Any) -> None:
    """Everything in the graph, however nested."""
    if isinstance(value, list):
        for item in value:
            _check_arguments(path, item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _REFUSED_ARGUMENTS and item is not None:
                raise _refused(path, _REFUSED_ARGUMENTS[key])
            if key == "as_string" and not _WORD.fullmatch(str(item)):
                raise _refused(path, f"the text {str(item)[:40]!r} as an argument")
            _check_arguments(path, item)


def _refused(path: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"{path.name} holds {what}, and mobilekit takes only graphs of ATen operators over "
        "tensors of fixed sizes, with raw weights",
        fix="Export it without that, or write a model file and give it the weights.",
        file=path,
    )
