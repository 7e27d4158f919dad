"""Writes a condensed program (``contract.condensed``) from a program and what its weights are
made of."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilekit.contract.condensed import (
    BLOCK,
    DICTIONARY,
    HEAD,
    MAGIC,
    PLAIN,
    SHARED,
    SPARSE,
    Block,
    Floats,
    Whole,
)

LEVEL = 9
"""Of zlib: it is written once and read often."""
LARGEST_CODEBOOK = 256
MARK_NUMBERS = 64
"""Of a layer's weights, by which it is looked for in a program."""


class Dictionary(NamedTuple):
    """What ``condensed.sums_of_atoms`` makes a layer's matrix of."""

    scale: np.float32
    atoms: Whole
    """(rows x atoms) of int8."""
    indices: Whole
    """(columns x of each column)."""
    codes: Whole
    """(columns x of each column) of int8."""


class Form(NamedTuple):
    """A layer's weights as the network has them, and what they are made of."""

    layer: str
    weights: Floats
    """Of a layer, as PyTorch orders them: the outputs first."""
    dictionary: Dictionary | None
    """``None``: what they are made of shows in them."""


class _Found(NamedTuple):
    """Where a program has a layer's weights."""

    start: int
    elements: Floats
    """As they lie there."""
    dictionary: Dictionary | None

    @property
    def end(self) -> int:
        return self.start + self.elements.nbytes


def condense(program: bytes, forms: Sequence[Form], target: Path) -> tuple[str, ...]:
    """Write ``program`` condensed, and say which layers' weights are stored as they are, because
    the program has them in an order that none of the axes' orders gives, or in other numbers.

    Nothing is lost: whatever of the program is no weight of ``forms`` is stored as it is, too.
    """
    found, missing = _find(program, forms)
    blocks: list[tuple[Block, bytes]] = []
    position = 0
    for each in found:
        blocks += _plain(program[position : each.start])
        blocks.append(_smallest(each))
        position = each.end
    blocks += _plain(program[position:])
    digest = hashlib.sha256(program).digest()
    with target.open("wb") as file:
        file.write(HEAD.pack(MAGIC, len(program), digest, len(blocks)))
        for block, stream in blocks:
            file.write(BLOCK.pack(*block))
            file.write(stream)
    return missing


def _find(program: bytes, forms: Sequence[Form]) -> tuple[list[_Found], tuple[str, ...]]:
    """In the program's order, no two of which overlap."""
    found: list[_Found] = []
    missing = []
    fitted: dict[int, tuple[int, ...]] = {}
    for form in sorted(forms, key=lambda form: -form.weights.size):
        axes = form.weights.ndim
        # What an exporter did to the layer before it does to most.
        for order in sorted(_orders(axes), key=lambda order: order != fitted.get(axes)):
            place = _place(program, form, order, found)
            if place is not None:
                found.append(place)
                fitted[axes] = order
                break
        else:
            missing.append(form.layer)
    return sorted(found, key=lambda each: each.start), tuple(missing)


def _orders(axes: int) -> list[tuple[int, ...]]:
    """In which exporters write weights: most leave them, or put the input channels last."""
    return sorted(itertools.permutations(range(axes)), key=lambda order: order[0])


def _place(
    program: bytes, form: Form, order: tuple[int, ...], taken: list[_Found]
) -> _Found | None:
    weights = np.ascontiguousarray(form.weights.transpose(order), "<f4").ravel()
    # Those around the largest: others may be zeros, as much of a program is.
    middle = int(np.abs(weights).argmax()) - MARK_NUMBERS // 2
    first = max(0, min(middle, weights.size - MARK_NUMBERS))
    pattern, ahead = weights.tobytes(), weights.itemsize * first
    mark, at = pattern[ahead : ahead + weights.itemsize * MARK_NUMBERS], ahead - 1
    while (at := program.find(mark, at + 1)) >= 0:
        start = at - ahead
        if program.startswith(pattern, start) and all(
            start >= each.end or start + len(pattern) <= each.start for each in taken
        ):
            return _Found(start, weights, _reordered(form, order))
    return None


def _reordered(form: Form, order: tuple[int, ...]) -> Dictionary | None:
    """With the columns in the order in which the program has them; ``None`` where its rows are not
    the layer's outputs."""
    if form.dictionary is None or order[0] != 0:
        return None
    shape = form.weights.shape[1:]
    places = np.arange(form.weights[0].size).reshape(shape)
    columns = places.transpose([axis - 1 for axis in order[1:]]).ravel()
    made = form.dictionary
    return made._replace(indices=made.indices[columns], codes=made.codes[columns])


def _smallest(found: _Found) -> tuple[Block, bytes]:
    candidates = list(_candidates(found))
    return min(candidates, key=lambda candidate: len(candidate[1]))


def _candidates(found: _Found) -> Iterator[tuple[Block, bytes]]:
    yield from _plain(found.elements.tobytes())
    size = found.elements.nbytes
    if found.dictionary is not None:
        yield _dictionary(found.dictionary, size)
    # By their bits, so that what is expanded is what was there, signs of zeros too.
    bits = found.elements.view("<u4")
    values, indices = np.unique(bits, return_inverse=True)
    if len(values) <= LARGEST_CODEBOOK:
        least = max(1, int(len(values) - 1).bit_length())
        for width in {least, 8}:
            content = values.astype("<u4").tobytes() + _pack(indices, width)
            yield _block(Block(SHARED, width, len(values), 0, 0, size, 0), content)
    elif (bits == 0).any():
        mask = np.packbits(bits != 0, bitorder="little").tobytes()
        content = mask + bits[bits != 0].tobytes()
        yield _block(Block(SPARSE, 0, 0, 0, 0, size, 0), content)


def _dictionary(made: Dictionary, size: int) -> tuple[Block, bytes]:
    rows, atoms = made.atoms.shape
    columns, each = made.codes.shape
    index = "u1" if atoms <= 256 else "<u2"
    content = b"".join(
        (
            np.array(made.scale, "<f4").tobytes(),
            made.atoms.astype(np.int8).tobytes(),
            made.indices.astype(index).tobytes(),
            made.codes.astype(np.int8).tobytes(),
        )
    )
    return _block(Block(DICTIONARY, each, atoms, rows, columns, size, 0), content)


def _plain(content: bytes) -> list[tuple[Block, bytes]]:
    return [_block(Block(PLAIN, 0, 0, 0, 0, len(content), 0), content)] if content else []


def _block(head: Block, content: bytes) -> tuple[Block, bytes]:
    stream = zlib.compress(content, LEVEL)
    return head._replace(stream_bytes=len(stream)), stream


def _pack(indices: npt.NDArray[np.integer], bits: int) -> bytes:
    if bits == 8:
        return indices.astype(np.uint8).tobytes()
    spread = (indices.ravel()[:, np.newaxis] >> np.arange(bits)) & 1
    return np.packbits(spread.astype(np.uint8).ravel(), bitorder="little").tobytes()
