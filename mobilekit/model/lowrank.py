"""Layers as two thinner ones, by the singular value decomposition of their weights. Imports torch.

The best approximation of a matrix by one of lower rank cuts its SVD (C. Eckart, G. Young, "The
approximation of one matrix by another of lower rank", Psychometrika 1 (1936)). A convolution
becomes a vertical one and a horizontal one after it (M. Jaderberg et al., "Speeding up
convolutional neural networks with low rank expansions", BMVC 2014). Large matrices are decomposed
at random (N. Halko et al., "Finding structure with randomness", SIAM Review 53 (2011)). What is
nearest may be weighted by what flows through the layer (``whitening``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from mobilekit.errors import UsageError
from mobilekit.model.ranks import Layer
from mobilekit.model.whitening import InputMoments
from mobilekit.records.network import Compression, LayerRank

RANDOMISED_SIZE = 1024
"""From matrices on whose smaller side is this long, an exact decomposition takes minutes and a
randomised one seconds, if the rank is at most a quarter of it."""
OVERSAMPLING, POWER_ITERATIONS = 16, 4
"""Columns drawn beyond the rank, and rounds that sharpen them (Halko et al., section 4.5)."""


def find_layers(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Layer, ...]:
    """The layers that can be cut: ``nn.Linear`` and ``nn.Conv2d`` of one group that the network
    calls, in the order of the calls, and whose weights nothing else has; of classes derived from
    them, those that compute what these would.

    The last one of them, which tells the classes, is left out: below as many ranks as classes it
    cannot tell them apart.
    """
    paths: dict[nn.Module, list[str]] = {}
    for path, each in module.named_modules(remove_duplicate=False):
        paths.setdefault(each, []).append(path)
    owners: dict[int, int] = {}
    for each in paths:
        for parameter in each.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    called: dict[nn.Module, None] = {}

    def note(layer: nn.Module, _: object, __: object) -> None:
        called[layer] = None

    # These compute with their layers' weights without calling the layers.
    inside = {
        child
        for each in paths
        if isinstance(each, (nn.TransformerEncoderLayer, nn.MultiheadAttention))
        for child in each.children()
    }
    # Before there is a hook: what may be cut is found by calling it.
    candidates = [
        each
        for each, own in paths.items()
        if own != [""] and each not in inside and _can_be_cut(each)
    ]
    hooks = [each.register_forward_hook(note) for each in candidates]
    try:
        with torch.no_grad():
            module(*(tensor.clone() for tensor in inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(
        _layer(paths[each][0], each)
        for each in list(called)[:-1]
        if len(paths[each]) == 1 and owners.get(id(each.weight)) == 1
    )


def compress(
    module: nn.Module,
    compression: Compression,
    moments: Mapping[str, InputMoments] | None = None,
) -> nn.Module:
    """The module itself, with each layer that ``compression`` names in two.

    ``moments`` are of their inputs where they are whitened, else ``None``. Raises ``UsageError``
    where a layer is not there, cannot be cut, has no such rank, or is not among ``moments``.
    """
    assert (compression.whitened_by is None) == (moments is None)

    def make(layer: nn.Module, cut: LayerRank) -> nn.Module:
        if moments is None:
            return factorise(layer, cut.rank)
        if cut.layer not in moments:
            raise _unfit(cut.layer, "no example reaches it")
        return factorise(layer, cut.rank, moments=moments[cut.layer])

    return replace_layers(module, compression, make)


def replace_layers(
    module: nn.Module, compression: Compression, make: Callable[[nn.Module, LayerRank], nn.Module]
) -> nn.Module:
    """The module itself, with what ``make`` makes of each layer that is named in its place.

    Raises ``UsageError`` as ``compress`` does.
    """
    for cut in compression.ranks:
        parent_path, _, name = cut.layer.rpartition(".")
        try:
            parent = module.get_submodule(parent_path)
            layer = parent.get_submodule(name)
        except AttributeError:
            raise _unfit(cut.layer, "the network has no such layer") from None
        if not name or not _can_be_cut(layer):
            raise _unfit(cut.layer, f"a {type(layer).__name__} cannot be cut")
        if cut.rank > min(_matrix(layer.weight, layer).shape):
            raise _unfit(cut.layer, f"it has no rank of {cut.rank}")
        setattr(parent, name, make(layer, cut).requires_grad_(False))
    return module


class Decomposition(NamedTuple):
    """A matrix as left (rows, n) times right (n, columns), of which the first r columns and rows
    are the best approximation of rank r."""

    left: Tensor
    values: Tensor
    right: Tensor


def decompose(layer: nn.Module, moments: InputMoments | None = None) -> Decomposition:
    """Of all ranks at once, for who asks for several; of the weighted matrix with ``moments``."""
    return _decompose(_weighted(layer, moments))


def factorise(
    layer: nn.Module,
    rank: int,
    decomposition: Decomposition | None = None,
    moments: InputMoments | None = None,
) -> nn.Sequential:
    """Two layers in place of an ``nn.Linear`` or ``nn.Conv2d``, with ``rank`` numbers (of each
    position) between them; the bias is the second one's.

    Their product is the nearest to the layer's matrix; with ``moments``, of its inputs, what
    changes the outputs for those least. ``decomposition`` is its own (with the same ``moments``),
    where it is there already.
    """
    first, second = _factors(_weighted(layer, moments), rank, decomposition)
    if moments is not None:
        if isinstance(layer, nn.Linear):
            second = moments.unweigh(second)
        else:
            first = moments.unweigh(first.T).T
        first, second = _balanced(first, second)
    return assemble(layer, first, second, layer.bias)


def factors_of(layer: nn.Module, rank: int) -> tuple[Tensor, Tensor]:
    """The nearest matrix of that rank, as the product of a (rows, rank) and a (rank, columns) one.
    Of the first one's columns and the second one's rows those that tell most come first."""
    return _factors(_matrix(layer.weight, layer), rank, None)


def assemble(layer: nn.Module, first: Tensor, second: Tensor, bias: Tensor | None) -> nn.Sequential:
    """Two layers that compute with the product of ``first`` and ``second`` what ``layer`` computes
    with its matrix; the bias is the second one's."""
    rank = second.shape[0]
    if isinstance(layer, nn.Linear):
        made: tuple[nn.Module, nn.Module] = (
            nn.Linear(layer.in_features, rank, bias=False),
            nn.Linear(rank, layer.out_features, bias=bias is not None),
        )
        weights = (second, first)
    else:
        assert isinstance(layer, nn.Conv2d)
        height, width = layer.kernel_size
        made = _convolutions(layer, rank, bias=bias is not None)
        # The matrix is (inputs x height, outputs x width).
        weights = (
            first.T.reshape(rank, layer.in_channels, height, 1),
            second.reshape(rank, layer.out_channels, 1, width).transpose(0, 1),
        )
    with torch.no_grad():
        for each, weight in zip(made, weights, strict=True):
            each.weight.copy_(weight)
        if bias is not None:
            made[1].bias.copy_(bias.detach())
    return nn.Sequential(*made).to(layer.weight.dtype).train(layer.training)


