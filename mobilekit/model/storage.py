"""Changes a network's weights to such as can be stored in little room. Imports torch.

- Shared values: the weights of a layer become the nearest of a few, found by k-means (S. Han, H.
  Mao and W. Dally, "Deep compression: compressing deep neural networks with pruning, trained
  quantization and Huffman coding", ICLR 2016). In one dimension a round of it takes a look at the
  borders alone.
- Pruned: those of a layer that are smallest become 0 (S. Han et al., "Learning both weights and
  connections for efficient neural networks", NIPS 2015).
- Dictionary: the matrix of outputs x inputs becomes a product of a dictionary and sparse codes (S.
  Bhattacharya and N. Lane, "Sparsification and separation of deep learning layers for constrained
  resource inference on wearables", SenSys 2016): codes by orthogonal matching pursuit, atoms by
  least squares in turn (K. Engan, S. Aase and J. Husoy, "Method of optimal directions for frame
  design", ICASSP 1999). Both are rounded to int8.

Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import nn

from mobilekit.contract.condensed import Floats, sums_of_atoms
from mobilekit.errors import UsageError
from mobilekit.model import condense
from mobilekit.model.condense import Form
from mobilekit.records.network import Dictionary, Pruned, SharedValues, Storage

LEAST_WEIGHTS = 256
"""A layer with fewer stays as it is: a list of shared values would be as large."""
LEAST_ROWS = 16
"""A layer with fewer outputs has too few for a dictionary; it shares values then, as does the last
layer, which tells the classes:"""
OTHERS = SharedValues(values=32)
KMEANS_ROUNDS = 100
DICTIONARY_ROUNDS = 10
LARGEST_CODE = 127
RIDGE = 1e-8
"""Keeps atoms that are almost the same from being told apart by huge codes."""
PIECE_NUMBERS = 1 << 20
"""Of a dictionary's products that are looked at at once: a large layer has columns by the ten
thousand, each with as many products as there are atoms."""
_FORM = "mobilekit_form"

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def store(
    module: nn.Module, storage: Storage, on_progress: Callable[[str], None] = lambda _: None
) -> nn.Module:
    """The module itself, with other weights; batch normalization after a convolution becomes a part
    of it first, as exporters have it, or the weights that a program holds were others.
    ``on_progress`` is told each layer for which a dictionary is sought.

    Raises ``UsageError`` where there is no layer that can be stored so.
    """
    fold(module)
    check_storable(module)
    layers = list(_layers(module))
    for number, (path, layer) in enumerate(layers):
        if isinstance(storage, Dictionary):
            on_progress(f"Finding a dictionary for layer {path} ({number + 1} of {len(layers)})")
        weights = layer.weight.detach().numpy().astype(np.float32)
        form = _form(path, weights, storage, is_last=number == len(layers) - 1)
        layer.weight = nn.Parameter(torch.from_numpy(form.weights), requires_grad=False)
        setattr(layer, _FORM, form)
    return module


def check_storable(module: nn.Module) -> None:
    """Raises ``UsageError`` where there is no layer that can be stored in any of the ways."""
    if next(_layers(module), None) is None:
        raise UsageError(
            f"No layer of this network has {LEAST_WEIGHTS} weights of its own",
            fix="Leave the storage out; a network without modules of PyTorch's own has none.",
        )


def find_forms(module: nn.Module) -> tuple[Form, ...]:
    """What ``store`` made of each layer."""
    return tuple(getattr(each, _FORM) for each in module.modules() if hasattr(each, _FORM))


def fold(module: nn.Module) -> None:
    """Put each batch normalization that alone reads a convolution into the convolution.

    y = (W x + b - mean) / sqrt(variance + eps) gamma + beta, gathered by x. A network that cannot
    be traced keeps its own.
    """
    try:
        graph = torch.fx.Tracer().trace(module)
    except Exception:  # a network's own code, on values that only stand for tensors
        return
    modules = dict(module.named_modules())
    for node in graph.nodes:
        source = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(source, torch.fx.Node):
            continue
        normal, layer = modules.get(node.target), modules.get(str(source.target))
        if normal is None or layer is None:
            continue
        if (
            type(normal) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
            and source.op == "call_module"
            and type(layer) in (nn.Conv1d, nn.Conv2d, nn.Conv3d)
            and len(source.users) == 1
            and _calls(graph, node.target) == _calls(graph, source.target) == 1
            and normal.running_var is not None
        ):
            fused = torch.nn.utils.fuse_conv_bn_eval(layer, normal)
            layer.weight, layer.bias = fused.weight, fused.bias
            layer.requires_grad_(False)
            parent, _, name = node.target.rpartition(".")
            setattr(module.get_submodule(parent), name, nn.Identity())


def share_values(weights: Floats, values: int) -> Floats:
    """Each weight as the nearest of at most ``values``, which have the least squared error that
    k-means finds from two beginnings: evenly over the weights' range, as Han et al. found best, and
    evenly over the weights, which leaves none of few values without a weight."""
    ordered = np.sort(weights.ravel().astype(np.float64))
    if 1 + np.count_nonzero(np.diff(ordered)) <= values:
        return weights
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    best: tuple[float, Matrix] | None = None
    for start in (
        np.linspace(ordered[0], ordered[-1], values),
        np.quantile(ordered, (np.arange(values) + 0.5) / values),
    ):
        centres = np.unique(start)
        for _ in range(KMEANS_ROUNDS):
            borders = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
            edges = np.concatenate([[0], borders, [len(ordered)]])
            counts = np.diff(edges)
            held = counts > 0
            moved = np.diff(sums[edges])[held] / counts[held]
            if np.array_equal(moved, centres):
                break
            centres = moved
        # Of sum((w - c)^2) what depends on the centres.
        gain = float((np.square(np.diff(sums[edges]))[held] / counts[held]).sum())
        if best is None or gain > best[0]:
            best = gain, centres
    assert best is not None
    shared = np.unique(best[1].astype(np.float32))
    return shared[np.searchsorted((shared[1:] + shared[:-1]) / 2, weights)]


def prune(weights: Floats, percent: int) -> Floats:
    """With that share of them 0, the smallest."""
    dropped = round(weights.size * percent / 100)
    order = np.argsort(np.abs(weights), axis=None, kind="stable")
    left = weights.copy()
    left.reshape(-1)[order[:dropped]] = 0
    return left


def find_dictionary(matrix: Matrix, count: int, each: int) -> condense.Dictionary:
    """A dictionary of ``count`` atoms for ``matrix`` (rows x columns), ``each`` of which make a
    column. It begins with the matrix' left singular vectors, then its longest columns."""
    left = np.linalg.svd(matrix, full_matrices=False)[0]
    longest = np.argsort(-np.linalg.norm(matrix, axis=0), kind="stable")
    more = matrix[:, longest[: max(0, count - left.shape[1])]]
    atoms = _unit(np.concatenate([left, more], axis=1)[:, :count])
    for _ in range(DICTIONARY_ROUNDS):
        indices, codes = _pursue(atoms, matrix, each)
        by_column = _sparse(indices, codes, atoms.shape[1])
        together = (by_column.T @ by_column).toarray()
        atoms = (by_column.T @ matrix.T).T @ np.linalg.pinv(together, hermitian=True)
        unused = np.linalg.norm(atoms, axis=0) < RIDGE
        if unused.any():
            wrong = np.linalg.norm(matrix - (by_column @ atoms.T).T, axis=0)
            atoms[:, unused] = matrix[:, np.argsort(-wrong, kind="stable")[: unused.sum()]]
        atoms = _unit(atoms)
    indices, codes = _pursue(atoms, matrix, each)
    atom_scale, code_scale = (np.abs(array).max() / LARGEST_CODE or 1.0 for array in (atoms, codes))
    return condense.Dictionary(
        scale=np.float32(atom_scale * code_scale),
        atoms=np.rint(atoms / atom_scale).astype(np.int8),
        indices=indices,
        codes=np.rint(codes / code_scale).astype(np.int8),
    )


