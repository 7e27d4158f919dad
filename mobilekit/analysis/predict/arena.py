"""What ONNX Runtime's arena holds after inferences, told from the tensors of a graph.

The first inference allocates each tensor from the arena as it comes to it. From then on the sizes
are known, and all of them lie in one block, for which the arena has to grow again if no piece of it
is so large. Nothing is given back. As in ONNX Runtime's ``core/framework/bfc_arena.cc`` and
``mem_pattern_planner.h``, whose default it is that each region is twice as large as the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

_FIRST_REGION_BYTES = 1 << 20
_STEP_BYTES = 256
_MOST_WASTED_BYTES = 128 << 20
"""A piece that is more than so much too large is divided, as one of twice the size is."""
_PATTERN_STEP_BYTES = 64
_PAGE_BYTES = 4096


class Tensor(NamedTuple):
    """An activation, from the step that writes it to the last that reads it."""

    size_bytes: int
    first: int
    last: int


class Growths(NamedTuple):
    """What has been written to, in bytes of whole pages."""

    loaded: int
    added: int
    """By several inferences."""


def arena_growths(
    tensors: Sequence[Tensor], scratch: Sequence[Tensor] = (), turned_bytes: Sequence[int] = ()
) -> Growths:
    """``scratch`` is what operators allocate for themselves: it is never in the block.
    ``turned_bytes`` are copies of weights that are freed again while the program loads."""
    tensors = [tensor for tensor in tensors if tensor.size_bytes]
    arena = _Arena()
    arena.play([Tensor(size, step, step) for step, size in enumerate(turned_bytes)])
    loaded = arena.written_bytes()
    arena.play([*tensors, *scratch])
    arena.allocate(pattern_bytes(tensors))
    arena.play(scratch)
    return Growths(loaded, arena.written_bytes() - loaded)


def pattern_bytes(tensors: Sequence[Tensor]) -> int:
    """The block that holds all of them: each as it comes, in the smallest gap that it fits in."""
    placed: dict[int, tuple[int, int]] = {}
    most = 0
    for index, is_first in _events(tensors):
        if not is_first:
            del placed[index]
            continue
        size = round_up(tensors[index].size_bytes, _PATTERN_STEP_BYTES)
        gaps, free_from = [], 0
        for start, stop in sorted(placed.values()):
            if start - free_from >= size:
                gaps.append((start - free_from, free_from))
            free_from = max(free_from, stop)
        offset = min(gaps)[1] if gaps else free_from
        placed[index] = (offset, offset + size)
        most = max(most, offset + size)
    return most


def _events(tensors: Sequence[Tensor]) -> Iterator[tuple[int, bool]]:
    """Of each step first what it writes and then what it reads for the last time: a tensor's index,
    and whether it is written."""
    steps = [
        *((tensor.first, 0, index) for index, tensor in enumerate(tensors)),
        *((tensor.last, 1, index) for index, tensor in enumerate(tensors)),
    ]
    return ((index, not is_last) for _, is_last, index in sorted(steps))


@dataclass(eq=False)
class _Piece:
    region: int
    offset: int
    size: int
    is_used: bool = False


class _Arena:
    def __init__(self) -> None:
        self._region_bytes = _FIRST_REGION_BYTES
        self._regions: list[list[_Piece]] = []
        """The pieces of each, in the order of their offsets."""
        self._written: list[tuple[int, int, int]] = []
        """A region, and from where to where."""

    def play(self, tensors: Sequence[Tensor]) -> None:
        """Each is allocated as it comes, and freed."""
        pieces: dict[int, _Piece] = {}
        for index, is_first in _events(tensors):
            if is_first:
                pieces[index] = self.allocate(tensors[index].size_bytes)
            else:
                self.free(pieces.pop(index))

    def allocate(self, size_bytes: int) -> _Piece:
        size = round_up(size_bytes, _STEP_BYTES)
        fitting = [
            piece
            for pieces in self._regions
            for piece in pieces
            if not piece.is_used and piece.size >= size
        ]
        piece = min(fitting, key=lambda each: each.size) if fitting else self._extend(size)
        if piece.size >= 2 * size or piece.size - size >= _MOST_WASTED_BYTES:
            pieces = self._regions[piece.region]
            rest = _Piece(piece.region, piece.offset + size, piece.size - size)
            pieces.insert(pieces.index(piece) + 1, rest)
            piece.size = size
        piece.is_used = True
        self._written.append((piece.region, piece.offset, piece.offset + size_bytes))
        return piece

    def _extend(self, size: int) -> _Piece:
        is_larger = size > self._region_bytes
        while size > self._region_bytes:
            self._region_bytes *= 2
        piece = _Piece(len(self._regions), 0, self._region_bytes)
        self._regions.append([piece])
        if not is_larger:
            self._region_bytes *= 2
        return piece

    def free(self, piece: _Piece) -> None:
        """Free pieces that touch become one."""
        piece.is_used = False
        joined: list[_Piece] = []
        for each in self._regions[piece.region]:
            if joined and not joined[-1].is_used and not each.is_used:
                joined[-1].size += each.size
            else:
                joined.append(each)
        self._regions[piece.region] = joined

    def written_bytes(self) -> int:
        total = 0
        for _, of_region in groupby(sorted(self._written), key=itemgetter(0)):
            end = 0
            for _, start, stop in of_region:
                first = max(end, start // _PAGE_BYTES * _PAGE_BYTES)
                end = max(end, round_up(stop, _PAGE_BYTES))
                total += max(0, end - first)
        return total


def round_up(size: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-size // step) * step