def _convolutions(layer: nn.Conv2d, rank: int, *, bias: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The vertical and the horizontal one, whose weights are still to be set."""
    height, width = layer.kernel_size
    down, across = layer.stride
    padding = layer.padding
    # A 1 x 1 kernel may stride at once, and the second layer then works on fewer positions.
    at_once = (height, width) == (1, 1) and padding in ((0, 0), "valid", "same")
    first_stride, second_stride = ((down, across), (1, 1)) if at_once else ((down, 1), (1, across))
    pads = (padding, padding) if isinstance(padding, str) else ((padding[0], 0), (0, padding[1]))
    first = nn.Conv2d(
        layer.in_channels,
        rank,
        (height, 1),
        stride=first_stride,
        padding=pads[0],
        dilation=(layer.dilation[0], 1),
        bias=False,
    )
    second = nn.Conv2d(
        rank,
        layer.out_channels,
        (1, width),
        stride=second_stride,
        padding=pads[1],
        dilation=(1, layer.dilation[1]),
        bias=bias,
    )
    return first, second


def _can_be_cut(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or layer.padding_mode != "zeros":
            return False
        # nn.MultiheadAttention reads the weights of its output and does not call it.
    elif not isinstance(layer, nn.Linear) or isinstance(layer, NonDynamicallyQuantizableLinear):
        return False
    return type(layer) in (nn.Conv2d, nn.Linear) or _computes_as_its_base(layer)


PROBE_SCALES = (1.0, 1000.0)
"""Of the inputs that tell: what clips its outputs does so for the larger ones."""


def _computes_as_its_base(layer: nn.Module) -> bool:
    """Whether a layer of a class derived from ``nn.Linear`` or ``nn.Conv2d`` computes what that one
    would with its weights. One may pad, clip, scale or add to it, and two layers in its place would
    not."""
    base = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    if base is nn.Conv2d:
        # Positions enough for each stride, and for what is padded to count.
        sizes = [
            2 * stride + dilation * (kernel - 1) + 1
            for kernel, stride, dilation in zip(
                layer.kernel_size, layer.stride, layer.dilation, strict=True
            )
        ]
        # And every remainder of the stride, by which "same" padding differs.
        shapes = [
            (1, layer.in_channels, *(size + more for size in sizes))
            for more in range(max(layer.stride))
        ]
    else:
        shapes = [(2, layer.in_features)]
    generator = torch.Generator().manual_seed(0)
    probes = [
        scale * torch.randn(shape, generator=generator).to(layer.weight.dtype)
        for shape in shapes
        for scale in PROBE_SCALES
    ]
    try:
        with torch.no_grad():
            return all(torch.allclose(layer(x), base.forward(layer, x), 1e-4) for x in probes)
    except Exception:  # It takes another input, and what its code raises is its own.
        return False


def _matrix(weight: Tensor, layer: nn.Module) -> Tensor:
    """A linear layer's (outputs, inputs); a convolution's (inputs x height, outputs x width). In
    fp32 at least: its parts are rounded to the layer's own type once, at the end."""
    weight = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    if isinstance(layer, nn.Linear):
        return weight
    outputs, inputs, height, width = weight.shape
    return weight.permute(1, 2, 0, 3).reshape(inputs * height, outputs * width)


def _layer(path: str, layer: nn.Module) -> Layer:
    matrix = _matrix(layer.weight, layer)
    rows, columns = matrix.shape
    return Layer(path, rows, columns, _singular_values(matrix))


def _singular_values(matrix: Tensor) -> tuple[float, ...]:
    """Exact to 1e-8 of the largest, by the eigenvalues of the smaller Gram matrix: a tenth of the
    time of an SVD."""
    wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
    values = torch.linalg.eigvalsh(wide @ wide.T).clamp(min=0).sqrt().flip(0)
    return tuple(values.tolist())


def _factors(
    matrix: Tensor, rank: int, decomposition: Decomposition | None
) -> tuple[Tensor, Tensor]:
    """(rows, rank) and (rank, columns), whose product is the matrix nearly; each has half of the
    singular values, so that the numbers of both are of one size, as int8 likes them."""
    least = min(matrix.shape)
    if decomposition is None and least >= RANDOMISED_SIZE and rank <= least // 4:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same network each time
            left, values, right = torch.svd_lowrank(
                matrix, q=min(rank + OVERSAMPLING, least), niter=POWER_ITERATIONS
            )
        right = right.T
    else:
        left, values, right = decomposition or _decompose(matrix)
    scale = values[:rank].sqrt()
    return left[:, :rank] * scale, scale[:, None] * right[:rank]


def _weighted(layer: nn.Module, moments: InputMoments | None) -> Tensor:
    """Its matrix, times the root of its inputs' second moment on their side."""
    matrix = _matrix(layer.weight, layer)
    if moments is None:
        return matrix
    return moments.weigh(matrix) if isinstance(layer, nn.Linear) else moments.weigh(matrix.T).T


def _balanced(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The same product, in which each column of ``first`` is as long as its row of ``second``, as
    half of the singular values make them."""
    lengths = torch.linalg.vector_norm(first, dim=0)
    scale = (torch.linalg.vector_norm(second, dim=1) / lengths).sqrt()
    scale = torch.where(torch.isfinite(scale) & (scale > 0), scale, torch.ones_like(scale))
    return first * scale, second / scale[:, None]


def _decompose(matrix: Tensor) -> Decomposition:
    """By the eigenvectors of the smaller Gram matrix, a fraction of the time of an SVD. Singular
    values below 1e-8 of the largest are lost in it, and theirs are noise."""
    rows, columns = matrix.shape
    wide = matrix.double() if rows <= columns else matrix.double().T
    vectors = torch.linalg.eigh(wide @ wide.T).eigenvectors.flip(1)
    # W = V (V^T W), whose rows are orthogonal and as long as the singular values.
    long = vectors.T @ wide
    values = torch.linalg.vector_norm(long, dim=1)
    unit = long / values.clamp(min=torch.finfo(values.dtype).tiny)[:, None]
    vectors, values, unit = (each.to(matrix.dtype) for each in (vectors, values, unit))
    if rows <= columns:
        return Decomposition(vectors, values, unit)
    return Decomposition(unit.T, values, vectors.T)


def _unfit(layer: str, why: str) -> UsageError:
    return UsageError(
        f"The compression does not fit this network: {why}",
        layer=layer,
        fix="Use it with the network and the inputs that `mobilekit compress` made it for, or "
        "make it anew.",
    )