def _pursue(atoms: Matrix, matrix: Matrix, each: int) -> tuple[Indices, Matrix]:
    """Orthogonal matching pursuit of each column: its atoms and codes, both (columns x
    ``each``)."""
    products = atoms.T @ atoms
    width = max(1, PIECE_NUMBERS // atoms.shape[1])
    pieces = [
        _pursue_piece(products, matrix[:, begin : begin + width].T @ atoms, each)
        for begin in range(0, matrix.shape[1], width)
    ]
    return (
        np.concatenate([indices for indices, _ in pieces]),
        np.concatenate([codes for _, codes in pieces]),
    )


def _pursue_piece(products: Matrix, towards: Matrix, each: int) -> tuple[Indices, Matrix]:
    """``towards`` (columns x atoms) are the columns' products with the atoms, ``products`` those of
    the atoms with one another."""
    columns = np.arange(len(towards))[:, np.newaxis]
    indices = np.zeros((len(towards), 0), np.int64)
    codes: Matrix = np.zeros((len(towards), 0))
    left = towards
    for taken in range(each):
        reach = np.abs(left)
        reach[columns, indices] = -1
        indices = np.concatenate([indices, reach.argmax(axis=1)[:, np.newaxis]], axis=1)
        among = products[indices[:, :, np.newaxis], indices[:, np.newaxis, :]]
        among = among + RIDGE * np.eye(taken + 1)
        along = towards[columns, indices]
        codes = np.asarray(np.linalg.solve(among, along[:, :, np.newaxis])[:, :, 0], np.float64)
        if taken + 1 < each:
            left = towards - _sparse(indices, codes, len(products)) @ products
    return indices, codes


def _sparse(indices: Indices, codes: Matrix, atoms: int) -> scipy.sparse.csr_array:
    """The codes as a matrix (columns x atoms)."""
    begins = np.arange(0, indices.size + 1, indices.shape[1])
    shape = (len(indices), atoms)
    return scipy.sparse.csr_array((codes.ravel(), indices.ravel(), begins), shape=shape)


def _unit(atoms: Matrix) -> Matrix:
    lengths = np.linalg.norm(atoms, axis=0)
    return atoms / np.where(lengths == 0, 1.0, lengths)


def _form(path: str, weights: Floats, storage: Storage, *, is_last: bool) -> Form:
    if isinstance(storage, SharedValues):
        return Form(path, share_values(weights, storage.values), None)
    if isinstance(storage, Pruned):
        return Form(path, prune(weights, storage.percent), None)
    return _dictionary_form(path, weights, storage, is_last=is_last)


def _dictionary_form(path: str, weights: Floats, storage: Dictionary, *, is_last: bool) -> Form:
    matrix = weights.reshape(len(weights), -1).astype(np.float64)
    if is_last or min(matrix.shape) < LEAST_ROWS:
        return Form(path, share_values(weights, OTHERS.values), None)
    count = max(1, min(len(matrix) * storage.atoms_percent // 100, matrix.shape[1]))
    made = find_dictionary(matrix, count, min(storage.codes, count))
    sums = sums_of_atoms(made.scale, made.atoms, made.indices, made.codes)
    return Form(path, sums.reshape(weights.shape), made)


def _layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Those whose weights nothing else has, and that compute with them as they are."""
    owners: dict[int, int] = {}
    for each in module.modules():
        for parameter in each.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for path, each in module.named_modules():
        if (
            type(each) in _LAYERS
            and isinstance(each.weight, nn.Parameter)
            and each.weight.dtype == torch.float32
            and each.weight.numel() >= LEAST_WEIGHTS
            and owners[id(each.weight)] == 1
        ):
            yield path, each


def _calls(graph: torch.fx.Graph, target: object) -> int:
    return sum(node.op == "call_module" and node.target == target for node in graph.nodes)
